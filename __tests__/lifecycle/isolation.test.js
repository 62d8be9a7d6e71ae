const { inChild } = require('../support/child.js');

test(
  'a context that is destroyed under load leaves another one untouched',
  () =>
    inChild(
      async ({ uvws, assert, once, within, until, delay }) => {
        const { Context, WebSocketServer, WebSocket } = uvws;
        const open = async (context, count) => {
          const wss = new WebSocketServer({ port: 0, host: '127.0.0.1', context });
          await once(wss, 'listening');
          wss.on('connection', (ws) => ws.on('message', (data) => ws.send(data)));
          const clients = [];
          for (let i = 0; i < count; i++) {
            const ws = new WebSocket(`ws://127.0.0.1:${wss.address().port}`, { context });
            const client = { ws, sent: 0, received: 0, faults: [], closes: 0 };
            ws.on('message', (data) => {
              if (Number(data) !== client.received++) client.faults.push(String(data));
              ws.send(String(client.sent++));
            });
            ws.on('error', (error) => client.faults.push(error.message));
            ws.on('close', () => client.closes++);
            clients.push(client);
            await once(ws, 'open');
            for (let j = 0; j < 16; j++) ws.send(String(client.sent++));
          }
          return clients;
        };
        const survivor = new Context();
        const survivors = await open(survivor, 8);
        for (let round = 0; round < 10; round++) {
          const victim = new Context();
          const victims = await open(victim, 8);
          await until(() => victims.every(({ received }) => received > 20), 'traffic');
          await within(victim.destroy(), 'destroy()');
          await delay(1);
          for (const { closes, faults } of victims) {
            assert.equal(closes, 1);
            assert.deepEqual(faults, []);
          }
          const counts = victims.map(({ received }) => received);
          const before = survivors.map(({ received }) => received);
          await until(
            () => survivors.every(({ received }, i) => received > before[i] + 20),
            'traffic of the other context',
          );
          assert.deepEqual(
            victims.map(({ received }) => received),
            counts,
            'the destroyed context is silent',
          );
        }
        assert.equal(survivor.state, 'running');
        for (const { faults, closes } of survivors) {
          assert.deepEqual(faults, []);
          assert.equal(closes, 0);
        }
        await survivor.destroy();
      },
      { timeout: 50_000 },
    ),
  60_000,
);

test('a server and its clients can be in different contexts, which end one by one', () =>
  inChild(async ({ uvws, assert, once, within }) => {
    const serverSide = new uvws.Context();
    const clientSide = new uvws.Context();
    const wss = new uvws.WebSocketServer({ port: 0, host: '127.0.0.1', context: serverSide });
    await once(wss, 'listening');
    const ws = new uvws.WebSocket(`ws://127.0.0.1:${wss.address().port}`, { context: clientSide });
    await once(ws, 'open');
    const closed = once(ws, 'close');
    await serverSide.destroy();
    const [code] = await within(closed, 'close of the client');
    assert.equal(code, 1006);
    assert.equal(clientSide.state, 'running');
    assert.equal(clientSide.stats().connections, 0);
    await clientSide.destroy();
  }));

test('what a handler of one context does to another one does not wait for something else to wake the loop', () =>
  inChild(async ({ uvws, assert, once, within, rawClient }) => {
    // Milliseconds, before which nothing else wakes the loop.
    const WAKE = 5000;
    const { Context, WebSocketServer, WebSocket } = uvws;
    const one = new Context();
    const other = new Context();
    const listen = async (context) => {
      const wss = new WebSocketServer({ port: 0, host: '127.0.0.1', context });
      await within(once(wss, 'listening'), 'listening', WAKE);
      return wss;
    };
    const wss = await listen(other);
    const connected = once(wss, 'connection');
    const peer = await rawClient(wss.address().port);
    const [connection] = await connected;

    // The close of a server and the end of a context are told in other phases of a loop's turn than
    // what a socket brings.
    for (let i = 0; i < 5; i++) {
      const closing = await listen(one);
      closing.close();
      await once(closing, 'close');
      connection.send('after a server has closed');
      assert.equal(String((await peer.nextFrame(WAKE)).payload), 'after a server has closed');
      (await listen(other)).close();

      const ending = new Context();
      await listen(ending);
      await ending.destroy();
      connection.send('after a context has ended');
      assert.equal(String((await peer.nextFrame(WAKE)).payload), 'after a context has ended');
      await listen(other);

      one.wake();
      await once(one, 'waitCancelled');
      const ws = new WebSocket(`ws://127.0.0.1:${wss.address().port}`, { context: other });
      await within(once(ws, 'open'), 'open', WAKE);
      ws.on('error', () => {});
      new WebSocket('ws://127.0.0.1:1', { context: other }).on('error', () => ws.close());
      await within(once(ws, 'close'), 'close', WAKE);
    }
    await peer.destroy();
    await Promise.all([one.destroy(), other.destroy()]);
  }));
