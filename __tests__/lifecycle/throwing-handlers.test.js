const { inChild, runChild } = require('../support/child.js');

test.each(['before', 'after'])(
  'a handler that throws, with destroy() called %s, does not stop the destruction',
  (when) =>
    inChild(
      async ({ uvws, assert, once, rawClient, frames, until, within, turn, input }) => {
        const uncaught = [];
        process.on('uncaughtException', (error) => {
          uncaught.push(error.message);
          if (input === 'after') context.destroy();
        });
        const context = new uvws.Context();
        const wss = new uvws.WebSocketServer({ port: 0, host: '127.0.0.1', context });
        await once(wss, 'listening');
        const closes = [];
        let messages = 0;
        wss.on('connection', (ws) => {
          ws.on('message', () => {
            messages++;
            if (input === 'before') context.destroy();
            throw new Error('thrown by a handler');
          });
          ws.on('close', (code) => closes.push(code));
        });
        const peers = [await rawClient(wss.address().port), await rawClient(wss.address().port)];
        const text = frames.frame(frames.TEXT, 'x');
        for (const peer of peers) peer.write(Buffer.concat(Array(20).fill(text)));
        await until(() => uncaught.length > 0, 'the exception');
        await within(context.closed, 'destroy()');
        await turn();
        assert.deepEqual(uncaught, ['thrown by a handler']);
        assert.equal(messages, 1, 'nothing is delivered behind destroy()');
        assert.deepEqual(closes, [1006, 1006]);
        for (const peer of peers) await peer.destroy();
      },
      { input: when },
    ),
);

test('handlers that throw in the last delivery of a context do not keep the others from being called', () =>
  inChild(async ({ uvws, assert, once, within, turn }) => {
    const uncaught = [];
    process.on('uncaughtException', (error) => uncaught.push(error.message));
    const context = new uvws.Context();
    const wss = new uvws.WebSocketServer({ port: 0, host: '127.0.0.1', context });
    await once(wss, 'listening');
    const called = [];
    const thrower = (name) => () => {
      called.push(name);
      throw new Error(name);
    };
    wss.on('connection', (ws) => ws.on('close', thrower('connection')));
    wss.on('close', thrower('server'));
    context.on('close', thrower('context'));
    const ws = new uvws.WebSocket(`ws://127.0.0.1:${wss.address().port}`, { context });
    ws.on('close', thrower('client'));
    await Promise.all([once(ws, 'open'), once(wss, 'connection')]);
    await within(context.destroy(), 'destroy()');
    await turn();
    assert.deepEqual([...called].sort(), ['client', 'connection', 'context', 'server']);
    assert.deepEqual(called.slice(2), ['server', 'context']);
    assert.deepEqual(uncaught, called);
  }));

test('a promise that a handler rejects does not stop the destruction', () =>
  inChild(async ({ uvws, assert, once, within, until, rawClient, frames }) => {
    const rejected = [];
    process.on('unhandledRejection', (error) => rejected.push(error.message));
    const context = new uvws.Context();
    const wss = new uvws.WebSocketServer({ port: 0, host: '127.0.0.1', context });
    await once(wss, 'listening');
    wss.on('connection', (ws) =>
      ws.on('message', async () => {
        context.destroy();
        throw new Error('rejected by a handler');
      }),
    );
    const peer = await rawClient(wss.address().port);
    peer.send(frames.TEXT, 'x');
    await until(() => rejected.length > 0, 'the rejection');
    await within(context.closed, 'destroy()');
    assert.deepEqual(rejected, ['rejected by a handler']);
    await peer.destroy();
  }));

test('an exception that nobody catches ends the process as always, also with destroy() called', async () => {
  const outcome = await runChild(async ({ uvws, once, rawClient, frames }) => {
    const context = new uvws.Context();
    const wss = new uvws.WebSocketServer({ port: 0, host: '127.0.0.1', context });
    await once(wss, 'listening');
    wss.on('connection', (ws) =>
      ws.on('message', () => {
        context.destroy();
        throw new Error('nobody catches this');
      }),
    );
    const peer = await rawClient(wss.address().port);
    peer.send(frames.TEXT, 'x');
    return new Promise(() => {});
  });
  expect(outcome).toMatchObject({ signal: null, isLate: false });
  expect([1, 7]).toContain(outcome.code);
  expect(outcome.stderr).toContain('nobody catches this');
  expect(outcome.stderr).toContain('body.js');
});

test('an error event without a listener is an uncaught exception, and the connection still closes', () =>
  inChild(async ({ uvws, assert, freePort, until }) => {
    const uncaught = [];
    process.on('uncaughtException', (error) => uncaught.push(error.code));
    const context = new uvws.Context();
    const ws = new uvws.WebSocket(`ws://127.0.0.1:${await freePort()}`, { context });
    const closes = [];
    ws.on('close', (code) => closes.push(code));
    await until(() => closes.length > 0, 'close');
    assert.deepEqual(uncaught, ['ECONNREFUSED']);
    assert.deepEqual(closes, [1006]);
    await context.destroy();
  }));

test('a client that is given up at once closes before its context, though a handler throws in between', () =>
  inChild(async ({ uvws, assert, turn, until, within }) => {
    const uncaught = [];
    process.on('uncaughtException', (error) => uncaught.push(error.message));
    const context = new uvws.Context();
    await turn();
    const order = [];
    context.on('close', () => order.push('context'));
    // The tick queue stops at an exception, and goes on after the context has ended.
    const clients = [1, 2, 3].map((number) => {
      const ws = new uvws.WebSocket('ws://127.0.0.1:1', { context });
      ws.on('error', () => {
        throw new Error(`thrown by ${number}`);
      });
      ws.on('close', () => order.push(number));
      return ws;
    });
    for (const ws of clients) ws.close();
    await within(context.destroy(), 'destroy()');
    await until(() => order.length === 4, 'every close');
    assert.deepEqual(order, [1, 2, 3, 'context']);
    assert.deepEqual(uncaught, ['thrown by 1', 'thrown by 2', 'thrown by 3']);
  }));

test('so do clients that are made for a context which is closing', () =>
  inChild(async ({ uvws, assert, turn, until, within }) => {
    process.on('uncaughtException', () => {});
    const context = new uvws.Context();
    await turn();
    const order = [];
    context.on('close', () => order.push('context'));
    context.close();
    for (const number of [1, 2, 3]) {
      const ws = new uvws.WebSocket('ws://127.0.0.1:1', { context });
      ws.on('error', () => {
        throw new Error('stops the tick queue');
      });
      ws.on('close', () => order.push(number));
    }
    await within(context.closed, 'close()');
    await until(() => order.length === 4, 'every close');
    assert.deepEqual(order, [1, 2, 3, 'context']);
  }));

test('what listeners of both error and close throw is reported, each', () =>
  inChild(async ({ uvws, assert, freePort, until }) => {
    const uncaught = [];
    process.on('uncaughtException', (error) => uncaught.push(error.message));
    const context = new uvws.Context();
    // One has failed to connect, the other one is given up before it has begun.
    const clients = [await freePort(), 1].map(
      (port) => new uvws.WebSocket(`ws://127.0.0.1:${port}`, { context }),
    );
    clients[1].terminate();
    clients.forEach((ws, index) => {
      for (const event of ['error', 'close']) {
        ws.on(event, () => {
          throw new Error(`${event} ${index}`);
        });
      }
    });
    await until(() => uncaught.length >= 4, 'four exceptions');
    assert.deepEqual(uncaught.sort(), ['close 0', 'close 1', 'error 0', 'error 1']);
    await context.destroy();
  }));
