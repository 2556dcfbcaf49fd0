// What is running: counts, readiness, consumers.

import { getJson } from './api.js';
import { byId, el, empty, list, say, table, words } from './dom.js';
import { count, plain, span } from './format.js';

const COUNTS_MS = 2000;
const READY_MS = 10000;
const RATE_MS = 10000;

export class Running {
  #key; #handlers;
  #timers = [];
  #offset = 0;
  #samples = [];
  #stopped = false;
  #busy = new Set();

  /** `onStatus(status)` after each answer, `onRefused(error)` when the key is not (any more) good. */
  constructor(key, handlers) {
    this.#key = key;
    this.#handlers = handlers;
    this.#every(COUNTS_MS, () => this.counts());
    this.#every(READY_MS, () => this.ready());
  }

  stop() {
    this.#stopped = true;
    for (const timer of this.#timers) clearInterval(timer);
  }

  /** The server's time in milliseconds, whatever this machine's clock says. */
  now = () => Date.now() + this.#offset;

  #every(wait, work) {
    const run = async () => {
      if (this.#busy.has(work) || this.#stopped) return;
      this.#busy.add(work);
      try {
        await work();
      } finally {
        this.#busy.delete(work);
      }
    };
    run();
    this.#timers.push(setInterval(() => { if (!document.hidden) run(); }, wait));
  }

  async counts() {
    const asked = Date.now();
    let status;
    try {
      status = await getJson('/v1/node/status', this.#key);
    } catch (error) {
      if (this.#stopped) return;
      if (error.status === 401 || error.status === 403) this.#handlers.onRefused(error);
      else say(byId('status-error'), `${sentenceCase(error.message)}; the counts are from before.`);
      return;
    }
    if (this.#stopped) return;
    this.#offset = new Date(status.now).getTime() - (asked + Date.now()) / 2;
    say(byId('status-error'), '');
    this.#handlers.onStatus(status);
    this.#renderCounts(status);
    this.#renderConsumers(status.consumers);
    say(byId('running-summary'), `version ${status.version}, up for ${span(status.uptime_seconds)}`);
    say(byId('version'), status.version);
  }

  #rate(status) {
    const moment = performance.now();
    if (this.#samples.length && this.#samples.at(-1).started !== status.started_at) this.#samples = [];
    this.#samples.push({ moment, accepted: status.accepted, started: status.started_at });
    while (this.#samples.length > 2 && moment - this.#samples[0].moment > RATE_MS) this.#samples.shift();
    const [first, last] = [this.#samples[0], this.#samples.at(-1)];
    return last.moment > first.moment ? ((last.accepted - first.accepted) * 1000) / (last.moment - first.moment) : 0;
  }

  #renderCounts(status) {
    const lag = sum(status.consumers.map((consumer) => consumer.lag));
    const stopped = sum(status.consumers.map((consumer) => consumer.stopped_partitions));
    const { ok = 0, refused = 0, not_sent: notSent = 0, unknown = 0 } = status.deliveries;
    const failed = refused + notSent;
    const tiles = [
      ['Feedback accepted', status.accepted, `${this.#rate(status).toFixed(1)} per second${status.refused ? ` · ${count(status.refused)} refused` : ''}`],
      ['Events processed', sum(status.consumers.map((consumer) => consumer.processed)), `by ${status.consumers.length} ${status.consumers.length === 1 ? 'consumer' : 'consumers'}`],
      ['Waiting', lag + status.outbox, lag + status.outbox ? `${count(lag)} to process, ${count(status.outbox)} to send on` : 'everything is processed'],
      ['Messages sent', ok, failed || unknown ? `${count(failed)} attempts failed, ${count(unknown)} unknown` : 'no attempt failed', failed || unknown ? 'warn' : ''],
      ['Dead letters', status.dead_letters, stopped ? `${count(stopped)} partitions stopped: look now` : status.dead_letters ? 'see closeloop dead-letters list' : 'every record was understood', stopped ? 'bad' : status.dead_letters ? 'warn' : ''],
      ['Open streams', status.streams, 'listeners of live events'],
    ];
    list(byId('counts'), tiles, (tile) => tile[0], ([name], before) => before ?? el('div', { class: 'tile' },
      el('dt', {}, name), el('dd', { class: 'figure' }), el('dd', { class: 'muted note' })), ([name]) => name);
    for (const [n, [, value, note, kind = '']] of tiles.entries()) {
      const tile = byId('counts').children[n];
      tile.className = `tile ${kind}`;
      say(tile.querySelector('.figure'), count(value));
      say(tile.querySelector('.note'), note);
    }
  }

  #renderConsumers(consumers) {
    const parent = byId('consumers');
    if (!consumers.length) {
      parent.print = null;
      parent.replaceChildren(empty('No consumer has processed anything since the start.'));
      return;
    }
    const columns = [{ title: 'Group', class: 'wide' }, { title: 'Processed', class: 'number' }, { title: 'Lag', class: 'number' }];
    table(parent, 'Consumers', columns, consumers.map((consumer) => ({
      key: `${consumer.group} ${consumer.topic}`,
      print: JSON.stringify(consumer),
      cells: () => [
        el('span', { class: 'who' }, words(consumer.group), words(consumer.topic, 'small'),
          consumer.stopped_partitions > 0 && el('strong', { class: 'bad' }, `${consumer.stopped_partitions} partitions stopped`)),
        count(consumer.processed),
        el('span', { class: consumer.lag ? 'lag' : '' }, count(consumer.lag)),
      ],
    })));
  }

  async ready() {
    let report;
    try {
      report = await getJson('/readyz', null, { also: [503] });
    } catch (error) {
      if (!this.#stopped) say(byId('running-error'), `${sentenceCase(error.message)}; the checks are from before.`);
      return;
    }
    if (this.#stopped) return;
    say(byId('running-error'), report.status === 'ready' ? '' : 'Not ready for traffic: see the checks.');
    list(byId('checks'), Object.entries(report.checks ?? {}), ([name]) => name, ([name, state]) => el('li', { class: state === 'ok' ? 'ok' : 'bad' },
      el('span', { class: 'dot', 'aria-hidden': 'true' }), words(plain(name)), words(state === 'ok' ? 'ok' : state, 'span', { class: 'state' })));
  }
}

const sum = (values) => values.reduce((total, value) => total + value, 0);
const sentenceCase = (text) => text[0].toUpperCase() + text.slice(1);
