// Making and updating elements. Data becomes text or attributes, never markup.

const SVG = 'http://www.w3.org/2000/svg';

/** An element with properties (`class`, `dir`, `title`, `aria-…`, `on…` listeners) and children (nodes or text). */
export function el(tag, properties = {}, ...children) {
  return filled(document.createElement(tag), properties, children);
}

/** The same for SVG. */
export function svg(tag, properties = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), properties, children);
}

function filled(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === 'function') element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const byId = (id) => document.getElementById(id);

/** Set the text only where it differs: an unchanged node costs nothing and is not announced again. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Text that came from people: it has its own direction. */
export function words(text, tag = 'span', properties = {}) {
  return el(tag, { dir: 'auto', ...properties }, String(text));
}

/**
 * Make `parent` hold one element per item, in order. An element is kept while its `print` stays the same, so that
 * focus, selection and the reader's place survive an update.
 */
export function list(parent, items, keyOf, make, printOf = JSON.stringify) {
  const known = new Map();
  for (const child of parent.children) known.set(child.dataset.key, child);
  let place = parent.firstElementChild;
  for (const item of items) {
    const key = String(keyOf(item));
    const print = printOf(item);
    let element = known.get(key);
    known.delete(key);
    if (element === undefined || element.print !== print) {
      const made = make(item, element);
      made.dataset.key = key;
      made.print = print;
      if (element !== undefined) {
        if (element === place) place = made;
        element.replaceWith(made);
      }
      element = made;
    }
    if (element === place) place = place.nextElementSibling;
    else parent.insertBefore(element, place);
  }
  for (const gone of known.values()) gone.remove();
}

let frame = null;
const waiting = new Set();

/** Run `draw` before the next frame, once, however often it is asked for. A hidden page draws when it is seen. */
export function soon(draw) {
  waiting.add(draw);
  frame ??= requestAnimationFrame(() => {
    frame = null;
    const now = [...waiting];
    waiting.clear();
    for (const work of now) work();
  });
}

/** An empty state: what is missing and what would make it appear. */
export function empty(text) {
  return el('p', { class: 'empty' }, text);
}

/**
 * A table that becomes cards on a narrow screen. `columns` are {title, class?}; `rows` are {key, print, cells(), class?}.
 * Roles are spelled out because `display: block` would take them away.
 */
export function table(parent, label, columns, rows) {
  let body = parent.querySelector(':scope > table > tbody');
  const print = JSON.stringify(columns);
  if (body === null || parent.print !== print) {
    parent.print = print;
    body = el('tbody', { role: 'rowgroup' });
    const head = el('tr', { role: 'row' }, columns.map((column) =>
      el('th', { role: 'columnheader', scope: 'col', class: column.class }, column.title)));
    parent.replaceChildren(
      el('table', { role: 'table', 'aria-label': label }, el('thead', { role: 'rowgroup' }, head), body));
  }
  list(body, rows, (row) => row.key, (row) => el('tr', { role: 'row', class: row.class }, row.cells().map((cell, n) =>
    el('td', { role: 'cell', class: columns[n].class, 'data-title': columns[n].title }, cell))), (row) => row.print);
}
