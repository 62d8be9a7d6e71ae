'use strict';

/**
 * Bar charts as SVG, small enough to be kept in git.
 *
 * A chart paints its own background, so that it can be read on any page, and follows the reader's
 * choice of light or dark.
 *
 * @typedef {object} Bar
 * @property {string} name
 * @property {number} value
 * @property {number} min
 * @property {number} max
 * @property {string} label
 * @property {boolean} accent whether it is what the chart is about
 *
 * @typedef {object} Group bars that share a scale: the longest of them has the whole width
 * @property {string} title
 * @property {string} unit what the bars are
 * @property {Bar[]} bars
 */

const WIDTH = 760;
const MARGIN = 16;
/** Room for the names on the left and the labels on the right of the bars. */
const NAMES = 112;
const LABELS = 92;
const BAR = 14;
const STEP = 19;
const GROUP_TITLE = 38;
const GROUP_GAP = 14;
const TITLE = 34;

const STYLE = `
.back{fill:#fff;stroke:#d0d7de}
text{font:12px system-ui,sans-serif;fill:#1f2328}
.title{font-size:15px;font-weight:600}
.group{font-weight:600}
.unit{font-size:11px}
.bar{fill:#afb8c1}
.accent{fill:#0969da}
.spread{stroke:#57606a}
@media(prefers-color-scheme:dark){
.back{fill:#0d1117;stroke:#30363d}
text{fill:#e6edf3}
.bar{fill:#484f58}
.accent{fill:#4493f8}
.spread{stroke:#b1bac4}
}
`;

/**
 * @param {string} title
 * @param {Group[]} groups
 * @returns {string}
 */
function barChart(title, groups) {
  const parts = [];
  let y = MARGIN + TITLE;
  for (const group of groups) {
    parts.push(text(MARGIN, y + 14, group.title, 'group'));
    parts.push(text(MARGIN, y + 30, group.unit, 'unit'));
    y += GROUP_TITLE;
    const scale = scaleOf(group);
    for (const bar of group.bars) {
      parts.push(...drawBar(bar, y, scale));
      y += STEP;
    }
    y += GROUP_GAP;
  }
  const height = y - GROUP_GAP + MARGIN;
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${escape(title)}">`,
    `<style>${STYLE}</style>`,
    `<rect class="back" x=".5" y=".5" width="${WIDTH - 1}" height="${height - 1}" rx="6"/>`,
    text(MARGIN, MARGIN + 16, title, 'title'),
    ...parts,
    '</svg>',
  ].join('\n')}\n`;
}

/** Pixels per unit of a group. */
function scaleOf({ bars }) {
  const room = WIDTH - 2 * MARGIN - NAMES - LABELS;
  return room / Math.max(...bars.map((bar) => bar.max), Number.MIN_VALUE);
}

function drawBar({ name, value, min, max, label, accent }, y, scale) {
  const left = MARGIN + NAMES;
  const at = (number) => round(left + Math.max(number, 0) * scale);
  const middle = y + BAR / 2;
  return [
    text(left - 8, y + 11, name, 'name', ' text-anchor="end"'),
    `<rect class="${accent ? 'accent' : 'bar'}" x="${left}" y="${y}" width="${round(Math.max(at(value) - left, 1))}" height="${BAR}" rx="2"/>`,
    `<path class="spread" d="M${at(min)} ${middle}H${at(max)}"/>`,
    text(at(max) + 6, y + 11, label, 'label'),
  ];
}

function text(x, y, content, className, attributes = '') {
  return `<text class="${className}" x="${x}" y="${y}"${attributes}>${escape(content)}</text>`;
}

function escape(content) {
  return content.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;');
}

function round(number) {
  return Math.round(number * 10) / 10;
}

module.exports = { barChart };
