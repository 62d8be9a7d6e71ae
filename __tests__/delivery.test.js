// How what arrives becomes events: all of one turn of the loop in one delivery, each event in its
// connection's async context, with ticks and microtasks where Node's own sockets have them.

const { AsyncLocalStorage, createHook, executionAsyncId } = require('node:async_hooks');
const { once } = require('node:events');

const {
  defer,
  dial,
  open,
  pair,
  rawClient,
  rawPair,
  serve,
  testOurs,
} = require('./support/fixtures.js');
const frames = require('./support/frames.js');
const { inChild } = require('./support/child.js');
const { until } = require('./support/tools.js');

/** Text frames in one write. */
function texts(...list) {
  return Buffer.concat(list.map((text) => frames.frame(frames.TEXT, text)));
}

test('messages of one segment are delivered in order, in one turn of the loop', async () => {
  const { peer, server } = await rawPair();
  const events = [];
  server.on('message', (data) => {
    events.push(String(data));
    if (events.length === 1) setImmediate(() => events.push('the next turn'));
  });
  peer.write(texts('a', 'b', 'c', 'd'));
  await until(() => events.length === 5);
  expect(events).toEqual(['a', 'b', 'c', 'd', 'the next turn']);
});

test('10,000 messages of 100 connections arrive in the order of each', async () => {
  const { wss, port } = await serve();
  let total = 0;
  const faults = [];
  wss.on('connection', (ws) => {
    let next = 0;
    ws.on('message', (data) => {
      total++;
      if (Number(data) !== next++) faults.push(String(data));
    });
  });
  const peers = await Promise.all(Array.from({ length: 100 }, () => rawClient(port)));
  for (let i = 0; i < 100; i += 10) {
    const bytes = texts(...Array.from({ length: 10 }, (_, j) => String(i + j)));
    for (const peer of peers) peer.write(bytes);
    if (i % 30 === 0) await new Promise(setImmediate);
  }
  await until(() => total === 10_000, 'all messages');
  expect(faults).toEqual([]);
});

test('ticks and microtasks of the handlers run when the turn’s messages are delivered', async () => {
  const { peer, server } = await rawPair();
  const events = [];
  server.on('message', (data) => {
    events.push(String(data));
    process.nextTick(() => events.push(`tick ${data}`));
    queueMicrotask(() => events.push(`microtask ${data}`));
    setImmediate(() => events.push(`immediate ${data}`));
  });
  peer.write(texts('a', 'b'));
  await until(() => events.length === 8);
  const position = (name) => events.indexOf(name);
  for (const name of ['a', 'b']) {
    expect(position(name)).toBeLessThan(position(`tick ${name}`));
    expect(position(`tick ${name}`)).toBeLessThan(position(`microtask ${name}`));
    expect(position(`microtask ${name}`)).toBeLessThan(position('immediate a'));
  }
  expect(position('a')).toBeLessThan(position('b'));
  expect(position('immediate a')).toBeLessThan(position('immediate b'));
});

test('what handlers send in answer goes out at once, without another event', async () => {
  const { peer, server } = await rawPair();
  server.on('message', (data) => {
    server.send(`sync ${data}`);
    process.nextTick(() => server.send(`tick ${data}`));
    Promise.resolve().then(() => server.send(`promise ${data}`));
  });
  peer.write(texts('x'));
  await peer.when((each) => each.frames.length === 3, 5000);
  expect(peer.frames.map(({ payload }) => String(payload))).toEqual([
    'sync x',
    'tick x',
    'promise x',
  ]);
});

test.each([
  ['setTimeout', (send) => setTimeout(send, 5)],
  ['setImmediate', (send) => setImmediate(send)],
  ['a promise of a file', (send) => require('node:fs/promises').stat(__filename).then(send)],
])('what is sent from %s goes out at once', async (_name, schedule) => {
  const { peer, server } = await rawPair();
  schedule(() => server.send('later'));
  expect(String((await peer.nextFrame(5000)).payload)).toBe('later');
});

test('a large message and small ones around it keep their order', async () => {
  const { client, server } = await pair();
  const lengths = [];
  server.on('message', (data) => lengths.push(data.length));
  const sizes = [];
  for (let i = 0; i < 60; i++) {
    const size = [5, 20_000, 0, 300_000, 126][i % 5];
    sizes.push(size);
    client.send(Buffer.alloc(size));
  }
  await until(() => lengths.length === 60, 'all messages');
  expect(lengths).toEqual(sizes);
});

test('handlers that throw lose nothing: every other message arrives, in order', () =>
  inChild(async ({ uvws, assert, once, rawClient, frames, until }) => {
    const uncaught = [];
    process.on('uncaughtException', (error) => uncaught.push(error.message));
    const context = new uvws.Context();
    const wss = new uvws.WebSocketServer({ port: 0, host: '127.0.0.1', context });
    await once(wss, 'listening');
    const messages = [];
    const pings = [];
    wss.on('connection', (ws) => {
      ws.on('message', (data) => {
        messages.push(String(data));
        if (Number(data) % 3 === 0) throw new Error(`thrown at ${data}`);
        if (Number(data) % 3 === 1) {
          process.nextTick(() => {
            throw new Error(`thrown in a tick of ${data}`);
          });
        }
      });
      ws.on('ping', () => {
        pings.push('ping');
        throw new Error('thrown at a ping');
      });
    });
    const peers = [await rawClient(wss.address().port), await rawClient(wss.address().port)];
    for (const peer of peers) {
      const bytes = Array.from({ length: 30 }, (_, i) => frames.frame(frames.TEXT, String(i)));
      bytes.splice(10, 0, frames.frame(frames.PING, 'x'));
      peer.write(Buffer.concat(bytes));
    }
    await until(() => messages.length === 60, 'all messages');
    await until(() => uncaught.length === 42, 'all exceptions');
    assert.equal(pings.length, 2);
    for (let i = 0; i < 30; i++) {
      assert.equal(messages.filter((text) => text === String(i)).length, 2);
    }
    assert.equal(uncaught.filter((text) => text === 'thrown at a ping').length, 2);
    for (const peer of peers) await peer.destroy();
    await context.destroy();
  }));

test('a connection and open handler that throw lose nothing', () =>
  inChild(async ({ uvws, assert, once, rawClient, frames, until }) => {
    const uncaught = [];
    process.on('uncaughtException', (error) => uncaught.push(error.message));
    const context = new uvws.Context();
    const wss = new uvws.WebSocketServer({ port: 0, host: '127.0.0.1', context });
    await once(wss, 'listening');
    const messages = [];
    wss.on('connection', (ws) => {
      ws.on('message', (data) => messages.push(String(data)));
      ws.send('from the server');
      throw new Error('thrown at a connection');
    });
    const after = frames.frame(frames.TEXT, 'early');
    const peer = await rawClient(wss.address().port, { after });
    const ws = new uvws.WebSocket(`ws://127.0.0.1:${wss.address().port}`, { context });
    ws.on('message', (data) => messages.push(String(data)));
    ws.on('open', () => {
      throw new Error('thrown at open');
    });
    await until(() => messages.length === 2, 'both messages');
    assert.deepEqual(messages.sort(), ['early', 'from the server']);
    assert.deepEqual(uncaught.sort(), [
      'thrown at a connection',
      'thrown at a connection',
      'thrown at open',
    ]);
    await peer.destroy();
    await context.destroy();
  }));

describe('AsyncLocalStorage', () => {
  test('has in a client’s events what it had when the client was made', async () => {
    const { wss, url } = await serve();
    wss.on('connection', (ws) => {
      ws.send('hello');
      ws.on('ping', () => ws.close());
    });
    const storage = new AsyncLocalStorage();
    const seen = {};
    const clients = [1, 2, 3].map((store) =>
      storage.run(store, () => {
        const ws = dial(url);
        seen[store] = [];
        for (const name of ['upgrade', 'open', 'message', 'pong', 'close']) {
          ws.on(name, () => seen[store].push([name, storage.getStore()]));
        }
        ws.on('message', () => ws.ping());
        return ws;
      }),
    );
    await until(() => clients.every(({ readyState }) => readyState === 3));
    for (const store of [1, 2, 3]) {
      expect(seen[store].map(([name]) => name)).toEqual(
        expect.arrayContaining(['upgrade', 'open', 'message', 'close']),
      );
      expect(seen[store].every(([, value]) => value === store)).toBe(true);
    }
    expect(storage.getStore()).toBeUndefined();
  });

  test('has in the callback of a send what it had when that was sent', async () => {
    const { client, server } = await pair();
    const storage = new AsyncLocalStorage();
    const seen = [];
    for (const ws of [client, server]) {
      for (const method of ['send', 'ping', 'pong']) {
        storage.run(method, () => ws[method]('x', () => seen.push([method, storage.getStore()])));
      }
      storage.run('blob', () =>
        ws.send(new Blob(['x']), () => seen.push(['blob', storage.getStore()])),
      );
      storage.run('write', () =>
        ws._socket.write('', () => seen.push(['write', storage.getStore()])),
      );
    }
    await until(() => seen.length === 10);
    for (const [method, store] of seen) expect(store).toBe(method);
    storage.run('late', () => client.terminate());
    storage.run('refused', () =>
      client.send('x', () => seen.push(['refused', storage.getStore()])),
    );
    await until(() => seen.length === 11);
    expect(seen.at(-1)).toEqual(['refused', 'refused']);
  });

  testOurs(
    'costs a send that throws, is refused or comes too late nothing that is left',
    async () => {
      const made = new Set();
      const hook = createHook({
        init: (id, type) => type === 'UVWSSEND' && made.add(id),
        destroy: (id) => made.delete(id),
      });
      hook.enable();
      defer(() => hook.disable());
      const { wss, url } = await serve();
      const connected = once(wss, 'connection');
      const client = dial(url);
      let called = 0;
      const callback = () => called++;
      expect(() => client.send('x', callback)).toThrow('CONNECTING');
      expect(() => client.ping('x', callback)).toThrow('CONNECTING');
      await Promise.all([connected, once(client, 'open')]);
      expect(() => client.ping('x'.repeat(126), callback)).toThrow(RangeError);
      client.send('x', callback);
      client.send(new Blob(['x']), callback);
      client.terminate();
      client.send('x', callback);
      await until(() => called === 3);
      await until(() => made.size === 0, 'the end of each');
    },
  );

  test('has in a server’s events what it had when the server was made', async () => {
    const storage = new AsyncLocalStorage();
    const seen = [];
    const { wss, url } = await storage.run('server', () => serve());
    wss.on('connection', (ws) => {
      seen.push(storage.getStore());
      ws.on('message', () => seen.push(storage.getStore()));
      ws.on('close', () => seen.push(storage.getStore()));
    });
    const client = await open(url);
    client.send('x');
    client.close();
    await until(() => seen.length === 3);
    // A server connection may also have a context of its own: never that of somebody else.
    for (const store of seen) expect(['server', undefined]).toContain(store);
  });

  testOurs(
    'has in the events of a context what it had then, whatever their handlers enter',
    async () => {
      const { Context, WebSocketServer } = require('..');
      const storage = new AsyncLocalStorage();
      const seen = [];
      const note = (name) => () => {
        seen.push([name, storage.getStore()]);
        storage.enterWith('entered');
      };
      const context = storage.run('context', () => new Context());
      context.on('waitCancelled', note('waitCancelled'));
      context.on('close', note('close'));
      const options = { port: 0, host: '127.0.0.1', context };
      const wss = storage.run('server', () => new WebSocketServer(options));
      for (const name of ['listening', 'connection', 'close']) wss.on(name, note(`server ${name}`));
      await once(wss, 'listening');
      for (let i = 0; i < 2; i++) {
        context.wake();
        await once(context, 'waitCancelled');
      }
      const peer = await rawClient(wss.address().port);
      wss.close();
      peer.close();
      await once(wss, 'close');
      await context.destroy();
      expect(seen).toEqual([
        ['server listening', 'server'],
        ['waitCancelled', 'context'],
        ['waitCancelled', 'context'],
        ['server connection', 'server'],
        ['server close', 'server'],
        ['close', 'context'],
      ]);
      expect(storage.getStore()).toBeUndefined();
    },
  );

  test('keeps apart what enterWith() set in handlers of different connections', async () => {
    const { wss, port } = await serve();
    const storage = new AsyncLocalStorage();
    const faults = [];
    let count = 0;
    let serial = 0;
    wss.on('connection', (ws) => {
      const own = `connection ${serial++}`;
      storage.enterWith(own);
      ws.on('message', () => {
        // Nothing that another connection's handler entered may be seen here.
        const before = storage.getStore();
        if (before !== undefined && before !== own) faults.push([own, before]);
        storage.enterWith(own);
        const check = () => {
          count++;
          if (storage.getStore() !== own) faults.push([own, storage.getStore()]);
        };
        process.nextTick(check);
        Promise.resolve().then(check);
        setImmediate(check);
      });
    });
    const peers = await Promise.all(Array.from({ length: 10 }, () => rawClient(port)));
    for (let i = 0; i < 5; i++) {
      for (const peer of peers) peer.write(texts('a', 'b'));
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    await until(() => count === 10 * 10 * 3);
    expect(faults).toEqual([]);
    expect(storage.getStore()).toBeUndefined();
  });

  test('is not left behind by a handler that throws', () =>
    inChild(async ({ uvws, assert, once, rawClient, frames, until, require }) => {
      const { AsyncLocalStorage } = require('async_hooks');
      const storage = new AsyncLocalStorage();
      process.on('uncaughtException', () => {});
      const context = new uvws.Context();
      const wss = new uvws.WebSocketServer({ port: 0, host: '127.0.0.1', context });
      await once(wss, 'listening');
      const stores = [];
      wss.on('connection', (ws) =>
        ws.on('message', (data) => {
          stores.push(storage.getStore());
          storage.enterWith(String(data));
          throw new Error('thrown');
        }),
      );
      const peers = [await rawClient(wss.address().port), await rawClient(wss.address().port)];
      for (const peer of peers) peer.send(frames.TEXT, 'x');
      await until(() => stores.length === 2);
      assert.deepEqual(stores, [undefined, undefined]);
      assert.equal(storage.getStore(), undefined);
      for (const peer of peers) await peer.destroy();
      await context.destroy();
    }));
});

test('handlers run in an async context that is not that of the top level', async () => {
  const { peer, server } = await rawPair();
  const ids = [];
  server.on('message', () => ids.push(executionAsyncId()));
  peer.write(texts('a', 'b'));
  await until(() => ids.length === 2);
  expect(ids.every((id) => id > 0)).toBe(true);
});

test('a handler that is added while messages are delivered sees those that follow', async () => {
  const { peer, server } = await rawPair();
  const first = [];
  const second = [];
  server.once('message', (data) => {
    first.push(String(data));
    server.on('message', (next) => second.push(String(next)));
  });
  peer.write(texts('a', 'b', 'c'));
  await until(() => second.length === 2);
  expect([first, second]).toEqual([['a'], ['b', 'c']]);
});

test('a handler may make and end other connections while messages are delivered', async () => {
  const { wss, url, port } = await serve();
  let echoes = 0;
  wss.on('connection', (ws, request) => {
    ws.on('message', () => {
      if (request.url === '/inner') return;
      for (const other of wss.clients) if (other !== ws && echoes % 3 === 0) other.terminate();
      dial(`${url}/inner`).on('error', () => {});
      ws.send('x');
      echoes++;
    });
  });
  const peer = await rawClient(port);
  for (let i = 0; i < 30; i++) {
    peer.write(texts('a', 'b'));
    await new Promise(setImmediate);
  }
  await peer.when((each) => each.frames.length === 60);
  expect(echoes).toBe(60);
});

test('emit can be replaced on a connection', async () => {
  const { client, server } = await pair();
  const names = [];
  const { emit } = server;
  server.emit = function record(name, ...args) {
    names.push(name);
    return Reflect.apply(emit, this, [name, ...args]);
  };
  client.send('x');
  client.ping();
  client.close();
  await until(() => names.includes('close'));
  expect(names).toEqual(expect.arrayContaining(['message', 'ping', 'close']));
});

testOurs(
  'destroy() drops the messages that wait for a turn, and closes come in order',
  async () => {
    const { Context } = require('..');
    const context = new Context();
    const events = [];
    context.on('close', () => events.push('context'));
    const { peer, server, wss } = await rawPair({ context, allowSynchronousEvents: false });
    wss.on('close', () => events.push('server'));
    server.on('close', () => events.push('connection'));
    server.on('message', (data) => {
      events.push(String(data));
      if (events.length === 2) void context.destroy();
    });
    peer.write(texts('a', 'b', 'c', 'd'));
    await context.closed;
    await new Promise(setImmediate);
    expect(events).toEqual(['a', 'b', 'connection', 'server', 'context']);
  },
);
