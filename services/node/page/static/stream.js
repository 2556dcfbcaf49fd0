// Server-sent events over fetch, because EventSource cannot send a key: it resumes by Last-Event-ID and backs off.

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15000;
// The server sends a comment every 15 seconds; three missing ones mean a dead connection that nobody closed.
const SILENCE_MS = 45000;
// A page that nobody sees lets go of its connection: a browser opens only six to one address over HTTP/1.1.
const HIDDEN_MS = 15000;
// After so long the lists are read anew; to walk through all that was missed would take longer.
const FORGET_ID_MS = 600000;
const LONGEST_LINE = 4 * 1024 * 1024;

/** Cuts text into events; `feed` may be given any piece of the stream. */
export class EventParser {
  #rest = '';
  #data = [];
  #type = '';
  #id = null;
  #skipNewline = false;

  constructor(onEvent, onRetry = () => {}) {
    this.onEvent = onEvent;
    this.onRetry = onRetry;
  }

  feed(text) {
    if (this.#skipNewline && text.startsWith('\n')) text = text.slice(1);
    this.#skipNewline = text === '' ? this.#skipNewline : text.endsWith('\r');
    const lines = (this.#rest + text).split(/\r\n|\n|\r/);
    this.#rest = lines.pop();
    if (this.#rest.length > LONGEST_LINE) throw new Error('a line of the stream is too long');
    for (const line of lines) this.#line(line);
  }

  #line(line) {
    if (line === '') return this.#dispatch();
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (field === 'data') this.#data.push(value);
    else if (field === 'event') this.#type = value;
    else if (field === 'id' && !value.includes('\0')) this.#id = value;
    else if (field === 'retry' && /^\d+$/.test(value)) this.onRetry(Number(value));
    return undefined;
  }

  #dispatch() {
    if (this.#data.length) this.onEvent({ id: this.#id, type: this.#type || 'message', data: this.#data.join('\n') });
    this.#data = [];
    this.#type = '';
  }
}

/**
 * Follows one stream until `stop`. `onOpen` after each connection, `onEvent` with a parsed CloudEvent, `onState` with
 * `connecting | live | waiting | paused | refused`; `refused` (a key without the right) is final.
 */
export class Stream {
  #path; #key; #handlers;
  #lastId = null;
  #retry = FIRST_WAIT_MS;
  #failures = 0;
  #stopped = false;
  #paused = false;
  #hiddenSince = null;
  #pauseTimer = null;
  #abort = null;
  #wake = () => {};
  #visibility = () => this.#seen();
  #online = () => this.#wake();

  constructor(path, key, handlers) {
    this.#path = path;
    this.#key = key;
    this.#handlers = handlers;
    document.addEventListener('visibilitychange', this.#visibility);
    window.addEventListener('online', this.#online);
    this.#run();
  }

  stop() {
    this.#stopped = true;
    document.removeEventListener('visibilitychange', this.#visibility);
    window.removeEventListener('online', this.#online);
    clearTimeout(this.#pauseTimer);
    this.#abort?.abort();
    this.#wake();
  }

  #seen() {
    clearTimeout(this.#pauseTimer);
    if (document.hidden) {
      this.#hiddenSince = performance.now();
      this.#pauseTimer = setTimeout(() => {
        this.#paused = true;
        this.#abort?.abort();
      }, HIDDEN_MS);
    } else if (this.#paused) {
      if (performance.now() - this.#hiddenSince > FORGET_ID_MS) this.#lastId = null;
      this.#paused = false;
      this.#failures = 0;
      this.#wake();
    }
  }

  async #run() {
    while (!this.#stopped) {
      if (this.#paused) {
        this.#handlers.onState('paused');
        await new Promise((resolve) => { this.#wake = resolve; });
        continue;
      }
      this.#handlers.onState('connecting');
      try {
        if ((await this.#connect()) === 'refused') return;
      } catch (error) {
        if (this.#stopped) return;
        if (!(error instanceof TypeError || error.name === 'AbortError')) console.warn(this.#path, error);
      }
      if (this.#stopped || this.#paused) continue;
      await this.#wait();
    }
  }

  async #wait() {
    const wait = Math.min(LONGEST_WAIT_MS, this.#retry * 2 ** this.#failures) * (0.5 + Math.random() / 2);
    this.#failures += 1;
    this.#handlers.onState('waiting');
    await new Promise((resolve) => {
      this.#wake = resolve;
      setTimeout(resolve, wait);
    });
  }

  async #connect() {
    const abort = new AbortController();
    this.#abort = abort;
    let silence = setTimeout(() => abort.abort(), SILENCE_MS);
    try {
      const headers = { Authorization: `Bearer ${this.#key}`, Accept: 'text/event-stream' };
      if (this.#lastId !== null) headers['Last-Event-ID'] = this.#lastId;
      const options = { headers, signal: abort.signal, cache: 'no-store', credentials: 'omit', redirect: 'error' };
      const answer = await fetch(this.#path, options);
      if (answer.status === 401 || answer.status === 403) {
        this.#handlers.onState('refused', answer.status);
        return 'refused';
      }
      if (answer.status === 422) this.#lastId = null; // the log behind this id is gone: begin at its end
      if (!answer.ok || answer.body === null) throw new TypeError(`HTTP ${answer.status}`);
      this.#handlers.onState('live');
      this.#handlers.onOpen();
      const parser = new EventParser((event) => this.#event(event), (wait) => { this.#retry = Math.max(100, wait); });
      const decoder = new TextDecoder();
      const reader = answer.body.getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return 'ended';
        clearTimeout(silence);
        silence = setTimeout(() => abort.abort(), SILENCE_MS);
        this.#failures = 0;
        parser.feed(decoder.decode(value, { stream: true }));
      }
    } finally {
      clearTimeout(silence);
      abort.abort();
    }
  }

  #event({ id, data }) {
    let event;
    try {
      event = JSON.parse(data);
    } catch {
      return; // not ours; the next one may be
    }
    this.#handlers.onEvent(event);
    if (id) this.#lastId = id;
  }
}
