const { inChild } = require('../support/child.js');

// What the timers of somebody else may be off by. They share the thread with the work of a cycle,
// and the machine with other programs, so a single one may come late by a good deal; but no turn
// of the loop may get stuck, and on the whole they must keep their period.
const PERIOD = 5;
const TOLERANCE = { mean: 2, single: 400 };

test('timers of the program keep their period through 100 cycles beside 1,000 connections', async () => {
  const { mean, latest, ticks } = await inChild(
    async ({ uvws, assert, once, rawClient, delay, input }) => {
      const { Context, WebSocketServer, WebSocket } = uvws;
      const bystander = new Context();
      const wss = new WebSocketServer({ port: 0, host: '127.0.0.1', context: bystander });
      await once(wss, 'listening');
      let closes = 0;
      wss.on('connection', (ws) => ws.on('close', () => closes++));
      const peers = [];
      for (let i = 0; i < 20; i++) {
        const some = Array.from({ length: 50 }, () => rawClient(wss.address().port));
        peers.push(...(await Promise.all(some)));
      }

      const times = [performance.now()];
      const timer = setInterval(() => times.push(performance.now()), input.period);
      for (let cycle = 0; cycle < 100; cycle++) {
        const context = new Context();
        const server = new WebSocketServer({ port: 0, host: '127.0.0.1', context });
        await once(server, 'listening');
        const clients = Array.from(
          { length: 10 },
          () => new WebSocket(`ws://127.0.0.1:${server.address().port}`, { context }),
        );
        await Promise.all(clients.map((ws) => once(ws, 'open')));
        await context.destroy();
        await delay(1);
      }
      // And all 1,000 at once.
      await bystander.destroy();
      await delay(5 * input.period);
      clearInterval(timer);
      times.push(performance.now());
      assert.equal(closes, 1000);
      await Promise.all(peers.map((peer) => peer.destroy()));

      const gaps = times.slice(1).map((time, i) => time - times[i]);
      gaps.pop();
      const sorted = [...gaps].sort((a, b) => a - b);
      // The middle half: what one late turn does to the next one is not in it.
      const middle = sorted.slice(sorted.length >> 2, -(sorted.length >> 2));
      return {
        ticks: gaps.length,
        mean: middle.reduce((sum, gap) => sum + gap, 0) / middle.length,
        latest: sorted.at(-1),
      };
    },
    { input: { period: PERIOD }, timeout: 30_000 },
  );
  expect(ticks).toBeGreaterThan(20);
  expect(mean).toBeGreaterThan(PERIOD - TOLERANCE.mean);
  expect(mean).toBeLessThan(PERIOD + TOLERANCE.mean);
  expect(latest).toBeLessThan(PERIOD + TOLERANCE.single);
}, 35_000);

test('handles of Node on the same loop live on when contexts come and go', () =>
  inChild(async ({ uvws, assert, once, net, delay }) => {
    const server = net.createServer((socket) => socket.pipe(socket));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const socket = net.connect(server.address().port, '127.0.0.1');
    await once(socket, 'connect');
    let immediates = 0;
    for (let i = 0; i < 50; i++) {
      const context = new uvws.Context();
      setImmediate(() => immediates++);
      const wss = new uvws.WebSocketServer({ port: 0, host: '127.0.0.1', context });
      await once(wss, 'listening');
      socket.write(`round ${i}`);
      const echo = once(socket, 'data');
      await Promise.all([context.destroy(), echo.then(([data]) => String(data))]).then(([, text]) =>
        assert.equal(text, `round ${i}`),
      );
    }
    await delay(1);
    assert.equal(immediates, 50);
    socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  }));
