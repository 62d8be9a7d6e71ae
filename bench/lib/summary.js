'use strict';

/** Medians and tables. */

const { figures } = require('./rows');

/**
 * @param {number[]} values
 * @returns {number}
 */
function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/**
 * Sums up the runs of one row and peer: each figure's median, and the extremes of the one that
 * counts.
 *
 * @param {import('./rows').Row} row
 * @param {Record<string, number>[]} runs
 */
function summarize(row, runs) {
  const { key } = figures[row.mode];
  const medians = {};
  for (const [name, value] of Object.entries(runs[0])) {
    if (typeof value === 'number') medians[name] = median(runs.map((run) => run[name]));
  }
  const values = runs.map((run) => run[key]);
  return { figure: medians[key], min: Math.min(...values), max: Math.max(...values), medians };
}

/**
 * The table of one row: a line per peer.
 *
 * @param {import('./rows').Row} row
 * @param {Map<string, ReturnType<typeof summarize>>} summaries by peer
 */
function rowTable(row, summaries) {
  const { unit } = figures[row.mode];
  const bases = ['uws', 'ws', 'raw'].filter((base) => summaries.has(base));
  const head = ['', unit, 'min - max', ...bases.map((base) => `x ${base}`)];
  if (row.mode === 'idle') head.push('after a collection');
  else
    head.push('per second', 'p50 us', 'p99 us', 'p99.9 us', 'peak MiB', 'server busy', 'load busy');
  const lines = [...summaries].map(([peer, { figure, min, max, medians }]) => {
    const line = [peer, round(figure), `${round(min)} - ${round(max)}`];
    for (const base of bases) line.push((figure / summaries.get(base).figure).toFixed(2));
    if (row.mode === 'idle') {
      line.push(round(medians.collected_bytes_per_connection));
    } else {
      line.push(
        round(medians.per_second),
        round(medians.p50_us),
        round(medians.p99_us),
        round(medians.p999_us),
      );
      line.push((medians.resident_peak_bytes / 2 ** 20).toFixed(0));
      line.push(percent(medians.server_busy), percent(medians.load_busy));
    }
    return line;
  });
  return table([head, ...lines]);
}

/**
 * The closing table: a line per row, uvws beside the others, with the targets.
 *
 * @param {{ row: import('./rows').Row, summaries: Map<string, ReturnType<typeof summarize>> }[]} results
 * @param {string[]} peers
 */
function overview(results, peers) {
  const bases = ['uws', 'ws', 'raw'].filter(
    (base) => peers.includes('uvws') && peers.includes(base),
  );
  const head = ['row', ...peers, ...bases.map((base) => `uvws / ${base} (target)`)];
  const lines = results.map(({ row, summaries }) => {
    const line = [row.name];
    for (const peer of peers)
      line.push(summaries.has(peer) ? round(summaries.get(peer).figure) : 'failed');
    for (const base of bases) {
      const ratio = summaries.get('uvws')?.figure / summaries.get(base)?.figure;
      const target = row.targets?.[base];
      const verdict = ratio <= target ? 'met' : 'missed';
      line.push(
        Number.isNaN(ratio)
          ? ''
          : ratio.toFixed(2) + (target === undefined ? '' : ` (<= ${target} ${verdict})`),
      );
    }
    return line;
  });
  return table([head, ...lines]);
}

/** Three significant digits, or whole numbers with separators. */
function round(value) {
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString('en-US');
  return Number(value.toPrecision(3)).toString();
}

function percent(share) {
  return `${Math.round(share * 100)} %`;
}

/** Lays lines of cells out as a Markdown table; the first line is its head. */
function table(lines) {
  const widths = lines[0].map((_, column) =>
    Math.max(3, ...lines.map((line) => line[column].length)),
  );
  const format = (line) =>
    `| ${line.map((cell, i) => (i ? cell.padStart(widths[i]) : cell.padEnd(widths[i]))).join(' | ')} |`;
  const rule = `|${widths.map((width, i) => (i ? `${'-'.repeat(width + 1)}:` : '-'.repeat(width + 2))).join('|')}|`;
  return [format(lines[0]), rule, ...lines.slice(1).map(format)].join('\n');
}

module.exports = { median, summarize, rowTable, overview };
