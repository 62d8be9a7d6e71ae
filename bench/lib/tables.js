'use strict';

/** Results as Markdown tables, which are read in a terminal as well. */

const { figures, headingOf } = require('./rows');
const { peers } = require('./peers');
const { SUBJECT } = require('./summary');

/** A load generator this busy may be what holds a server back. */
const BUSY = 0.95;
/** Messages sent so late, as a share of the latency that was found, have their part in it. */
const LATE = 0.5;

/**
 * The table of one row: a line per contender; below it what is to be known about it.
 *
 * @param {import('./summary').Result} result
 */
function rowTable(result) {
  const contenders = Object.entries(result.contenders);
  if (!contenders.length) return notesOf(result).join('\n');
  const bases = contenders.filter(([name]) => name !== SUBJECT);
  const columns = columnsOf(result);
  const head = ['', headingOf(result), 'min - max'];
  head.push(...bases.map(([base]) => `x ${base}`), ...columns.map(([title]) => title));
  const lines = contenders.map(([name, { figure, min, max, medians }]) => [
    name,
    format(figure),
    `${format(min)} - ${format(max)}`,
    ...bases.map(([, base]) => (figure / base.figure).toFixed(2)),
    ...columns.map(([, cell]) => cell(medians)),
  ]);
  return [table([head, ...lines]), ...notesOf(result)].join('\n\n');
}

/** What the table of a row has beside its figure, by how it was measured. */
function columnsOf({ mode, contenders }) {
  const hasSessions = Object.values(contenders).some(({ medians }) => 'resumed' in medians);
  const latencies = [
    ['p50 us', (medians) => format(medians.p50_us)],
    ['p99 us', (medians) => format(medians.p99_us)],
    ['p99.9 us', (medians) => format(medians.p999_us)],
  ];
  switch (mode) {
    case 'idle':
      return [['after a collection', (medians) => format(medians.collected_bytes_per_connection)]];
    case 'require':
      return [['CPU ms', (medians) => format(medians.cpu_milliseconds)]];
    case 'cycles':
      return [['per second', (medians) => format(medians.per_second)]];
    case 'paced':
      return [
        ...latencies,
        ['CPU us', (medians) => format(medians.server_cpu_us)],
        ['sent late, p99.9 us', (medians) => format(medians.late_p999_us) + flag(isLate(medians))],
        ['flood per second', (medians) => format(medians.flood_per_second ?? 0)],
      ];
    default:
      return [
        ['per second', (medians) => format(medians.per_second)],
        ...latencies,
        ...(hasSessions ? [['resumed', (medians) => percent(medians.resumed)]] : []),
        ['peak MiB', (medians) => (medians.resident_peak_bytes / 2 ** 20).toFixed(0)],
        ['server busy', (medians) => percent(medians.server_busy)],
        ['load busy', (medians) => percent(medians.load_busy) + flag(isLimit(medians))],
      ];
  }
}

/** The load generator was busier than the server, and had no time left. */
function isLimit({ load_busy: load, server_busy: server }) {
  return load >= BUSY && server < load;
}

function isLate({ late_p999_us: late, p999_us: latency }) {
  return late > LATE * latency;
}

function flag(raised) {
  return raised ? ' *' : '';
}

function notesOf({ mode, contenders, missing, errors }) {
  const medians = Object.values(contenders).map((summary) => summary.medians);
  const notes = Object.entries(missing).map(([name, why]) => `Without ${name}: ${why}.`);
  if (mode === 'paced' && medians.some(isLate)) {
    notes.push('\\* Messages were sent late, and part of the latencies is due to that.');
  }
  if (mode !== 'paced' && medians.some(isLimit)) {
    notes.push(
      '\\* The load generator is the limit here: the CPU column counts, the rate does not.',
    );
  }
  return [...notes, ...errors.map((error) => `Failed: ${error}.`)];
}

/**
 * A line per row: the figure of every peer.
 *
 * @param {import('./summary').Result[]} results
 */
function overview(results) {
  const names = Object.keys(peers).filter((peer) =>
    results.some(({ contenders }) => peer in contenders),
  );
  const lines = results.map((result) => [
    result.name,
    headingOf(result),
    ...names.map((name) => {
      const summary = result.contenders[name];
      return summary ? format(summary.figure) : '';
    }),
  ]);
  return table([['row', 'figure', ...names], ...lines], 2);
}

/**
 * A line per target.
 *
 * @param {import('./summary').Result[]} results
 */
function verdictTable(results) {
  const lines = results.flatMap((result) =>
    result.verdicts.map(({ of, than, atMost, atLeast, value, met }) => [
      result.name,
      figures[of].title,
      than ? `uvws / ${than}` : `uvws, ${figures[of].unit}`,
      than ? value.toFixed(2) : format(value),
      atLeast === undefined ? `<= ${format(atMost)}` : `>= ${format(atLeast)}`,
      met ? 'met' : 'missed',
    ]),
  );
  return table([['row', 'figure', 'of', 'is', 'target', ''], ...lines], 3);
}

/**
 * How many targets there are, and how many are met.
 *
 * @param {import('./summary').Result[]} results
 */
function countVerdicts(results) {
  const verdicts = results.flatMap((result) => result.verdicts);
  return { all: verdicts.length, met: verdicts.filter(({ met }) => met).length };
}

/** Three significant digits, or whole numbers with separators. */
function format(value) {
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString('en-US');
  return Number(value.toPrecision(3)).toString();
}

function percent(share) {
  return `${Math.round(share * 100)} %`;
}

/**
 * Lays lines of cells out as a Markdown table; the first line is its head, the first columns hold
 * text.
 */
function table(lines, textColumns = 1) {
  const isText = (column) => column < textColumns;
  const widths = lines[0].map((_, column) =>
    Math.max(3, ...lines.map((line) => line[column].length)),
  );
  const layOut = (line) => {
    const cells = line.map((cell, i) =>
      isText(i) ? cell.padEnd(widths[i]) : cell.padStart(widths[i]),
    );
    return `| ${cells.join(' | ')} |`;
  };
  const rules = widths.map((width, i) =>
    isText(i) ? '-'.repeat(width + 2) : `${'-'.repeat(width + 1)}:`,
  );
  return [layOut(lines[0]), `|${rules.join('|')}|`, ...lines.slice(1).map(layOut)].join('\n');
}

module.exports = { rowTable, overview, verdictTable, countVerdicts, format, table };
