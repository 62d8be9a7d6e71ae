const { inChild } = require('../support/child.js');

test(
  '1,000 contexts with servers and clients are destroyed in random order',
  () =>
    inChild(
      async ({ uvws, assert, once, generator, census, until }) => {
        const { Context, WebSocketServer, WebSocket } = uvws;
        const random = generator(3);
        const entries = [];
        for (let i = 0; i < 1000; i++) {
          const context = new Context({ data: i });
          const entry = { context, closes: 0, serverCloses: 0, wss: null };
          context.on('close', () => {
            entry.closes++;
            entry.order = entries.order++;
          });
          if (i % 2 === 0) {
            entry.wss = new WebSocketServer({ port: 0, host: '127.0.0.1', context });
            entry.wss.on('close', () => entry.serverCloses++);
          }
          entries.push(entry);
        }
        entries.order = 0;
        const servers = entries.filter(({ wss }) => wss);
        await Promise.all(servers.map(({ wss }) => wss.address() ?? once(wss, 'listening')));

        // Every fifth context also has a client, which is connected to the server of another one.
        const clients = [];
        for (let i = 0; i < 1000; i += 5) {
          const { wss } = servers[Math.floor(random() * servers.length)];
          const ws = new WebSocket(`ws://127.0.0.1:${wss.address().port}`, {
            context: entries[i].context,
          });
          const client = { ws, events: [] };
          ws.on('open', () => client.events.push('open'));
          ws.on('error', () => client.events.push('error'));
          ws.on('close', (code) => client.events.push(`close ${code}`));
          clients.push(client);
        }
        await until(() => clients.every(({ events }) => events[0] === 'open'), 'all clients open');

        const shuffled = [...entries];
        for (let i = shuffled.length - 1; i > 0; i--) {
          const j = Math.floor(random() * (i + 1));
          [shuffled[i], shuffled[j]] = [shuffled[j], shuffled[i]];
        }
        const promises = [];
        for (const { context } of shuffled) {
          promises.push(context.destroy());
          if (random() < 0.2) await new Promise(setImmediate);
        }
        await Promise.all(promises);
        await new Promise(setImmediate);

        for (const { context, closes, serverCloses, wss } of entries) {
          assert.equal(context.state, 'destroyed');
          assert.equal(
            context.data,
            entries.findIndex((entry) => entry.context === context),
          );
          assert.equal(closes, 1);
          assert.equal(serverCloses, wss ? 1 : 0);
          assert.equal(context.stats().handles, 0);
        }
        for (const { events } of clients) {
          assert.deepEqual(events, ['open', 'close 1006']);
        }
        assert.equal(census.handles().tcp ?? 0, 0);
      },
      { timeout: 50_000 },
    ),
  60_000,
);
