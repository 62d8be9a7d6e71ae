'use strict';

// The server of the soak, with the package in the folder that is its argument, as a user writes one: a port, permessage-deflate, an echo that minds its
// send queue, a topic, and pings that find out who is gone. The parent asks for samples by IPC.

const path = require('node:path');
const { monitorEventLoopDelay } = require('node:perf_hooks');
const v8 = require('node:v8');

const census = require('../../__tests__/support/census.js');
const folder = path.resolve(process.argv[2]);
const { Context, WebSocketServer } = require(folder);
const native = require(path.join(folder, 'uvws.node'));

const HIGH_WATER = 1024 * 1024;
const CHECK_EVERY = 16 * 1024;
const NEWS_INTERVAL = 100;
const PING_INTERVAL = 10_000;

const counts = {
  connections: 0,
  closes: 0,
  repeatedCloses: 0,
  errors: 0,
  published: 0,
  dropped: 0,
};
const codes = {};
const faults = [];
const closed = new WeakSet();

process.on('uncaughtExceptionMonitor', (error) => process.send({ fault: String(error.stack) }));
process.on('unhandledRejection', (reason) => faults.push(`unhandled: ${reason?.stack ?? reason}`));

const wss = new WebSocketServer({
  port: 0,
  host: '127.0.0.1',
  perMessageDeflate: true,
  maxPayload: 4 * 1024 * 1024,
  handshakeTimeout: 5000,
  closeTimeout: 5000,
});

wss.on('connection', (ws, request) => {
  counts.connections++;
  ws.isAlive = true;
  if (request.url === '/news') ws.subscribe('news');
  ws.on('pong', () => (ws.isAlive = true));
  ws.on('error', (error) => {
    counts.errors++;
    codes[error.code] = (codes[error.code] ?? 0) + 1;
  });
  let unchecked = 0;
  ws.on('message', (data, isBinary) => {
    ws.send(data, { binary: isBinary });
    // Looking at the queue writes it out: that is not for each small message.
    unchecked += data.length;
    if (unchecked < CHECK_EVERY || ws.isPaused) return;
    unchecked = 0;
    if (ws.bufferedAmount > HIGH_WATER) {
      ws.pause();
      ws.once('drain', () => ws.resume());
    }
  });
  ws.on('close', () => {
    if (closed.has(ws)) counts.repeatedCloses++;
    closed.add(ws);
    counts.closes++;
  });
});

const news = Buffer.alloc(300, 'news ');
const timers = [
  setInterval(() => {
    counts.published++;
    wss.publish('news', news);
  }, NEWS_INTERVAL),
  setInterval(() => {
    for (const ws of wss.clients) {
      if (!ws.isAlive) {
        counts.dropped++;
        ws.terminate();
        continue;
      }
      ws.isAlive = false;
      ws.ping();
    }
  }, PING_INTERVAL),
];

const delay = monitorEventLoopDelay({ resolution: 1 });
delay.enable();
let baseline;

const requests = {
  /** What there is now, after everything that can be collected was. */
  async sample() {
    await collect();
    // What is kept for reuse is given back meanwhile (src/allocator.rs).
    await new Promise((resolve) => setTimeout(resolve, 2000));
    await collect();
    // Only an addon for tests tells what it has allocated.
    const addon = native.faultHeld?.() ?? null;
    return { ...process.memoryUsage(), addon, ...now() };
  },
  /** Writes down what is on the heap. */
  snapshot: (file) => v8.writeHeapSnapshot(file),
  /** The same as a sample without collecting. */
  look: () => ({ rss: process.memoryUsage.rss(), ...now() }),
  /** Starts to measure the delay of the loop anew, and tells what it was. */
  delay() {
    const [p99, max] = [delay.percentile(99) / 1e6, delay.max / 1e6];
    delay.reset();
    return { p99, max };
  },
  /** Counts what is left while the server still listens, and ends it. */
  async end() {
    timers.forEach(clearInterval);
    delay.disable();
    const left = census.excess(baseline);
    const before = now();
    await new Promise((resolve) => wss.close(resolve));
    const context = Context.default;
    await context.destroy();
    return { ...before, left, handlesAfter: context.stats().handles, errorCodes: codes, faults };
  },
};

async function collect() {
  for (let i = 0; i < 3; i++) {
    global.gc();
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function now() {
  const { user, system } = process.cpuUsage();
  const stats = Context.default.stats();
  return { ...stats, clients: wss.clients.size, counts, cpu: (user + system) / 1000 };
}

process.on('message', async ({ id, request, value }) => {
  process.send({ id, result: await requests[request](value) });
  if (request === 'end') {
    process.off('disconnect', abandon);
    process.disconnect();
  }
});

/** Without the parent there is nothing to do. */
function abandon() {
  process.exit(1);
}
process.on('disconnect', abandon);
wss.on('listening', () => {
  census.take();
  baseline = census.take();
  process.send({ port: wss.address().port });
});
