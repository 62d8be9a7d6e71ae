// WebSockets beside HTTP: the options `server` and `noServer`, and connections that Node accepted.

const { once } = require('node:events');
const http = require('node:http');
const net = require('node:net');
const { promisify } = require('node:util');

const {
  closing,
  collect,
  defer,
  dial,
  failure,
  open,
  rawClient,
  rawConnect,
  testOurs,
} = require('./support/fixtures.js');
const frames = require('./support/frames.js');
const { KEY, upgradeRequest } = require('./support/peers.js');
const { until } = require('./support/tools.js');
const { WebSocket, WebSocketServer } = require('./support/uvws.js');

/** An HTTP server that listens, and is closed after the test. */
async function httpServer(listener = (_request, response) => response.end('a page')) {
  const server = http.createServer(listener);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  defer(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  const { port } = server.address();
  return { server, port, url: `ws://127.0.0.1:${port}` };
}

/** A WebSocketServer on it. */
function attach(options) {
  const wss = new WebSocketServer(options);
  defer(async () => {
    for (const ws of wss.clients ?? []) ws.terminate();
    await new Promise((resolve) => wss.close(resolve));
  });
  return wss;
}

describe('the server option', () => {
  test('takes the upgrades of an HTTP server, which goes on to answer requests', async () => {
    const { server, port, url } = await httpServer();
    const wss = attach({ server });
    expect(wss.address()).toEqual(server.address());
    wss.on('connection', (ws) => ws.on('message', (data) => ws.send(`echo ${data}`)));
    const client = await open(`${url}/path`);
    const messages = collect(client);
    client.send('hello');
    const response = await fetch(`http://127.0.0.1:${port}/`);
    expect(await response.text()).toBe('a page');
    await until(() => messages.length === 1);
    expect(messages).toEqual(['echo hello']);
  });

  test('brings all sizes both ways, and a closing handshake', async () => {
    const { server, url } = await httpServer();
    const wss = attach({ server });
    wss.on('connection', (ws) => ws.on('message', (data, binary) => ws.send(data, { binary })));
    const client = await open(url);
    for (const size of [0, 1, 126, 65_536, 3_000_000]) {
      client.send(Buffer.alloc(size, 7));
      const [data] = await once(client, 'message');
      expect(data.equals(Buffer.alloc(size, 7))).toBe(true);
    }
    const [connection] = wss.clients;
    const ends = Promise.all([closing(client), closing(connection)]);
    client.close(4000, 'done');
    expect(await ends).toEqual([
      { code: 4000, reason: 'done' },
      { code: 4000, reason: 'done' },
    ]);
    expect(wss.clients.size).toBe(0);
  });

  test('forwards listening and error', async () => {
    const server = http.createServer();
    const wss = attach({ server });
    const listening = once(wss, 'listening');
    server.listen(0, '127.0.0.1');
    await listening;
    const error = new Error('by hand');
    const failed = new Promise((resolve) => wss.on('error', resolve));
    server.emit('error', error);
    expect(await failed).toBe(error);
    await new Promise((resolve) => server.close(resolve));
  });

  test('counts among the connections of the HTTP server, whose close() waits for it', async () => {
    const server = http.createServer();
    const wss = attach({ server });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const client = await open(`ws://127.0.0.1:${server.address().port}`);
    const [connection] = wss.clients;
    expect(await promisify(server.getConnections).call(server)).toBe(1);
    let isClosed = false;
    const closed = new Promise((resolve) => server.close(resolve)).then(() => {
      isClosed = true;
    });
    server.closeAllConnections();
    const received = once(connection, 'message');
    client.send('still here');
    await received;
    expect(isClosed).toBe(false);
    client.close();
    await closed;
    expect(await promisify(server.getConnections).call(server)).toBe(0);
  });

  test("ends with Node's socket, and Node's socket with it", async () => {
    const { server, url } = await httpServer();
    const wss = attach({ server });
    const sockets = [];
    server.on('connection', (socket) => sockets.push(socket));
    for (const end of ['destroy', 'terminate']) {
      const client = await open(url);
      const [connection] = wss.clients;
      const socket = sockets.pop();
      expect(socket.destroyed).toBe(false);
      const socketClosed = new Promise((resolve) => socket.on('close', resolve));
      const ends = [closing(client), closing(connection), socketClosed];
      if (end === 'destroy') socket.destroy(new Error('by hand'));
      else connection.terminate();
      const [theirs, ours] = await Promise.all(ends);
      expect([theirs.code, ours.code]).toEqual([1006, 1006]);
      expect(socket.destroyed).toBe(true);
    }
  });

  test('is let go by close(), without closing the HTTP server', async () => {
    const { server, port } = await httpServer();
    const wss = new WebSocketServer({ server });
    expect(server.listenerCount('upgrade')).toBe(1);
    await new Promise((resolve) => wss.close(resolve));
    expect(server.listenerCount('upgrade')).toBe(0);
    expect((await fetch(`http://127.0.0.1:${port}/`)).status).toBe(200);
  });

  test('can be shared by several servers that are told apart by their paths', async () => {
    const { server, url } = await httpServer();
    const servers = ['/a', '/b'].map((path) => {
      const wss = new WebSocketServer({ noServer: true });
      defer(() => new Promise((resolve) => wss.close(resolve)));
      wss.on('connection', (ws) => ws.send(path));
      return [path, wss];
    });
    const byPath = new Map(servers);
    server.on('upgrade', (request, socket, head) => {
      const wss = byPath.get(request.url);
      if (!wss) return socket.destroy();
      return wss.handleUpgrade(request, socket, head, (ws) => wss.emit('connection', ws, request));
    });
    for (const path of ['/a', '/b']) {
      const client = dial(url + path);
      const [data] = await once(client, 'message');
      expect(String(data)).toBe(path);
      const closed = closing(client);
      client.close();
      await closed;
    }
    const { code } = await failure(dial(`${url}/c`));
    expect(code).toBe(1006);
  });

  test('waits in close() for the connections it tracks', async () => {
    const { server, url } = await httpServer();
    const wss = new WebSocketServer({ server });
    const connected = once(wss, 'connection');
    const client = await open(url);
    await connected;
    const closed = jest.fn();
    wss.close(closed);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(closed).not.toHaveBeenCalled();
    client.close();
    await until(() => closed.mock.calls.length === 1);
  });
});

describe('handleUpgrade()', () => {
  /** An HTTP server whose upgrades are handed to a test. */
  async function upgrades(options) {
    const { server, port, url } = await httpServer();
    const wss = attach({ noServer: true, ...options });
    return { server, port, url, wss };
  }

  test('delivers what came with the request once the callback has returned', async () => {
    const { server, port, wss } = await upgrades();
    const messages = [];
    server.on('upgrade', (request, socket, head) => {
      wss.handleUpgrade(request, socket, head, (ws, same) => {
        expect(same).toBe(request);
        expect(messages).toEqual([]);
        ws.on('message', (data) => messages.push(String(data)));
      });
    });
    const after = Buffer.concat([
      frames.frame(frames.TEXT, 'one'),
      frames.frame(frames.TEXT, 'two').subarray(0, 5),
    ]);
    const peer = await rawClient(port, { after });
    peer.write(frames.frame(frames.TEXT, 'two').subarray(5));
    await until(() => messages.length === 2);
    expect(messages).toEqual(['one', 'two']);
  });

  test('may be called later', async () => {
    const { server, port, wss } = await upgrades();
    const messages = [];
    server.on('upgrade', (request, socket, head) => {
      setTimeout(() => {
        wss.handleUpgrade(request, socket, head, (ws) => {
          ws.on('message', (data) => messages.push(String(data)));
        });
      }, 30);
    });
    const peer = await rawClient(port, { wait: false });
    await new Promise((resolve) => setTimeout(resolve, 10));
    peer.send(frames.TEXT, 'early');
    await until(() => messages.length === 1);
    peer.send(frames.TEXT, 'late');
    await until(() => messages.length === 2);
    expect(messages).toEqual(['early', 'late']);
  });

  test('throws when it is called a second time with a socket', async () => {
    const { server, url, wss } = await upgrades();
    let error;
    server.on('upgrade', (request, socket, head) => {
      wss.handleUpgrade(request, socket, head, () => {});
      try {
        wss.handleUpgrade(request, socket, head, () => {});
      } catch (caught) {
        error = caught;
      }
    });
    const client = dial(url);
    client.on('error', () => {});
    await until(() => error !== undefined);
    expect(error.message).toBe(
      'server.handleUpgrade() was called more than once with the same socket, possibly due to a misconfiguration',
    );
  });

  test.each([
    ['another method', { line: 'POST / HTTP/1.1' }, 405],
    ['another Upgrade header', { upgrade: 'h2c' }, 400],
    ['no key', { key: '' }, 400],
    ['a key that is too short', { key: 'P5l8BJcZwRc=' }, 400],
    ['an old version', { version: '7' }, 400],
    ['a body', { lines: ['Content-Length: 5'] }, 400],
    ['a chunked body', { lines: ['Transfer-Encoding: chunked'] }, 400],
    ['a subprotocol that is no token', { lines: ['Sec-WebSocket-Protocol: a;b'] }, 400],
  ])('refuses %s', async (_name, change, status) => {
    const { server, port, wss } = await upgrades();
    const opened = jest.fn();
    server.on('upgrade', (request, socket, head) => {
      wss.handleUpgrade(request, socket, head, opened);
    });
    const {
      line = 'GET / HTTP/1.1',
      upgrade = 'websocket',
      key = KEY,
      version = '13',
      lines = [],
    } = change;
    const peer = await rawConnect(port);
    peer.write(
      [
        line,
        'Host: localhost',
        'Connection: Upgrade',
        `Upgrade: ${upgrade}`,
        `Sec-WebSocket-Key: ${key}`,
        `Sec-WebSocket-Version: ${version}`,
        ...lines,
        '',
        '',
      ].join('\r\n'),
    );
    await peer.when(({ hasEnded, hasClosed }) => hasEnded || hasClosed);
    expect(peer.status).toBe(status);
    expect(peer.head).toMatch(/\r\nConnection: close\r\n/);
    expect(opened).not.toHaveBeenCalled();
  });

  test('asks verifyClient, handleProtocols and the headers listeners', async () => {
    const { server, url, wss } = await upgrades({
      verifyClient: ({ origin }, answer) => setImmediate(answer, origin === 'http://here'),
      handleProtocols: (protocols) => [...protocols].at(-1),
    });
    wss.on('headers', (headers) => headers.push('X-Added: yes'));
    server.on('upgrade', (request, socket, head) => {
      wss.handleUpgrade(request, socket, head, (ws) => wss.emit('connection', ws, request));
    });
    const client = dial(url, ['a', 'b'], { origin: 'http://here' });
    const upgraded = once(client, 'upgrade');
    await once(client, 'open');
    expect(client.protocol).toBe('b');
    expect((await upgraded)[0].headers['x-added']).toBe('yes');
    const { error } = await failure(dial(url, { origin: 'http://there' }));
    expect(error.message).toBe('Unexpected server response: 401');
  });

  test('lets a wsClientError listener answer', async () => {
    const { server, port, wss } = await upgrades();
    wss.on('wsClientError', (error, socket, request) => {
      expect(error.message).toBe('Invalid Upgrade header');
      expect(request.headers.upgrade).toBe('h2c');
      socket.end('HTTP/1.1 418 Teapot\r\nContent-Length: 0\r\n\r\n');
    });
    server.on('upgrade', (request, socket, head) => {
      wss.handleUpgrade(request, socket, head, () => {});
    });
    const peer = await rawConnect(port);
    peer.write(upgradeRequest().replace('websocket', 'h2c'));
    await peer.when(({ head }) => head !== null);
    expect(peer.status).toBe(418);
  });

  test('drops a client that is gone', async () => {
    const { server, port, wss } = await upgrades();
    const opened = jest.fn();
    let isOver = false;
    server.on('upgrade', (request, socket, head) => {
      socket.on('close', () => {
        wss.handleUpgrade(request, socket, head, opened);
        isOver = true;
      });
      socket.on('error', () => {});
      socket.resume();
    });
    const upgraded = once(server, 'upgrade');
    const peer = await rawClient(port, { wait: false });
    await upgraded;
    peer.socket.resetAndDestroy();
    await until(() => isOver);
    expect(opened).not.toHaveBeenCalled();
  });
});

test('an adopted connection knows its addresses, and Node knows it no more', async () => {
  const { server, port, url } = await httpServer();
  const wss = attach({ server });
  const connected = once(wss, 'connection');
  const client = await open(url);
  const [ws, request] = await connected;
  expect(ws._socket.remoteAddress).toBe('127.0.0.1');
  expect(ws._socket.localPort).toBe(port);
  expect(request.socket.remoteAddress).toBe('127.0.0.1');
  client.send('still there');
  const [data] = await once(ws, 'message');
  expect(String(data)).toBe('still there');
});

test('adopted connections that are dropped in every way leave nothing behind', async () => {
  const { server, port } = await httpServer();
  const wss = attach({ server });
  const codes = [];
  wss.on('connection', (ws) => {
    ws.on('error', () => {});
    ws.on('close', (code) => codes.push(code));
    ws.on('message', () => ws.terminate());
  });
  for (let i = 0; i < 40; i++) {
    const peer = await rawClient(port);
    if (i % 4 === 0) peer.socket.resetAndDestroy();
    else if (i % 4 === 1) peer.close(1000);
    else if (i % 4 === 2) peer.send(frames.TEXT, 'x');
    else peer.write(Buffer.from([0xff, 0xff]));
  }
  await until(() => codes.length === 40);
  expect(codes.filter((code) => code === 1000)).toHaveLength(10);
  expect(codes.filter((code) => code === 1006)).toHaveLength(30);
  expect(wss.clients.size).toBe(0);
  // The HTTP server sees that its sockets are gone: it can close.
  const count = await new Promise((resolve) => server.getConnections((_e, n) => resolve(n)));
  expect(count).toBe(0);
});

testOurs('adopted connections end with their context', async () => {
  const { Context } = require('./support/uvws.js');
  const { server, url } = await httpServer();
  const context = new Context();
  const wss = new WebSocketServer({ server, context });
  const clients = [await open(url), await open(url)];
  const ends = Promise.all(clients.map(closing));
  expect(context.stats().connections).toBe(2);
  await context.close({ code: 1012, reason: 'restart', timeout: 2000 });
  expect(await ends).toEqual(Array(2).fill({ code: 1012, reason: 'restart' }));
  expect(wss.clients.size).toBe(0);
  expect(context.stats().handles).toBe(0);
  const { code } = await failure(dial(url));
  expect(code).toBe(1006);
});

test('a plain net server can hand over its connections as well', async () => {
  const { createServer } = http;
  const front = net.createServer();
  const back = createServer();
  front.listen(0, '127.0.0.1');
  await once(front, 'listening');
  defer(() => new Promise((resolve) => front.close(resolve)));
  front.on('connection', (socket) => back.emit('connection', socket));
  const wss = attach({ server: back });
  wss.on('connection', (ws) => ws.send('hello'));
  const client = dial(`ws://127.0.0.1:${front.address().port}`);
  const [data] = await once(client, 'message');
  expect(String(data)).toBe('hello');
  expect(client.readyState).toBe(WebSocket.OPEN);
});
