// Follow-ups: the latest, with what became of them.

import { getJson } from './api.js';
import { byId, el, empty, list, say, soon, words } from './dom.js';
import { count, instant, language, plain, relative } from './format.js';

const SHOWN = 25;
const KEPT = 400;
const STATES = ['sent', 'sending', 'planned', 'failed', 'unknown', 'suppressed', 'cancelled'];

export class Followups {
  #key; #now;
  #all = new Map();
  #loaded = false;
  #ticker;
  #draw = () => this.#render();

  constructor(key, now) {
    this.#key = key;
    this.#now = now;
    this.#ticker = setInterval(() => { if (!document.hidden) soon(this.#draw); }, 10000);
    this.#render();
  }

  stop() {
    clearInterval(this.#ticker);
  }

  async load() {
    const { items } = await getJson('/v1/followups?limit=50', this.#key);
    for (const item of items) this.#take({ ...item, followup_id: item.id, attempt: item.attempts });
    this.#loaded = true;
    soon(this.#draw);
  }

  /** One followup.changed.v1. */
  update(data) {
    this.#take(data);
    soon(this.#draw);
  }

  #take(item) {
    const held = this.#all.get(item.followup_id);
    if (held && (held.changed_at > item.changed_at || (held.changed_at === item.changed_at && STATES.indexOf(item.state) > STATES.indexOf(held.state)))) return;
    this.#all.set(item.followup_id, item);
    if (this.#all.size > 2 * KEPT) this.#all = new Map(this.#sorted().slice(0, KEPT).map((one) => [one.followup_id, one]));
  }

  #sorted() {
    return [...this.#all.values()].sort((a, b) => (a.changed_at < b.changed_at ? 1 : a.changed_at > b.changed_at ? -1 : 0));
  }

  #render() {
    const items = this.#sorted();
    const parent = byId('followups');
    if (!items.length) {
      parent.replaceChildren(el('li', {}, empty(this.#loaded
        ? 'No follow-ups yet — plays plan them when feedback arrives or an assignment is at risk.' : 'Loading …')));
      say(byId('followups-summary'), '');
      return;
    }
    const shown = items.slice(0, SHOWN);
    const sums = new Map();
    for (const { state } of shown) sums.set(state, (sums.get(state) ?? 0) + 1);
    say(byId('followups-summary'), `of the last ${count(shown.length)}: ${STATES.filter((state) => sums.has(state)).map((state) => `${sums.get(state)} ${state}`).join(', ')}`);
    list(parent, shown, (item) => item.followup_id, (item) => this.#row(item),
      (item) => JSON.stringify([item, relative(item.changed_at, this.#now()), relative(item.due_at, this.#now())]));
  }

  #row(item) {
    const due = item.state === 'planned' ? `due ${relative(item.due_at, this.#now())}` : relative(item.changed_at, this.#now());
    return el('li', {},
      el('span', { class: `chip ${item.state}` }, item.state),
      el('div', { class: 'text' },
        el('p', {}, words(`${plain(item.play)} · ${plain(item.step)}`, 'strong')),
        el('p', { class: 'muted' }, `${item.transport === 'email' ? 'e-mail' : item.transport} to the ${item.audience} · ${language(item.language)}${item.attempt > 1 ? ` · attempt ${item.attempt}` : ''}`),
        item.reason && el('p', { class: 'reason' }, words(item.reason))),
      el('time', { class: 'muted', datetime: item.changed_at, title: instant(item.changed_at) }, due));
  }
}

/** A sentence about a change, for the activity list. */
export function sentence(data) {
  const how = `${data.transport === 'email' ? 'e-mail' : data.transport} to the ${data.audience}`;
  return `${how} ${data.state}: ${plain(data.play)}${data.reason ? ` — ${data.reason}` : ''}`;
}
