// Makes and ends contexts again and again, in every way in which one ends, for a memory checker to
// watch (scripts/valgrind.js). Exits with 0 and prints one line if all came to an end.

const assert = require('node:assert/strict');
const { once } = require('node:events');

const { Context, WebSocket, WebSocketServer } = require('../..');
const { Workshop } = require('../support/authority');

/** Under valgrind each step takes some thirty times as long: the cycles stay, the traffic shrinks. */
const MESSAGES = process.env.UVWS_VALGRIND ? 4 : 64;
const EMPTY_CYCLES = 2000;
const LISTENING_CYCLES = 1000;
const TRAFFIC_CYCLES = 60;

const LARGE = Buffer.alloc(process.env.UVWS_VALGRIND ? 100_000 : 1_000_000, 'x');

/** What a server of TLS shows, and the authority that its clients trust. */
const workshop = new Workshop();
const authority = workshop.authority();
const { key, cert } = workshop.make({ issuer: authority });
workshop.remove();
const security = { tls: { key, cert } };
const trust = { ca: authority.cert };

async function listen(context, options) {
  const wss = new WebSocketServer({ port: 0, host: '127.0.0.1', context, ...options });
  await once(wss, 'listening');
  return wss;
}

function connect(wss, context, options) {
  const scheme = wss.options.tls ? 'wss' : 'ws';
  const address = `${scheme}://127.0.0.1:${wss.address().port}`;
  const ws = new WebSocket(address, { context, ...trust, ...options });
  ws.on('error', () => {});
  return ws;
}

/** A server with an echo and two clients; resolves when messages of all sizes have come back. */
async function traffic(context, options) {
  const wss = await listen(context, { perMessageDeflate: true, ...options });
  wss.on('connection', (ws) => {
    ws.on('error', () => {});
    ws.on('message', (data, isBinary) => ws.send(data, { binary: isBinary }));
  });
  const clients = [connect(wss, context), connect(wss, context)];
  await Promise.all(
    clients.map(async (ws) => {
      await once(ws, 'open');
      let count = 0;
      const done = new Promise((resolve) => {
        ws.on('message', () => {
          count += 1;
          if (count === MESSAGES + 3) resolve();
        });
      });
      for (let i = 0; i < MESSAGES; i++) ws.send(`message ${i}`);
      ws.send(LARGE);
      ws.send('in ', { fin: false });
      ws.send('fragments', { fin: true });
      ws.ping('ping');
      ws.send('', () => {});
      await done;
    }),
  );
  return { wss, clients };
}

/** Ways in which a context with traffic ends. */
const ENDS = [
  ({ context }) => context.destroy(),
  ({ context }) => context.close({ code: 1001, reason: 'the end', timeout: 5000 }),
  ({ context, clients }) => {
    const promise = context.drain();
    for (const ws of clients) ws.close(1000, 'done');
    return promise;
  },
  ({ context, clients }) => {
    // With much in the queues of both sides.
    for (const ws of clients) {
      ws.pause();
      ws.send(LARGE, () => {});
    }
    return context.destroy();
  },
  ({ context, clients }) => {
    clients[0].once('message', () => context.destroy());
    clients[0].send('destroy');
    clients[1].terminate();
    return context.closed;
  },
  ({ context, clients, wss }) => {
    // On the thread pool, in the queue for it, and behind that.
    for (const ws of [...clients, ...wss.clients]) {
      for (let i = 0; i < 3; i++) ws.send(LARGE, () => {});
      ws.ping('behind');
    }
    return context.destroy();
  },
  ({ context, wss }) => {
    // In all phases of a connect.
    for (const url of ['ws://localhost:9', 'ws://does-not-exist.invalid', 'ws://127.0.0.1:9']) {
      new WebSocket(url, { context }).on('error', () => {});
    }
    connect(wss, context);
    return context.destroy();
  },
];

async function main() {
  for (let i = 0; i < EMPTY_CYCLES; i++) {
    const context = new Context();
    if (i % 3 === 0) context.wake();
    await context.destroy();
  }
  for (let i = 0; i < LISTENING_CYCLES; i++) {
    const context = new Context();
    const wss = await listen(context);
    if (i % 10 === 0) {
      new WebSocketServer({ port: wss.address().port, host: '127.0.0.1', context }).on(
        'error',
        () => {},
      );
    }
    await context.destroy();
  }
  for (let i = 0; i < TRAFFIC_CYCLES; i++) {
    const context = new Context();
    // The number of ends is odd, so each of them comes with TLS and without.
    const parts = await traffic(context, i % 2 === 1 ? security : {});
    await ENDS[i % ENDS.length]({ context, ...parts });
    assert.equal(context.stats().handles, 0);
    globalThis.gc?.();
  }
}

main().then(() => {
  console.log(`${EMPTY_CYCLES + LISTENING_CYCLES + TRAFFIC_CYCLES} contexts ended`);
});
