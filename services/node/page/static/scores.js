// Scores: cards of the whole, a table by department, touchpoint or product, and a line of history.

import { getItems, getJson } from './api.js';
import { byId, el, empty, list, soon, svg, table, words } from './dom.js';
import { WINDOWS, change, count, day, earlier, metricName, plain, score } from './format.js';

const METRIC_ORDER = ['nps', 'csat', 'ces', 'rating', 'sentiment'];
const ALWAYS = ['nps', 'csat', 'ces'];
const GROUPS = ['all', 'department', 'touchpoint', 'product', 'issue'];
// Ends of the bar. A mean has the scale of its survey; where answers lie outside, the bar grows.
const SCALES = { nps: [-100, 100], csat: [0, 100], ces: [1, 7], rating: [1, 5], sentiment: [-100, 100] };
const ROWS = 50;
const HISTORY_MS = 300000;
const SURE = 0.05;

const nameOf = (series) => JSON.stringify(
  [series.metric, series.survey_type, series.window, Object.entries(series.dimensions ?? {}).sort()]);

export class Scores {
  #key;
  #all = new Map();
  #heard = new Map(); // series → when the stream last told of it: a list asked for before is older
  #histories = new Map();
  #surveyType = null;
  #more = false;
  #loaded = false;
  #timer = null;
  #draw = () => this.#render();

  constructor(key) {
    this.#key = key;
    for (const id of ['by', 'metric', 'window']) byId(id).onchange = () => soon(this.#draw);
    byId('survey-type').onchange = (event) => {
      this.#surveyType = event.target.value;
      this.#askHistories();
      soon(this.#draw);
    };
    this.#timer = setInterval(() => { if (!document.hidden) this.#askHistories(); }, HISTORY_MS);
    this.#render();
  }

  stop() {
    clearInterval(this.#timer);
  }

  /** Read everything anew. */
  async load() {
    const asked = performance.now();
    const answers = await Promise.all(GROUPS.map((by) => getItems(`/v1/scores?by=${by}&limit=200`, this.#key)));
    const found = new Set();
    for (const item of answers.flatMap((answer) => answer.items)) {
      const name = nameOf(item.series);
      found.add(name);
      if ((this.#heard.get(name) ?? 0) < asked) this.#all.set(name, item);
    }
    this.#more = answers.some((answer) => answer.more);
    if (!this.#more) {
      for (const name of this.#all.keys()) {
        if (!found.has(name) && (this.#heard.get(name) ?? 0) < asked) this.#all.delete(name);
      }
    }
    const first = !this.#loaded;
    this.#loaded = true;
    this.#chooseSurveyType();
    if (first) this.#askHistories();
    soon(this.#draw);
  }

  /** One score.updated.v1. */
  update(data) {
    const dimensions = Object.keys(data.series.dimensions ?? {});
    if (dimensions.length > 1 || (dimensions.length && !GROUPS.includes(dimensions[0]))) return;
    const name = nameOf(data.series);
    const before = this.#all.get(name);
    if (before && before.as_of > data.as_of) return;
    const moved = before === undefined || before.value !== data.value || before.n !== data.n;
    this.#heard.set(name, performance.now());
    this.#all.set(name, { ...data, moved: moved ? performance.now() : before.moved });
    if (this.#surveyType === null) this.#chooseSurveyType();
    if (!dimensions.length && data.series.window === '30d') this.#extendHistory(data);
    soon(this.#draw);
  }

  #chooseSurveyType() {
    const answers = new Map();
    for (const { series, n } of this.#all.values()) {
      if (series.window === '90d' && !Object.keys(series.dimensions ?? {}).length) {
        answers.set(series.survey_type, (answers.get(series.survey_type) ?? 0) + n);
      }
    }
    const types = ['transactional', 'relational'];
    if (this.#surveyType === null && answers.size) {
      this.#surveyType = [...answers].sort((a, b) => b[1] - a[1])[0][0];
    }
    list(byId('survey-type'), types, (type) => type, (type) => el('option', { value: type },
      type));
    byId('survey-type').value = this.#surveyType ?? 'transactional';
  }

  get #type() {
    return this.#surveyType ?? 'transactional';
  }

  // History

  async #askHistories() {
    if (!this.#loaded) return;
    const type = this.#type;
    const having = METRIC_ORDER.filter((metric) => this.#find(metric, '90d')?.n > 0);
    await Promise.all(having.map(async (metric) => {
      try {
        const path = `/v1/scores/history?metric=${metric}&survey_type=${type}&window=30d`;
        this.#histories.set(`${metric} ${type}`, await getJson(path, this.#key));
        soon(this.#draw);
      } catch { /* the line stays as it was; the lists above tell of errors */ }
    }));
  }

  #extendHistory(data) {
    const name = `${data.series.metric} ${data.series.survey_type}`;
    const history = this.#histories.get(name);
    if (history === undefined) {
      this.#askHistories();
      return;
    }
    const last = history.points.at(-1);
    const today = new Date().toISOString().slice(0, 10);
    const point = { ...last, day: today, value: data.value ?? null, n: data.n, interval: data.interval, reportable: data.reportable };
    const points = last && last.day === today ? history.points.slice(0, -1) : history.points.slice(1);
    this.#histories.set(name, { ...history, points: [...points, point] });
  }

  // Drawing

  #find(metric, window, dimensions = []) {
    return this.#all.get(JSON.stringify([metric, this.#type, window, dimensions]));
  }

  #render() {
    const metrics = METRIC_ORDER.filter((metric) => ALWAYS.includes(metric)
      || [...this.#all.values()].some(({ series }) => series.metric === metric && series.survey_type === this.#type));
    list(byId('scores'), metrics, (metric) => metric, (metric) => this.#card(metric), (metric) => JSON.stringify([
      this.#loaded, this.#type, this.#histories.get(`${metric} ${this.#type}`)?.points,
      Object.keys(WINDOWS).map((window) => this.#find(metric, window)),
    ]));
    byId('scores').classList.toggle('four', metrics.length === 4);
    this.#renderBreakdown(metrics);
  }

  #card(metric) {
    const shown = Object.keys(WINDOWS).map((window) => [window, this.#find(metric, window)]);
    const answered = shown.some(([, found]) => found && found.n > 0);
    const rows = shown.map(([window, found]) => el('tr', {},
      el('th', { scope: 'row' }, WINDOWS[window]), ...scoreCells(found, metric).map((cell) => el('td', {}, cell))));
    const body = answered || !this.#loaded
      ? el('table', { class: 'windows' }, el('thead', { class: 'hidden' }, el('tr', {},
        ['Window', 'Score', 'Interval', 'Answers and change'].map((title) => el('th', { scope: 'col' }, title)))), el('tbody', {}, rows))
      : empty(`No ${metricName(metric)} answers yet — they show here within a second of POST /v1/feedback.`);
    const history = this.#histories.get(`${metric} ${this.#type}`);
    return el('article', { class: 'card', 'aria-label': metricName(metric) },
      el('header', {}, el('h3', {}, metricName(metric)), el('p', { class: 'muted' }, MEANINGS[metric])),
      body, answered && history ? line(metric, history) : el('div', { class: 'line' }));
  }

  #renderBreakdown(metrics) {
    const [by, window] = [byId('by').value, byId('window').value];
    list(byId('metric'), metrics, (metric) => metric, (metric) => el('option', { value: metric }, metricName(metric)));
    const metric = byId('metric').value || 'nps';
    const rows = [...this.#all.values()].filter(({ series }) => series.metric === metric && series.window === window
      && series.survey_type === this.#type && Object.keys(series.dimensions ?? {}).join() === by);
    rows.sort((a, b) => b.n - a.n || (a.series.dimensions[by] < b.series.dimensions[by] ? -1 : 1));
    const parent = byId('breakdown');
    if (!rows.length) {
      parent.print = null;
      const hint = by === 'issue' ? 'issues are read from the words of messages: choose Sentiment' : `name a ${by} in the feedback that you send`;
      parent.replaceChildren(empty(this.#loaded
        ? `No ${metricName(metric)} answers by ${by} in the window “${WINDOWS[window]}” — ${hint}.`
        : 'Loading …'));
      return;
    }
    const columns = [{ title: by[0].toUpperCase() + by.slice(1) }, { title: metricName(metric), class: 'number' },
      { title: '95 % interval', class: 'wide' }, { title: 'Answers and change' }];
    table(parent, `${metricName(metric)} by ${by}`, columns, rows.slice(0, ROWS).map((row) => ({
      key: nameOf(row.series),
      print: JSON.stringify([row.value, row.n, row.interval, row.previous, row.reportable, row.moved]),
      cells: () => [words(plain(row.series.dimensions[by])), ...scoreCells(row, metric)],
    })));
    let rest = parent.querySelector('.rest');
    const left = rows.length - ROWS;
    if (left > 0 || this.#more) {
      rest ??= parent.appendChild(el('p', { class: 'muted rest' }));
      rest.textContent = `The ${Math.min(ROWS, rows.length)} with most answers are shown${left > 0 ? `; ${count(left)} more` : ''}: GET /v1/scores lists all.`;
    } else rest?.remove();
  }
}

const MEANINGS = {
  nps: 'promoters minus detractors, −100 to 100',
  csat: 'share of 4 and 5 on the scale 1–5',
  ces: 'mean effort score on the scale 1–7',
  rating: 'mean of the stars',
  sentiment: 'positive minus negative messages, −100 to 100',
};

const fresh = (moved) => moved !== undefined && performance.now() - moved < 1200;

/** Score, bar, and n with the change, as cell contents. */
function scoreCells(found, metric) {
  if (!found || !found.n) return [el('span', { class: 'value none' }, '–'), bar(null, metric), el('span', { class: 'muted' }, 'no answers')];
  const answers = `${count(found.n)} ${found.n === 1 ? 'answer' : 'answers'}`;
  if (!found.reportable) {
    return [el('span', { class: 'value none', title: 'not reportable' }, '–'), bar(null, metric),
      el('span', { class: 'muted' }, `too few answers to report: ${count(found.n)} of ${count(found.minimum_n)}`)];
  }
  return [
    el('span', { class: `value${fresh(found.moved) ? ' moved' : ''}` }, score(found.value, found.formula)),
    bar(found, metric),
    el('span', { class: 'facts' }, el('span', { class: 'n' }, answers), ' ', changed(found)),
  ];
}

function changed({ previous, formula, series }) {
  if (!previous || previous.change === null || previous.change === undefined) {
    return el('span', { class: 'delta' }, 'no earlier window');
  }
  const sure = previous.p_value !== null && previous.p_value !== undefined && previous.p_value < SURE;
  const direction = previous.change > 0 ? 'up' : previous.change < 0 ? 'down' : 'same';
  const against = `against the ${earlier(series.window)} before (${count(previous.n)} answers)`;
  const title = sure ? `${against}: more than chance, p = ${previous.p_value.toFixed(3)}` : `${against}: may be chance`;
  const arrow = { up: '▲', down: '▼', same: '■' }[direction];
  return el('span', { class: `delta ${sure ? direction : ''}`, title },
    el('span', { 'aria-hidden': 'true' }, `${arrow} `), change(previous.change, formula),
    el('span', { class: 'hidden' }, ` ${title}`), sure ? '' : el('span', { class: 'chance', 'aria-hidden': 'true' }, ' ~'));
}

/** The interval on the scale of its metric: a band with a mark, and its ends in words. */
function bar(found, metric) {
  const outer = el('span', { class: 'interval' });
  const track = el('span', { class: `track${(SCALES[metric] ?? [0])[0] < 0 ? ' middle' : ''}`, 'aria-hidden': 'true' });
  outer.append(track);
  if (!found) {
    outer.append(el('span', { class: 'ends' }, ' '));
    return outer;
  }
  let [low, high] = SCALES[metric] ?? [0, 1];
  const { interval } = found;
  low = Math.min(low, interval?.low ?? low, found.value);
  high = Math.max(high, interval?.high ?? high, found.value);
  const place = (value) => `${(((value - low) / (high - low)) * 100).toFixed(2)}%`;
  if (interval) {
    const band = el('span', { class: 'band' });
    band.style.setProperty('inset-inline-start', place(interval.low));
    band.style.setProperty('inset-inline-end', `${(100 - parseFloat(place(interval.high))).toFixed(2)}%`);
    track.append(band);
  }
  if (found.target !== null && found.target !== undefined) {
    const target = el('span', { class: 'target' });
    target.style.setProperty('inset-inline-start', place(Math.min(high, Math.max(low, found.target))));
    track.append(target);
  }
  const mark = el('span', { class: 'mark' });
  mark.style.setProperty('inset-inline-start', place(found.value));
  track.append(mark);
  outer.append(el('span', { class: 'ends' }, interval
    ? `${score(interval.low, found.formula).replace(' %', '')} to ${score(interval.high, found.formula)}` : 'no interval'));
  return outer;
}

/** The 30 days that end with each day, as a line with its interval; days with too few answers leave a gap. */
function line(metric, history) {
  const [width, height, edge] = [300, 64, 4];
  const isShown = (point) => point.reportable && point.value !== null;
  const begin = Math.max(0, history.points.findIndex(isShown));
  const points = history.points.slice(begin).map((point, n) => ({ ...point, n, shown: isShown(point) }));
  const shown = points.filter((point) => point.shown);
  if (shown.length < 2) return el('div', { class: 'line' }, el('p', { class: 'muted' }, 'the line begins when two days have enough answers'));
  const label = `${metricName(metric)}, 30 days each, from ${day(points[0].day)} to ${day(points.at(-1).day)}`;
  const lows = shown.map((point) => point.interval?.low ?? point.value);
  const highs = shown.map((point) => point.interval?.high ?? point.value);
  const [low, high] = [Math.min(...lows), Math.max(...highs)];
  const x = (point) => ((point.n / (points.length - 1)) * (width - 2 * edge) + edge).toFixed(1);
  const y = (value) => (height - edge - ((value - low) / (high - low || 1)) * (height - 2 * edge)).toFixed(1);
  const parts = [];
  for (const point of points) {
    if (!point.shown) parts.push([]);
    else (parts.at(-1) ?? parts[parts.push([]) - 1]).push(point);
  }
  const drawn = parts.filter((part) => part.length).flatMap((part) => [
    svg('polygon', { class: 'area', points: [
      ...part.map((point) => `${x(point)},${y(point.interval?.high ?? point.value)}`),
      ...part.toReversed().map((point) => `${x(point)},${y(point.interval?.low ?? point.value)}`)].join(' ') }),
    svg('polyline', { class: 'curve', points: part.map((point) => `${x(point)},${y(point.value)}`).join(' ') }),
  ]);
  const last = shown.at(-1);
  const text = `${label}: ${score(shown[0].value, history.formula)} at first, ${score(last.value, history.formula)} now`;
  return el('figure', { class: 'line' },
    svg('svg', { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': text },
      svg('title', {}, text), drawn),
    el('figcaption', { class: 'muted' }, el('span', {}, day(points[0].day)),
      el('span', {}, '30-day score by day'), el('span', {}, day(points.at(-1).day))));
}
