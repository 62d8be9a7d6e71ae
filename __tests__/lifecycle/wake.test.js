const { inChild } = require('../support/child.js');

test('wakes before the loop turns are one event, and each turn can have one', () =>
  inChild(async ({ uvws, assert, turn, until }) => {
    const context = new uvws.Context();
    let events = 0;
    context.on('waitCancelled', () => events++);
    assert.equal(typeof context.wakeToken, 'bigint');
    for (let i = 0; i < 100; i++) {
      assert.equal(context.wake(), true);
      assert.equal(context.cancelService(), true);
      assert.equal(uvws.wake(context.wakeToken), true);
    }
    assert.equal(events, 0, 'nothing is called from inside wake()');
    await until(() => events > 0, 'waitCancelled');
    await turn();
    await turn();
    assert.equal(events, 1);
    for (let i = 2; i <= 10; i++) {
      context.wake();
      await until(() => events === i, 'another waitCancelled');
    }
    const token = context.wakeToken;
    await context.destroy();
    assert.equal(context.wake(), false);
    assert.equal(uvws.wake(token), false);
    await turn();
    assert.equal(events, 10);
  }));

test('a token is never used again, and one that nobody gave out wakes nobody', () =>
  inChild(async ({ uvws, assert }) => {
    const tokens = new Set();
    for (let i = 0; i < 500; i++) {
      const context = new uvws.Context();
      tokens.add(context.wakeToken);
      await context.destroy();
    }
    assert.equal(tokens.size, 500);
    for (const token of tokens) assert.equal(uvws.wake(token), false);
    for (const token of [0n, -1n, 2n ** 64n - 1n, 2n ** 64n, 2n ** 100n, 12345678901234567890n]) {
      assert.equal(uvws.wake(token), false);
    }
    for (const token of [undefined, null, 1, '1', {}, []]) {
      assert.throws(() => uvws.wake(token), TypeError, String(token));
    }
  }));

test(
  '8 workers send 100,000 wakes each while the main thread creates and destroys contexts',
  () =>
    inChild(
      async ({ uvws, assert, startWorker, once, turn }) => {
        const WORKERS = 8;
        const WAKES = 100_000;
        // Slots 0 to 7 hold the tokens of the moment; two counters follow.
        const tokens = new BigUint64Array(new SharedArrayBuffer(8 * 8));
        const counters = new Int32Array(new SharedArrayBuffer(8));
        const workers = Array.from({ length: WORKERS }, () =>
          startWorker(
            ({ uvws, input }) => {
              const { tokens, counters, wakes } = input;
              let taken = 0;
              for (let i = 0; i < wakes; i++) {
                if (uvws.wake(Atomics.load(tokens, i & 7))) taken++;
              }
              Atomics.add(counters, 0, taken);
              Atomics.add(counters, 1, 1);
            },
            { tokens, counters, wakes: WAKES },
          ),
        );
        const exits = workers.map((worker) => once(worker, 'exit'));

        let events = 0;
        let lateEvents = 0;
        let cycles = 0;
        const slots = Array(8).fill(null);
        while (Atomics.load(counters, 1) < WORKERS) {
          const index = cycles++ & 7;
          const old = slots[index];
          const context = new uvws.Context();
          context.on('waitCancelled', () => {
            events++;
            if (context.state === 'destroyed' || context.state === 'destroying') lateEvents++;
          });
          slots[index] = context;
          Atomics.store(tokens, index, context.wakeToken);
          if (old) await old.destroy();
          else await turn();
        }
        for (const [code] of await Promise.all(exits)) assert.equal(code, 0);
        await Promise.all(slots.map((context) => context?.destroy()));
        assert.equal(lateEvents, 0);
        assert.ok(cycles > 50, `${cycles} cycles`);
        assert.ok(events > 0);
        assert.ok(Atomics.load(counters, 0) >= events, 'an event needs a wake');
      },
      { timeout: 60_000 },
    ),
  65_000,
);

test('a wake from another thread interrupts a loop that waits, and costs no CPU time afterwards', () =>
  inChild(async ({ uvws, assert, startWorker, once, delay, steadyGrowth }) => {
    const context = new uvws.Context();
    const woken = once(context, 'waitCancelled');
    const worker = startWorker(async ({ uvws, input, delay, assert }) => {
      await delay(50);
      assert.equal(uvws.wake(input), true);
    }, context.wakeToken);
    // Listened to before it can happen: the worker may have ended when the wake arrives.
    const exited = once(worker, 'exit');
    await woken;
    await exited;
    const time = async () => {
      await delay(500);
      const { user, system } = process.cpuUsage();
      return user + system;
    };
    const growth = await steadyGrowth(time, 200_000);
    assert.ok(growth < 200_000, `${growth} us of CPU time in half a second`);
    await context.destroy();
  }));

test('a wake of a context that does not keep the loop alive is not lost while something else does', () =>
  inChild(async ({ uvws, assert, until }) => {
    const context = new uvws.Context();
    context.unref();
    let events = 0;
    context.on('waitCancelled', () => events++);
    context.wake();
    await until(() => events > 0, 'waitCancelled');
    assert.equal(events, 1);
    await context.destroy();
  }));
