'use strict';

// As many idle connections as the limit of descriptors allows: what each costs the server, what they
// cost those that are not idle, and whether all is given back. Prints its figures as JSON, and exits
// with 1 if a connection was refused, lost or not closed exactly once, or if something is left over.
//
//   node scripts/idle.js [--connections N]
//
// Without a number it is what this process may open (ulimit -n), less a few for itself. The server is
// a process; clients are in others of at most 10,000 each, which connect to a loopback address each: there
// are some 28,000 ports to connect to one from.

const { once } = require('node:events');
const { parseArgs } = require('node:util');

const { Child } = require('./child.js');
const census = require('../__tests__/support/census.js');
const { Context, WebSocket, WebSocketServer } = require('../index.js');

/** Descriptors that a process has besides its connections. */
const RESERVE = 200;
const PER_CLIENT = 10_000;
/** Connections that are opening at a time. */
const AT_A_TIME = 200;
/** Echoes that are timed, one after the other, without and with the idle connections. */
const ECHOES = 2000;
/** Milliseconds of a heartbeat, so that each connection is looked at while they last. */
const HEARTBEAT = 10_000;

const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Answers what the parent asks for. */
function answer(requests) {
  process.on('message', async ({ id, request, value }) => {
    process.send({ id, result: await requests[request](value) });
    if (request === 'end') process.disconnect();
  });
  process.send('ready');
}

async function collect() {
  for (let i = 0; i < 3; i++) {
    global.gc();
    await sleep(50);
  }
}

async function serve() {
  const counts = { connections: 0, closes: 0, errors: 0 };
  const wss = new WebSocketServer({
    ...{ port: 0, host: '0.0.0.0', backlog: 4096, perMessageDeflate: true },
    heartbeat: { interval: HEARTBEAT, timeout: HEARTBEAT },
  });
  wss.on('connection', (ws) => {
    counts.connections++;
    ws.on('message', (data, isBinary) => ws.send(data, { binary: isBinary }));
    ws.on('error', () => counts.errors++);
    ws.on('close', () => counts.closes++);
  });
  await once(wss, 'listening');
  const baseline = census.take();
  answer({
    port: () => wss.address().port,
    async look() {
      await collect();
      const { user, system } = process.cpuUsage();
      const { rss, heapUsed } = process.memoryUsage();
      return { ...counts, open: wss.clients.size, rss, heapUsed, cpu: (user + system) / 1000 };
    },
    async end() {
      const left = census.excess(baseline);
      await new Promise((resolve) => wss.close(resolve));
      const context = Context.default;
      await context.destroy();
      return { ...counts, left, handles: context.stats().handles };
    },
  });
}

function connect() {
  const clients = [];
  const counts = { opened: 0, closed: 0, errors: 0 };
  answer({
    async open({ address, port, count }) {
      const one = async () => {
        const client = new WebSocket(`ws://${address}:${port}`, { perMessageDeflate: true });
        client.on('error', () => counts.errors++);
        client.on('close', () => counts.closed++);
        clients.push(client);
        const opened = new Promise((resolve) => client.on('open', () => resolve(counts.opened++)));
        await Promise.race([opened, new Promise((resolve) => client.on('close', resolve))]);
      };
      let rest = count;
      const lane = async () => {
        while (rest-- > 0) await one();
      };
      await Promise.all(Array.from({ length: AT_A_TIME }, lane));
      return counts;
    },
    look: () => counts,
    async end() {
      const open = clients.filter((client) => client.readyState !== WebSocket.CLOSED);
      const closed = open.map((client) => new Promise((resolve) => client.once('close', resolve)));
      for (const client of open) client.close();
      await Promise.all(closed);
      return counts;
    },
  });
}

/** Times echoes on one connection; returns percentiles in milliseconds. */
async function time(port) {
  const client = new WebSocket(`ws://127.0.0.1:${port}`);
  await once(client, 'open');
  const times = [];
  for (let i = 0; i < ECHOES; i++) {
    const start = performance.now();
    const received = once(client, 'message');
    client.send('an echo');
    await received;
    times.push(performance.now() - start);
  }
  client.close();
  await once(client, 'close');
  times.sort((a, b) => a - b);
  const at = (share) => Number(times[Math.floor(share * (ECHOES - 1))].toFixed(3));
  return { p50: at(0.5), p99: at(0.99), max: at(1) };
}

/** The number of descriptors that a process may have here. */
function descriptorLimit() {
  const { userLimits } = process.report.getReport();
  const limit = userLimits.open_files.hard;
  return limit === 'unlimited' ? 1_048_576 : Number(limit);
}

async function main(given) {
  const connections = given ?? descriptorLimit() - RESERVE;
  const server = new Child(__filename, ['--as', 'server'], ['--expose-gc']);
  await server.ready;
  const port = await server.ask('port');
  const quiet = await time(port);
  const before = await server.ask('look');
  const clients = [];
  const begun = performance.now();
  let opened = 0;
  let errors = 0;
  for (let rest = connections; rest > 0; rest -= PER_CLIENT) {
    const client = new Child(__filename, ['--as', 'client']);
    await client.ready;
    clients.push(client);
    const count = Math.min(rest, PER_CLIENT);
    const address = `127.0.1.${clients.length}`;
    const counts = await client.ask('open', { address, port, count });
    opened += counts.opened;
    errors += counts.errors;
  }
  const seconds = (performance.now() - begun) / 1000;
  const held = await server.ask('look');
  const crowded = await time(port);
  const waitFrom = await server.ask('look');
  await sleep(2 * HEARTBEAT);
  const waitTo = await server.ask('look');
  let closed = 0;
  for (const client of clients) {
    const counts = await client.ask('end');
    closed += counts.closed;
    errors += counts.errors;
  }
  for (let i = 0; i < 100 && (await server.ask('look')).open > 0; i++) await sleep(100);
  const end = await server.ask('end');
  const each = (key) => Math.round((held[key] - before[key]) / opened);
  const figures = {
    ...{ connections, opened, errors, stillOpen: waitTo.open, closed },
    perSecond: Math.round(opened / seconds),
    bytesEach: { rss: each('rss'), heap: each('heapUsed') },
    echoMilliseconds: { quiet, crowded },
    cpuShareOfHeartbeats: Number(((waitTo.cpu - waitFrom.cpu) / (2 * HEARTBEAT)).toFixed(3)),
    server: end,
  };
  console.log(JSON.stringify(figures, null, 2));
  const isRight =
    opened === connections &&
    waitTo.open === connections &&
    closed === connections &&
    errors + end.errors === 0 &&
    end.connections === end.closes &&
    end.left.length === 0 &&
    end.handles === 0;
  if (!isRight) process.exitCode = 1;
}

const { values } = parseArgs({
  options: { as: { type: 'string' }, connections: { type: 'string' } },
});
if (values.as === 'server') serve();
else if (values.as === 'client') connect();
else main(values.connections === undefined ? undefined : Number(values.connections));
