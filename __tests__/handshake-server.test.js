// Each request that is no valid upgrade gets a status, its connection is closed, nothing is thrown or
// emitted, and the server goes on.

const { once } = require('node:events');
const net = require('node:net');

const frames = require('./support/frames.js');
const { open, rawClient, rawConnect, serve } = require('./support/fixtures.js');
const { KEY, upgradeRequest } = require('./support/peers.js');
const { until } = require('./support/tools.js');
const { Context } = require('./support/uvws.js');

const GOOD = {
  Host: 'localhost',
  Upgrade: 'websocket',
  Connection: 'Upgrade',
  'Sec-WebSocket-Key': KEY,
  'Sec-WebSocket-Version': '13',
};

/** The text of a request: the good one with some headers changed, or left out if undefined. */
function request(changes = {}, { line = 'GET / HTTP/1.1', lines = [] } = {}) {
  const headers = Object.entries({ ...GOOD, ...changes })
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}: ${value}`);
  return [line, ...headers, ...lines, '', ''].join('\r\n');
}

const header = (name, value, status) => [
  value === undefined ? `no ${name}` : `${name}: ${value}`,
  request({ [name]: value }),
  status,
];

const REFUSED = [
  ['a plain GET', request({ Upgrade: undefined, Connection: undefined }), 426],
  ['a POST', request({}, { line: 'POST / HTTP/1.1' }), 405],
  ['a HEAD', request({}, { line: 'HEAD / HTTP/1.1' }), 405],
  ['HTTP/1.0', request({}, { line: 'GET / HTTP/1.0' }), 400],
  ['HTTP/2.0', request({}, { line: 'GET / HTTP/2.0' }), 400],
  ['no HTTP version', request({}, { line: 'GET /' }), 400],
  ['no target', request({}, { line: 'GET HTTP/1.1' }), 400],
  ['garbage', 'this is no HTTP at all\r\n\r\n', 400],
  ['a TLS hello', Buffer.from('16030100c8010000c40303\r\n\r\n'), 400],
  header('Host', undefined, 400),
  ['two Hosts', request({}, { lines: ['Host: other'] }), 400],
  header('Upgrade', 'h2c', 400),
  header('Upgrade', undefined, 426),
  header('Connection', undefined, 426),
  header('Connection', 'keep-alive', 426),
  header('Sec-WebSocket-Key', undefined, 400),
  header('Sec-WebSocket-Key', '', 400),
  header('Sec-WebSocket-Key', 'P5l8BJcZwRc=', 400),
  header('Sec-WebSocket-Key', `${KEY}=`, 400),
  header('Sec-WebSocket-Key', 'dGhlIHNhbXBsZSBub25jZ!==', 400),
  ['two keys', request({}, { lines: [`Sec-WebSocket-Key: ${KEY}`] }), 400],
  header('Sec-WebSocket-Version', undefined, 400),
  header('Sec-WebSocket-Version', '12', 400),
  header('Sec-WebSocket-Version', '14', 400),
  header('Sec-WebSocket-Version', '13, 8', 400),
  ['a body', request({ 'Content-Length': '5' }) + 'hello', 400],
  ['a chunked body', request({ 'Transfer-Encoding': 'chunked' }) + '0\r\n\r\n', 400],
  ['a subprotocol that is no token', request({ 'Sec-WebSocket-Protocol': 'foo;bar' }), 400],
  ['an empty subprotocol', request({ 'Sec-WebSocket-Protocol': '' }), 400],
  ['the same subprotocol twice', request({ 'Sec-WebSocket-Protocol': 'a, a' }), 400],
  [
    '129 subprotocols',
    request({ 'Sec-WebSocket-Protocol': Array.from({ length: 129 }, (_, i) => `p${i}`).join() }),
    400,
  ],
  ['an extension that is none', request({ 'Sec-WebSocket-Extensions': 'x; =1' }), 400],
  ['a header name with a space', request({}, { lines: ['X Y: z'] }), 400],
  ['a folded header', request({}, { lines: ['X-A: b', ' c'] }), 400],
  ['NUL in a header', request({}, { lines: ['X-A: b\0c'] }), 400],
  ['2,001 headers', request({}, { lines: Array(2001).fill('a:') }), 431],
  ['17 KiB of headers', request({}, { lines: [`X-Long: ${'x'.repeat(17 * 1024)}`] }), 431],
  ['a long line without an end', `GET /${'x'.repeat(20 * 1024)}`, 431],
];

let server;
let emitted;

beforeEach(async () => {
  server = await serve();
  emitted = [];
  const { emit } = server.wss;
  server.wss.emit = function record(...args) {
    emitted.push(args[0]);
    return Reflect.apply(emit, this, args);
  };
});

test.each(REFUSED)('%s is refused', async (_name, bytes, status) => {
  const peer = await rawConnect(server.port);
  peer.write(bytes);
  await peer.when(({ hasEnded, hasClosed }) => hasEnded || hasClosed);
  expect(peer.status).toBe(status);
  expect(peer.head).toMatch(/^HTTP\/1\.1 \d{3} [A-Z][A-Za-z ]+\r\n/);
  expect(peer.head).toMatch(/\r\nConnection: (close|Upgrade)\r\n/i);
  const length = Number(/\r\nContent-Length: (\d+)\r\n/i.exec(peer.head)[1]);
  const body = peer.text.slice(peer.head.length);
  expect(Buffer.byteLength(body)).toBe(length);
  expect(emitted).toEqual([]);
  await open(server.url);
  expect(emitted).toContain('connection');
});

test.each([
  [426, request({ Upgrade: undefined, Connection: undefined }), /\r\nUpgrade: websocket\r\n/i],
  [400, request({ 'Sec-WebSocket-Version': '7' }), /\r\nSec-WebSocket-Version: 13, 8\r\n/],
  [405, request({}, { line: 'PUT / HTTP/1.1' }), /\r\nAllow: GET\r\n/],
])('%i says what would be right', async (status, bytes, pattern) => {
  const peer = await rawConnect(server.port);
  peer.write(bytes);
  await peer.when(({ hasEnded, hasClosed }) => hasEnded || hasClosed);
  expect(peer.status).toBe(status);
  expect(peer.head).toMatch(pattern);
  if (status === 426) expect(peer.text.endsWith('\r\n\r\nUpgrade Required')).toBe(true);
});

const TAKEN = [
  ['the tokens in any case', request({ Upgrade: 'WebSocket', Connection: 'keep-alive, UPGRADE' })],
  ['version 8', request({ 'Sec-WebSocket-Version': '8' })],
  ['a target in absolute form', request({}, { line: 'GET http://localhost/x HTTP/1.1' })],
  ['a Content-Length of 0', request({ 'Content-Length': '0' })],
  ['headers with no space and with many', request({}, { lines: ['X-A:b', 'X-C:   d   ', 'X-E:'] })],
  ['bytes above 127 in a value', Buffer.from(request({}, { lines: ['X-A: \xe9\xff'] }), 'latin1')],
  [
    '128 subprotocols',
    request({ 'Sec-WebSocket-Protocol': Array.from({ length: 128 }, (_, i) => `p${i}`).join() }),
  ],
  [
    'an extension that is not known',
    request({
      'Sec-WebSocket-Extensions': 'permessage-deflate; client_max_window_bits, x-y; a="b"',
    }),
  ],
  ['15 KiB of headers', request({}, { lines: [`X-Long: ${'x'.repeat(15 * 1024)}`] })],
  [
    'names of Object.prototype as headers',
    request(
      { 'Sec-WebSocket-Extensions': 'constructor; toString' },
      { lines: ['constructor: a', '__proto__: b', 'toString: c'] },
    ),
  ],
];

test.each(TAKEN)('%s is taken', async (_name, bytes) => {
  const connected = once(server.wss, 'connection');
  const peer = await rawConnect(server.port);
  peer.write(bytes);
  await peer.when(({ head }) => head !== null);
  expect(peer.status).toBe(101);
  expect(peer.head).not.toMatch(/Sec-WebSocket-Extensions/i);
  const [, message] = await connected;
  expect(Object.prototype).not.toHaveProperty('a');
  expect(message.method).toBe('GET');
});

test('the request may come in any pieces', async () => {
  const bytes = Buffer.from(upgradeRequest());
  for (const size of [1, 2, 3, 7, 50]) {
    const peer = await rawConnect(server.port);
    peer.socket.setNoDelay(true);
    for (let i = 0; i < bytes.length; i += size) {
      peer.write(bytes.subarray(i, i + size));
      await new Promise(setImmediate);
    }
    await peer.when(({ head }) => head !== null);
    expect(peer.status).toBe(101);
  }
});

test.each([
  ['ends its side', (socket) => socket.end()],
  ['resets its connection', (socket) => socket.resetAndDestroy()],
])('a peer that %s after any byte of its request is forgotten', async (_name, go) => {
  const bytes = Buffer.from(upgradeRequest());
  for (let i = 0; i < bytes.length; i++) {
    const { socket } = await rawConnect(server.port);
    socket.write(bytes.subarray(0, i), () => go(socket));
  }
  const isForgotten = () => {
    const { connections = 0, pendingHandshakes = 0 } = Context?.default.stats() ?? {};
    return connections + pendingHandshakes === 0;
  };
  await until(isForgotten);
  await open(server.url);
  expect(emitted.filter((name) => name === 'error')).toEqual([]);
});

test('a request that does not end in time gets 408', async () => {
  const slow = await serve({ handshakeTimeout: 400 });
  const peer = await rawConnect(slow.port);
  peer.write('GET / HTTP/1.1\r\n');
  const silent = await rawConnect(slow.port);
  await Promise.all([peer, silent].map((each) => each.when(({ hasClosed }) => hasClosed)));
  expect(peer.status).toBe(408);
  expect(silent.text).toBe('');
});

test('the accept key is that of RFC 6455', async () => {
  const peer = await rawClient(server.port);
  expect(peer.head).toBe(
    [
      'HTTP/1.1 101 Switching Protocols',
      'Upgrade: websocket',
      'Connection: Upgrade',
      'Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=',
      '',
      '',
    ].join('\r\n'),
  );
});

test.each([['handleProtocols'], ['verifyClient'], ['allowedOrigins'], ['shouldHandle']])(
  '%s that throws is answered with 500, and the exception is not lost',
  async (name) => {
    const { inChild } = require('./support/child.js');
    await inChild(
      async ({ uvws, assert, once, rawClient, input }) => {
        const http = require('http');
        const http2 = require('http2');
        const uncaught = [];
        process.on('uncaughtException', (error) => uncaught.push(error.message));
        const context = new uvws.Context();
        const fail = () => {
          throw new Error(`thrown by ${input}`);
        };
        const start = async (options) => {
          const wss = new uvws.WebSocketServer({ context, [input]: fail, ...options });
          if (input === 'shouldHandle') wss.shouldHandle = fail;
          if (options.server !== undefined) options.server.listen(0, '127.0.0.1');
          await once(options.server ?? wss, 'listening');
          return wss.address().port;
        };
        const http1 = http.createServer();
        for (const options of [{ port: 0, host: '127.0.0.1' }, { server: http1 }]) {
          const lines = ['Sec-WebSocket-Protocol: a'];
          const peer = await rawClient(await start(options), { lines, wait: false });
          await peer.when(({ hasEnded, hasClosed }) => hasEnded || hasClosed);
          assert.equal(peer.status, 500);
          await peer.destroy();
        }
        const server = http2.createServer();
        const session = http2.connect(`http://127.0.0.1:${await start({ server })}`);
        await once(session, 'remoteSettings');
        const stream = session.request({
          ':method': 'CONNECT',
          ':protocol': 'websocket',
          ':path': '/',
          ':authority': 'localhost',
          'sec-websocket-version': '13',
          'sec-websocket-protocol': 'a',
        });
        const [headers] = await once(stream, 'response');
        assert.equal(headers[':status'], 500);
        assert.deepEqual(uncaught, new Array(3).fill(`thrown by ${input}`));
        session.destroy();
        for (const each of [http1, server]) each.close();
        await context.destroy();
      },
      { input: name },
    );
  },
);

test('a line that a headers listener adds cannot smuggle in another one', async () => {
  const { inChild } = require('./support/child.js');
  await inChild(async ({ uvws, assert, once, rawClient }) => {
    const uncaught = [];
    process.on('uncaughtException', (error) => uncaught.push(error.name));
    const context = new uvws.Context();
    const wss = new uvws.WebSocketServer({ port: 0, host: '127.0.0.1', context });
    await once(wss, 'listening');
    wss.on('headers', (headers) => headers.push('X-A: b\r\nX-C: d'));
    const peer = await rawClient(wss.address().port, { wait: false });
    await peer.when(({ hasEnded, hasClosed }) => hasEnded || hasClosed);
    assert.equal(peer.status, 500);
    assert.ok(!peer.text.includes('X-C'));
    assert.deepEqual(uncaught, ['TypeError']);
    await peer.destroy();
    await context.destroy();
  });
});

test('a peer that ends its side behind a request and a message is heard and answered', async () => {
  const { wss, port } = await serve();
  const events = [];
  wss.on('connection', (ws) => {
    ws.on('message', (data) => {
      events.push(String(data));
      ws.send('answer');
    });
    ws.on('close', (code) => events.push(code));
  });
  const peer = net.connect({ port, allowHalfOpen: true });
  peer.end(Buffer.concat([Buffer.from(request()), frames.frame(frames.TEXT, 'last words')]));
  const answer = Buffer.concat(await peer.toArray()).toString('latin1');
  expect(answer).toMatch(/^HTTP\/1\.1 101 .*answer$/s);
  await until(() => events.length === 2);
  expect(events).toEqual(['last words', 1006]);
});
