// The last events as sentences.

import { byId, el, empty, list, soon, words } from './dom.js';
import { instant, metricName, score, time } from './format.js';
import { sentence as followupSentence } from './followups.js';
import { sentence as workSentence } from './work.js';

const KEPT = 60;
// On the way to an outcome: the list of follow-ups shows them.
const UNDER_WAY = ['planned', 'sending'];

export class Activity {
  #events = [];
  #ids = new Set();
  #draw = () => this.#render();

  constructor() {
    this.#render();
  }

  /** A structured CloudEvent. Of scores only the whole over 30 days is told: one answer moves dozens of series. */
  add(kind, event) {
    if (this.#ids.has(event.id)) return;
    const text = this.#text(kind, event.data);
    if (text === null) return;
    this.#ids.add(event.id);
    this.#events.unshift({ id: event.id, kind, text, time: event.time, change: event.data.change ?? event.data.state ?? '' });
    for (const gone of this.#events.splice(KEPT)) this.#ids.delete(gone.id);
    soon(this.#draw);
  }

  #text(kind, data) {
    if (kind === 'assignment') return workSentence(data);
    if (kind === 'follow-up') return UNDER_WAY.includes(data.state) ? null : followupSentence(data);
    const { series } = data;
    if (series.window !== '30d' || Object.keys(series.dimensions ?? {}).length || !data.reportable) return null;
    return `${metricName(series.metric)} is ${score(data.value, data.formula)} over 30 days (${series.survey_type}, ${data.n} answers)`;
  }

  #render() {
    const parent = byId('activity');
    if (!this.#events.length) {
      parent.replaceChildren(el('li', {}, empty('Nothing happened yet — events appear here as they flow.')));
      return;
    }
    list(parent, this.#events, (event) => event.id, (event) => el('li', { class: `${event.kind} ${event.change}` },
      el('time', { class: 'muted', datetime: event.time, title: instant(event.time) }, time(event.time)),
      el('p', {}, el('span', { class: 'hidden' }, `${event.kind}: `), words(event.text))), (event) => event.id);
  }
}
