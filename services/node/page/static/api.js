// The key, and JSON requests that carry it in a header: never in an address.

const STORE = 'closeloop.key';
const TIMEOUT_MS = 10000;
const KEY = /^clk_[a-z0-9]{12}_[A-Za-z0-9]{43}$/;

export const looksLikeKey = (text) => KEY.test(text);

export function storedKey() {
  try {
    return sessionStorage.getItem(STORE);
  } catch {
    return null; // storage is switched off: the key lives as long as the page
  }
}

export function storeKey(key) {
  try {
    if (key === null) sessionStorage.removeItem(STORE);
    else sessionStorage.setItem(STORE, key);
  } catch { /* see above */ }
}

/** The key in `#key=…`, which leaves the address and the history at once. */
export function takeKeyFromAddress() {
  const found = new URLSearchParams(location.hash.slice(1)).get('key');
  if (found === null) return null;
  history.replaceState(null, '', location.pathname + location.search);
  return found.trim();
}

export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

async function ask(path, key, accept, { method = 'GET', body = null } = {}) {
  const headers = { Accept: accept };
  if (key) headers.Authorization = `Bearer ${key}`;
  if (body !== null) headers['Content-Type'] = 'application/json';
  try {
    return await fetch(path, {
      method, body, headers, signal: AbortSignal.timeout(TIMEOUT_MS), cache: 'no-store', credentials: 'omit', redirect: 'error',
    });
  } catch {
    throw new Refused(0, 'the server does not answer');
  }
}

async function refused(answer) {
  const problem = await answer.json().catch(() => null); // an answer of something in between is no JSON
  return new Refused(answer.status, problem?.detail ?? `the server answered ${answer.status}`);
}

/** The JSON of `path`. Throws Refused with the status and the server's own sentence. */
export async function getJson(path, key, { also = [] } = {}) {
  const answer = await ask(path, key, 'application/json');
  if (!answer.ok && !also.includes(answer.status)) throw await refused(answer);
  const body = await answer.json().catch(() => null);
  if (body === null) throw new Refused(answer.status, 'the server answered something that is not JSON');
  return body;
}

/** The page at `path`, as a blob. Throws Refused. */
export async function getPage(path, key) {
  const answer = await ask(path, key, 'text/html');
  if (!answer.ok) throw await refused(answer);
  return answer.blob();
}

/** Send JSON. Throws Refused. */
export async function putJson(path, key, value) {
  const answer = await ask(path, key, 'application/json', { method: 'PUT', body: JSON.stringify(value) });
  if (!answer.ok) throw await refused(answer);
}

/** All items of a list that pages by cursor, at most `pages` pages; `more` says that there are others. */
export async function getItems(path, key, pages = 5) {
  const items = [];
  let cursor = null;
  for (let page = 0; page < pages; page += 1) {
    const url = cursor === null ? path : `${path}&cursor=${encodeURIComponent(cursor)}`;
    const answer = await getJson(url, key);
    items.push(...answer.items);
    cursor = answer.next ?? null;
    if (cursor === null) break;
  }
  return { items, more: cursor !== null };
}
