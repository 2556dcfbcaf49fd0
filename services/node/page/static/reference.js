// Renders this installation's OpenAPI and AsyncAPI documents as readable pages: what to send, what comes back, examples.

import { getJson } from './api.js';
import { byId, el, empty, say } from './dom.js';

const DEEPEST = 4;
const METHODS = ['get', 'post', 'put', 'patch', 'delete'];
const documents = new Map();

/** What a `$ref` points to. */
function resolved(root, schema) {
  for (let steps = 0; schema?.$ref && steps < 10; steps += 1) {
    schema = schema.$ref.slice(2).split('/').reduce((place, part) => place?.[decodeURIComponent(part).replaceAll('~1', '/').replaceAll('~0', '~')], root);
  }
  return schema ?? {};
}

/** A type in a few words: `string (uuid)`, `array of Score`, `"7d" | "30d"`. */
function typeOf(root, given, depth = 0) {
  const name = given?.$ref?.split('/').at(-1);
  const schema = resolved(root, given);
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(' | ');
  const either = schema.anyOf ?? schema.oneOf;
  if (either && depth < DEEPEST) {
    const types = [...new Set(either.map((one) => typeOf(root, one, depth + 1)))];
    return types.filter((type) => type !== 'null').join(' | ') + (types.includes('null') ? ' or null' : '');
  }
  if (schema.type === 'array') return `array of ${typeOf(root, schema.items ?? {}, depth + 1)}`;
  if (name) return name;
  if (schema.type === 'object' && schema.additionalProperties?.type) return `object of ${typeOf(root, schema.additionalProperties, depth + 1)}`;
  return (schema.type ?? 'any') + (schema.format ? ` (${schema.format})` : '');
}

const LIMITS = { minimum: '≥ ', exclusiveMinimum: '> ', maximum: '≤ ', exclusiveMaximum: '< ', minLength: 'length ≥ ', maxLength: 'length ≤ ',
  minItems: 'items ≥ ', maxItems: 'items ≤ ', pattern: 'like ' };

function limits(root, given) {
  const schema = resolved(root, given);
  const parts = [schema, ...(schema.anyOf ?? [])].flatMap((one) => Object.entries(LIMITS)
    .filter(([name]) => one[name] !== undefined).map(([name, sign]) => sign + one[name]));
  const fallback = given?.default ?? schema.default;
  if (fallback !== undefined && fallback !== null && fallback !== '') parts.push(`default ${JSON.stringify(fallback)}`);
  return parts.join(', ');
}

function grid(label, titles, rows) {
  return el('table', { 'aria-label': label }, el('thead', {}, el('tr', {}, titles.map((title) => el('th', { scope: 'col' }, title)))),
    el('tbody', {}, rows.map((cells) => el('tr', {}, cells.map((cell) => el('td', {}, cell))))));
}

function nameCell(name, required) {
  return el('span', {}, name, required ? el('span', { class: 'required' }, ' required') : '');
}

/** Fields of an object, nested ones as `part.field`. */
function fields(root, given, prefix = '', depth = 0) {
  const schema = resolved(root, given);
  const either = (schema.anyOf ?? schema.oneOf ?? []).map((one) => resolved(root, one)).find((one) => one.properties || one.type === 'array');
  if (!schema.properties && either) return fields(root, either, prefix, depth);
  if (schema.type === 'array') return fields(root, schema.items ?? {}, `${prefix}[].`.replace('.[]', '[]'), depth + 1);
  if (!schema.properties || depth > DEEPEST) return [];
  return Object.entries(schema.properties).flatMap(([name, field]) => {
    const inner = depth < DEEPEST ? fields(root, field, `${prefix}${name}.`, depth + 1) : [];
    const note = [field.description ?? resolved(root, field).description, limits(root, field)].filter(Boolean).join(' · ');
    return [[nameCell(prefix + name, schema.required?.includes(name)), typeOf(root, field), note], ...inner];
  });
}

function schemaBlock(root, schema, label) {
  const rows = fields(root, schema);
  if (!rows.length) return el('p', { class: 'muted' }, typeOf(root, schema));
  return el('details', { open: rows.length <= 8 }, el('summary', {}, `${label}: ${typeOf(root, schema)} (${rows.length} fields)`),
    grid(label, ['Field', 'Type', 'Meaning'], rows));
}

function example(title, value, open = false) {
  const text = typeof value === 'string' ? value : JSON.stringify(value, null, 2);
  return el('details', { open }, el('summary', {}, title), el('pre', { tabindex: '0' }, el('code', { dir: 'auto' }, text)));
}

/** Examples of a media type: its own, or those of its schema. */
function examples(root, media) {
  const schema = resolved(root, media.schema);
  const named = Object.entries(media.examples ?? {}).map(([name, one]) => [resolved(root, one).summary ?? name, resolved(root, one).value]);
  const own = [...(media.example === undefined ? [] : [media.example]), ...(schema.examples ?? [])].map((value) => ['Example', value]);
  return [...named, ...own].filter(([, value]) => value !== undefined).map(([name, value], n) => example(name, value, n === 0));
}

function operation(root, path, method, described) {
  const parameters = (described.parameters ?? []).map((one) => resolved(root, one));
  const body = resolved(root, described.requestBody);
  const answers = Object.entries(described.responses ?? {});
  return el('article', { class: 'panel operation', id: anchor(method, path) },
    el('header', {}, el('span', { class: `method ${method}` }, method.toUpperCase()), el('h3', { class: 'path' }, path),
      el('p', { class: 'muted' }, described.summary ?? '')),
    described.description && el('p', {}, described.description),
    parameters.length > 0 && [el('h4', {}, 'Parameters'), grid('Parameters', ['Name', 'In', 'Type', 'Meaning'], parameters.map((one) => [
      nameCell(one.name, one.required), one.in, typeOf(root, one.schema), [one.description, limits(root, one.schema)].filter(Boolean).join(' · ')]))],
    body.content && [el('h4', {}, 'Body'), Object.entries(body.content).flatMap(([type, media]) => [
      el('p', {}, el('code', {}, type)), media.schema && schemaBlock(root, media.schema, 'Fields'), ...examples(root, media)])],
    el('h4', {}, 'Answers'), answers.map(([status, given]) => {
      const answer = resolved(root, given);
      return el('div', {}, el('p', {}, el('strong', {}, status), ` ${answer.description ?? ''}`),
        Object.entries(answer.content ?? {}).flatMap(([type, media]) => [
          status === '200' || status === '201' || status === '202' ? el('p', {}, el('code', {}, type)) : '',
          media.schema && status[0] === '2' ? schemaBlock(root, media.schema, 'Fields') : '', ...examples(root, media)]));
    }),
    method === 'get' || described.requestBody ? example('curl', curl(path, method, body)) : '');
}

function curl(path, method, body) {
  const type = Object.keys(body.content ?? {})[0];
  const lines = [`curl ${method === 'get' ? '' : `-X ${method.toUpperCase()} `}'${location.origin}${path}'`, "-H 'Authorization: Bearer clk_…'"];
  if (path.endsWith('/stream')) lines.splice(1, 0, '-N');
  if (type) lines.push(`-H 'Content-Type: ${type}'`, '--data @body');
  return lines.join(' \\\n  ');
}

/** A path that may break after its slashes. */
const breakable = (path) => path.split('/').flatMap((part, n) => (n ? ['/', document.createElement('wbr'), part] : [part]));

const anchor = (method, path) => `${method}${path.replaceAll(/[^A-Za-z0-9]+/g, '-')}`;

function renderHttp(root) {
  const groups = new Map();
  for (const [path, item] of Object.entries(root.paths ?? {})) {
    for (const method of METHODS.filter((one) => item[one])) {
      const tag = item[method].tags?.[0] ?? 'other';
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push([path, method, item[method]]);
    }
  }
  const sorted = [...groups].sort(([a], [b]) => (a === 'operations') - (b === 'operations') || (a < b ? -1 : 1));
  const intro = el('p', { class: 'muted' }, `Version ${root.info?.version ?? ''}. Send an API key with every request: Authorization: Bearer clk_… . Errors are problem+json: title, detail, and the path of each fault.`);
  return {
    contents: sorted.flatMap(([tag, operations]) => [el('h2', {}, tag), el('ul', {}, operations.map(([path, method]) => el('li', {},
      el('a', { href: `#${anchor(method, path)}` }, el('span', { class: `method ${method}` }, method.toUpperCase()), el('span', {}, breakable(path))))))]),
    body: [intro, ...sorted.flatMap(([tag, operations]) => [el('h2', {}, tag), ...operations.map(([path, method, described]) => operation(root, path, method, described))])],
  };
}

function renderEvents(root) {
  const channels = Object.entries(root.channels ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
  const intro = el('p', { class: 'muted' }, `${root.info?.description ?? ''} Version ${root.info?.version ?? ''}.`);
  return {
    contents: [el('h2', {}, 'Topics'), el('ul', {}, channels.map(([name]) => el('li', {}, el('a', { href: `#topic-${name}` }, name))))],
    body: [intro, ...channels.map(([name, channel]) => el('article', { class: 'panel operation', id: `topic-${name}` },
      el('header', {}, el('h3', { class: 'path' }, channel.address ?? name)), el('p', { class: 'muted' }, channel.description ?? ''),
      Object.values(channel.messages ?? {}).map((given) => {
        const message = resolved(root, given);
        const payload = message.payload?.schema ?? message.payload;
        return [el('p', {}, message.summary ?? message.title ?? ''), payload && schemaBlock(root, payload, 'Data'),
          (message.examples ?? []).map((one) => example(`Example: ${(one.name ?? '').replaceAll('_', ' ')}`, one.payload))];
      })))],
  };
}

const PAGES = { http: ['/openapi.json', renderHttp, 'API'], events: ['/asyncapi.json', renderEvents, 'Events'] };
let shown = null;

async function show() {
  const wanted = location.hash.slice(1);
  const page = wanted === 'events' || wanted.startsWith('topic-') ? 'events' : 'http';
  if (shown !== page) {
    shown = page;
    const [path, render, title] = PAGES[page];
    try {
      if (!documents.has(page)) documents.set(page, await getJson(path, null));
    } catch (error) {
      say(byId('problem'), `${path} cannot be read: ${error.message}.`);
      byId('document').replaceChildren(empty('Reload the page when the server answers again.'));
      shown = null;
      return;
    }
    say(byId('problem'), '');
    const { contents, body } = render(documents.get(page));
    byId('contents').replaceChildren(...contents);
    byId('document').replaceChildren(...body);
    document.title = `${title} · closeloop`;
    for (const name of Object.keys(PAGES)) byId(`tab-${name}`).toggleAttribute('aria-current', name === page);
  }
  if (wanted !== page) document.getElementById(wanted)?.scrollIntoView();
}

window.addEventListener('hashchange', show);
show();
