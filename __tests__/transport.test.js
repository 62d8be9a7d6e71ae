// What carries a connection: a handle of libuv's for each, or on Linux a socket in a set with one
// handle for all. Whatever it is, a program sees the same; it is chosen when the addon loads.

const { inChild } = require('./support/child.js');
const { rawClient, rawConnect } = require('./support/peers.js');

const transports = process.platform === 'linux' ? ['uv', 'epoll'] : ['uv'];

describe.each(transports)('over %s', (transport) => {
  const options = { env: { UVWS_TRANSPORT: transport }, input: transport };

  test('connections take the handles that they should', () =>
    inChild(async ({ uvws, assert, once, census, input }) => {
      const { WebSocket, WebSocketServer } = uvws;
      const before = census.handles();
      const context = new uvws.Context();
      const wss = new WebSocketServer({ port: 0, host: '127.0.0.1', context });
      await once(wss, 'listening');
      const clients = Array.from(
        { length: 20 },
        () => new WebSocket(`ws://127.0.0.1:${wss.address().port}`, { context }),
      );
      await Promise.all(clients.map((ws) => once(ws, 'open')));
      const now = census.handles();
      const more = (type) => (now[type] ?? 0) - (before[type] ?? 0);
      // A listener, and two ends of each connection.
      const expected = input === 'uv' ? { tcp: 41, poll: 0 } : { tcp: 0, poll: 1 };
      assert.deepEqual({ tcp: more('tcp'), poll: more('poll') }, expected);
      await context.destroy();
    }, options));

  test('a paused connection gets later what came meanwhile, and the end behind it', () =>
    inChild(async ({ uvws, assert, once, rawClient, frames, delay, until }) => {
      const context = new uvws.Context();
      const wss = new uvws.WebSocketServer({ port: 0, host: '127.0.0.1', context });
      await once(wss, 'listening');
      const peer = await rawClient(wss.address().port);
      const [ws] = wss.clients;
      const lengths = [];
      ws.on('message', (data) => lengths.push(data.length));
      const closed = once(ws, 'close');
      // Once with more to come after, and once with the end behind it.
      for (const isLast of [false, true]) {
        ws.pause();
        for (let i = 1; i <= 100; i++) peer.send(frames.BINARY, Buffer.alloc(i * 10));
        if (isLast) peer.socket.end();
        await delay(50);
        assert.equal(lengths.length, isLast ? 100 : 0);
        ws.resume();
        await until(() => lengths.length === (isLast ? 200 : 100), 'the messages');
      }
      const [code] = await closed;
      assert.equal(code, 1006);
      assert.deepEqual(
        lengths,
        Array.from({ length: 200 }, (_, i) => ((i % 100) + 1) * 10),
      );
      await context.destroy();
    }, options));

  test(
    'what is larger than a turn and a socket can take arrives whole, both ways',
    () =>
      inChild(
        async ({ uvws, assert, once, rawClient, frames, until }) => {
          const context = new uvws.Context();
          const wss = new uvws.WebSocketServer({ port: 0, host: '127.0.0.1', context });
          await once(wss, 'listening');
          const peer = await rawClient(wss.address().port);
          const [ws] = wss.clients;
          ws.on('message', (data) => ws.send(data));
          // Nothing is read here until the reply is stuck half-way.
          peer.socket.pause();
          const payload = Buffer.alloc(24 * 1024 * 1024);
          for (let i = 0; i < payload.length; i += 4) payload.writeUInt32LE(i, i);
          peer.send(frames.BINARY, payload);
          await until(() => ws.bufferedAmount > 0, 'a queued write');
          peer.socket.resume();
          const frame = await peer.nextFrame();
          assert.ok(payload.equals(frame.payload));
          await until(() => ws.bufferedAmount === 0, 'the end of it');
          // And what is small goes its way afterwards.
          peer.send(frames.TEXT, 'small');
          assert.equal((await peer.nextFrame()).payload.toString(), 'small');
          await context.destroy();
          await peer.destroy();
        },
        { ...options, timeout: 50_000 },
      ),
    60_000,
  );

  test('what a peer sent before it reset the connection is delivered, though output is stuck', () =>
    inChild(async ({ uvws, assert, once, rawClient, frames, until }) => {
      const context = new uvws.Context();
      const wss = new uvws.WebSocketServer({ port: 0, host: '127.0.0.1', context });
      await once(wss, 'listening');
      const peer = await rawClient(wss.address().port);
      const [ws] = wss.clients;
      const messages = [];
      ws.on('message', (data) => messages.push(String(data)));
      peer.socket.pause();
      ws.send(Buffer.alloc(64 * 1024 * 1024));
      await until(() => ws.bufferedAmount > 0, 'output that is stuck');
      const closed = once(ws, 'close');
      // All of it is there before the server's loop looks again.
      peer.write(Buffer.concat([frames.frame(frames.TEXT, 'last words'), frames.closeFrame(1000)]));
      peer.socket.resetAndDestroy();
      const [code] = await closed;
      assert.deepEqual(messages, ['last words']);
      assert.equal(code, 1000);
      await context.destroy();
    }, options));

  test('all connections that come at once are accepted', () =>
    inChild(async ({ uvws, assert, once, rawClient }) => {
      const context = new uvws.Context();
      const wss = new uvws.WebSocketServer({ port: 0, host: '127.0.0.1', context });
      await once(wss, 'listening');
      const { port } = wss.address();
      const peers = await Promise.all(Array.from({ length: 200 }, () => rawClient(port)));
      assert.equal(wss.clients.size, 200);
      await context.destroy();
      await Promise.all(peers.map((peer) => peer.destroy()));
    }, options));

  test('a connection keeps the process alive, unless it is paused or lets go of it', () =>
    inChild(async ({ uvws, assert, once, rawServer }) => {
      const server = await rawServer();
      const context = new uvws.Context();
      const ws = new uvws.WebSocket(server.url, { context });
      await once(ws, 'open');
      const referenced = () =>
        process.report
          .getReport()
          .libuv.filter(({ type, is_referenced: isReferenced, is_active: isActive, ...rest }) => {
            const isServers = rest.localEndpoint?.port === server.port;
            return ['tcp', 'poll'].includes(type) && isReferenced && isActive && !isServers;
          }).length;
      assert.equal(referenced(), 1);
      ws.pause();
      assert.equal(referenced(), 0);
      ws.resume();
      assert.equal(referenced(), 1);
      context.unref();
      assert.equal(referenced(), 0);
      context.ref();
      assert.equal(referenced(), 1);
      await context.destroy();
      await server.close();
    }, options));
});

if (transports.includes('epoll')) {
  test('whoever waits while there is no descriptor is accepted when there is one', async () => {
    let waiting;
    await inChild(
      async ({ uvws, assert, once, until }) => {
        const fs = require('fs');
        const context = new uvws.Context();
        const wss = new uvws.WebSocketServer({ port: 0, host: '127.0.0.1', context });
        await once(wss, 'listening');
        const held = [];
        try {
          for (;;) held.push(fs.openSync('/dev/null'));
        } catch (error) {
          assert.equal(error.code, 'EMFILE');
        }
        process.send({ port: wss.address().port });
        await once(process, 'message');
        assert.equal(wss.clients.size, 0);
        for (const fd of held) fs.closeSync(fd);
        await until(() => wss.clients.size === 5, 'those who wait');
        await context.destroy();
        process.disconnect();
      },
      {
        env: { UVWS_TRANSPORT: 'epoll' },
        wrapper: ['/bin/sh', '-c', 'ulimit -n 64 && exec "$0" "$@"'],
        onSpawn(child) {
          child.on('message', async ({ port }) => {
            waiting = Array.from({ length: 5 }, () => rawClient(port));
            // The kernel has them all once another one after them is there.
            const last = await rawConnect(port);
            await last.destroy();
            child.send('connected');
          });
        },
      },
    );
    const peers = await Promise.all(waiting);
    expect(peers.map((peer) => peer.status)).toEqual(Array(5).fill(101));
    await Promise.all(peers.map((peer) => peer.destroy()));
  });
}
