const { once } = require('node:events');
const http = require('node:http');

const {
  closeServer,
  closing,
  defer,
  dial,
  failure,
  open,
  pair,
  rawClient,
  rawConnect,
  serve,
  testOurs,
} = require('./support/fixtures.js');
const { freePort } = require('./support/peers.js');
const { until } = require('./support/tools.js');
const { WebSocket, WebSocketServer } = require('./support/uvws.js');

describe('the constructor of a server', () => {
  test.each([
    ['nothing', undefined],
    ['no options', {}],
    ['two places', { port: 0, noServer: true }],
    ['two other places', { server: {}, noServer: true }],
    ['all places', { port: 0, server: {}, noServer: true }],
  ])('throws when it is given %s', (_name, options) => {
    expect(() => new WebSocketServer(options)).toThrow(
      new TypeError(
        'One and only one of the "port", "server", or "noServer" options must be specified',
      ),
    );
  });

  test('takes a listener for listening as its second argument', async () => {
    let wss;
    await new Promise((resolve) => {
      wss = new WebSocketServer({ port: 0 }, resolve);
      defer(() => closeServer(wss));
    });
    expect(wss.address().port).toBeGreaterThan(0);
  });

  test('returns a server that emits nothing before the constructor has returned', async () => {
    const events = [];
    const wss = new WebSocketServer({ port: 0 }, () => events.push('callback'));
    defer(() => closeServer(wss));
    wss.on('listening', () => events.push('listening'));
    expect(events).toEqual([]);
    await once(wss, 'listening');
    expect(events).toEqual(['callback', 'listening']);
  });

  test('keeps its options readable and complete', async () => {
    const verifyClient = () => true;
    const { wss } = await serve({ verifyClient, path: '/chat', maxPayload: 1000 });
    expect(wss.options).toMatchObject({
      allowSynchronousEvents: true,
      autoPong: true,
      clientTracking: true,
      maxPayload: 1000,
      path: '/chat',
      perMessageDeflate: false,
      skipUTF8Validation: false,
      verifyClient,
      WebSocket,
    });
  });
});

describe('address()', () => {
  test('tells where the server listens, until it is closed', async () => {
    const { wss } = await serve();
    expect(wss.address()).toEqual({
      address: '127.0.0.1',
      family: 'IPv4',
      port: expect.any(Number),
    });
    wss.close();
    expect(wss.address()).toBeNull();
    await once(wss, 'close');
    expect(wss.address()).toBeNull();
  });

  test('throws without a server', () => {
    const wss = new WebSocketServer({ noServer: true });
    expect(() => wss.address()).toThrow('The server is operating in "noServer" mode');
    wss.close();
  });

  test.each([
    ['without a host', {}],
    ['with an empty one', { host: '' }],
  ])('is one of IPv6, which takes IPv4 as well, %s', async (_name, options) => {
    const wss = new WebSocketServer({ port: 0, ...options });
    defer(() => closeServer(wss));
    await once(wss, 'listening');
    expect(wss.address()).toMatchObject({ address: '::', family: 'IPv6' });
    const { port } = wss.address();
    const clients = await Promise.all([
      open(`ws://127.0.0.1:${port}`),
      open(`ws://[::1]:${port}`),
      open(`ws://localhost:${port}`),
    ]);
    expect(clients.map(({ readyState }) => readyState)).toEqual([1, 1, 1]);
  });

  test('takes a name as the host', async () => {
    const { wss } = await serve({ host: 'localhost' });
    expect(['127.0.0.1', '::1']).toContain(wss.address().address);
  });
});

describe('an error of listening', () => {
  test('is emitted after the constructor has returned', async () => {
    const { port } = await serve();
    const wss = new WebSocketServer({ port, host: '127.0.0.1' });
    const [error] = await once(wss, 'error').then((args) => args);
    expect(error).toMatchObject({ code: 'EADDRINUSE', syscall: 'listen', port });
    const closed = once(wss, 'close');
    wss.close();
    await closed;
  });

  test('of a port that does not exist is thrown', () => {
    expect(() => new WebSocketServer({ port: 70_000 })).toThrow(RangeError);
  });
});

describe('a connection', () => {
  test('is announced with its request', async () => {
    const { wss, url } = await serve();
    const connected = once(wss, 'connection');
    await open(`${url}/path?query=1`, { headers: { 'X-Custom': 'value' } });
    const [ws, request] = await connected;
    expect(ws).toBeInstanceOf(WebSocket);
    expect(ws.readyState).toBe(WebSocket.OPEN);
    expect(ws.url).toBeUndefined();
    expect(ws.protocol).toBe('');
    expect(ws.extensions).toBe('');
    expect(request).toBeInstanceOf(http.IncomingMessage);
    expect(request.url).toBe('/path?query=1');
    expect(request.headers['x-custom']).toBe('value');
  });

  test('is in clients as long as it is open', async () => {
    const { wss, client, server } = await pair();
    expect([...wss.clients]).toEqual([server]);
    const closed = closing(server);
    client.close();
    await closed;
    expect(wss.clients.size).toBe(0);
  });

  test('is in no set without clientTracking', async () => {
    const { wss, server } = await pair({ clientTracking: false });
    expect(wss.clients).toBeUndefined();
    defer(() => server.terminate());
  });

  test('is of the class that the options name', async () => {
    class Custom extends WebSocket {
      greet() {
        this.send('hello');
      }
    }
    const { wss, url } = await serve({ WebSocket: Custom });
    wss.on('connection', (ws) => ws.greet());
    const client = dial(url);
    const [data] = await once(client, 'message');
    expect(String(data)).toBe('hello');
    const [connection] = wss.clients;
    expect(connection).toBeInstanceOf(Custom);
  });

  test('gets messages that came with the request once its listeners are there', async () => {
    const frames = require('./support/frames.js');
    const { wss, port } = await serve();
    const messages = [];
    wss.on('connection', (ws) => ws.on('message', (data) => messages.push(String(data))));
    const after = Buffer.concat([
      frames.frame(frames.TEXT, 'early'),
      frames.frame(frames.TEXT, 'bird'),
    ]);
    await rawClient(port, { after });
    await until(() => messages.length === 2);
    expect(messages).toEqual(['early', 'bird']);
  });

  test('that is dropped by its peer closes with 1006 and without an error', async () => {
    const { server, client } = await pair();
    const failed = failure(server);
    client.terminate();
    expect(await failed).toMatchObject({ code: 1006, reason: '', count: 0 });
  });
});

describe('close()', () => {
  test('stops accepting, and lets the connections be', async () => {
    const { wss, port, client, server } = await pair();
    const closed = jest.fn();
    wss.on('close', closed);
    wss.close(closed);
    await expect(rawConnect(port)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    client.send('still here');
    const [data] = await once(server, 'message');
    expect(String(data)).toBe('still here');
    expect(closed).not.toHaveBeenCalled();
    client.close();
    await once(server, 'close');
    await until(() => closed.mock.calls.length === 2);
    expect(closed.mock.calls).toEqual([[], []]);
  });

  test('of a server that is closed is an error', async () => {
    const { wss } = await serve();
    await new Promise((resolve) => wss.close(resolve));
    const again = once(wss, 'close');
    const error = await new Promise((resolve) => wss.close(resolve));
    expect(error).toBeInstanceOf(Error);
    expect(error.message).toBe('The server is not running');
    await again;
  });

  test('can be called while it is closing, and calls each callback', async () => {
    const { wss } = await serve();
    const first = new Promise((resolve) => wss.close(resolve));
    const second = new Promise((resolve) => wss.close(resolve));
    expect(await first).toBeUndefined();
    expect(await second).toBeUndefined();
  });

  test('calls its callback after close() has returned', async () => {
    const wss = new WebSocketServer({ noServer: true });
    let isReturned = false;
    const closed = new Promise((resolve) => wss.close(() => resolve(isReturned)));
    isReturned = true;
    expect(await closed).toBe(true);
  });

  test('right after the constructor ends a server that has not emitted listening', async () => {
    const wss = new WebSocketServer({ port: 0 });
    const listening = jest.fn();
    wss.on('listening', listening);
    await new Promise((resolve) => wss.close(resolve));
    // What happens to 'listening' is left open, as long as it does not come after 'close'.
    const { length } = listening.mock.calls;
    await new Promise(setImmediate);
    expect(listening.mock.calls.length).toBe(length);
  });
});

describe('verifyClient', () => {
  test('is asked with the origin, the request and whether the connection is secure', async () => {
    const verifyClient = jest.fn(() => true);
    const { url } = await serve({ verifyClient: (info) => verifyClient(info) });
    await open(url, { origin: 'https://example.com' });
    expect(verifyClient).toHaveBeenCalledTimes(1);
    const [info] = verifyClient.mock.calls[0];
    expect(info.origin).toBe('https://example.com');
    expect(info.secure).toBe(false);
    expect(info.req).toBeInstanceOf(http.IncomingMessage);
  });

  test('refuses with 401 when it returns false', async () => {
    const { url, wss } = await serve({ verifyClient: () => false });
    const connection = jest.fn();
    wss.on('connection', connection);
    const { error, code, count } = await failure(dial(url));
    expect(error.message).toBe('Unexpected server response: 401');
    expect([code, count]).toEqual([1006, 1]);
    expect(connection).not.toHaveBeenCalled();
  });

  test('may answer later, with a status, a body and headers', async () => {
    const { port } = await serve({
      verifyClient(_info, answer) {
        setTimeout(answer, 5, false, 404, 'nothing here', { 'Retry-After': '120' });
      },
    });
    const peer = await rawClient(port, { wait: false });
    await peer.when(({ hasEnded, hasClosed }) => hasEnded || hasClosed);
    expect(peer.status).toBe(404);
    expect(peer.text).toMatch(/^HTTP\/1\.1 404 Not Found\r\n/);
    expect(peer.text).toMatch(/\r\nRetry-After: 120\r\n/);
    expect(peer.text).toMatch(/\r\nConnection: close\r\n/);
    expect(peer.text).toMatch(/\r\nContent-Type: text\/html\r\n/);
    expect(peer.text).toMatch(/\r\nContent-Length: 12\r\n/);
    expect(peer.text.endsWith('\r\n\r\nnothing here')).toBe(true);
  });

  testOurs.each([
    ['a status that is no number', ['401 X\r\nX-Evil: 1', 'no']],
    ['a status that opens the connection', [101, 'no']],
    ['a header with a line break', [401, 'no', { 'X-Bad': 'a\r\nX-Evil: 1' }]],
  ])('throws at %s, and the peer gets 500', async (_name, refusal) => {
    let thrown;
    const { port } = await serve({
      verifyClient(_info, answer) {
        setImmediate(() => {
          try {
            answer(false, ...refusal);
          } catch (error) {
            thrown = error;
          }
        });
      },
    });
    const peer = await rawClient(port, { wait: false });
    await peer.when(({ hasEnded, hasClosed }) => hasEnded || hasClosed);
    expect(peer.status).toBe(500);
    expect(peer.text).not.toMatch(/X-Evil/);
    expect(thrown).toMatchObject({ message: expect.stringMatching(/status|header/i) });
  });

  test('may answer later with true', async () => {
    const { wss, url } = await serve({
      verifyClient: (_info, answer) => setImmediate(answer, true),
    });
    const connected = once(wss, 'connection');
    await open(url);
    await connected;
  });

  test('is not heard any more when the client has gone', async () => {
    const { wss, port } = await serve({
      verifyClient(_info, answer) {
        this.answer = answer;
        wss.emit('asked', answer);
      },
    });
    const connection = jest.fn();
    wss.on('connection', connection);
    const asked = once(wss, 'asked');
    const peer = await rawClient(port, { wait: false });
    const [answer] = await asked;
    await peer.destroy();
    await new Promise((resolve) => setTimeout(resolve, 30));
    answer(true);
    await new Promise((resolve) => setTimeout(resolve, 10));
    expect(connection).not.toHaveBeenCalled();
    expect(wss.clients.size).toBe(0);
  });
});

describe('subprotocols', () => {
  test('are the first one that is offered', async () => {
    const { url, wss } = await serve();
    const connected = once(wss, 'connection');
    const client = await open(url, ['chat', 'superchat']);
    const [server] = await connected;
    expect([client.protocol, server.protocol]).toEqual(['chat', 'chat']);
  });

  test('are chosen by handleProtocols, which is read at each handshake', async () => {
    const { url, wss, port } = await serve();
    wss.options.handleProtocols = (protocols, request) => {
      expect(protocols).toEqual(new Set(['chat', 'superchat']));
      expect(request.url).toBe('/');
      return 'superchat';
    };
    expect((await open(url, ['chat', 'superchat'])).protocol).toBe('superchat');
    wss.options.handleProtocols = () => false;
    const lines = ['Sec-WebSocket-Protocol: chat, superchat'];
    const peer = await rawClient(port, { lines });
    expect(peer.head).not.toMatch(/Sec-WebSocket-Protocol/i);
  });
});

describe('the headers event', () => {
  test('lets a listener add lines to the response', async () => {
    const { wss, port } = await serve();
    wss.on('headers', (headers, request) => {
      expect(headers.slice(0, 3)).toEqual([
        'HTTP/1.1 101 Switching Protocols',
        'Upgrade: websocket',
        'Connection: Upgrade',
      ]);
      expect(headers[3]).toMatch(/^Sec-WebSocket-Accept: /);
      expect(request).toBeInstanceOf(http.IncomingMessage);
      headers.push('X-One: 1', 'Set-Cookie: a=b');
    });
    const peer = await rawClient(port);
    expect(peer.head).toMatch(/\r\nX-One: 1\r\n/);
    expect(peer.head).toMatch(/\r\nSet-Cookie: a=b\r\n/);
    expect(peer.head).toMatch(/\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=\r\n/);
  });
});

describe('the path option', () => {
  test('is compared without the query, and others get 400', async () => {
    const { url } = await serve({ path: '/socket' });
    await open(`${url}/socket?x=/other`);
    const { error } = await failure(dial(`${url}/other`));
    expect(error.message).toBe('Unexpected server response: 400');
  });

  test('is one way to decide; shouldHandle() can be replaced', async () => {
    const { wss, url } = await serve({ path: '/socket' });
    wss.shouldHandle = (request) => request.url.endsWith('ours');
    await open(`${url}/ours`);
    const { error } = await failure(dial(`${url}/socket`));
    expect(error.message).toBe('Unexpected server response: 400');
  });
});

test('the options are read at each handshake', async () => {
  const { wss, port } = await serve();
  const frames = require('./support/frames.js');
  const before = await rawClient(port);
  wss.options.maxPayload = 1000;
  wss.options.autoPong = false;
  const after = await rawClient(port);
  const seen = [];
  for (const ws of wss.clients) {
    ws.on('message', (data) => seen.push(data.length));
    ws.on('error', (error) => seen.push(error.code));
  }
  for (const peer of [before, after]) {
    peer.send(frames.PING, 'x');
    peer.send(frames.BINARY, Buffer.alloc(1001));
  }
  expect(await after.closing()).toEqual({ code: 1009, reason: '' });
  expect(after.frames.some(({ opcode }) => opcode === frames.PONG)).toBe(false);
  expect((await before.nextFrame()).opcode).toBe(frames.PONG);
  await until(() => seen.length === 2);
  expect(seen).toEqual(expect.arrayContaining([1001, 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH']));
});

test('a server that is closed refuses an upgrade that is still being verified', async () => {
  let answer;
  const { wss, port } = await serve({ verifyClient: (_info, callback) => (answer = callback) });
  const peer = await rawClient(port, { wait: false });
  await until(() => answer !== undefined);
  wss.close();
  answer(true);
  await peer.when(({ hasEnded, hasClosed }) => hasEnded || hasClosed);
  expect(peer.status).toBe(503);
});

test('1,000 connections, one after the other, leave nothing behind', async () => {
  const { wss, port } = await serve();
  let closes = 0;
  wss.on('connection', (ws) => ws.on('close', () => closes++));
  for (let i = 0; i < 20; i++) {
    const peers = await Promise.all(Array.from({ length: 50 }, () => rawClient(port)));
    await Promise.all(peers.map((peer) => peer.destroy()));
  }
  await until(() => closes === 1000);
  expect(wss.clients.size).toBe(0);
});

test('a server that could not listen, and its successor on the port, are independent', async () => {
  const port = await freePort();
  const first = new WebSocketServer({ port, host: '127.0.0.1' });
  const second = new WebSocketServer({ port, host: '127.0.0.1' });
  const results = await Promise.all(
    [first, second].map(
      (wss) =>
        new Promise((resolve) => {
          wss.on('listening', () => resolve('listening'));
          wss.on('error', (error) => resolve(error.code));
        }),
    ),
  );
  expect(results).toEqual(['listening', 'EADDRINUSE']);
  await open(`ws://127.0.0.1:${port}`);
  await Promise.all([closeServer(first), closeServer(second)]);
});
