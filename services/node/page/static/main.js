// Puts the page together: the key, the board, the three streams.

import { Activity } from './activity.js';
import { Refused, getJson, looksLikeKey, storeKey, storedKey, takeKeyFromAddress } from './api.js';
import { byId, say } from './dom.js';
import { Followups } from './followups.js';
import { Report } from './report.js';
import { Running } from './running.js';
import { Scores } from './scores.js';
import { Stream } from './stream.js';
import { Work } from './work.js';

// Lists are read anew now and then: what no event tells of (a deleted member's name) still becomes right.
const REREAD_MS = 60000;
let board = null;

const REFUSALS = {
  401: 'This key is not valid here: it may be mistyped, revoked, or of another installation.',
  403: 'This key may not see this page. It needs one of the roles manager, agent, operator or admin.',
};

class Board {
  #parts = [];
  #streams = new Map();
  #states = new Map();
  #timer;

  constructor(key, status) {
    const running = new Running(key, { onStatus: (now) => showWho(now), onRefused: (error) => leave(refusal(error)) });
    const [scores, work, followups] = [new Scores(key), new Work(key, running.now), new Followups(key, running.now)];
    const activity = new Activity();
    this.#parts = [running, scores, work, followups, new Report(key)];
    showWho(status);
    const live = [
      ['scores', 'score', '/v1/scores/stream', scores],
      ['work', 'assignment', '/v1/assignments/stream', work],
      ['followups', 'follow-up', '/v1/followups/stream', followups],
    ];
    for (const [name, kind, path, part] of live) {
      const read = () => this.#read(name, part);
      this.#streams.set(name, new Stream(path, key, {
        onOpen: read,
        onState: (state) => this.#state(name, state, read),
        onEvent: (event) => {
          part.update(event.data);
          activity.add(kind, event);
        },
      }));
    }
    this.#timer = setInterval(() => {
      if (!document.hidden) for (const [name, , , part] of live) if (this.#states.get(name) === 'live') this.#read(name, part);
    }, REREAD_MS);
  }

  stop() {
    clearInterval(this.#timer);
    for (const part of [...this.#parts, ...this.#streams.values()]) part.stop();
  }

  async #read(name, part) {
    const place = byId(`${name}-error`);
    try {
      await part.load();
      say(place, '');
    } catch (error) {
      if (board !== this) return;
      if (!(error instanceof Refused)) throw error;
      if (error.status === 401) leave(refusal(error));
      else if (error.status === 403) say(place, `This key's roles do not open this part: ${error.message}.`);
      else if (error.status !== 0) say(place, `This part cannot be read now: ${error.message}.`);
    }
  }

  #state(name, state, read) {
    if (state === 'refused') read(); // the list says why, in the server's own words
    this.#states.set(name, state);
    const states = [...this.#states.values()].filter((one) => one !== 'refused');
    const worst = ['waiting', 'connecting', 'paused', 'live'].find((one) => states.includes(one)) ?? 'live';
    const lost = byId('connection').dataset.state === 'waiting';
    const shown = worst === 'connecting' && lost ? 'waiting' : worst;
    byId('connection').dataset.state = shown;
    say(byId('connection-text'), {
      live: 'Live', connecting: 'Connecting …', waiting: 'Connection lost, trying again …', paused: 'Paused while hidden',
    }[shown]);
  }
}

const refusal = (error) => REFUSALS[error.status] ?? `${error.message[0].toUpperCase()}${error.message.slice(1)}. Try again in a moment.`;

function showWho(status) {
  const place = byId('workspace');
  say(place, status.workspace);
  place.title = `workspace ${status.workspace}, key “${status.key_name}” (${status.roles.join(', ')})`;
  document.title = `${status.workspace} · closeloop`;
}

function show(open) {
  byId('door').hidden = open;
  byId('board').hidden = !open;
  for (const id of ['workspace', 'connection', 'forget']) byId(id).hidden = !open;
}

/** Back to the door, with a sentence. The key is forgotten: it opens nothing. */
function leave(message = '') {
  storeKey(null);
  board?.stop();
  board = null;
  show(false);
  document.title = 'closeloop';
  byId('key').value = '';
  say(byId('key-error'), message);
  byId('key').focus();
}

/** Try a key: the board opens only when the server knows it. */
async function enter(key) {
  board?.stop();
  board = null;
  if (!looksLikeKey(key)) {
    leave('This is not an API key: a key looks like clk_… and has 60 characters. Copy it whole.');
    return;
  }
  const button = byId('key-form').querySelector('button');
  button.disabled = true;
  try {
    const status = await getJson('/v1/node/status', key);
    storeKey(key);
    say(byId('key-error'), '');
    byId('key').value = '';
    show(true);
    board = new Board(key, status);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    if (error.status === 401 || error.status === 403) leave(refusal(error));
    else {
      show(false);
      byId('key').value = key;
      say(byId('key-error'), refusal(error));
    }
  } finally {
    button.disabled = false;
  }
}

byId('key-form').addEventListener('submit', (event) => {
  event.preventDefault();
  enter(byId('key').value.trim());
});
byId('forget').addEventListener('click', () => leave('The key is forgotten in this tab.'));
window.addEventListener('hashchange', () => {
  const key = takeKeyFromAddress();
  if (key !== null) enter(key);
});

const key = takeKeyFromAddress() ?? storedKey();
if (key === null) show(false);
else enter(key);
