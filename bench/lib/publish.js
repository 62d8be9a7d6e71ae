'use strict';

/** Writes the results into the documentation: docs/benchmarks.md, its charts, and what sums it up. */

const fs = require('node:fs');
const path = require('node:path');
const { BENCH, peers } = require('./peers');
const { headingOf, sections } = require('./rows');
const { barChart } = require('./chart');
const { rowTable, overview, verdictTable, countVerdicts, format, table } = require('./tables');
const { SUBJECT } = require('./summary');

const ROOT = path.join(BENCH, '..');
/** Where the charts and the figures are, from docs/. */
const FOLDER = 'benchmarks';

/** The rows that speak for the others. */
const HIGHLIGHTS = [
  'echo-20',
  'echo-20-32',
  'echo-1k-text',
  'echo-1m',
  'deflate-1k',
  'broadcast-1000',
  'churn',
  'wss-20',
];

/**
 * @param {object} report what a run has measured, as in its JSON
 */
function publish(report) {
  const folder = path.join(ROOT, 'docs', FOLDER);
  fs.mkdirSync(folder, { recursive: true });
  for (const section of sectionsOf(report)) {
    const chart = barChart(sections[section], report.rows.filter(isIn(section)).map(groupOf));
    fs.writeFileSync(path.join(folder, `${section}.svg`), chart);
  }
  const highlights = HIGHLIGHTS.map((name) => report.rows.find((row) => row.name === name));
  const shown = highlights.filter((row) => row && SUBJECT in row.contenders);
  const overviewChart = barChart('CPU time of the server: less is better', shown.map(groupOf));
  fs.writeFileSync(path.join(folder, 'overview.svg'), overviewChart);
  fs.writeFileSync(path.join(folder, 'results.json'), summaryOf(report));
  fs.writeFileSync(path.join(ROOT, 'docs', 'benchmarks.md'), pageOf(report));
  fill(path.join(ROOT, 'README.md'), readmeBlock(report, shown));
  fill(path.join(ROOT, 'docs', 'performance.md'), performanceBlock(report));
}

function sectionsOf(report) {
  return Object.keys(sections).filter((section) => report.rows.some(isIn(section)));
}

const isIn =
  (section) =>
  ({ section: own, contenders }) =>
    own === section && Object.keys(contenders).length > 0;

function groupOf(row) {
  return {
    title: row.title,
    unit: headingOf(row),
    bars: Object.entries(row.contenders).map(([name, { figure, min, max }]) => ({
      name: peers[name]?.label ?? name,
      value: figure,
      min,
      max,
      label: format(figure),
      accent: name === SUBJECT,
    })),
  };
}

/** The figures of all rows, without the single runs. */
function summaryOf({ date, host, pace, versions, rows }) {
  const brief = rows.map(({ name, contenders }) => {
    const figures = Object.entries(contenders).map(([contender, { figure, min, max }]) => [
      contender,
      { figure, min, max },
    ]);
    return [name, Object.fromEntries(figures)];
  });
  const summary = { date, host, pace, versions, rows: Object.fromEntries(brief) };
  return `${JSON.stringify(summary, null, 2)}\n`;
}

function pageOf(report) {
  const { date, command, host, pace, rows, notes } = report;
  const { all, met } = countVerdicts(rows);
  const lines = [
    '# Benchmarks',
    '',
    '<!-- Written by `npm run bench -- --full --publish`. Changes made here are lost. -->',
    '',
    'What work costs the server. Less is better everywhere. How it is measured, and how to do it again,',
    'is in [bench/README.md](../bench/README.md); why it is as it is, in [performance.md](performance.md).',
    '',
    machineTable(report),
    '',
    `Measured on ${date.slice(0, 10)} by \`${command}\`: medians of ${pace.rounds} rounds, in which the servers took`,
    `turns, each in a fresh process, with ${pace.warmup} s of warm-up and a window of ${pace.seconds} s. The thin lines in the`,
    'charts, and *min - max* in the tables, are the extremes of the rounds.',
    ...(host.ownNetwork
      ? []
      : ['', 'This run had no network of its own: other traffic may have had a part in it.']),
    ...notes.flatMap((note) => ['', note]),
    '',
    `![CPU time of the server](${FOLDER}/overview.svg)`,
    '',
    '## Targets',
    '',
    `${met} of ${all} are met. A target is a ratio of medians, or a limit.`,
    '',
    verdictTable(rows),
    '',
    '## All rows',
    '',
    overview(rows),
  ];
  for (const section of sectionsOf(report)) {
    lines.push(
      '',
      `## ${sections[section]}`,
      '',
      `![${sections[section]}](${FOLDER}/${section}.svg)`,
    );
    for (const row of rows.filter(isIn(section))) {
      lines.push('', `### ${row.name}`, '', `${sentence(row.title)}.`, '', rowTable(row));
    }
  }
  return `${lines.join('\n')}\n`;
}

function machineTable({ host, versions }) {
  return table(
    [
      ['', ''],
      ['processor', `${host.cpu}, ${host.cores} cores`],
      ['kernel', `Linux ${host.kernel}, TCP ${host.congestionControl}`],
      ['Node', host.node],
      ...Object.entries(versions)
        .filter(([, version]) => version)
        .map(([peer, version]) => [peers[peer].label, version]),
    ],
    2,
  );
}

function readmeBlock(report, rows) {
  const names = ['uvws', 'uws', 'bun', 'ws'].filter((name) =>
    rows.some(({ contenders }) => name in contenders),
  );
  const lines = rows.map((row) => [
    row.title,
    ...names.map((name) => (row.contenders[name] ? format(row.contenders[name].figure) : '')),
  ]);
  const { host, date } = report;
  return [
    'Microseconds of processor time that the server spends per message, delivery or connection:',
    '',
    table([['', ...names.map((name) => peers[name].label)], ...lines]),
    '',
    `![The same as bars](docs/${FOLDER}/overview.svg)`,
    '',
    `${host.cpu}, Node ${host.node}, ${date.slice(0, 10)}. All rows, the spread, and what is not as fast as it should be:`,
    '[docs/benchmarks.md](docs/benchmarks.md). On your machine: `npm run bench`.',
  ].join('\n');
}

function performanceBlock({ rows }) {
  const { all, met } = countVerdicts(rows);
  return [
    `![CPU time of the server](${FOLDER}/overview.svg)`,
    '',
    `${met} of ${all} targets are met: [benchmarks.md](benchmarks.md) has all of them, and all rows.`,
  ].join('\n');
}

/** Puts text between the marks of a file. */
function fill(file, block) {
  const [begin, end] = ['<!-- bench:begin -->', '<!-- bench:end -->'];
  const text = fs.readFileSync(file, 'utf8');
  const from = text.indexOf(begin) + begin.length;
  const to = text.indexOf(end);
  if (from < begin.length || to < from) throw new Error(`${file} has no ${begin} ... ${end}`);
  fs.writeFileSync(file, `${text.slice(0, from)}\n${block}\n${text.slice(to)}`);
}

function sentence(title) {
  return title[0].toUpperCase() + title.slice(1);
}

module.exports = { publish };
