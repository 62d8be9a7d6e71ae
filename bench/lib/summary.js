'use strict';

/**
 * Medians, and whether targets are met.
 *
 * @typedef {object} Summary of the runs of one contender
 * @property {number} figure the median of what the row is judged by
 * @property {number} min
 * @property {number} max
 * @property {Record<string, number>} medians of everything that was measured
 *
 * @typedef {object} Verdict a target, and what came of it
 * @property {string} of the figure it is about
 * @property {string} [than]
 * @property {number} [atMost]
 * @property {number} [atLeast]
 * @property {number} value the ratio, or the figure itself where nobody else is in the target
 * @property {boolean} met
 *
 * @typedef {object} Result of one row
 * @property {string} name
 * @property {string} title
 * @property {string} section
 * @property {string} mode
 * @property {string} figure
 * @property {Record<string, Summary & { runs: object[] }>} contenders
 * @property {Record<string, string>} missing why others did not take part
 * @property {Verdict[]} verdicts
 * @property {string[]} errors
 */

/** What the targets are about. */
const SUBJECT = 'uvws';

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
 * @param {string} figure
 * @param {Record<string, number>[]} runs
 * @returns {Summary}
 */
function summarize(figure, runs) {
  const medians = {};
  for (const [name, value] of Object.entries(runs[0])) {
    if (typeof value === 'number') medians[name] = median(runs.map((run) => run[name]));
  }
  const values = runs.map((run) => run[figure]);
  return { figure: medians[figure], min: Math.min(...values), max: Math.max(...values), medians };
}

/**
 * Holds the targets of a row against what was measured; leaves out those that cannot be judged.
 *
 * @param {import('./rows').Row} row
 * @param {Record<string, Summary>} contenders
 * @returns {Verdict[]}
 */
function judge(row, contenders) {
  const subject = contenders[SUBJECT];
  if (!subject) return [];
  const verdicts = [];
  for (const target of row.targets ?? []) {
    const of = target.of ?? row.figure;
    let value = subject.medians[of];
    if (target.than) value /= contenders[target.than]?.medians[of];
    if (Number.isNaN(value)) continue;
    const met = target.atLeast === undefined ? value <= target.atMost : value >= target.atLeast;
    verdicts.push({ ...target, of, value, met });
  }
  return verdicts;
}

module.exports = { SUBJECT, summarize, judge };
