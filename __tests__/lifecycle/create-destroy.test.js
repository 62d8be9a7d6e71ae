const { inChild } = require('../support/child.js');

test('a context with nothing in it is destroyed by one call, and its promise tells when', () =>
  inChild(async ({ uvws, assert, within }) => {
    const { Context } = uvws;
    const context = new Context({ name: 'empty', data: { any: 'thing' } });
    const events = [];
    context.on('close', (...args) => events.push(['close', args.length, context.state]));
    context.closed.then(() => events.push(['closed', context.state]));

    assert.equal(context.state, 'running');
    assert.ok(context.stats().handles > 0);
    const promise = context.destroy();
    assert.equal(promise, context.closed, 'destroy() returns the one promise');
    assert.equal(promise, context.destroy(), 'a second call returns it too');
    assert.equal(promise, context.close());
    assert.equal(promise, context.drain());
    assert.deepEqual(events, [], 'nothing is called from inside destroy()');
    assert.ok(['destroying', 'destroyed'].includes(context.state));
    assert.equal(context.wake(), false);

    assert.equal(await within(promise), undefined);
    assert.equal(context.state, 'destroyed');
    await new Promise(setImmediate);
    assert.deepEqual(events, [
      ['close', 0, 'destroyed'],
      ['closed', 'destroyed'],
    ]);
    const stats = context.stats();
    for (const name of ['handles', 'closing', 'connections', 'listeners', 'pendingConnects']) {
      assert.equal(stats[name], 0, name);
    }
    assert.equal(context.destroy(), promise, 'and after the end');
  }));

test('close() and drain() of an empty context come to an end by themselves', () =>
  inChild(async ({ uvws, assert, within }) => {
    for (const method of ['close', 'drain', 'destroy']) {
      const context = new uvws.Context();
      await within(context[method](), method);
      assert.equal(context.state, 'destroyed');
      assert.equal(context.stats().handles, 0);
    }
  }));

test('the destruction of a context keeps the process alive until its promise resolves', async () => {
  const { runChild } = require('../support/child.js');
  const outcome = await runChild(({ uvws }) => {
    new uvws.Context().destroy().then(() => process.stdout.write('resolved'));
  });
  expect(outcome).toMatchObject({ code: 0, isLate: false });
  expect(outcome.stdout).toContain('resolved');
});

test('a context that is never destroyed does not keep the process alive', async () => {
  const { runChild } = require('../support/child.js');
  const outcome = await runChild(({ uvws }) => {
    globalThis.contexts = [new uvws.Context(), new uvws.Context()];
    // The piece does not wait for its end: there is none.
    process.on('exit', () => process.stdout.write(`exit ${globalThis.contexts[0].state}`));
    return new Promise(() => {});
  });
  expect(outcome).toMatchObject({ code: 0, isLate: false, stdout: 'exit running' });
});

test('process.exit() ends a process whose contexts are in any state', async () => {
  const { runChild } = require('../support/child.js');
  for (const state of ['running', 'closing', 'destroying', 'destroyed']) {
    const outcome = await runChild(
      async ({ uvws, once, rawClient, input }) => {
        const context = new uvws.Context();
        const wss = new uvws.WebSocketServer({ port: 0, host: '127.0.0.1', context });
        await once(wss, 'listening');
        await rawClient(wss.address().port);
        if (input === 'closing') context.close({ timeout: 60_000 });
        if (input === 'destroying') context.destroy();
        if (input === 'destroyed') await context.destroy();
        process.stdout.write(context.state);
        process.exit(7);
      },
      { input: state, timeout: 12_000 },
    );
    expect(outcome).toMatchObject({ code: 7, signal: null, stdout: state });
  }
});
