const { once } = require('node:events');
const net = require('node:net');

const { Context, WebSocket, WebSocketServer, closeOnSignals, wake } = require('..');
const { inChild, runChild } = require('./support/child.js');
const { rawClient } = require('./support/peers.js');
const { until } = require('./support/tools.js');

let contexts = [];

function create(options) {
  const context = new Context(options);
  contexts.push(context);
  return context;
}

async function listen(context, options) {
  const wss = new WebSocketServer({ port: 0, host: '127.0.0.1', context, ...options });
  await once(wss, 'listening');
  return { wss, port: wss.address().port, url: `ws://127.0.0.1:${wss.address().port}` };
}

afterEach(async () => {
  await Promise.all(contexts.map((context) => context.destroy()));
  for (const context of contexts) expect(context.stats().handles).toBe(0);
  contexts = [];
});

describe('the constructor of a context', () => {
  test('takes a name and data', () => {
    const data = { any: 'thing' };
    const context = create({ name: 'chat', data });
    expect(context.name).toBe('chat');
    expect(context.data).toBe(data);
    context.data = 5;
    expect(context.data).toBe(5);
    const bare = create();
    expect([bare.name, bare.data, bare.state]).toEqual(['', undefined, 'running']);
    expect(bare.closed).toBeInstanceOf(Promise);
    expect(typeof bare.wakeToken).toBe('bigint');
  });

  test.each([
    ['options', null],
    ['options', 'text'],
    ['options', 1],
    ['the name', { name: 1 }],
    ['the name', { name: {} }],
    ['the signal', { signal: {} }],
    ['the signal', { signal: 'SIGINT' }],
    ['the signal', { signal: null }],
  ])('throws a TypeError when %s is wrong: %j', (_name, options) => {
    expect(() => new Context(options)).toThrow(TypeError);
  });

  test('cannot be called without new', () => {
    expect(() => Context()).toThrow(TypeError);
  });

  test('with a signal that has aborted destroys at once', async () => {
    const context = create({ signal: AbortSignal.abort() });
    await context.closed;
    expect(context.state).toBe('destroyed');
  });

  test('with a signal destroys when it aborts, with its reason as the cause', async () => {
    const controller = new AbortController();
    const context = create({ signal: controller.signal });
    const ws = new WebSocket('ws://localhost:9', { context });
    const failed = new Promise((resolve) => ws.on('error', resolve));
    const reason = new Error('enough');
    controller.abort(reason);
    const error = await failed;
    expect(error).toMatchObject({ code: 'ERR_UVWS_CONTEXT_CLOSED', cause: reason });
    await context.closed;
  });
});

describe('arguments', () => {
  test.each([
    [{ code: 1005 }],
    [{ code: 5000 }],
    [{ code: '1000' }],
    [{ reason: 5 }],
    [{ reason: {} }],
    [{ timeout: 'soon' }],
    [{ signal: {} }],
    [null],
    [5],
  ])('close(%j) throws a TypeError and does nothing', (options) => {
    const context = create();
    expect(() => context.close(options)).toThrow(TypeError);
    expect(context.state).toBe('running');
  });

  test.each([
    [{ timeout: -1 }],
    [{ timeout: NaN }],
    [{ timeout: 2 ** 32 }],
    [{ reason: 'x'.repeat(124) }],
  ])('close(%j) throws a RangeError and does nothing', (options) => {
    const context = create();
    expect(() => context.close(options)).toThrow(RangeError);
    expect(context.state).toBe('running');
  });

  test.each([[null], ['text'], [{}], [5]])('destroy(%j) throws a TypeError', (error) => {
    const context = create();
    expect(() => context.destroy(error)).toThrow(TypeError);
    expect(context.state).toBe('running');
  });

  test('wake() takes a bigint and nothing else', () => {
    for (const token of [undefined, null, 1, '1', {}, [], true]) {
      expect(() => wake(token)).toThrow(TypeError);
    }
    expect(wake(0n)).toBe(false);
    expect(wake(-1n)).toBe(false);
    expect(wake(2n ** 64n)).toBe(false);
  });

  test('servers and clients take a Context and nothing else', () => {
    for (const context of [null, {}, 'default', 1]) {
      expect(() => new WebSocketServer({ port: 0, context })).toThrow(TypeError);
      expect(() => new WebSocket('ws://localhost', { context })).toThrow(TypeError);
    }
  });
});

describe('a context that is destroyed', () => {
  test('is harmless: every method and property can be used', async () => {
    const context = create();
    const { wss } = await listen(context);
    const token = context.wakeToken;
    await context.destroy();
    expect(context.wake()).toBe(false);
    expect(context.cancelService()).toBe(false);
    expect(context.wakeToken).toBe(token);
    expect(wake(token)).toBe(false);
    expect(context.ref()).toBe(context);
    expect(context.unref()).toBe(context);
    expect(context.hasRef()).toBe(false);
    expect(context.drain()).toBe(context.closed);
    expect(context.close({ code: 1000 })).toBe(context.closed);
    expect(context.destroy(new Error('late'))).toBe(context.closed);
    const { limits, memory, ...stats } = context.stats();
    expect(memory).toBeNull();
    expect(Object.values({ ...limits, ...stats }).every((value) => value === 0)).toBe(true);
    expect(wss.address()).toBeNull();
  });

  test.each(['drain', 'close', 'destroy'])(
    'or is on its way after %s() takes no servers: they fail with a stable code',
    async (method) => {
      const context = create();
      const { port } = await listen(context);
      const peer = await rawClient(port);
      const ended = context[method]();
      for (const wait of [false, true]) {
        if (wait) {
          await peer.destroy();
          await ended;
        }
        const wss = new WebSocketServer({ port: 0, context });
        const error = await new Promise((resolve) => wss.on('error', resolve));
        expect(error.code).toBe('ERR_UVWS_CONTEXT_CLOSED');
        expect(wss.address()).toBeNull();
      }
    },
  );

  test.each(['close', 'destroy'])(
    'or is on its way after %s() takes no clients: they fail with a stable code',
    async (method) => {
      const context = create();
      const { port } = await listen(context);
      const peer = await rawClient(port);
      const ended = context[method]();
      for (const wait of [false, true]) {
        if (wait) {
          await peer.destroy();
          await ended;
        }
        const ws = new WebSocket('ws://127.0.0.1:9', { context });
        const events = [];
        ws.on('error', (error) => events.push(error.code));
        ws.on('close', (code) => events.push(code));
        expect(events).toEqual([]);
        await until(() => events.length === 2);
        expect(events).toEqual(['ERR_UVWS_CONTEXT_CLOSED', 1006]);
      }
    },
  );

  test('or drains still takes clients', async () => {
    const context = create();
    const other = create();
    const { port } = await listen(context);
    const { url } = await listen(other);
    const peer = await rawClient(port);
    const ended = context.drain();
    const ws = new WebSocket(url, { context });
    await once(ws, 'open');
    await peer.destroy();
    expect(context.state).toBe('draining');
    ws.close();
    await ended;
  });
});

describe('events', () => {
  test('listening and connection bring the server', async () => {
    const context = create();
    const events = [];
    context.on('listening', (server) => events.push(['listening', server]));
    context.on('connection', (ws, request, server) => {
      events.push(['connection', ws, request, server]);
    });
    const { wss, port } = await listen(context);
    const connected = once(wss, 'connection');
    const peer = await rawClient(port);
    const [ws, request] = await connected;
    await until(() => events.length === 2);
    expect(events[0]).toEqual(['listening', wss]);
    expect(events[1][1]).toBe(ws);
    expect(events[1][2]).toBe(request);
    expect(events[1][3]).toBe(wss);
    expect(wss.context).toBe(context);
    await peer.destroy();
  });

  test('draining comes once, close last and once', async () => {
    const context = create();
    const events = [];
    for (const name of ['draining', 'close']) context.on(name, () => events.push(name));
    context.drain();
    context.drain();
    await context.closed;
    await new Promise(setImmediate);
    expect(events).toEqual(['draining', 'close']);
  });
});

describe('stats()', () => {
  test('counts what there is and what there has been', async () => {
    const context = create();
    const { handles } = context.stats();
    const { wss, url, port } = await listen(context);
    expect(context.stats()).toMatchObject({ connections: 0, listeners: 1, pendingConnects: 0 });
    wss.on('connection', (ws) => ws.on('message', (data) => ws.send(data)));
    const ws = new WebSocket(url, { context });
    expect(context.stats().pendingConnects).toBe(1);
    await once(ws, 'open');
    ws.send('x'.repeat(1000));
    await once(ws, 'message');
    const stats = context.stats();
    expect(stats).toMatchObject({
      connections: 2,
      listeners: 1,
      pendingConnects: 0,
      pendingHandshakes: 0,
      bytesBuffered: 0,
      messagesReceived: 2,
      messagesSent: 2,
      messagesDropped: 0,
      closing: 0,
    });
    expect(stats.bytesReceived).toBeGreaterThan(2000);
    expect(stats.bytesSent).toBeGreaterThan(2000);
    expect(stats.handles).toBeGreaterThan(handles);

    const peer = await rawClient(port);
    peer.socket.pause();
    await until(() => wss.clients.size === 2);
    const [, paused] = wss.clients;
    paused.send(Buffer.alloc(16 * 1024 * 1024));
    expect(context.stats().bytesBuffered).toBeGreaterThan(4 * 1024 * 1024);
    await peer.destroy();
  });
});

describe('ref() and unref()', () => {
  test('are told by hasRef(), and return the context', () => {
    const context = create();
    expect(context.hasRef()).toBe(true);
    expect(context.unref()).toBe(context);
    expect(context.hasRef()).toBe(false);
    expect(context.ref()).toBe(context);
    expect(context.hasRef()).toBe(true);
  });

  test.each([
    ['a listener keeps the process alive', 'listener', false],
    ['a connecting client keeps the process alive', 'connecting', false],
    ['an open client keeps the process alive', 'open', false],
    ['unref() before them lets the process end', 'unref first', true],
    ['unref() after them lets the process end', 'unref last', true],
    ['unref() and ref() keep the process alive', 'ref again', false],
    ['an idle context with a wake token lets the process end', 'bare', true],
  ])('%s', async (_name, what, ends) => {
    const { rawServer } = require('./support/peers.js');
    const server = await rawServer({ respond: what === 'connecting' ? () => {} : undefined });
    const outcome = await runChild(
      async ({ uvws, once, input }) => {
        const context = new uvws.Context();
        globalThis.context = context;
        if (input.what === 'unref first') context.unref();
        if (input.what === 'bare') {
          void context.wakeToken;
        } else if (input.what === 'connecting' || input.what === 'open') {
          const ws = new uvws.WebSocket(input.url, { context });
          ws.on('open', () => process.stdout.write('open'));
        } else {
          const wss = new uvws.WebSocketServer({ port: 0, host: '127.0.0.1', context });
          const timer = setTimeout(() => {}, 1000);
          await once(wss, 'listening');
          clearTimeout(timer);
        }
        if (input.what === 'unref last' || input.what === 'ref again') context.unref();
        if (input.what === 'ref again') context.ref();
        return new Promise(() => {});
      },
      { input: { what, url: server.url }, timeout: ends ? undefined : 700 },
    );
    expect(outcome.isLate).toBe(!ends);
    if (ends) expect(outcome.code).toBe(0);
    await server.close();
  });
});

describe('Symbol.asyncDispose', () => {
  test('closes the context gracefully', async () => {
    const symbol = Symbol.asyncDispose ?? Symbol.for('nodejs.asyncDispose');
    const context = create();
    const { port } = await listen(context);
    const peer = await rawClient(port);
    const disposed = context[symbol]();
    expect(await peer.closing()).toEqual({ code: 1001, reason: '' });
    peer.close(1001);
    await disposed;
    expect(context.state).toBe('destroyed');
    await peer.destroy();
  });
});

describe('the default context', () => {
  test('is the same until it is destroyed, and another one then', async () => {
    const first = Context.default;
    expect(Context.default).toBe(first);
    const wss = new WebSocketServer({ port: 0, host: '127.0.0.1' });
    await once(wss, 'listening');
    expect(wss.context).toBe(first);
    expect(first.stats().listeners).toBe(1);
    await first.destroy();
    const second = Context.default;
    expect(second).not.toBe(first);
    expect(second.state).toBe('running');
    await second.destroy();
  });

  test('that is being destroyed does not stand in the way of something new', async () => {
    const first = Context.default;
    const ended = first.destroy();
    const wss = new WebSocketServer({ port: 0, host: '127.0.0.1' });
    const outcome = await new Promise((resolve) => {
      wss.on('listening', () => resolve('listening'));
      wss.on('error', (error) => resolve(error.code));
    });
    expect(['listening', 'ERR_UVWS_CONTEXT_CLOSED']).toContain(outcome);
    await ended;
    await Context.default.destroy();
  });
});

describe('a signal given to close()', () => {
  test('that has aborted destroys at once', async () => {
    const context = create();
    const { port } = await listen(context);
    const peer = await rawClient(port);
    await context.close({ timeout: 60_000, signal: AbortSignal.abort() });
    await peer.destroy();
  });

  test('can be given later, by another call', async () => {
    const context = create();
    const { port } = await listen(context);
    const peer = await rawClient(port);
    context.close({ timeout: 60_000 });
    await peer.closing();
    const controller = new AbortController();
    context.close({ signal: controller.signal });
    expect(context.state).toBe('closing');
    controller.abort();
    await context.closed;
    await peer.destroy();
  });

  test('that never aborts holds nothing when the context has ended', async () => {
    const { getEventListeners } = require('node:events');
    const controller = new AbortController();
    for (let i = 0; i < 20; i++) {
      const context = create({ signal: controller.signal });
      await context.close({ signal: controller.signal });
    }
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
  });
});

describe('closeOnSignals()', () => {
  test.each([
    [undefined, undefined],
    [{}, undefined],
    [['context'], undefined],
    [[], { signals: 'SIGINT' }],
    [[], { signals: ['SIGNOTHING'] }],
    [[], { timeout: 'soon' }],
    [[], 5],
  ])('throws a TypeError for %j and %j, and installs nothing', (list, options) => {
    const before = process.listenerCount('SIGINT');
    expect(() => closeOnSignals(list, options)).toThrow(TypeError);
    expect(process.listenerCount('SIGINT')).toBe(before);
  });

  test('returns a function that removes the handlers', () => {
    const before = process.listenerCount('SIGINT');
    const remove = closeOnSignals(create());
    expect(process.listenerCount('SIGINT')).toBe(before + 1);
    remove();
    remove();
    expect(process.listenerCount('SIGINT')).toBe(before);
  });

  test('throws in a worker', () =>
    inChild(async ({ assert, startWorker, once }) => {
      const worker = startWorker(({ uvws, assert }) => {
        assert.throws(() => uvws.closeOnSignals(new uvws.Context()), {
          code: 'ERR_UVWS_NOT_SUPPORTED',
        });
      });
      const [code] = await once(worker, 'exit');
      assert.equal(code, 0);
    }));

  test('nothing handles signals without it', async () => {
    const outcome = await serveUntil({ install: false }, (child) => child.kill('SIGTERM'));
    expect(outcome).toMatchObject({ code: null, signal: 'SIGTERM' });
  });

  /** Runs a server until it is ended; tells how its connection and its process ended. */
  async function serveUntil(input, act) {
    let port;
    const outcome = runChild(
      async ({ uvws, once, input }) => {
        const contexts = [new uvws.Context(), new uvws.Context()];
        if (input.install) uvws.closeOnSignals(contexts, { timeout: input.timeout });
        const wss = new uvws.WebSocketServer({ port: 0, host: '127.0.0.1', context: contexts[0] });
        await once(wss, 'listening');
        process.send(wss.address().port);
        process.channel.unref();
        return new Promise(() => {});
      },
      {
        input,
        onSpawn(child) {
          child.on('message', async (number) => {
            port = number;
            peer = await rawClient(port);
            act(child, peer);
          });
        },
      },
    );
    let peer;
    const result = await outcome;
    await peer?.destroy();
    return { ...result, peer };
  }

  test.each(['SIGINT', 'SIGTERM'])(
    'closes gracefully on %s, and the process ends by that signal',
    async (signal) => {
      let closing;
      const outcome = await serveUntil({ install: true, timeout: 5000 }, async (child, peer) => {
        child.kill(signal);
        closing = await peer.closing();
        peer.close(1001);
      });
      expect(closing).toEqual({ code: 1001, reason: '' });
      // A shell shows this as 128 + n.
      expect(outcome).toMatchObject({ code: null, signal, isLate: false });
      expect(outcome.peer.error).toBeNull();
    },
  );

  test('destroys on the second signal, and the process ends by that signal', async () => {
    const outcome = await serveUntil({ install: true, timeout: 60_000 }, async (child, peer) => {
      child.kill('SIGTERM');
      await peer.closing();
      // The peer does not answer.
      child.kill('SIGTERM');
    });
    expect(outcome).toMatchObject({ code: null, signal: 'SIGTERM', isLate: false });
  });

  test('ends by the timeout when peers do not answer', async () => {
    const outcome = await serveUntil({ install: true, timeout: 200 }, (child) => {
      child.kill('SIGINT');
    });
    expect(outcome).toMatchObject({ code: null, signal: 'SIGINT', isLate: false });
  });

  test('gives a shell the status 128 + n', async () => {
    const outcome = await runChild(
      async ({ uvws }) => {
        uvws.closeOnSignals(new uvws.Context());
        process.kill(process.pid, 'SIGINT');
        setTimeout(() => {}, 60_000);
        return new Promise(() => {});
      },
      { wrapper: ['/bin/sh', '-c', '"$0" "$@"; exit $?'] },
    );
    expect([outcome.code, outcome.signal]).toEqual([130, null]);
  });
});

describe('a handler that throws at the end of the context', () => {
  test('does not keep anything else from ending', () =>
    inChild(async ({ assert, net, once, require, turn, uvws }) => {
      const { Duplex } = require('node:stream');
      const { Context, WebSocket } = uvws;
      const caught = [];
      const onUncaught = (error) => caught.push(error.message);
      process.on('uncaughtException', onUncaught);
      const server = net.createServer((socket) => socket.on('error', () => {})).listen(0);
      await once(server, 'listening');
      const context = new Context();
      const events = [];
      context.on('close', () => events.push('context'));

      // A stream whose end never comes: the context does not wait for it.
      const carried = new WebSocket(null, undefined, {});
      const stream = new Duplex({ read() {}, write() {}, final() {} });
      carried.setSocket(stream, Buffer.alloc(0), { context });
      carried.on('close', () => {
        events.push('carried');
        throw new Error('thrown by a listener');
      });
      carried.close(1000);
      const mask = [0, 0, 0, 0];
      stream.push(Buffer.from([0x88, 0x82, ...mask, 0x03, 0xe8]));
      stream.push(null);
      while (context.stats().connections > 0) await turn();

      // Its error has no listener.
      const url = `ws://127.0.0.1:${server.address().port}`;
      const connecting = new WebSocket(url, { context, followRedirects: true });
      connecting.on('close', () => events.push('connecting'));
      await once(server, 'connection');

      await context.destroy();
      await turn();
      assert.equal(context.state, 'destroyed');
      assert.deepEqual(events.sort(), ['carried', 'connecting', 'context']);
      assert.deepEqual(caught.sort(), [
        'The context was closed before the connection was established',
        'thrown by a listener',
      ]);
      process.removeListener('uncaughtException', onUncaught);
      await new Promise((resolve) => server.close(resolve));
    }));
});

describe('a context that drains while Node does the handshake of a client', () => {
  test('waits for the handshake and for the connection', async () => {
    const { url } = await listen(create());
    const context = create();
    const events = [];
    for (const name of ['draining', 'close']) context.on(name, () => events.push(name));
    const client = new WebSocket(url, { context, followRedirects: true });
    const ended = context.drain();
    expect(context.state).toBe('draining');
    await once(client, 'open');
    expect(context.state).toBe('draining');
    expect(events).toEqual(['draining']);
    client.close();
    await ended;
    expect(events).toEqual(['draining', 'close']);
  });

  test('ends when the handshake fails', async () => {
    const peer = net.createServer((socket) => socket.destroy()).listen(0, '127.0.0.1');
    await once(peer, 'listening');
    const context = create();
    const url = `ws://127.0.0.1:${peer.address().port}`;
    const client = new WebSocket(url, { context, followRedirects: true });
    const failed = once(client, 'error');
    const ended = context.drain();
    expect((await failed)[0].code).toBe('ECONNRESET');
    await ended;
    await new Promise((resolve) => peer.close(resolve));
  });
});
