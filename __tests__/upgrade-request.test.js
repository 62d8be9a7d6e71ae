// The request that 'connection' brings is a real http.IncomingMessage, however it came about.

const { once } = require('node:events');
const http = require('node:http');
const { inspect } = require('node:util');

const { defer, rawPair, serve, rawClient } = require('./support/fixtures.js');

const LINES = [
  'Cookie: a=1',
  'Cookie: b=2',
  'X-Repeated: one',
  'X-Repeated: two',
  'User-Agent: first',
  'User-Agent: second',
  'Set-Cookie: c',
  'Set-Cookie: d',
  'X-Empty:',
  'x-lower: CASE kept',
];

async function request(options = {}) {
  const { request: message, server } = await rawPair(undefined, {
    path: '/chat?room=1&user=%C3%A9',
    lines: LINES,
    ...options,
  });
  return { message, server };
}

/** The same request as Node's own HTTP server shows it. */
async function requestOfNode() {
  const server = http.createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const upgraded = once(server, 'upgrade');
  await rawClient(server.address().port, {
    path: '/chat?room=1&user=%C3%A9',
    lines: LINES,
    wait: false,
  });
  const [message, socket] = await upgraded;
  defer(() => {
    socket.destroy();
    return new Promise((resolve) => server.close(resolve));
  });
  return message;
}

test('it is an IncomingMessage, of its class and constructor', async () => {
  const { message } = await request();
  expect(message).toBeInstanceOf(http.IncomingMessage);
  expect(message.constructor).toBe(http.IncomingMessage);
  expect(typeof message.on).toBe('function');
  expect(typeof message.pipe).toBe('function');
});

test('it has what Node’s own has', async () => {
  const { message } = await request();
  const expected = await requestOfNode();
  for (const name of [
    'method',
    'url',
    'httpVersion',
    'httpVersionMajor',
    'httpVersionMinor',
    'headers',
    'headersDistinct',
    'rawHeaders',
    'trailers',
    'rawTrailers',
    'statusCode',
    'statusMessage',
    'aborted',
    'complete',
  ]) {
    expect([name, message[name]]).toEqual([name, expected[name]]);
  }
  expect(message.headers.cookie).toBe('a=1; b=2');
  expect(message.headers['x-repeated']).toBe('one, two');
  expect(message.headers['set-cookie']).toEqual(['c', 'd']);
  expect(message.headers['x-lower']).toBe('CASE kept');
  expect(Object.keys(message)).toEqual(expect.arrayContaining(['method', 'rawHeaders', 'url']));
});

test('each property can be looked at first', async () => {
  for (const name of [
    'headers',
    'url',
    'rawHeaders',
    'method',
    'socket',
    'readable',
    'headersDistinct',
    'listenerCount',
    'destroyed',
  ]) {
    const { message } = await request();
    expect(message[name]).toBeDefined();
    expect(message.url).toBe('/chat?room=1&user=%C3%A9');
    expect(message.headers.host).toBe('localhost');
  }
});

test('its properties can be set, as middleware does', async () => {
  const { message } = await request();
  message.url = '/rewritten';
  message.user = { name: 'somebody' };
  message.headers['x-added'] = 'yes';
  expect(message.url).toBe('/rewritten');
  expect(message.user).toEqual({ name: 'somebody' });
  expect(message.headers['x-added']).toBe('yes');
  expect(message).toBeInstanceOf(http.IncomingMessage);
});

test('it can be inspected, spread, and used as a stream that has ended', async () => {
  const { message } = await request();
  expect(inspect(message)).toMatch(/IncomingMessage/);
  expect({ ...message }.url).toBe('/chat?room=1&user=%C3%A9');
  const { message: other } = await request();
  const chunks = [];
  other.on('data', (chunk) => chunks.push(chunk));
  other.resume();
  await new Promise(setImmediate);
  expect(chunks).toEqual([]);
});

test('its socket tells the addresses, during and after the connection', async () => {
  const { wss, port } = await serve();
  const connected = once(wss, 'connection');
  const peer = await rawClient(port);
  const [server, message] = await connected;
  const { socket } = message;
  expect(socket.remoteAddress).toBe('127.0.0.1');
  expect(socket.remotePort).toBe(peer.socket.localPort);
  expect(socket.localPort).toBe(port);
  expect(socket.remoteFamily).toBe('IPv4');
  expect(message.connection).toBe(socket);
  expect(socket.encrypted).toBeFalsy();
  const closed = once(server, 'close');
  await peer.destroy();
  await closed;
  expect(socket.remoteAddress).toBe('127.0.0.1');
  expect(socket.destroyed).toBe(true);
});

test('names of Object.prototype are ordinary headers', async () => {
  const { message } = await request({ lines: ['constructor: a', 'toString: b', '__proto__: c'] });
  expect(message.headers.constructor).toBe('a');
  expect(message.headers.tostring).toBe('b');
  expect({}.polluted).toBeUndefined();
});

test('verifyClient, handleProtocols, headers and connection get the same object', async () => {
  const seen = [];
  const { wss, port } = await serve({
    verifyClient: ({ req }) => seen.push(req),
    handleProtocols: (_protocols, req) => {
      seen.push(req);
      return 'a';
    },
  });
  wss.shouldHandle = (req) => seen.push(req);
  wss.on('headers', (_headers, req) => seen.push(req));
  const connected = once(wss, 'connection');
  await rawClient(port, { lines: ['Sec-WebSocket-Protocol: a'] });
  const [, req] = await connected;
  expect(seen).toHaveLength(4);
  for (const each of seen) expect(each).toBe(req);
});
