// Open assignments: who, how urgent, and the clock of the first response.

import { getItems, getJson } from './api.js';
import { byId, el, empty, say, soon, table, words } from './dom.js';
import { count, instant, language, plain, span } from './format.js';

const ROWS = 50;
const RELOAD_MS = 1500;
const RISK_SHARE = 0.2;
const PRIORITIES = ['urgent', 'high', 'normal', 'low'];

export class Work {
  #key; #now;
  #open = new Map();
  #closed = new Map(); // resolved while a list was under way: sequence by id
  #names = new Map();
  #loaded = false;
  #more = false;
  #ticker; #reload = null;
  #draw = () => this.#render();

  /** `now()` is the server's time in milliseconds: its clock decides what is overdue. */
  constructor(key, now) {
    this.#key = key;
    this.#now = now;
    this.#ticker = setInterval(() => this.#tick(), 1000);
    this.#render();
  }

  stop() {
    clearInterval(this.#ticker);
    clearTimeout(this.#reload);
  }

  async load() {
    const asked = performance.now();
    const [{ items, more }, members] = await Promise.all([
      getItems('/v1/assignments?limit=200', this.#key, 3), getJson('/v1/members', this.#key).catch(() => ({ items: [] }))]);
    for (const member of members.items) this.#names.set(member.id, member.name);
    const found = new Map(items.map((item) => [item.id, { ...item, risk: item.clock === 'at_risk' }]));
    for (const [id, held] of this.#open) {
      const listed = found.get(id);
      if (!listed && held.heard >= asked) found.set(id, held); // opened while the list was under way
      else if (listed && listed.sequence < held.sequence) found.set(id, { ...listed, ...held, excerpt: listed.excerpt });
    }
    for (const [id, sequence] of this.#closed) if ((found.get(id)?.sequence ?? Infinity) < sequence) found.delete(id);
    this.#closed.clear();
    this.#open = found;
    this.#more = more;
    this.#loaded = true;
    soon(this.#draw);
  }

  /** One assignment.changed.v1. */
  update(data) {
    const id = data.assignment_id;
    const held = this.#open.get(id);
    if (held && held.sequence >= data.sequence) return;
    if (data.member_id && data.sensitive?.member_name) this.#names.set(data.member_id, data.sensitive.member_name);
    if (data.state === 'resolved') {
      this.#open.delete(id);
      this.#closed.set(id, data.sequence);
    } else {
      const risk = data.change === 'at_risk' || (held?.risk === true && data.change === 'breached');
      const fields = { first_response_due_at: null, first_response_at: null, first_response_seconds: null, team: null, touchpoint: null, department: null };
      this.#open.set(id, { product: held?.product, excerpt: held?.excerpt, ...fields, ...data, id, heard: performance.now(), member: data.member_id ?? null, risk });
      if (!held) this.#reload ??= setTimeout(() => this.#again(), RELOAD_MS); // the event has no words of the customer
    }
    soon(this.#draw);
  }

  async #again() {
    this.#reload = null;
    try {
      await this.load();
    } catch { /* the next change, or the next connection, asks again */ }
  }

  #clock(item) {
    if (item.first_response_at) {
      const took = item.first_response_seconds;
      return { text: took === null || took === undefined ? 'answered' : `answered after ${span(took)}`, kind: 'done' };
    }
    if (!item.first_response_due_at) return { text: 'no clock', kind: 'none' };
    const due = new Date(item.first_response_due_at).getTime();
    const left = (due - this.#now()) / 1000;
    if (left <= 0) return { text: `overdue ${span(left)}`, kind: 'overdue' };
    const whole = (due - new Date(item.opened_at).getTime()) / 1000;
    return { text: `${span(left)} left`, kind: item.risk || left < whole * RISK_SHARE ? 'risk' : 'running' };
  }

  #sorted() {
    const waits = (item) => (item.first_response_at ? Infinity : item.first_response_due_at
      ? new Date(item.first_response_due_at).getTime() : Number.MAX_SAFE_INTEGER);
    return [...this.#open.values()].sort((a, b) => waits(a) - waits(b)
      || PRIORITIES.indexOf(a.priority) - PRIORITIES.indexOf(b.priority) || (a.opened_at < b.opened_at ? -1 : 1));
  }

  #render() {
    const items = this.#sorted();
    say(byId('work-count'), this.#loaded || items.length ? `${count(items.length)}${this.#more ? '+' : ''} open` : '');
    const parent = byId('work');
    if (!items.length) {
      parent.print = null;
      parent.replaceChildren(empty(this.#loaded
        ? 'No assignments yet — feedback that needs an answer shows up here with the person who has it. Teams and members are set with PUT /v1/teams.'
        : 'Loading …'));
      say(byId('work-summary'), '');
      return;
    }
    const columns = [{ title: 'Priority' }, { title: 'Who' }, { title: 'First response' }, { title: 'State' },
      { title: 'Where' }, { title: 'Language' }, { title: 'About', class: 'wide' }];
    table(parent, 'Open assignments', columns, items.slice(0, ROWS).map((item) => ({
      key: item.id,
      print: JSON.stringify([{ ...item, heard: 0 }, this.#names.get(item.member)]),
      cells: () => this.#cells(item),
    })));
    let rest = parent.querySelector('.rest');
    if (items.length > ROWS || this.#more) {
      rest ??= parent.appendChild(el('p', { class: 'muted rest' }));
      say(rest, `The ${ROWS} most pressing are shown; GET /v1/assignments lists all.`);
    } else rest?.remove();
    this.#tick();
  }

  #cells(item) {
    const who = item.member
      ? el('span', { class: 'who' }, words(this.#names.get(item.member) ?? item.member), item.team && words(item.team, 'small'))
      : el('span', { class: 'who' }, 'nobody yet', words(item.team ? `in the queue of ${item.team}` : 'no team', 'small'));
    const about = el('span', { class: 'about' }, el('span', { class: 'tags' },
      [item.band, item.product, ...(item.issues ?? [])].filter(Boolean).map((tag) => words(plain(tag), 'span', { class: 'tag' }))),
    item.excerpt && words(item.excerpt, 'q'));
    return [
      el('span', { class: `chip ${item.priority}` }, item.priority),
      who,
      el('time', { class: 'clock', role: 'timer', 'data-clock': item.id,
        title: item.first_response_due_at ? `due ${instant(item.first_response_due_at)}` : null }),
      plain(item.state),
      el('span', { class: 'who' }, words(plain(item.touchpoint ?? item.department ?? '–')), words(plain(item.channel), 'small')),
      language(item.language),
      about,
    ];
  }

  /** Once a second: only the clocks. */
  #tick() {
    if (document.hidden) return;
    let [overdue, risk] = [0, 0];
    const clocks = new Map();
    for (const item of this.#open.values()) {
      const clock = this.#clock(item);
      clocks.set(item.id, clock);
      overdue += clock.kind === 'overdue';
      risk += clock.kind === 'risk';
    }
    for (const element of byId('work').querySelectorAll('[data-clock]')) {
      const clock = clocks.get(element.dataset.clock);
      if (clock === undefined) continue;
      say(element, clock.text);
      element.className = `clock ${clock.kind}`;
    }
    const queued = [...this.#open.values()].filter((item) => item.state === 'queued').length;
    const parts = [overdue && `${count(overdue)} overdue`, risk && `${count(risk)} at risk`, queued && `${count(queued)} in a queue`];
    say(byId('work-summary'), parts.filter(Boolean).join(' · '));
  }
}

/** A sentence about a change, for the activity list. */
export function sentence(data) {
  const who = data.sensitive?.member_name ?? data.member_id ?? data.team ?? 'nobody';
  const what = plain(data.touchpoint ?? data.department ?? data.channel);
  return {
    queued: `${what}: waits in the queue of ${data.team ?? 'no team'}`,
    assigned: `${what}: assigned to ${who}`,
    taken: `${what}: taken by ${who}`,
    answered: `${what}: answered by ${who}`,
    handed_over: `${what}: handed over to ${who}`,
    resolved: `${what}: resolved by ${who}`,
    reopened: `${what}: opened again`,
    at_risk: `${what}: first response is at risk (${who})`,
    breached: `${what}: first response is overdue (${who})`,
  }[data.change] ?? `${what}: ${plain(data.change)}`;
}
