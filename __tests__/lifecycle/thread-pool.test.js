// Contexts, workers and processes that end while messages are compressed on libuv's thread pool. A job
// that outlives what it works for would touch freed memory, or hold up the end for ever.

const { inChild } = require('../support/child.js');

/** What the children may take. */
const LIMIT = { timeout: 50_000 };

test(
  'contexts end with messages on the thread pool',
  () =>
    inChild(async ({ assert, once, uvws }) => {
      const payload = require('node:crypto').randomBytes(512 * 1024);
      for (let i = 0; i < 60; i++) {
        const context = new uvws.Context();
        const options = { context, perMessageDeflate: { serverNoContextTakeover: i % 2 === 0 } };
        const wss = new uvws.WebSocketServer({ port: 0, host: '127.0.0.1', ...options });
        await once(wss, 'listening');
        const connected = once(wss, 'connection');
        const clients = [];
        for (let j = 0; j < 4; j++) {
          const client = new uvws.WebSocket(`ws://127.0.0.1:${wss.address().port}`, options);
          client.on('error', () => {});
          clients.push(client);
        }
        const [server] = await connected;
        await Promise.all(clients.map((client) => once(client, 'open')));
        let called = 0;
        for (const socket of [server, ...clients]) {
          for (let j = 0; j < 3; j++) socket.send(payload, () => (called += 1));
        }
        assert.ok(context.stats().handles > 0);
        if (i % 3 === 1) await new Promise(setImmediate);
        if (i % 3 === 2) await new Promise((resolve) => setTimeout(resolve, i % 7));
        await context.destroy();
        assert.equal(context.stats().handles, 0);
        await new Promise(setImmediate);
        assert.equal(called, 15);
      }
    }, LIMIT),
  60_000,
);

test(
  'workers are terminated with messages on the thread pool',
  () =>
    inChild(async ({ once, startWorker }) => {
      const work = async ({ uvws, once }) => {
        const { parentPort } = require('node:worker_threads');
        const payload = require('node:crypto').randomBytes(1024 * 1024);
        const perMessageDeflate = { threshold: 0 };
        const wss = new uvws.WebSocketServer({ port: 0, host: '127.0.0.1', perMessageDeflate });
        await once(wss, 'listening');
        wss.on('connection', (socket) => {
          for (let i = 0; i < 5; i++) socket.send(payload);
          parentPort.postMessage('ready');
        });
        for (let i = 0; i < 3; i++) {
          const ws = new uvws.WebSocket(`ws://127.0.0.1:${wss.address().port}`, {
            perMessageDeflate,
          });
          ws.on('open', () => ws.send(payload));
        }
      };
      for (let i = 0; i < 25; i++) {
        const worker = startWorker(work);
        await once(worker, 'message');
        await worker.terminate();
      }
    }, LIMIT),
  60_000,
);

test(
  'a process may exit with messages on the thread pool',
  () =>
    inChild(async ({ ROOT, assert, once }) => {
      const { spawn } = require('node:child_process');
      const source = `
    const { WebSocket, WebSocketServer } = require(${JSON.stringify(ROOT)});
    const payload = require('crypto').randomBytes(1 << 20);
    const wss = new WebSocketServer({ port: 0, perMessageDeflate: true }, () => {
      new WebSocket('ws://127.0.0.1:' + wss.address().port).on('open', function () {
        for (let i = 0; i < 4; i++) this.send(payload);
        if (process.argv[1] === 'later') setTimeout(() => process.exit(7), 3);
        else process.exit(7);
      });
    });`;
      for (let i = 0; i < 6; i++) {
        const child = spawn(process.execPath, ['-e', source, i % 2 ? 'later' : 'now']);
        assert.deepEqual(await once(child, 'exit'), [7, null]);
      }
    }, LIMIT),
  60_000,
);
