const { inChild } = require('../support/child.js');

// What the timers of somebody else may be off by. They share the thread with the work of a cycle, and
// the machine with other programs, so all that counts is what they would not be beside ws as well, which
// does the same in the same process. No turn of the loop may get stuck, and on the whole timers must keep
// their period.
const PERIOD = 5;
const TOLERANCE = { mean: 2, single: 400 };

test('timers of the program keep their period through 100 cycles beside 1,000 connections', () =>
  inChild(
    async ({ uvws, assert, once, rawClient, delay, input, require }) => {
      const { period, tolerance } = input;
      const ws = require('ws');
      const url = (wss) => `ws://127.0.0.1:${wss.address().port}`;
      /** What makes servers and clients that end together. */
      const ours = () => {
        const context = new uvws.Context();
        return {
          serve: () => new uvws.WebSocketServer({ port: 0, host: '127.0.0.1', context }),
          connect: (wss) => new uvws.WebSocket(url(wss), { context }),
          end: () => context.destroy(),
        };
      };
      const theirs = () => {
        let wss;
        return {
          serve: () => (wss = new ws.WebSocketServer({ port: 0, host: '127.0.0.1' })),
          connect: () => new ws.WebSocket(url(wss)),
          async end() {
            for (const each of wss.clients) each.terminate();
            await new Promise((resolve) => wss.close(resolve));
          },
        };
      };

      /** How late timers are meanwhile. */
      const measure = async (make) => {
        const bystander = make();
        const wss = bystander.serve();
        await once(wss, 'listening');
        let closes = 0;
        wss.on('connection', (each) => each.on('close', () => closes++));
        const peers = [];
        for (let i = 0; i < 20; i++) {
          const some = Array.from({ length: 50 }, () => rawClient(wss.address().port));
          peers.push(...(await Promise.all(some)));
        }

        const times = [performance.now()];
        const timer = setInterval(() => times.push(performance.now()), period);
        for (let cycle = 0; cycle < 100; cycle++) {
          const group = make();
          const server = group.serve();
          await once(server, 'listening');
          const clients = Array.from({ length: 10 }, () => group.connect(server));
          await Promise.all(clients.map((client) => once(client, 'open')));
          await group.end();
          await delay(1);
        }
        // And all 1,000 at once.
        await bystander.end();
        await delay(5 * period);
        clearInterval(timer);
        assert.equal(closes, 1000);
        await Promise.all(peers.map((peer) => peer.destroy()));

        const gaps = times.slice(1).map((time, i) => time - times[i]);
        const sorted = gaps.sort((a, b) => a - b);
        // The middle half: what one late turn does to the next one is not in it.
        const middle = sorted.slice(sorted.length >> 2, -(sorted.length >> 2));
        assert.ok(gaps.length > 20);
        return {
          mean: middle.reduce((sum, gap) => sum + gap, 0) / middle.length,
          latest: sorted.at(-1),
        };
      };

      // Whoever is late by himself is so in each round.
      const rounds = [];
      const isInTime = async () => {
        const [own, other] = [await measure(ours), await measure(theirs)];
        rounds.push({ own, other });
        const most = {
          mean: Math.max(period + tolerance.mean, other.mean),
          latest: other.latest + tolerance.single,
        };
        return own.mean < most.mean && own.latest < most.latest;
      };
      while (!(await isInTime())) assert.ok(rounds.length < 4, JSON.stringify(rounds));
    },
    { input: { period: PERIOD, tolerance: TOLERANCE } },
  ));

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
