'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { barChart } = require('../lib/chart');
const { rows, figures, sections } = require('../lib/rows');
const { summarize, judge } = require('../lib/summary');
const { rowTable, verdictTable, countVerdicts } = require('../lib/tables');

const row = rows.find(({ name }) => name === 'echo-20');

/** The runs of a contender, of which only the processor time matters. */
function runsOf(...times) {
  return times.map((time) => ({
    server_cpu_us: time,
    per_second: 1000,
    p50_us: 1,
    p99_us: 2,
    p999_us: 3,
    resident_peak_bytes: 2 ** 20,
    server_busy: 0.5,
    load_busy: 0.5,
  }));
}

function resultOf(contenders, rest) {
  const summaries = Object.fromEntries(
    Object.entries(contenders).map(([name, runs]) => [name, summarize(row.figure, runs)]),
  );
  return { ...row, contenders: summaries, missing: {}, errors: [], verdicts: [], ...rest };
}

test('every row has a figure, a section and targets that can be judged', () => {
  for (const { name, figure, section, contenders, targets = [] } of rows) {
    assert.ok(figure in figures, name);
    assert.ok(section in sections, name);
    const names = contenders.map((contender) => contender.name);
    assert.equal(new Set(names).size, names.length, name);
    assert.ok(names.includes('uvws'), name);
    for (const { of = figure, than, atMost, atLeast } of targets) {
      assert.ok(of in figures, name);
      assert.ok(than === undefined || names.includes(than), `${name}: ${than}`);
      assert.notEqual(atMost === undefined, atLeast === undefined, name);
    }
  }
});

test('a figure is the median of its runs, with their extremes', () => {
  const odd = summarize('server_cpu_us', runsOf(3, 1, 20));
  assert.deepEqual([odd.figure, odd.min, odd.max], [3, 1, 20]);
  assert.equal(summarize('server_cpu_us', runsOf(1, 2, 4, 9)).figure, 3);
});

test('targets are met up to their limit, and not judged without the other', () => {
  const summaries = resultOf({ uvws: runsOf(5), uws: runsOf(10), ws: runsOf(4) }).contenders;
  const targets = [
    { than: 'uws', atMost: 0.5 },
    { than: 'ws', atMost: 1.2 },
    { than: 'bun', atMost: 1 },
    { atMost: 4 },
    { of: 'per_second', atLeast: 1000 },
  ];
  const verdicts = judge({ figure: row.figure, targets }, summaries);
  assert.deepEqual(
    verdicts.map(({ value, met }) => [value, met]),
    [
      [0.5, true],
      [1.25, false],
      [5, false],
      [1000, true],
    ],
  );
  assert.deepEqual(judge({ figure: row.figure, targets }, {}), []);
  assert.deepEqual(countVerdicts([{ verdicts }]), { all: 4, met: 2 });
  assert.equal(verdictTable([{ name: 'echo-20', verdicts }]).match(/missed/g).length, 2);
});

test('a table says how many sessions were resumed, where there are any', () => {
  const [run] = runsOf(1);
  assert.match(rowTable(resultOf({ uvws: [{ ...run, resumed: 0.25 }] })), / 25 % /);
  assert.doesNotMatch(rowTable(resultOf({ uvws: [run] })), /resumed/);
});

test('a table marks a load generator that is the limit, and says who is missing', () => {
  const [run] = runsOf(1);
  const contenders = { uvws: [run], raw: [{ ...run, load_busy: 0.99, server_busy: 0.4 }] };
  const text = rowTable(resultOf(contenders, { missing: { ws: 'gone' }, errors: ['once'] }));
  assert.match(text, /^\| raw .*99 % \* \|$/m);
  assert.match(text, /^\| uvws .* 50 % +\|$/m);
  assert.match(text, /load generator is the limit/);
  assert.match(text, /Without ws: gone\./);
  assert.match(text, /Failed: once\./);
  assert.equal(rowTable(resultOf({}, { missing: { ws: 'gone' } })), 'Without ws: gone.');
});

test('a chart draws each bar in proportion, and what it is told as text', () => {
  const bar = (name, value) => ({
    name,
    value,
    min: value,
    max: value,
    label: `${value}`,
    accent: false,
  });
  const svg = barChart('A < B & C', [
    { title: 'group', unit: 'us', bars: [bar('one', 1), bar('four', 4)] },
  ]);
  const widths = [...svg.matchAll(/class="bar" .*?width="([\d.]+)"/g)].map(([, width]) =>
    Number(width),
  );
  assert.equal(widths.length, 2);
  assert.ok(Math.abs(widths[1] / widths[0] - 4) < 0.01);
  assert.match(svg, />A &lt; B &amp; C</);
  assert.match(svg, /prefers-color-scheme:dark/);
});
