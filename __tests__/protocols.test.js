// Handlers of connections by their subprotocols, and how often each is called.

const { once } = require('node:events');
const http = require('node:http');

const {
  closeServer,
  closing,
  defer,
  dial,
  drop,
  open,
  rawClient,
  serve,
  thrownBy,
} = require('./support/fixtures.js');
const { inChild } = require('./support/child.js');
const { until } = require('./support/tools.js');
const { Context, WebSocket, WebSocketServer } = require('./support/uvws.js');

/** Handlers that note each call in `calls`, as its name and what tells the calls apart. */
function recorder(extra = {}) {
  const calls = [];
  const note =
    (name, show = () => []) =>
    (...args) =>
      void calls.push([name, ...show(...args)]);
  const handlers = {
    init(server, options) {
      calls.push(['init', options]);
      return { server, count: 0 };
    },
    open: note('open', (ws, request) => [ws.protocol, request.url]),
    message: note('message', (ws, data, isBinary) => [String(data), isBinary]),
    drain: note('drain'),
    ping: note('ping', (ws, data) => [String(data)]),
    pong: note('pong', (ws, data) => [String(data)]),
    close: note('close', (ws, code, reason) => [code, String(reason)]),
    destroy: note('destroy', (server, state) => [state.server === server]),
    ...extra,
  };
  return { calls, handlers };
}

describe('handlers of a subprotocol', () => {
  test('are called with the connection, from init() to destroy()', async () => {
    const { calls, handlers } = recorder({ options: { size: 1 } });
    const { wss, url } = await serve({ protocols: { chat: handlers } });
    expect(calls).toEqual([['init', { size: 1 }]]);
    const ws = await open(`${url}/path`, 'chat');
    ws.send('text');
    ws.send(Buffer.from('binary'));
    ws.ping('1');
    ws.pong('2');
    const end = closing(ws);
    ws.close(1000, 'bye');
    await end;
    const closed = once(wss, 'close');
    wss.on('close', () => calls.push(['close of the server']));
    wss.close();
    await closed;
    expect(calls.slice(1)).toEqual([
      ['open', 'chat', '/path'],
      ['message', 'text', false],
      ['message', 'binary', true],
      ['ping', '1'],
      ['pong', '2'],
      ['close', 1000, 'bye'],
      ['destroy', true],
      ['close of the server'],
    ]);
    wss.close();
    await once(wss, 'close');
    expect(calls.filter(([name]) => name === 'destroy')).toHaveLength(1);
  });

  test('hear of the send queue that is empty again', async () => {
    const drained = new Promise((resolve) => {
      const protocols = { chat: { open: (ws) => ws.send(Buffer.alloc(8 << 20)), drain: resolve } };
      serve({ protocols }).then(({ url }) => open(url, 'chat'));
    });
    expect((await drained).readyState).toBe(WebSocket.OPEN);
  });

  test('are called beside listeners, before them, and on their own object', async () => {
    const order = [];
    class Chat {
      name = 'chat';
      open() {
        order.push(`${this.name} open`);
      }
      message() {
        order.push(`${this.name} message`);
      }
    }
    const { wss, url } = await serve({ protocols: { chat: new Chat() } });
    wss.on('connection', (ws) => {
      order.push('connection');
      ws.on('message', () => order.push('listener'));
    });
    (await open(url, 'chat')).send('x');
    await until(() => order.length === 4);
    expect(order).toEqual(['chat open', 'connection', 'chat message', 'listener']);
  });

  test('may serve many servers, each with a state of its own', async () => {
    const handlers = {
      init: (server, { start }) => ({ count: start, name: server.data }),
      message(ws) {
        ws.state.count++;
        ws.send(`${ws.state.name} ${ws.state.count}`);
      },
    };
    const { wss, port } = await serve({
      data: 'a',
      hostname: 'a.example',
      protocols: { chat: { ...handlers, options: { start: 0 } } },
    });
    const other = { ...handlers, options: { start: 10 } };
    await serve({ port, data: 'b', protocols: { chat: other, news: other } });
    const say = async (host, protocol) => {
      const ws = await open(`ws://127.0.0.1:${port}`, protocol, { headers: { Host: host } });
      ws.send('x');
      const [data] = await once(ws, 'message');
      return String(data);
    };
    expect(await say('a.example', 'chat')).toBe('a 1');
    expect(await say('a.example', 'chat')).toBe('a 2');
    expect(await say('b.example', 'chat')).toBe('b 11');
    expect(await say('b.example', 'news')).toBe('b 11');
    for (const ws of wss.clients) expect(ws.state).toEqual({ count: 2, name: 'a' });
  });

  test('work on an HTTP server, with noServer, and without tracking, and hear of each end first', async () => {
    const { calls, handlers } = recorder();
    const server = http.createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    defer(() => new Promise((resolve) => server.close(resolve)));
    const options = { server, clientTracking: false, protocols: { chat: handlers } };
    const wss = new WebSocketServer(options);
    const ws = await open(`ws://127.0.0.1:${server.address().port}/x`, 'chat');
    const closed = once(wss, 'close');
    wss.close();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(calls.map(([name]) => name)).toEqual(['init', 'open']);
    ws.close();
    await closed;
    expect(calls.map(([name]) => name)).toEqual(['init', 'open', 'close', 'destroy']);

    const bare = recorder();
    const unused = new WebSocketServer({ noServer: true, protocols: { chat: bare.handlers } });
    unused.close();
    await once(unused, 'close');
    expect(bare.calls.map(([name]) => name)).toEqual(['init', 'destroy']);
  });

  test('of a server with a port hear of connections of handleUpgrade() before they are destroyed', async () => {
    const { calls, handlers } = recorder();
    const { wss } = await serve({ protocols: { chat: handlers } });
    const server = http.createServer();
    server.on('upgrade', (...args) => wss.handleUpgrade(...args, () => {}));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    defer(() => new Promise((resolve) => server.close(resolve)));
    const ws = await open(`ws://127.0.0.1:${server.address().port}`, 'chat');
    const closed = once(wss, 'close');
    wss.close();
    await new Promise((resolve) => setTimeout(resolve, 20));
    ws.close();
    await closed;
    expect(calls.map(([name]) => name)).toEqual(['init', 'open', 'close', 'destroy']);
  });
});

describe('the subprotocol', () => {
  const echo = () => ({ message: (ws, data) => ws.send(`${ws.protocol}: ${data}`) });

  async function ask(url, protocols) {
    const ws = await open(url, protocols);
    ws.send('x');
    const [data] = await once(ws, 'message');
    return String(data);
  }

  test('is the first of those offered that has handlers', async () => {
    const { url } = await serve({ protocols: { a: echo(), b: echo() } });
    expect(await ask(url, ['constructor', 'c', 'b', 'a'])).toBe('b: x');
  });

  test('is none if none has, and the default one handles the connection', async () => {
    const { port, url } = await serve({
      protocols: { a: echo(), b: echo() },
      defaultProtocol: 'b',
    });
    expect(await ask(url, [])).toBe(': x');
    const peer = await rawClient(port, { lines: ['Sec-WebSocket-Protocol: c'] });
    expect(peer.head).not.toMatch(/sec-websocket-protocol/i);
    peer.destroy();
  });

  test('is what handleProtocols chooses, if there is that', async () => {
    const { wss, url } = await serve({
      protocols: { a: echo(), b: echo() },
      defaultProtocol: 'a',
      handleProtocols: (offered) => [...offered].at(-1) !== 'none' && [...offered].at(-1),
    });
    expect(await ask(url, ['a', 'b'])).toBe('b: x');
    const connected = once(wss, 'connection');
    await open(url, ['a', 'other']);
    const [ws] = await connected;
    expect([ws.protocol, ws.state, ws.listenerCount('message')]).toEqual(['other', undefined, 0]);
  });

  test.each([
    ['that handlers without error() serve', 'chat'],
    ['that nobody handles', undefined],
  ])(
    '%s: a peer that breaks the protocol ends its connection, and nothing else',
    async (_, name) => {
      const ends = [];
      const chat = { close: (ws, code) => ends.push(code) };
      const { wss, port } = await serve({ protocols: { chat } });
      const lines = name === undefined ? [] : [`Sec-WebSocket-Protocol: ${name}`];
      wss.on('connection', (ws) => ws.on('close', () => ends.push('closed')));
      const peer = await rawClient(port, { lines });
      peer.write(Buffer.from([0xff, 0xff]));
      expect((await peer.closing()).code).toBe(1002);
      peer.destroy();
      await until(() => ends.includes('closed'));
      expect(ends).toEqual(name === undefined ? ['closed'] : [1006, 'closed']);
    },
  );

  test('lets error() see why a connection failed', async () => {
    const errors = [];
    const chat = { error: (ws, error) => errors.push(error.code) };
    const { port } = await serve({ protocols: { chat }, defaultProtocol: 'chat' });
    const peer = await rawClient(port);
    peer.write(Buffer.from([0xff, 0xff]));
    await peer.closing();
    peer.destroy();
    await until(() => errors.length === 1);
    expect(errors).toEqual(['WS_ERR_UNEXPECTED_RSV_2_3']);
  });
});

describe('data', () => {
  test('of a connection is undefined, and whatever it is set to', async () => {
    const { wss, url } = await serve();
    const connected = once(wss, 'connection');
    const client = await open(url);
    const [ws] = await connected;
    expect([ws.data, client.data, client.state]).toEqual([undefined, undefined, undefined]);
    expect(Object.hasOwn(ws, 'data')).toBe(false);
    ws.data = { user: 1 };
    expect(ws.data).toEqual({ user: 1 });
    expect(client.data).toBeUndefined();
  });

  test('of a server is what the option says', async () => {
    const data = {};
    const { wss } = await serve({ data });
    expect(wss.data).toBe(data);
    expect(new WebSocketServer({ noServer: true }).data).toBeUndefined();
  });
});

describe('the options of subprotocols', () => {
  test.each([
    [{ protocols: 'chat' }, `"options.protocols" must be an object, received 'chat'`],
    [
      { protocols: { 'a b': {} } },
      `"options.protocols" must have subprotocols as keys, which are tokens (RFC 9110), received 'a b'`,
    ],
    [{ protocols: { chat: null } }, `"options.protocols.chat" must be an object, received null`],
    [
      { protocols: { chat: { message: 1 } } },
      `"options.protocols.chat.message" must be a function, received 1`,
    ],
    [
      { protocols: { chat: {} }, defaultProtocol: 'toString' },
      `"options.defaultProtocol" must be one of the names in "options.protocols", received 'toString'`,
    ],
    [
      { defaultProtocol: 'chat' },
      `"options.defaultProtocol" must be one of the names in "options.protocols", received 'chat'`,
    ],
  ])('are checked: %j', (options, message) => {
    const error = thrownBy(() => new WebSocketServer({ port: 0, ...options }));
    expect(error).toEqual(new TypeError(message));
  });
});

describe('init() and destroy()', () => {
  test('are a pair also if another init() throws, and the constructor throws what it has thrown', async () => {
    const calls = [];
    const make = (name) => ({
      init: () => void calls.push(`init ${name}`),
      destroy: () => calls.push(`destroy ${name}`),
    });
    const boom = new Error('init');
    const bad = {
      ...make('bad'),
      init() {
        throw boom;
      },
    };
    const protocols = { a: make('a'), b: make('b'), bad, c: make('c') };
    const context = new Context();
    const error = thrownBy(() => new WebSocketServer({ port: 0, context, protocols }));
    expect(error).toBe(boom);
    expect(calls).toEqual(['init a', 'init b', 'destroy b', 'destroy a']);
    expect(context.stats().listeners).toBe(0);
    await context.destroy();
    expect(calls).toHaveLength(4);
  });

  test('are a pair if the server cannot listen, on a port or on a shared one', async () => {
    const { wss, port } = await serve({ backlog: 10 });
    const context = new Context();
    const { calls, handlers } = recorder();
    const options = { port, host: '127.0.0.1', protocols: { chat: handlers } };
    const rival = new WebSocketServer({ ...options, context });
    await once(rival, 'error');
    expect(calls.map(([name]) => name)).toEqual(['init']);
    await context.destroy();
    expect(calls.map(([name]) => name)).toEqual(['init', 'destroy']);

    const mismatch = { ...options, hostname: 'a', backlog: 20, context: wss.context };
    expect(thrownBy(() => new WebSocketServer(mismatch)).name).toBe('RangeError');
    expect(calls.map(([name]) => name)).toEqual(['init', 'destroy', 'init', 'destroy']);
  });

  test('are not called for a context that takes no servers', async () => {
    const context = new Context();
    await context.destroy();
    const { calls, handlers } = recorder();
    const wss = new WebSocketServer({ port: 0, context, protocols: { chat: handlers } });
    await once(wss, 'error');
    expect(calls).toEqual([]);
  });

  test('may end their server or its context', async () => {
    for (const end of ['close', 'destroy']) {
      const context = new Context();
      const calls = [];
      const chat = {
        init(server) {
          calls.push('init');
          if (end === 'close') server.close();
          else context.destroy();
        },
        destroy(server) {
          calls.push('destroy');
          server.close();
          context.destroy();
        },
      };
      const wss = new WebSocketServer({ port: 0, context, protocols: { chat } });
      wss.on('error', () => {});
      wss.on('close', () => calls.push('close'));
      await until(() => calls.includes('close'));
      await context.destroy();
      expect(calls).toEqual(['init', 'destroy', 'close']);
    }
  });

  test('come before and behind everything else when the context is destroyed under load', () =>
    inChild(async ({ uvws, assert, once: whenever }) => {
      for (const end of ['destroy', 'close']) {
        const context = new uvws.Context();
        const calls = [];
        const handlers = {
          init: () => calls.push('init'),
          open: () => calls.push('open'),
          message(ws, data) {
            ws.send(data);
            if (++messages === 500) context[end]();
          },
          close: () => calls.push('close'),
          destroy: () => calls.push('destroy'),
        };
        let messages = 0;
        const options = { host: '127.0.0.1', context, protocols: { chat: handlers } };
        const first = new uvws.WebSocketServer({ ...options, port: 0 });
        await whenever(first, 'listening');
        const { port } = first.address();
        const second = new uvws.WebSocketServer({ ...options, port, hostname: 'b.example' });
        for (const server of [first, second]) server.on('close', () => calls.push('server'));
        const others = new uvws.Context();
        for (let i = 0; i < 20; i++) {
          const headers = { Host: i % 2 ? 'a.example' : 'b.example' };
          const client = { headers, context: others };
          const ws = new uvws.WebSocket(`ws://127.0.0.1:${port}`, 'chat', client);
          ws.on('error', () => {});
          ws.on('message', (data) => ws.send(data));
          ws.on('open', () => ws.send('x'));
        }
        await context.closed;
        await others.destroy();
        const count = (name) => calls.filter((call) => call === name).length;
        assert.equal(count('init'), 2);
        assert.equal(count('destroy'), 2);
        assert.equal(count('open'), count('close'));
        assert.ok(calls.lastIndexOf('close') < calls.lastIndexOf('destroy'));
        assert.equal(calls.at(-1), 'server');
      }
    }));

  test('of a worker that is terminated do not run, and it ends all the same', () =>
    inChild(async ({ assert, once: whenever, startWorker }) => {
      const worker = startWorker(async ({ uvws, once: when }) => {
        const { parentPort } = require('worker_threads');
        const chat = { destroy: () => parentPort.postMessage('destroy') };
        const protocols = { chat };
        const wss = new uvws.WebSocketServer({ port: 0, host: '127.0.0.1', protocols });
        await when(wss, 'listening');
        const ws = new uvws.WebSocket(`ws://127.0.0.1:${wss.address().port}`, 'chat');
        await when(ws, 'open');
        parentPort.postMessage('ready');
      });
      const messages = [];
      worker.on('message', (message) => messages.push(message));
      await whenever(worker, 'message');
      await worker.terminate();
      assert.deepEqual(messages, ['ready']);
    }));

  test('and other handlers may throw: that is an uncaught exception, and the rest goes on', () =>
    inChild(async ({ uvws, assert, once: whenever, until: wait }) => {
      const errors = [];
      process.on('uncaughtException', ({ message }) => errors.push(message));
      const messages = [];
      const fail = (name) => () => {
        throw new Error(name);
      };
      const chat = {
        message(ws, data) {
          messages.push(String(data));
          throw new Error('message');
        },
        open: fail('open'),
        close: fail('close'),
        destroy: fail('destroy'),
      };
      let destroyed = 0;
      const protocols = { other: { destroy: () => destroyed++ }, chat };
      const context = new uvws.Context();
      const wss = new uvws.WebSocketServer({ port: 0, host: '127.0.0.1', context, protocols });
      await whenever(wss, 'listening');
      const url = `ws://127.0.0.1:${wss.address().port}`;
      const ws = new uvws.WebSocket(url, 'chat', { context });
      await whenever(ws, 'open');
      for (const text of ['1', '2', '3']) ws.send(text);
      await wait(() => messages.length === 3);
      ws.close();
      await whenever(ws, 'close');
      wss.close();
      await whenever(wss, 'close');
      await context.destroy();
      await wait(() => errors.length === 6);
      assert.deepEqual(messages, ['1', '2', '3']);
      assert.equal(destroyed, 1);
      assert.deepEqual(errors, ['open', 'message', 'message', 'message', 'close', 'destroy']);
    }));

  test('may add and close servers', async () => {
    const events = [];
    const { wss, port } = await serve({
      defaultProtocol: 'chat',
      protocols: {
        chat: {
          open(ws) {
            const child = new WebSocketServer({
              port,
              host: '127.0.0.1',
              hostname: 'child.example',
              protocols: {
                chat: {
                  init: () => void events.push('init'),
                  open(other) {
                    events.push('open');
                    child.close();
                    other.terminate();
                  },
                  destroy: () => events.push('destroy'),
                },
              },
            });
            child.on('listening', () => ws.send('ready'));
          },
        },
      },
    });
    const ws = dial(`ws://127.0.0.1:${port}`);
    await once(ws, 'message');
    const headers = { Host: 'child.example' };
    const child = dial(`ws://127.0.0.1:${port}`, 'chat', { headers });
    child.on('error', () => {});
    await once(child, 'close');
    await until(() => events.length === 3);
    expect(events).toEqual(['init', 'open', 'destroy']);
    await drop(ws);
    await closeServer(wss);
  });
});
