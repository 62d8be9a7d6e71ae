const { rawConnect, upgradeRequest } = require('../support/peers.js');
const { inChild } = require('../support/child.js');

test('a server that has no free descriptor does not crash and does not spin, and accepts again when there is one', async () => {
  let child;
  const clients = [];
  /** Connects some, and asks for an upgrade; the server may drop them. */
  const connectSome = async (port, count) => {
    const some = [];
    for (let i = 0; i < count; i++) {
      const peer = await rawConnect(port).catch(() => null);
      if (peer === null) continue;
      peer.write(upgradeRequest());
      some.push(peer);
    }
    clients.push(...some);
    return some;
  };
  try {
    await inChild(
      async ({ uvws, assert, once, delay, steadyGrowth, until }) => {
        const fs = require('fs');
        const ask = async (request) => {
          process.send(request);
          const [answer] = await once(process, 'message');
          return answer;
        };
        const context = new uvws.Context();
        const wss = new uvws.WebSocketServer({ port: 0, host: '127.0.0.1', context });
        await once(wss, 'listening');
        const { port } = wss.address();
        let connections = 0;
        wss.on('connection', () => connections++);
        wss.on('error', (error) => assert.fail(`no error of the server, but ${error.code}`));
        await ask({ port, count: 4 });
        await until(() => connections === 4, 'connections before');

        // Takes every descriptor that is left.
        const held = [];
        for (;;) {
          try {
            held.push(fs.openSync('/dev/null'));
          } catch (error) {
            assert.equal(error.code, 'EMFILE');
            break;
          }
        }
        await ask({ port, count: 20 });
        const time = async () => {
          await delay(500);
          const { user, system } = process.cpuUsage();
          return user + system;
        };
        const growth = await steadyGrowth(time, 150_000);
        assert.ok(growth < 150_000, `${growth} us of CPU time in half a second`);
        assert.equal(context.state, 'running');

        for (const fd of held) fs.closeSync(fd);
        await ask({ port, count: 10 });
        await until(() => connections >= 14, 'connections after');
        await context.destroy();
        process.disconnect();
      },
      {
        wrapper: ['/bin/sh', '-c', 'ulimit -n 64 && exec "$0" "$@"'],
        onSpawn(spawned) {
          child = spawned;
          child.on('message', async ({ port, count }) => {
            await connectSome(port, count);
            child.send('done');
          });
        },
      },
    );
  } finally {
    await Promise.all(clients.map((peer) => peer.destroy()));
  }
});

test('a client that gets no descriptor fails with EMFILE', () =>
  inChild(
    async ({ uvws, assert, rawServer }) => {
      const fs = require('fs');
      const server = await rawServer();
      const context = new uvws.Context();
      const held = [];
      try {
        for (;;) held.push(fs.openSync('/dev/null'));
      } catch (error) {
        assert.equal(error.code, 'EMFILE');
      }
      const ws = new uvws.WebSocket(server.url, { context });
      const events = [];
      ws.on('error', (error) => events.push(error.code));
      await new Promise((resolve) => ws.on('close', resolve));
      for (const fd of held) fs.closeSync(fd);
      assert.deepEqual(events, ['EMFILE']);

      const next = new uvws.WebSocket(server.url, { context });
      await new Promise((resolve) => next.on('open', resolve));
      await context.destroy();
      await server.close();
    },
    { wrapper: ['/bin/sh', '-c', 'ulimit -n 64 && exec "$0" "$@"'] },
  ));

test('a connection of an HTTP server is upgraded though no descriptor is left to take it over with', () =>
  inChild(
    async ({ uvws, assert, once, frames, rawConnect, turn }) => {
      const fs = require('fs');
      const http = require('http');
      const { upgradeRequest } = require('./peers.js');
      process.on('uncaughtException', (error) => assert.fail(error));
      const context = new uvws.Context();
      const server = http.createServer();
      const wss = new uvws.WebSocketServer({ server, context });
      wss.on('connection', (ws) => ws.on('message', (data) => ws.send(String(data))));
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      // What Node opens with the first request is open.
      const first = await rawConnect(server.address().port);
      first.write(upgradeRequest());
      await first.when(({ head }) => head !== null);

      const accepted = once(server, 'connection');
      const peer = await rawConnect(server.address().port);
      await accepted;
      await turn();
      const held = [];
      try {
        for (;;) held.push(fs.openSync('/dev/null'));
      } catch (error) {
        assert.equal(error.code, 'EMFILE');
      }
      peer.write(upgradeRequest());
      peer.send(frames.TEXT, 'right behind the request');
      peer.send(frames.TEXT, 'and again');
      await peer.when(({ frames: { length } }) => length === 2);
      assert.equal(peer.status, 101);
      const texts = peer.frames.map(({ payload }) => String(payload));
      assert.deepEqual(texts, ['right behind the request', 'and again']);
      for (const fd of held) fs.closeSync(fd);
      await context.destroy();
      await Promise.all([first.destroy(), peer.destroy()]);
      await new Promise((resolve) => server.close(resolve));
    },
    { wrapper: ['/bin/sh', '-c', 'ulimit -n 64 && exec "$0" "$@"'] },
  ));
