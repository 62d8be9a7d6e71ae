'use strict';

/**
 * What is measured: one row is one kind of work.
 *
 * @typedef {object} Row
 * @property {string} name what `--row` takes
 * @property {string} title one line for people
 * @property {'echo' | 'churn' | 'idle'} mode
 * @property {string[]} load arguments of the load generator
 * @property {number} [warmups] how many times the usual warm-up it takes
 * @property {boolean} [fullOnly] left out of a quick run
 * @property {Record<string, number>} [targets] the most that uvws may cost, as a multiple of the
 *   peer's cost
 */

const KIB = 1024;
const MIB = 1024 * KIB;

/**
 * @param {string} name
 * @param {string} title
 * @param {{ connections?: number, depth?: number, size: number, kind?: string }} shape
 * @param {Partial<Row>} [rest]
 * @returns {Row}
 */
function echo(name, title, { connections = 64, depth = 1, size, kind = 'binary' }, rest) {
  const load = [
    '--connections',
    `${connections}`,
    '--depth',
    `${depth}`,
    '--size',
    `${size}`,
    `--${kind}`,
  ];
  return { name, title, mode: 'echo', load, ...rest };
}

/** @type {Row[]} */
const rows = [
  echo(
    'echo-20',
    'echo 20 B, 64 connections, 1 in flight',
    { size: 20 },
    { targets: { uws: 0.92, ws: 0.62, raw: 1.06 } },
  ),
  echo(
    'echo-20-deep',
    'echo 20 B, 64 connections, 32 in flight',
    { size: 20, depth: 32 },
    { targets: { uws: 0.45, ws: 0.05 } },
  ),
  echo('echo-20-1000', 'echo 20 B, 1,000 connections, 1 in flight', {
    size: 20,
    connections: 1000,
  }),
  echo(
    'echo-20-1000-deep',
    'echo 20 B, 1,000 connections, 32 in flight',
    { size: 20, connections: 1000, depth: 32 },
    { targets: { uws: 0.45, ws: 0.05 } },
  ),
  echo('echo-1k', 'echo 1 KiB, 64 connections, 1 in flight', { size: KIB }),
  echo(
    'echo-1k-text',
    'echo 1 KiB of non-ASCII text, 64 connections, 8 in flight',
    { size: KIB, depth: 8, kind: 'non-ascii' },
    { targets: { uws: 0.9 } },
  ),
  echo(
    'echo-16k',
    'echo 16 KiB, 64 connections, 1 in flight',
    { size: 16 * KIB },
    { targets: { uws: 1 } },
  ),
  echo(
    'echo-1m',
    'echo 1 MiB, 8 connections, 1 in flight',
    { size: MIB, connections: 8 },
    { targets: { uws: 1 } },
  ),
  echo(
    'echo-16m',
    'echo 16 MiB, 2 connections, 1 in flight',
    { size: 16 * MIB, connections: 2 },
    { targets: { uws: 1 }, fullOnly: true },
  ),
  {
    name: 'churn',
    title: 'open, echo 20 B once, close; 64 at a time',
    mode: 'churn',
    // Code that runs once per connection is compiled much later than code that runs per message.
    warmups: 3,
    load: ['--connections', '64', '--size', '20', '--binary'],
    targets: { uws: 1, ws: 0.4 },
  },
  {
    name: 'idle',
    title: 'hold 10,000 connections that have never spoken',
    mode: 'idle',
    load: ['--connections', '10000'],
    targets: { uws: 1 },
  },
  {
    name: 'idle-spoken',
    title: 'hold 10,000 connections that have echoed 20 B once',
    mode: 'idle',
    load: ['--connections', '10000', '--size', '20', '--touch'],
    targets: { uws: 1 },
    fullOnly: true,
  },
];

/** The figure a row is judged by: its name in the load generator's JSON and its unit. */
const figures = {
  echo: { key: 'server_cpu_us', unit: 'CPU us per message' },
  churn: { key: 'server_cpu_us', unit: 'CPU us per connection' },
  idle: { key: 'resident_bytes_per_connection', unit: 'resident bytes per connection' },
};

module.exports = { rows, figures };
