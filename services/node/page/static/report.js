// The quarterly report: saved as a page of its own, and what a manager says stands in the way.

import { Refused, getItems, getJson, getPage, putJson } from './api.js';
import { byId, el, list, say } from './dom.js';
import { plain } from './format.js';

const QUARTERS = 8;
const PATH = '/v1/reports/quarter';

export class Report {
  #key;
  #asked = 0;
  #department = null; // what the text in the box belongs to
  #quarter = null;

  constructor(key) {
    this.#key = key;
    for (const id of ['report-department', 'report-quarter']) byId(id).onchange = () => this.#read();
    byId('report-form').onsubmit = (event) => {
      event.preventDefault();
      this.#run(event.submitter, event.submitter.value === 'keep' ? () => this.#keep() : () => this.#save());
    };
    this.#read();
  }

  /** Nothing of it is left for who opens the page next. */
  stop() {
    this.#asked += 1;
    byId('report-form').reset();
    for (const id of ['report-department', 'report-quarter']) byId(id).replaceChildren();
    this.#tell('');
  }

  get #chosen() {
    const values = { department: byId('report-department').value, quarter: byId('report-quarter').value };
    return new URLSearchParams(Object.entries(values).filter(([, value]) => value));
  }

  /** What there is to choose from, and the text that is kept for it. */
  async #read() {
    const asked = (this.#asked += 1);
    byId('report-obstacles').disabled = true; // until its text is there: what is typed would be replaced
    try {
      const [report, { items }] = await Promise.all([
        getJson(`${PATH}?${this.#chosen}`, this.#key),
        getItems('/v1/scores?by=department&window=quarter&limit=200', this.#key),
      ]);
      if (asked !== this.#asked) return;
      choose('report-department', ['', ...new Set(items.map((item) => item.series.dimensions.department))].sort(),
        (name) => plain(name) || 'all departments', report.department ?? '');
      if (this.#quarter === null) choose('report-quarter', before(report.quarter), (name) => name.replace('-', ' '), report.quarter);
      const box = byId('report-obstacles');
      [this.#department, this.#quarter] = [report.department, report.quarter];
      box.value = report.obstacles?.text ?? '';
      box.disabled = false;
      this.#tell('');
    } catch (error) {
      if (asked === this.#asked) this.#refuse(error);
    }
  }

  async #save() {
    const language = byId('report-language').value;
    const page = await getPage(`${PATH}?${this.#chosen}&format=html&language=${language}`, this.#key);
    const address = URL.createObjectURL(page);
    const name = ['report', this.#quarter, this.#department, language].filter(Boolean).join('-').replace(/[^\p{L}\p{N}-]+/gu, '_');
    const link = el('a', { href: address, download: `${name}.html` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(address), 60000);
    this.#tell('The report is saved. It opens in any browser and prints on A4.');
  }

  async #keep() {
    const text = byId('report-obstacles').value;
    await putJson(`${PATH}/obstacles`, this.#key, { quarter: this.#quarter, department: this.#department, text });
    this.#tell(text.trim() ? 'The text is kept; it stands in the report.' : 'The text is taken out of the report.');
  }

  async #run(button, work) {
    button.disabled = true;
    try {
      await work();
    } catch (error) {
      this.#refuse(error);
    } finally {
      button.disabled = false;
    }
  }

  #refuse(error) {
    if (!(error instanceof Refused)) throw error;
    this.#tell('', error.status === 403 ? `This key's roles do not allow it: ${error.message}.` : `That did not work: ${error.message}.`);
  }

  #tell(text, error = '') {
    say(byId('report-summary'), text);
    say(byId('report-error'), error);
  }
}

function choose(id, values, nameOf, value) {
  list(byId(id), values, (one) => one, (one) => el('option', { value: one }, nameOf(one)));
  byId(id).value = value;
}

/** A quarter and those before it. */
function before(quarter) {
  const [year, number] = quarter.split('-Q').map(Number);
  return Array.from({ length: QUARTERS }, (_, back) => {
    const all = year * 4 + number - 1 - back;
    return `${Math.floor(all / 4)}-Q${(all % 4) + 1}`;
  });
}
