// How numbers, times and names are written.

const whole = new Intl.NumberFormat('en');
const oneDigit = new Intl.NumberFormat('en', { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const twoDigits = new Intl.NumberFormat('en', { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const clock = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const shortDay = new Intl.DateTimeFormat('en', { day: 'numeric', month: 'short', timeZone: 'UTC' });
const moment = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'medium' });
let languageNames = null;
try {
  languageNames = new Intl.DisplayNames(['en'], { type: 'language', fallback: 'code' });
} catch { /* an old browser shows the code */ }

const METRICS = { nps: 'NPS', csat: 'CSAT', ces: 'CES', rating: 'Rating', sentiment: 'Sentiment' };
export const WINDOWS = { '7d': '7 days', '30d': '30 days', '90d': '90 days', month: 'this month', quarter: 'this quarter' };

/** `7 days`, `month`: what lies before a window. */
export const earlier = (window) => WINDOWS[window].replace('this ', '');
export const count = (value) => whole.format(value);
export const metricName = (metric) => METRICS[metric] ?? metric;
export const time = (text) => clock.format(new Date(text));
export const day = (text) => shortDay.format(new Date(`${text}T00:00:00Z`));
export const instant = (text) => moment.format(new Date(text));

/** A score in the digits that its formula deserves. */
export function score(value, formula) {
  const text = (formula === 'mean' ? twoDigits : oneDigit).format(Math.abs(value));
  return (value < 0 && Number(text) !== 0 ? '−' : '') + text + (formula === 'top_two' ? ' %' : '');
}

/** A change with its sign. */
export function change(value, formula) {
  const text = score(Math.abs(value), formula).replace(' %', '');
  return (value < 0 ? '−' : '+') + text + (formula === 'top_two' ? ' pt' : '');
}

/** Seconds as `4:05`, `1 h 12 min`, `3 d 4 h`. */
export function span(seconds) {
  const whole = Math.floor(Math.abs(seconds));
  const [days, hours, minutes] = [Math.floor(whole / 86400), Math.floor(whole / 3600) % 24, Math.floor(whole / 60) % 60];
  if (days) return `${days} d ${hours} h`;
  if (hours) return `${hours} h ${minutes} min`;
  return `${minutes}:${String(whole % 60).padStart(2, '0')}`;
}

/** `just now`, `40 s ago`, `in 3 min`. */
export function relative(text, now) {
  const seconds = (new Date(text).getTime() - now) / 1000;
  const size = Math.abs(seconds);
  if (size < 5) return 'now';
  const amount = size < 60 ? `${Math.round(size)} s` : size < 3600 ? `${Math.round(size / 60)} min`
    : size < 172800 ? `${Math.round(size / 3600)} h` : `${Math.round(size / 86400)} d`;
  return seconds > 0 ? `in ${amount}` : `${amount} ago`;
}

/** `post_purchase` → `post purchase`. */
export const plain = (name) => String(name).replaceAll('_', ' ');

/** `tr` → `Turkish`; `und` is not known. */
export function language(code) {
  if (!code || code === 'und') return 'unknown language';
  try {
    return languageNames?.of(code) ?? code;
  } catch {
    return code;
  }
}
