'use strict';

/**
 * What is measured: one row is one kind of work.
 *
 * @typedef {object} Contender who takes a turn in a row
 * @property {string} name
 * @property {string} peer whose server it is
 * @property {import('../servers/announce').Work} work
 *
 * @typedef {object} Target what uvws has set itself; of `than` and the limits one is given
 * @property {string} [of] the figure it is about; default: the one that the row is judged by
 * @property {string} [than] the contender it is compared with: `atMost` is a multiple of its figure
 * @property {number} [atMost]
 * @property {number} [atLeast]
 *
 * @typedef {object} Row
 * @property {string} name what `--row` takes
 * @property {string} title one line for people
 * @property {string} section the chapter it belongs to
 * @property {'echo' | 'paced' | 'broadcast' | 'churn' | 'idle' | 'cycles' | 'require'} mode
 * @property {string} figure what it is judged by: a name of `figures`
 * @property {Contender[]} contenders
 * @property {string[]} [load] arguments of the load generator
 * @property {number} [connections] what the load generator opens
 * @property {boolean} [halfOfWs] send half as many messages a second as `ws` can echo
 * @property {number} [warmups] how many times the usual warm-up it takes
 * @property {number} [windows] how many times the usual window it takes
 * @property {boolean} [fullOnly] left out of a quick run
 * @property {Target[]} [targets]
 */

const KIB = 1024;
const MIB = 1024 * KIB;

/** The figures by the load generator's names; less is better. */
const figures = {
  server_cpu_us: { title: 'CPU time', unit: 'us' },
  resident_bytes_per_connection: { title: 'resident memory per connection', unit: 'bytes' },
  peak_growth_bytes: { title: 'peak memory', unit: 'bytes' },
  p99_us: { title: 'p99 latency', unit: 'us' },
  p999_us: { title: 'p99.9 latency', unit: 'us' },
  per_second: { title: 'rate', unit: 'per second' },
  milliseconds: { title: 'time', unit: 'ms' },
};

/** The chapters of the report. */
const sections = {
  small: 'Small messages',
  large: 'Large and fragmented messages',
  deflate: 'Compression',
  fanout: 'One message to many',
  connections: 'Connections',
  adopted: 'Connections of an HTTP server',
  secure: 'TLS',
  latency: 'Latency',
  start: 'Starting and ending',
};

/** Everybody, doing the same. */
const all = (work) => only(['raw', 'uvws', 'uws', 'bun', 'ws'], work);
const only = (names, work) => names.map((name) => ({ name, peer: name, work }));

/** Shorthands for targets: at most so many times the figure of each of these. */
const than = (ratios, of) =>
  Object.entries(ratios).map(([name, atMost]) => ({ than: name, atMost, of }));
const lowest = (of) => than({ uws: 1, bun: 1, ws: 1 }, of);

/**
 * @param {string} name
 * @param {string} title
 * @param {{ connections?: number, depth?: number, size: number, kind?: string }} shape
 * @param {Partial<Row>} rest
 * @returns {Row}
 */
function echo(name, title, { connections = 64, depth = 1, size, kind = 'binary' }, rest) {
  return {
    name,
    title: `echo ${title}`,
    section: 'small',
    mode: 'echo',
    figure: 'server_cpu_us',
    contenders: all({ task: 'echo' }),
    connections,
    ...rest,
    load: ['--depth', `${depth}`, '--size', `${size}`, `--${kind}`, ...(rest.load ?? [])],
  };
}

/** An echo of compressed JSON. */
function deflated(name, title, size, deflate, rest) {
  return echo(
    name,
    title,
    { size, kind: 'json' },
    {
      section: 'deflate',
      contenders: only(['uvws', 'uws', 'bun', 'ws'], { task: 'echo', deflate }),
      ...rest,
      load: ['--deflate', deflate],
    },
  );
}

/** Everybody who speaks TLS. */
const overTls = only(['uvws', 'uws', 'bun', 'ws'], { task: 'echo', tls: true });

/** An echo over TLS. */
function secure(name, title, shape, rest) {
  return echo(name, `${title}, over TLS`, shape, {
    section: 'secure',
    contenders: overTls,
    targets: than({ uws: 0.9, ws: 0.6 }),
    ...rest,
    load: ['--tls', 'resume'],
  });
}

/** Connections that come and go. */
function churn(name, title, rest) {
  return {
    name,
    title: `open, echo 20 B once, close; 64 at a time${title}`,
    section: 'connections',
    mode: 'churn',
    figure: 'server_cpu_us',
    contenders: all({ task: 'echo' }),
    connections: 64,
    // Code that runs once per connection is compiled much later than code that runs per message.
    warmups: 3,
    ...rest,
    load: ['--size', '20', '--binary', ...(rest.load ?? [])],
  };
}

/** One message to everybody. */
function broadcast(name, title, { connections, task = 'publish', repeat = 1 }, rest) {
  return {
    name,
    title,
    section: 'fanout',
    mode: 'broadcast',
    figure: 'server_cpu_us',
    contenders: all({ task, repeat }),
    connections,
    load: ['--size', '20', '--binary', '--repeat', `${repeat}`],
    ...rest,
  };
}

/** Connections that are only held. */
function idle(name, title, { connections = 10_000, work = { task: 'echo' }, load }, rest) {
  return {
    name,
    title,
    section: 'connections',
    mode: 'idle',
    figure: 'resident_bytes_per_connection',
    contenders: work.deflate ? only(['uvws', 'uws', 'bun', 'ws'], work) : all(work),
    connections,
    load,
    ...rest,
  };
}

/** uvws and ws behind an HTTP server, beside the native listener. */
const behindHttp = [
  { name: 'uvws-native', peer: 'uvws', work: { task: 'echo' } },
  { name: 'uvws', peer: 'uvws', work: { task: 'echo', adopted: true } },
  { name: 'ws', peer: 'ws', work: { task: 'echo', adopted: true } },
];

/** @type {Row[]} */
const rows = [
  echo(
    'echo-20',
    '20 B, 64 connections, 1 in flight',
    { size: 20 },
    { targets: than({ uws: 0.92, ws: 0.62, raw: 1.06 }) },
  ),
  echo(
    'echo-20-8',
    '20 B, 64 connections, 8 in flight',
    { size: 20, depth: 8 },
    { fullOnly: true },
  ),
  echo(
    'echo-20-32',
    '20 B, 64 connections, 32 in flight',
    { size: 20, depth: 32 },
    { targets: than({ uws: 0.45, bun: 1, ws: 0.05 }) },
  ),
  echo(
    'echo-20-1000',
    '20 B, 1,000 connections, 1 in flight',
    { size: 20, connections: 1000 },
    { fullOnly: true },
  ),
  echo(
    'echo-20-1000-32',
    '20 B, 1,000 connections, 32 in flight',
    { size: 20, connections: 1000, depth: 32 },
    { targets: than({ uws: 0.45, bun: 1, ws: 0.05 }) },
  ),
  echo(
    'echo-1k',
    '1 KiB, 64 connections, 1 in flight',
    { size: KIB },
    { targets: than({ uws: 0.9 }) },
  ),
  echo(
    'echo-1k-text',
    '1 KiB of non-ASCII text, 64 connections, 8 in flight',
    { size: KIB, depth: 8, kind: 'non-ascii' },
    { targets: than({ uws: 0.9 }) },
  ),
  echo(
    'echo-16k',
    '16 KiB, 64 connections, 1 in flight',
    { size: 16 * KIB },
    { section: 'large', targets: lowest() },
  ),
  echo(
    'fragments-16k',
    '16 KiB in 16 fragments, 64 connections, 1 in flight',
    { size: 16 * KIB },
    {
      section: 'large',
      // The raw echo does not put messages together.
      contenders: only(['uvws', 'uws', 'bun', 'ws'], { task: 'echo' }),
      load: ['--fragments', '16'],
      targets: lowest(),
    },
  ),
  echo(
    'echo-1m',
    '1 MiB, 8 connections, 1 in flight',
    { size: MIB, connections: 8 },
    { section: 'large', targets: lowest() },
  ),
  echo(
    'echo-16m',
    '16 MiB, 2 connections, 1 in flight',
    { size: 16 * MIB, connections: 2 },
    { section: 'large', targets: lowest(), fullOnly: true },
  ),
  echo(
    'echo-100m',
    '100 MiB, one message to a fresh server',
    { size: 100 * MIB, connections: 1 },
    {
      section: 'large',
      load: ['--once'],
      targets: [...lowest(), { of: 'peak_growth_bytes', atMost: 2 * 100 * MIB }],
      fullOnly: true,
    },
  ),
  deflated('deflate-1k', '1 KiB of JSON, no context takeover', KIB, 'no-takeover', {
    targets: than({ bun: 1, ws: 0.35 }),
  }),
  deflated('deflate-1k-takeover', '1 KiB of JSON, context takeover', KIB, 'takeover', {
    targets: than({ bun: 1, ws: 0.35 }),
  }),
  deflated('deflate-16k', '16 KiB of JSON, no context takeover', 16 * KIB, 'no-takeover', {
    targets: than({ bun: 1, ws: 0.6 }),
    fullOnly: true,
  }),
  deflated('deflate-16k-takeover', '16 KiB of JSON, context takeover', 16 * KIB, 'takeover', {
    targets: than({ bun: 1, ws: 0.6 }),
    fullOnly: true,
  }),
  broadcast(
    'broadcast-1000',
    'send 20 B to 1,000 clients by one call',
    { connections: 1000 },
    {
      contenders: [
        ...all({ task: 'publish', repeat: 1 }),
        { name: 'uvws-topic', peer: 'uvws', work: { task: 'topic', repeat: 1 } },
      ],
      targets: than({ uws: 1, ws: 0.7 }),
    },
  ),
  broadcast(
    'loop-1000',
    'send 20 B to 1,000 clients, one after the other',
    { connections: 1000, task: 'loop' },
    {},
  ),
  broadcast(
    'broadcast-10000',
    'send 20 B to 10,000 clients by one call',
    { connections: 10_000 },
    { targets: than({ uws: 1, ws: 0.7 }), fullOnly: true },
  ),
  broadcast(
    'loop-10000',
    'send 20 B to 10,000 clients, one after the other',
    { connections: 10_000, task: 'loop' },
    { contenders: only(['uvws', 'ws'], { task: 'loop', repeat: 1 }), fullOnly: true },
  ),
  broadcast(
    'broadcast-1000-50',
    'send 50 messages of 20 B to 1,000 clients in one turn, each by one call',
    { connections: 1000, repeat: 50 },
    { targets: than({ ws: 0.15 }) },
  ),
  churn('churn', '', { targets: than({ uws: 1, ws: 0.4 }) }),
  idle(
    'idle',
    'hold 10,000 connections that have never spoken',
    { load: [] },
    { targets: than({ uws: 1 }) },
  ),
  idle(
    'idle-spoken',
    'hold 10,000 connections that have echoed 20 B once',
    { load: ['--size', '20', '--touch'] },
    { targets: than({ uws: 1 }), fullOnly: true },
  ),
  idle(
    'idle-deflate',
    'hold 4,000 connections that have echoed 1 KiB of JSON once, no context takeover',
    {
      connections: 4000,
      work: { task: 'echo', deflate: 'no-takeover' },
      load: ['--size', `${KIB}`, '--json', '--deflate', 'no-takeover', '--touch'],
    },
    { targets: [{ atMost: 4 * KIB }], fullOnly: true },
  ),
  idle(
    'idle-deflate-takeover',
    'hold 4,000 connections that have echoed 1 KiB of JSON once, context takeover',
    {
      connections: 4000,
      work: { task: 'echo', deflate: 'takeover' },
      load: ['--size', `${KIB}`, '--json', '--deflate', 'takeover', '--touch'],
    },
    { targets: than({ ws: 1 }), fullOnly: true },
  ),
  echo(
    'adopted-20',
    '20 B behind an HTTP server, 64 connections, 1 in flight',
    { size: 20 },
    { section: 'adopted', contenders: behindHttp, targets: than({ 'uvws-native': 1.05 }) },
  ),
  echo(
    'adopted-20-32',
    '20 B behind an HTTP server, 64 connections, 32 in flight',
    { size: 20, depth: 32 },
    {
      section: 'adopted',
      contenders: behindHttp,
      targets: than({ 'uvws-native': 1.05 }),
      fullOnly: true,
    },
  ),
  secure('wss-20', '20 B, 64 connections, 1 in flight', { size: 20 }),
  secure('wss-20-32', '20 B, 64 connections, 32 in flight', { size: 20, depth: 32 }),
  secure('wss-16k', '16 KiB, 64 connections, 1 in flight', { size: 16 * KIB }),
  secure('wss-1m', '1 MiB, 8 connections, 1 in flight', { size: MIB, connections: 8 }),
  churn('wss-churn', ', over TLS; sessions are resumed', {
    section: 'secure',
    contenders: overTls,
    targets: than({ uws: 1, ws: 0.4 }),
    load: ['--tls', 'resume'],
  }),
  churn('wss-churn-full', ', over TLS; every handshake is a full one', {
    section: 'secure',
    contenders: overTls,
    targets: than({ uws: 1, ws: 0.4 }),
    load: ['--tls', 'full'],
    fullOnly: true,
  }),
  idle(
    'wss-idle',
    'hold 4,000 connections over TLS that have never spoken',
    { connections: 4000, work: { task: 'echo', tls: true }, load: ['--tls', 'resume'] },
    { section: 'secure', contenders: overTls, targets: than({ uws: 1, ws: 1 }), fullOnly: true },
  ),
  {
    name: 'latency',
    title: 'echo 20 B, 64 connections, half of what ws can do in all',
    section: 'latency',
    mode: 'paced',
    figure: 'p99_us',
    contenders: all({ task: 'echo' }),
    connections: 64,
    halfOfWs: true,
    // One message in a thousand has to be many.
    windows: 3,
    load: ['--size', '20', '--binary'],
    targets: [...lowest(), ...lowest('p999_us')],
  },
  {
    name: 'fairness',
    title: 'echo 20 B, 64 connections, 4,000 a second in all, beside one with 4,096 in flight',
    section: 'latency',
    mode: 'paced',
    figure: 'p999_us',
    contenders: all({ task: 'echo' }),
    connections: 64,
    windows: 3,
    load: ['--size', '20', '--binary', '--rate', '4000', '--flood', '4096'],
    targets: lowest(),
  },
  {
    name: 'cycles',
    title: 'listen and end, over and over',
    section: 'start',
    mode: 'cycles',
    figure: 'server_cpu_us',
    contenders: only(['uvws', 'uws', 'bun', 'ws'], { task: 'cycles' }),
    targets: [{ of: 'per_second', atLeast: 20_000 }],
  },
  {
    name: 'require',
    title: 'load the package in a fresh process',
    section: 'start',
    mode: 'require',
    figure: 'milliseconds',
    contenders: only(['uvws', 'uws', 'ws'], { task: 'echo' }),
    targets: [{ atMost: 5 }],
  },
];

/** What the figure of a row counts for each. */
const units = {
  echo: 'message',
  paced: 'message',
  broadcast: 'delivery',
  churn: 'connection',
  cycles: 'cycle',
};

/**
 * The heading of a figure of a row.
 *
 * @param {Row} row
 * @param {string} [key]
 */
function headingOf(row, key = row.figure) {
  const { title, unit } = figures[key];
  const per = key === 'server_cpu_us' ? ` per ${units[row.mode]}` : '';
  return `${title}${per}, ${unit}`;
}

module.exports = { rows, figures, sections, headingOf };
