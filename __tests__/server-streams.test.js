// Servers whose connections Node carries: TLS, HTTP/2 (RFC 8441), and streams in memory.

const { once } = require('node:events');
const http2 = require('node:http2');
const https = require('node:https');

const { defer, testOurs } = require('./support/fixtures.js');
const { makeCertificate } = require('./support/certificate.js');
const { upgradeMessage } = require('./support/peers.js');
const { makePipe } = require('./support/pipe.js');
const { WebSocket, WebSocketServer, Sender } = require('./support/uvws.js');

const request = (headers) => upgradeMessage(headers, '/path?query');

describe('handleUpgrade() with a stream in memory and a request that is a plain object', () => {
  test('opens a connection', async () => {
    const wss = new WebSocketServer({ noServer: true, path: '/path' });
    defer(() => wss.close());
    const [near, far] = makePipe();
    const chunks = [];
    far.on('data', (chunk) => chunks.push(chunk));
    const frame = Buffer.concat(
      Sender.frame(Buffer.from('hello'), { fin: true, mask: true, opcode: 1, readOnly: true }),
    );
    const socket = await new Promise((resolve) => {
      wss.handleUpgrade(request({ 'sec-websocket-protocol': 'a, b' }), near, frame, resolve);
    });
    expect(socket.protocol).toBe('a');
    expect(socket._socket).toBe(near);
    const [data] = await once(socket, 'message');
    expect(String(data)).toBe('hello');
    const head = String(Buffer.concat(chunks));
    expect(head).toMatch(/^HTTP\/1\.1 101 Switching Protocols\r\nUpgrade: websocket\r\n/);
    const closed = once(socket, 'close');
    socket.terminate();
    expect((await closed)[0]).toBe(1006);
    expect(near.destroyed).toBe(true);
    expect(wss.clients.size).toBe(0);
  });

  test('throws when it is called twice', async () => {
    const wss = new WebSocketServer({ noServer: true });
    defer(() => wss.close());
    const [near] = makePipe();
    const socket = await new Promise((resolve) => {
      wss.handleUpgrade(request(), near, Buffer.alloc(0), resolve);
    });
    expect(() => wss.handleUpgrade(request(), near, Buffer.alloc(0), () => {})).toThrow(
      /^server\.handleUpgrade\(\) was called more than once with the same socket/,
    );
    const closed = once(socket, 'close');
    socket.terminate();
    await closed;
  });
});

test("the 'headers' event may change the whole head of a connection of Node's", async () => {
  const wss = new WebSocketServer({ noServer: true });
  defer(() => wss.close());
  wss.on('headers', (lines) => {
    expect(lines[0]).toBe('HTTP/1.1 101 Switching Protocols');
    lines.push('Set-Cookie: a=b');
  });
  const [near, far] = makePipe();
  wss.handleUpgrade(request(), near, Buffer.alloc(0), (socket) => socket.terminate());
  const [head] = await once(far, 'data');
  expect(String(head)).toMatch(/\r\nSet-Cookie: a=b\r\n\r\n$/);
});

test('a server of TLS', async () => {
  const certificate = makeCertificate();
  const server = https.createServer(certificate);
  const wss = new WebSocketServer({ server, verifyClient: ({ secure }) => secure });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  defer(async () => {
    wss.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  wss.on('connection', (socket) => socket.on('message', (data) => socket.send(data)));
  const client = new WebSocket(`wss://localhost:${server.address().port}`, {
    ca: certificate.cert,
    family: 4,
  });
  await once(client, 'open');
  const big = Buffer.alloc(300_000, 'big');
  client.send(big);
  const [data, isBinary] = await once(client, 'message');
  expect(isBinary).toBe(true);
  expect(big.equals(data)).toBe(true);
  client.close(1000, 'done');
  const [socket] = wss.clients;
  const [[code, reason]] = await Promise.all([once(client, 'close'), once(socket, 'close')]);
  expect([code, String(reason)]).toEqual([1000, 'done']);
});

describe('WebSockets over HTTP/2', () => {
  /** A server that has the setting, and a session with it. */
  async function session(options) {
    const server = http2.createServer();
    const wss = new WebSocketServer({ server, ...options });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const client = http2.connect(`http://127.0.0.1:${server.address().port}`);
    defer(async () => {
      for (const socket of wss.clients) socket.terminate();
      wss.close();
      client.destroy();
      await new Promise((resolve) => server.close(resolve));
    });
    await once(client, 'remoteSettings');
    return { client, wss };
  }

  function connect(client, headers = {}) {
    return client.request({
      ':method': 'CONNECT',
      ':protocol': 'websocket',
      ':path': '/chat',
      'sec-websocket-version': '13',
      ...headers,
    });
  }

  /** What a client's end writes. */
  function frame(opcode, payload) {
    return Buffer.concat(
      Sender.frame(Buffer.from(payload), { fin: true, mask: true, opcode, readOnly: true }),
    );
  }

  testOurs('echo, next to other connections of the session', async () => {
    const { client, wss } = await session({ path: '/chat' });
    expect(client.remoteSettings.enableConnectProtocol).toBe(true);
    wss.on('connection', (socket, { url, stream }) => {
      expect(url).toBe('/chat');
      expect(stream.session).toBeDefined();
      socket.on('message', (data) => socket.send(`echo ${data}`));
    });
    const streams = [
      connect(client, { 'sec-websocket-protocol': 'a, b' }),
      connect(client, { 'sec-websocket-protocol': 'b' }),
    ];
    for (const [index, stream] of streams.entries()) {
      const [headers] = await once(stream, 'response');
      expect(headers[':status']).toBe(200);
      expect(headers['sec-websocket-protocol']).toBe('ab'[index]);
      expect(headers['sec-websocket-accept']).toBeUndefined();
    }
    for (const stream of streams) {
      stream.write(frame(1, 'hello'));
      const [data] = await once(stream, 'data');
      expect(String(data.subarray(2))).toBe('echo hello');
    }
    expect(wss.clients.size).toBe(2);
    const [socket] = wss.clients;
    const closed = once(socket, 'close');
    streams[0].end(frame(8, Buffer.from([0x03, 0xe8])));
    expect((await closed)[0]).toBe(1000);
    expect(wss.clients.size).toBe(1);
  });

  testOurs.each([
    ['another path', { ':path': '/other' }, 400],
    ['another version', { 'sec-websocket-version': '12' }, 400],
    ['bad subprotocols', { 'sec-websocket-protocol': 'a,,b' }, 400],
  ])('%s is refused', async (_name, headers, status) => {
    const { client } = await session({ path: '/chat' });
    const stream = connect(client, headers);
    const [response] = await once(stream, 'response');
    expect(response[':status']).toBe(status);
    stream.resume();
    await once(stream, 'close');
  });
});
