// destroy() in each phase of a client's connect. In each, the client emits one error with the stable
// code and one close, and the promise resolves without waiting for the network.

const { inChild } = require('../support/child.js');

/** Makes a context with one client, brings it into a phase, destroys, and looks. */
async function phase(tools) {
  const { uvws, assert, within, delay, input } = tools;
  const bring = require('vm').runInThisContext(`(${input.body})`);
  const context = new uvws.Context();
  const clients = [];
  const connect = (url, options) => {
    const ws = new uvws.WebSocket(url, { context, handshakeTimeout: 60_000, ...options });
    const events = [];
    ws.on('open', () => events.push(['open']));
    ws.on('error', (error) => events.push(['error', error.code]));
    ws.on('close', (code) => events.push(['close', code, ws.readyState]));
    clients.push({ ws, events });
    return ws;
  };
  const cleanUp = await bring({ ...tools, context, connect, clients });
  for (const { ws, events } of clients) {
    assert.equal(ws.readyState, uvws.WebSocket.CONNECTING);
    assert.deepEqual(events, [], 'still connecting');
  }
  const promise = context.destroy();
  for (const { events } of clients) assert.deepEqual(events, [], 'nothing from inside destroy()');
  await within(promise, 'destroy()');
  await delay(20);
  for (const { events, ws } of clients) {
    assert.deepEqual(events, [
      ['error', 'ERR_UVWS_CONTEXT_CLOSED'],
      ['close', 1006, uvws.WebSocket.CLOSED],
    ]);
    assert.equal(ws.readyState, uvws.WebSocket.CLOSED);
    assert.equal(context.stats().handles, 0);
  }
  await cleanUp?.();
}

const PHASES = {
  'right after it was asked for': ({ connect }) => {
    connect('ws://127.0.0.1:9');
    connect('ws://localhost:9');
  },

  'while the look-up of the name waits for a thread': ({ connect }) => {
    const { pbkdf2 } = require('crypto');
    // One thread, and it is busy: the look-up is queued behind this, and can be cancelled.
    const busy = new Promise((resolve) => pbkdf2('a', 'b', 400_000, 64, 'sha512', resolve));
    connect('ws://localhost:9');
    connect('ws://does-not-exist.invalid:9');
    return () => busy;
  },

  'while the look-ups of many names run and wait': ({ connect }) => {
    for (let i = 0; i < 20; i++) connect(`ws://host-${i}.does-not-exist.invalid`);
  },

  'while the TCP handshake is under way': async ({ connect, startWorker, once, net, delay }) => {
    // A listener in a thread that never accepts, with its backlog full: the kernel drops the SYN.
    const worker = startWorker(({ net, once }) => {
      const { parentPort } = require('worker_threads');
      const server = net.createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 });
      once(server, 'listening').then(() => {
        parentPort.postMessage(server.address().port);
        // Sleeps until the thread is terminated; a lock is what makes it deaf.
        setImmediate(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0));
      });
    });
    const [port] = await once(worker, 'message');
    await delay(50);
    const fillers = Array.from({ length: 6 }, () => net.connect(port, '127.0.0.1'));
    for (const socket of fillers) socket.on('error', () => {});
    await delay(100);
    if (!fillers.some(({ connecting }) => connecting)) throw new Error('the backlog is not full');
    connect(`ws://127.0.0.1:${port}`);
    connect(`ws://127.0.0.1:${port}`);
    await delay(100);
    return async () => {
      for (const socket of fillers) socket.destroy();
      await worker.terminate();
    };
  },

  'while it waits for the answer': async ({ connect, rawServer }) => {
    const server = await rawServer({ respond: () => {} });
    connect(server.url);
    await server.peer();
    return () => server.close();
  },

  'when half of the answer is there': async ({ connect, rawServer, delay }) => {
    const server = await rawServer({
      respond: (peer) => peer.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: web'),
    });
    connect(server.url);
    await server.peer();
    await delay(50);
    return () => server.close();
  },
};

test.each(Object.keys(PHASES))('destroy() ends a client %s', (name) =>
  inChild(phase, {
    input: { body: String(PHASES[name]) },
    env: { UV_THREADPOOL_SIZE: '1' },
  }),
);

test('the error of destroy(error) is the cause of what the clients emit', () =>
  inChild(async ({ uvws, assert, rawServer, once }) => {
    const server = await rawServer({ respond: () => {} });
    const context = new uvws.Context();
    const ws = new uvws.WebSocket(server.url, { context });
    const failure = once(ws, 'close').catch((error) => error);
    await server.peer();
    const reason = new Error('the reason');
    await context.destroy(reason);
    const error = await failure;
    assert.equal(error.code, 'ERR_UVWS_CONTEXT_CLOSED');
    assert.equal(error.cause, reason);
    await server.close();
  }));

test(
  'destroy() races with 200 clients that connect to a server of the same context',
  () =>
    inChild(
      async ({ uvws, assert, once, delay, generator, until }) => {
        const random = generator(11);
        for (let round = 0; round < 20; round++) {
          const context = new uvws.Context();
          const wss = new uvws.WebSocketServer({ port: 0, host: '127.0.0.1', context });
          await once(wss, 'listening');
          const connections = [];
          wss.on('connection', (ws) => {
            const events = ['connection'];
            ws.on('close', () => events.push('close'));
            connections.push(events);
          });
          const clients = [];
          for (let i = 0; i < 10; i++) {
            const host = i % 3 === 0 ? 'localhost' : '127.0.0.1';
            const ws = new uvws.WebSocket(`ws://${host}:${wss.address().port}`, { context });
            const events = [];
            ws.on('open', () => events.push('open'));
            ws.on('error', (error) => events.push(error.code));
            ws.on('close', () => events.push('close'));
            clients.push(events);
          }
          const wanted = Math.floor(random() * 11);
          await Promise.race([
            until(() => connections.length >= wanted, 'connections', 1000).catch(() => {}),
            delay(random() * 4),
          ]);
          await context.destroy();
          await new Promise(setImmediate);
          for (const events of connections) assert.deepEqual(events, ['connection', 'close']);
          for (const events of clients) {
            assert.ok(
              ['open,close', 'ERR_UVWS_CONTEXT_CLOSED,close', 'ECONNREFUSED,close'].includes(
                events.join(),
              ),
              events.join(),
            );
          }
        }
      },
      { timeout: 50_000 },
    ),
  60_000,
);
