const { inChild } = require('../support/child.js');

const nodeArgs = ['--expose-gc'];

test('garbage collection between all steps takes nothing that is still needed', () =>
  inChild(
    async ({ uvws, assert, once, rawClient, frames, turn }) => {
      const collect = async () => {
        gc();
        await turn();
        gc();
      };
      for (let round = 0; round < 5; round++) {
        // Nothing of this is held by a variable but the promises.
        const closed = (() => {
          const context = new uvws.Context({ data: { round } });
          const wss = new uvws.WebSocketServer({ port: 0, host: '127.0.0.1', context });
          wss.on('connection', (ws) => ws.on('message', (data) => ws.send(`${data}!`)));
          globalThis.port = once(wss, 'listening').then(() => wss.address().port);
          globalThis.end = () => context.close({ timeout: 1000 });
          return context.closed;
        })();
        await collect();
        const port = await globalThis.port;
        await collect();
        const peer = await rawClient(port);
        await collect();
        peer.send(frames.TEXT, 'hello');
        await collect();
        assert.equal(String((await peer.nextFrame()).payload), 'hello!');

        const echoed = new Promise((resolve) => {
          const ws = new uvws.WebSocket(`ws://127.0.0.1:${port}`);
          ws.on('open', () => ws.send('from a client'));
          ws.on('message', (data) => {
            ws.close();
            resolve(String(data));
          });
        });
        await collect();
        assert.equal(await echoed, 'from a client!');
        await collect();
        globalThis.end();
        delete globalThis.end;
        await collect();
        assert.deepEqual(await peer.closing(), { code: 1001, reason: '' });
        peer.close(1001);
        await collect();
        await closed;
        await collect();
      }
      await uvws.Context.default.destroy();
    },
    { nodeArgs },
  ));

test(
  'the memory of long messages goes back to the system',
  () =>
    inChild(
      async ({ uvws, assert, once, until }) => {
        const wss = new uvws.WebSocketServer({ port: 0, host: '127.0.0.1' });
        await once(wss, 'listening');
        const client = new uvws.WebSocket(`ws://127.0.0.1:${wss.address().port}`);
        const [[server]] = await Promise.all([once(wss, 'connection'), once(client, 'open')]);
        const before = process.memoryUsage.rss();
        const kept = [];
        server.on('message', (data) => kept.push(data.length, data[0], data.at(-1), data));
        for (let i = 1; i <= 6; i++) {
          client.send(Buffer.alloc(48 * 1024 * 1024, i));
          await until(() => kept.length === 4);
          assert.deepEqual(kept.splice(0).slice(0, 3), [48 * 1024 * 1024, i, i]);
        }
        await until(() => {
          gc();
          return process.memoryUsage.rss() - before < 48 * 1024 * 1024;
        });
        await uvws.Context.default.destroy();
      },
      { nodeArgs, timeout: 50_000 },
    ),
  60_000,
);

test('contexts, servers and connections are garbage once they have ended', () =>
  inChild(
    async ({ uvws, assert, once, until, rawClient }) => {
      const references = [];
      const round = async () => {
        const context = new uvws.Context();
        const wss = new uvws.WebSocketServer({ port: 0, host: '127.0.0.1', context });
        await once(wss, 'listening');
        const connected = once(wss, 'connection');
        const ws = new uvws.WebSocket(`ws://127.0.0.1:${wss.address().port}`, { context });
        await once(ws, 'open');
        const [connection] = await connected;
        const objects = { context, wss, ws, connection };
        for (const [name, object] of Object.entries(objects)) {
          references.push({ name, reference: new WeakRef(object) });
        }
        await context.destroy();
      };
      for (let i = 0; i < 20; i++) await round();

      // Connections that end while their context lives on.
      const context = new uvws.Context();
      const wss = new uvws.WebSocketServer({ port: 0, host: '127.0.0.1', context });
      await once(wss, 'listening');
      for (let i = 0; i < 20; i++) {
        const connected = once(wss, 'connection');
        const peer = await rawClient(wss.address().port);
        const [ws, request] = await connected;
        references.push({ name: 'closed connection', reference: new WeakRef(ws) });
        references.push({ name: 'request', reference: new WeakRef(request) });
        const closed = once(ws, 'close');
        await peer.destroy();
        await closed;
      }

      let alive;
      // The last of each may still be in a register or in a cache of the engine.
      const areGone = () => {
        gc();
        alive = {};
        for (const { name, reference } of references) {
          if (reference.deref()) alive[name] = (alive[name] ?? 0) + 1;
        }
        return Object.values(alive).every((count) => count <= 2);
      };
      await until(areGone, 'the collection').catch(() => assert.fail(JSON.stringify(alive)));
      await context.destroy();
    },
    { nodeArgs },
  ));

test('an open connection is not garbage, even if nobody holds it', () =>
  inChild(
    async ({ uvws, assert, once, turn, rawClient, frames }) => {
      const context = new uvws.Context();
      const wss = new uvws.WebSocketServer({
        port: 0,
        host: '127.0.0.1',
        context,
        clientTracking: false,
      });
      await once(wss, 'listening');
      wss.on('connection', (ws) => ws.on('message', (data) => ws.send(data)));
      const peer = await rawClient(wss.address().port);
      for (let i = 0; i < 5; i++) {
        await turn();
        gc();
      }
      peer.send(frames.TEXT, 'alive');
      assert.equal(String((await peer.nextFrame()).payload), 'alive');
      await peer.destroy();
      await context.destroy();
    },
    { nodeArgs },
  ));

test('a message stays as it is, however long it is kept', () =>
  inChild(
    async ({ uvws, assert, once, rawClient, frames, until }) => {
      const context = new uvws.Context();
      const wss = new uvws.WebSocketServer({ port: 0, host: '127.0.0.1', context });
      await once(wss, 'listening');
      const kept = [];
      wss.on('connection', (ws) => ws.on('message', (data) => kept.push(data)));
      const peer = await rawClient(wss.address().port);
      const sizes = [1, 125, 126, 4096, 20_000, 70_000];
      for (let i = 0; i < 300; i++) {
        peer.send(frames.BINARY, Buffer.alloc(sizes[i % sizes.length], i & 255));
        if (i % 50 === 0) await until(() => kept.length >= i, 'messages');
        if (i % 20 === 0) gc();
      }
      await until(() => kept.length === 300, 'all messages');
      kept.forEach((data, i) => {
        assert.equal(data.length, sizes[i % sizes.length]);
        assert.ok(
          data.every((byte) => byte === (i & 255)),
          `message ${i} has changed`,
        );
      });
      await peer.destroy();
      await context.destroy();
    },
    { nodeArgs },
  ));
