'use strict';

// Adds and closes virtual hosts under load, as long as it is told to: no connection to the servers
// that stay may be refused or lost, each init() has its destroy(), and memory is to stay flat.
//
//   node scripts/vhost-churn.js [--seconds 600]
//
// Prints its figures as JSON, and exits with 1 if something is wrong. The servers are a process, and the
// clients another one.

const { fork } = require('node:child_process');
const { once } = require('node:events');
const { parseArgs } = require('node:util');

const { Context, WebSocket, WebSocketServer } = require('../index.js');

/** Hosts that stay. */
const SURVIVORS = ['a.example', 'b.example', 'unknown.example'];
/** Names that come and go, and how many there are at a time. */
const NAMES = 50;
const AT_A_TIME = 20;
/** Milliseconds from one addition, and end, of a virtual host to the next. */
const PERIOD = 5;
/** Connections that stay open, and those that are opened and closed all the time. */
const LASTING = 100;
const BRIEF = 16;

/**
 * How the servers run. V8 lets its young generation grow by some 40 MiB in the course of minutes when
 * there is work, and does not give it back soon: a leak would not be seen beside that.
 */
const NODE_ARGS = ['--expose-gc', '--max-semi-space-size=1'];

/** Growth of the process from the second quarter of a run to the last one that is no leak. */
const MAX_GROWTH = 3 * 1024 * 1024;
/** Shorter runs end before the heap has got its size. */
const MEMORY_FROM = 120;

const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const median = (numbers) => numbers.toSorted((a, b) => a - b)[numbers.length >> 1];

/** The servers. */
async function serve(seconds) {
  const context = new Context();
  const pairs = { init: 0, destroy: 0, open: 0, close: 0 };
  const echo = {
    init: () => ({ number: ++pairs.init }),
    open: () => pairs.open++,
    message: (ws, data, isBinary) => ws.send(data, { binary: isBinary }),
    close: () => pairs.close++,
    destroy: () => pairs.destroy++,
  };
  const errors = [];
  const add = (port, hostname) => {
    const protocols = { echo };
    const options = { context, host: '127.0.0.1', port, hostname, protocols };
    const server = new WebSocketServer({ ...options, defaultProtocol: 'echo' });
    server.on('error', (error) => errors.push(`server: ${error.message}`));
    return server;
  };

  // The one that opens the port is the first to go.
  const opener = add(0, 'opener.example');
  await once(opener, 'listening');
  const { port } = opener.address();
  add(port, 'a.example');
  add(port, 'b.example');
  add(port, undefined);

  const clients = fork(__filename, ['--port', String(port), '--seconds', String(seconds)], {
    execArgv: [],
  });
  await once(clients, 'message');
  opener.close();

  const result = once(clients, 'message');
  const samples = [];
  const churned = [];
  let added = 0;
  const start = performance.now();
  let nextSample = start;
  while (performance.now() - start < seconds * 1000) {
    churned.push(add(port, `c${added++ % NAMES}.example`));
    if (churned.length > AT_A_TIME) {
      const server = churned.shift();
      server.close();
      for (const ws of server.clients) ws.close(1001);
    }
    if (performance.now() >= nextSample) {
      nextSample += (seconds * 1000) / 60;
      global.gc();
      const { rss, heapUsed } = process.memoryUsage();
      samples.push({ rss, heapUsed });
    }
    await sleep(PERIOD);
  }
  const [figures] = await result;
  await context.close({ timeout: 10_000 });

  const quarter = samples.length >> 2;
  const growth = {};
  for (const name of ['rss', 'heapUsed']) {
    const values = samples.map((sample) => sample[name]);
    growth[name] = median(values.slice(-quarter)) - median(values.slice(quarter, 2 * quarter));
  }
  if (pairs.init !== pairs.destroy || pairs.open !== pairs.close) errors.push('calls without pair');
  if (seconds >= MEMORY_FROM && growth.rss > MAX_GROWTH) errors.push('memory grows');
  errors.push(...figures.errors);
  const { rss, heapUsed } = samples.at(-1);
  console.log(
    JSON.stringify({ seconds, added, pairs, ...figures, rss, heapUsed, growth, errors }, null, 2),
  );
  process.exitCode = errors.length > 0 ? 1 : 0;
  process.disconnect();
}

/** Opens a connection, lets one message come back, and returns it. */
function connect(port, host, context) {
  const url = `ws://127.0.0.1:${port}`;
  return new Promise((resolve, reject) => {
    const ws = new WebSocket(url, 'echo', { headers: { Host: host }, context });
    ws.on('error', reject);
    ws.on('close', (code) => reject(new Error(`closed with ${code}`)));
    ws.on('open', () => ws.send('x'));
    ws.once('message', () => resolve(ws));
  });
}

/** The clients. */
async function load(port, seconds) {
  const context = new Context();
  const errors = [];
  const counts = { lasting: 0, echoes: 0, brief: 0, churned: 0, churnedLost: 0 };
  let isOver = false;
  const note = (what, error) => errors.length < 20 && errors.push(`${what}: ${error.message}`);

  await Promise.all(
    Array.from({ length: LASTING }, async (_, index) => {
      const host = SURVIVORS[index % SURVIVORS.length];
      const ws = await connect(port, host, context);
      counts.lasting++;
      ws.removeAllListeners('close');
      ws.on('close', (code) => isOver || note(host, new Error(`lost with ${code}`)));
      ws.on('message', () => {
        counts.echoes++;
        setTimeout(() => ws.send('x'), 20);
      });
      ws.send('x');
    }),
  );
  process.send('ready');

  const brief = async (index) => {
    for (let round = index; !isOver; round++) {
      const stays = round % 2 === 0;
      const host = stays ? SURVIVORS[round % SURVIVORS.length] : `c${round % NAMES}.example`;
      try {
        const ws = await connect(port, host, context);
        ws.removeAllListeners('close');
        ws.close(1000);
        const [code] = await once(ws, 'close');
        if (stays && code !== 1000) throw new Error(`closed with ${code}`);
        counts[stays ? 'brief' : 'churned']++;
      } catch (error) {
        // A virtual host that goes takes its connections with it; it refuses none.
        if (stays || error.code === 'ECONNREFUSED' || error.code === 'ECONNRESET') {
          note(host, error);
        } else {
          counts.churnedLost++;
        }
      }
    }
  };
  const loops = Array.from({ length: BRIEF }, (_, index) => brief(index));
  await sleep(seconds * 1000);
  isOver = true;
  await Promise.all(loops);
  await context.close({ timeout: 5000 });
  process.send({ ...counts, errors });
  process.disconnect();
}

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '600' },
    servers: { type: 'boolean', default: false },
    port: { type: 'string' },
  },
});
const seconds = Number(values.seconds);
// Nobody is left who would end it.
process.on('disconnect', () => process.exit());
if (values.port !== undefined) {
  load(Number(values.port), seconds);
} else if (values.servers) {
  serve(seconds);
} else {
  const servers = fork(__filename, ['--servers', ...process.argv.slice(2)], {
    execArgv: NODE_ARGS,
  });
  servers.on('exit', (code) => (process.exitCode = code ?? 1));
}
