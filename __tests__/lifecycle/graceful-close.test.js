const { inChild } = require('../support/child.js');

test(
  'close() with 1,000 idle clients gives each the code and the reason, and a FIN',
  () =>
    inChild(
      async ({ uvws, assert, once, rawClient, within }) => {
        const context = new uvws.Context();
        const wss = new uvws.WebSocketServer({ port: 0, host: '127.0.0.1', context });
        await once(wss, 'listening');
        const closes = [];
        wss.on('connection', (ws) => ws.on('close', (...args) => closes.push(args)));
        const peers = [];
        for (let i = 0; i < 20; i++) {
          const some = Array.from({ length: 50 }, () => rawClient(wss.address().port));
          peers.push(...(await Promise.all(some)));
        }
        assert.equal(context.stats().connections, 1000);
        for (const peer of peers) {
          peer
            .when(({ frames }) => frames.length > 0)
            .then(
              // The answer is the same code and reason (RFC 6455 section 5.5.1).
              () => peer.close(1001, 'restarting'),
              () => {},
            );
        }
        const promise = context.close({ code: 1001, reason: 'restarting', timeout: 60_000 });
        assert.equal(context.state, 'closing');
        await within(promise, 'close()');
        await Promise.all(peers.map((peer) => peer.when(({ hasClosed }) => hasClosed)));

        for (const peer of peers) {
          assert.deepEqual(await peer.closing(), { code: 1001, reason: 'restarting' });
          assert.equal(peer.frames.length, 1);
          assert.equal(peer.hasEnded, true, 'the socket ends by a FIN');
          assert.equal(peer.error, null, 'and not by a reset');
        }
        assert.equal(closes.length, 1000);
        for (const [code, reason] of closes) {
          assert.equal(code, 1001);
          assert.equal(String(reason), 'restarting');
        }
        assert.equal(context.stats().handles, 0);
      },
      { timeout: 50_000 },
    ),
  60_000,
);

test('close() without arguments sends 1001 without a reason', () =>
  inChild(async ({ uvws, assert, once, rawClient, within }) => {
    const context = new uvws.Context();
    const wss = new uvws.WebSocketServer({ port: 0, host: '127.0.0.1', context });
    await once(wss, 'listening');
    const peer = await rawClient(wss.address().port);
    context.close();
    assert.deepEqual(await peer.closing(), { code: 1001, reason: '' });
    peer.close(1001);
    await within(context.closed);
    await peer.destroy();
  }));

test('a client that never answers the Close frame is terminated when the timeout is over', () =>
  inChild(async ({ uvws, assert, once, rawClient, within }) => {
    const context = new uvws.Context();
    const wss = new uvws.WebSocketServer({ port: 0, host: '127.0.0.1', context });
    await once(wss, 'listening');
    const closes = [];
    wss.on('connection', (ws) =>
      ws.on('close', (code) => {
        closes.push(code);
        // It is told when all handles are gone.
        assert.equal(context.stats().handles, 0);
      }),
    );
    const peer = await rawClient(wss.address().port);
    const start = performance.now();
    context.close({ code: 1012, reason: 'soon back', timeout: 300 });
    assert.deepEqual(await peer.closing(), { code: 1012, reason: 'soon back' });
    assert.equal(context.state, 'closing');
    await within(context.closed, 'close()');
    const elapsed = performance.now() - start;
    assert.ok(elapsed >= 290, `not before the timeout, but after ${elapsed} ms`);
    assert.deepEqual(closes, [1006]);
    await peer.destroy();
  }));

test('a client that never reads is terminated when the timeout is over', () =>
  inChild(async ({ uvws, assert, once, rawClient, within }) => {
    const context = new uvws.Context();
    const wss = new uvws.WebSocketServer({ port: 0, host: '127.0.0.1', context });
    await once(wss, 'listening');
    const closes = [];
    let server;
    wss.on('connection', (ws) => {
      server = ws;
      ws.on('close', (code) => closes.push(code));
    });
    const peer = await rawClient(wss.address().port);
    peer.socket.pause();
    const callbacks = [];
    server.send(Buffer.alloc(32 * 1024 * 1024), (error) => callbacks.push(error));
    assert.ok(server.bufferedAmount > 0);
    context.close({ timeout: 300 });
    await within(context.closed, 'close()');
    assert.deepEqual(closes, [1006]);
    assert.equal(callbacks.length, 1);
    assert.ok(callbacks[0] instanceof Error, 'the send that was not written out reports an error');
    await peer.destroy();
  }));

test('the Close frame of close() stands behind what is already queued', () =>
  inChild(async ({ uvws, assert, once, rawClient, within, frames }) => {
    const context = new uvws.Context();
    const wss = new uvws.WebSocketServer({ port: 0, host: '127.0.0.1', context });
    await once(wss, 'listening');
    let server;
    wss.on('connection', (ws) => (server = ws));
    const peer = await rawClient(wss.address().port);
    peer.socket.pause();
    for (let i = 0; i < 40; i++) server.send(Buffer.alloc(256 * 1024, i));
    context.close({ timeout: 60_000 });
    peer.socket.resume();
    await peer.when(({ frames }) => frames.length === 41);
    peer.frames.slice(0, 40).forEach(({ opcode, payload }, i) => {
      assert.equal(opcode, frames.BINARY);
      assert.equal(payload.length, 256 * 1024);
      assert.equal(payload[payload.length - 1], i);
    });
    assert.deepEqual(await peer.closing(), { code: 1001, reason: '' });
    peer.close(1001);
    await within(context.closed);
    await peer.destroy();
  }));

test('an upgrade whose verifyClient is pending when close() is called gets 503', () =>
  inChild(async ({ uvws, assert, once, rawClient, within, until }) => {
    const context = new uvws.Context();
    const answers = [];
    const wss = new uvws.WebSocketServer({
      port: 0,
      host: '127.0.0.1',
      context,
      verifyClient: (info, answer) => answers.push(answer),
    });
    await once(wss, 'listening');
    let connections = 0;
    wss.on('connection', () => connections++);
    const peer = await rawClient(wss.address().port, { wait: false });
    await until(() => answers.length === 1, 'verifyClient');
    context.close({ timeout: 60_000 });
    await peer.when(({ head }) => head !== null);
    assert.equal(peer.status, 503);
    answers[0](true);
    await within(context.closed, 'close()');
    answers[0](true);
    await peer.when(({ hasEnded, hasClosed }) => hasEnded || hasClosed);
    assert.equal(peer.error, null);
    assert.equal(connections, 0);
    await peer.destroy();
  }));

test('a handshake of which half has arrived when close() is called ends at once', () =>
  inChild(async ({ uvws, assert, once, rawConnect, within, until }) => {
    const context = new uvws.Context();
    const wss = new uvws.WebSocketServer({ port: 0, host: '127.0.0.1', context });
    await once(wss, 'listening');
    const peer = await rawConnect(wss.address().port);
    const silent = await rawConnect(wss.address().port);
    peer.write('GET / HTTP/1.1\r\nHost: x\r\n');
    await until(() => context.stats().bytesReceived > 0 || context.stats().pendingHandshakes >= 2);
    context.close({ timeout: 60_000 });
    await within(context.closed, 'close()');
    await Promise.all([peer, silent].map((each) => each.when(({ hasClosed }) => hasClosed)));
    if (peer.head !== null) assert.equal(peer.status, 503);
  }));

test('a client that is connecting when close() is called fails with a stable code', () =>
  inChild(async ({ uvws, assert, rawServer, within }) => {
    const server = await rawServer({ respond: () => {} });
    const context = new uvws.Context();
    const ws = new uvws.WebSocket(server.url, { context });
    const events = [];
    ws.on('error', (error) => events.push(['error', error.code]));
    ws.on('close', (code) => events.push(['close', code]));
    await server.peer();
    context.close({ timeout: 60_000 });
    assert.deepEqual(events, [], 'nothing is called from inside close()');
    await within(context.closed, 'close()');
    assert.deepEqual(events, [
      ['error', 'ERR_UVWS_CONTEXT_CLOSED'],
      ['close', 1006],
    ]);
    await server.close();
  }));

test('close() lets clients of the context finish their closing handshake', () =>
  inChild(async ({ uvws, assert, rawServer, within, once }) => {
    const server = await rawServer();
    const context = new uvws.Context();
    const ws = new uvws.WebSocket(server.url, { context });
    await once(ws, 'open');
    const closed = once(ws, 'close');
    context.close({ code: 4000, reason: 'bye', timeout: 60_000 });
    const peer = await server.peer();
    assert.deepEqual(await peer.closing(), { code: 4000, reason: 'bye' });
    peer.close(4000, 'bye');
    peer.socket.end();
    const [code, reason] = await within(closed);
    assert.equal(code, 4000);
    assert.equal(String(reason), 'bye');
    await within(context.closed);
    await server.close();
  }));

test.each(['a signal', 'destroy()'])('%s cuts a running close() short', (how) =>
  inChild(
    async ({ uvws, assert, once, rawClient, within, delay, input }) => {
      const context = new uvws.Context();
      const wss = new uvws.WebSocketServer({ port: 0, host: '127.0.0.1', context });
      await once(wss, 'listening');
      const peer = await rawClient(wss.address().port);
      const controller = new AbortController();
      const promise = context.close({ timeout: 60_000, signal: controller.signal });
      await peer.closing();
      await delay(50);
      assert.equal(context.state, 'closing');
      if (input === 'destroy()') assert.equal(context.destroy(), promise);
      else controller.abort();
      await within(promise, 'the end');
      assert.equal(context.state, 'destroyed');
      await peer.destroy();
    },
    { input: how },
  ),
);

test('drain() stops listening, keeps the connections, and ends with the last of them', () =>
  inChild(async ({ uvws, assert, once, rawClient, rawConnect, within, delay, until, frames }) => {
    const context = new uvws.Context();
    const wss = new uvws.WebSocketServer({ port: 0, host: '127.0.0.1', context });
    await once(wss, 'listening');
    const { port } = wss.address();
    wss.on('connection', (ws) => ws.on('message', (data) => ws.send(data)));
    const peers = [await rawClient(port), await rawClient(port)];
    let drainings = 0;
    context.on('draining', () => drainings++);
    const promise = context.drain();
    assert.equal(context.state, 'draining');
    await until(() => drainings > 0);
    assert.equal(drainings, 1);
    await assert.rejects(rawConnect(port), { code: 'ECONNREFUSED' });
    for (const peer of peers) {
      peer.send(frames.TEXT, 'still here', {});
      const { payload } = await peer.nextFrame();
      assert.equal(String(payload), 'still here');
    }
    peers[0].close(1000);
    await peers[0].when(({ hasClosed }) => hasClosed);
    await delay(50);
    assert.equal(context.state, 'draining');
    peers[1].socket.destroy();
    await within(promise, 'drain()');
    assert.equal(context.state, 'destroyed');
  }));
