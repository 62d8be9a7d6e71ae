const { inChild } = require('../support/child.js');

test('10,000 servers are made and destroyed one after the other on one port, which is free at once each time', async () => {
  // In 5,000 cycles the four handles of a context, lost in each, would be more than three megabytes.
  const limit = 2 * 1024 * 1024;
  const { timerTicks, growth } = await inChild(
    async ({ uvws, assert, once, freePort, rawClient, census, input, steadyGrowth }) => {
      const { Context, WebSocketServer } = uvws;
      const port = await freePort();
      let closes = 0;
      let serverCloses = 0;
      let timerTicks = 0;
      const timer = setInterval(() => timerTicks++, 5);

      async function cycle(index) {
        const context = new Context();
        context.on('close', () => closes++);
        const wss = new WebSocketServer({ port, host: '127.0.0.1', context });
        wss.on('close', () => serverCloses++);
        await once(wss, 'listening');
        // Now and then somebody is connected, so that there is a socket to be dropped.
        const peer = index % 250 === 0 ? await rawClient(port) : null;
        await context.destroy();
        if (peer) await peer.destroy();
        if (index % 100 === 0) assert.equal(context.stats().handles, 0);
      }

      const memory = () => {
        gc();
        return process.memoryUsage().rss;
      };
      // The least of several looks: between two of them the engine's own memory goes up and down.
      let done = 0;
      const leastMemory = async (cycles) => {
        let least = Infinity;
        for (let end = done + cycles; done < end; done++) {
          await cycle(done);
          if (done % 1000 === 999) least = Math.min(least, memory());
        }
        return least;
      };
      await leastMemory(5000);
      const descriptors = Object.keys(census.descriptors()).length;
      const growth = await steadyGrowth(() => leastMemory(5000), input);
      assert.ok(Object.keys(census.descriptors()).length <= descriptors + 1);
      clearInterval(timer);
      assert.equal(closes, done, 'each context emits close once');
      assert.equal(serverCloses, done, 'each server emits close once');
      return { timerTicks, growth };
    },
    // With a small nursery the engine's own memory hardly moves, and what grows is a leak.
    { input: limit, nodeArgs: ['--expose-gc', '--max-semi-space-size=1'], timeout: 60_000 },
  );
  expect(timerTicks).toBeGreaterThan(10);
  expect(growth).toBeLessThan(limit);
}, 70_000);

test('a port can be bound again in the close event of the server that had it', () =>
  inChild(async ({ uvws, assert, once, freePort, within }) => {
    const port = await freePort();
    const context = new uvws.Context();
    let wss = new uvws.WebSocketServer({ port, host: '127.0.0.1', context });
    for (let i = 0; i < 20; i++) {
      await once(wss, 'listening');
      const next = new Promise((resolve, reject) => {
        wss.once('close', () => {
          const successor = new uvws.WebSocketServer({ port, host: '127.0.0.1', context });
          successor.on('error', reject);
          resolve(successor);
        });
      });
      wss.close();
      wss = await within(next);
    }
    await once(wss, 'listening');
    assert.equal(wss.address().port, port);
    await context.destroy();
  }));
