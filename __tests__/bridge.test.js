// Connections over JavaScript streams: setSocket() with whatever is a Duplex.

const { once } = require('node:events');
const net = require('node:net');
const { Duplex } = require('node:stream');

const { WebSocket } = require('./support/uvws.js');
const frames = require('./support/frames.js');
const { closing, collect, defer, testOurs } = require('./support/fixtures.js');
const { makePipe } = require('./support/pipe.js');
const { until } = require('./support/tools.js');

const NO_BYTES = Buffer.alloc(0);
const OPTIONS = { closeTimeout: 30_000, autoPong: true };

/** Makes a WebSocket on a stream, of either role. */
function attach(stream, { isServer = false, head = NO_BYTES, ...options } = {}) {
  const websocket = new WebSocket(null, undefined, { ...OPTIONS, ...options });
  websocket._isServer = isServer;
  websocket.setSocket(stream, head, options);
  defer(() => {
    if (websocket.readyState === WebSocket.CLOSED) return undefined;
    websocket.on('error', () => {});
    const closed = once(websocket, 'close');
    websocket.terminate();
    return closed;
  });
  return websocket;
}

/** Both ends of a connection over a pipe in memory. */
function makePair(options) {
  const [one, other] = makePipe();
  return { client: attach(one, options), server: attach(other, { ...options, isServer: true }) };
}

test('setSocket() opens a WebSocket, which keeps the stream', () => {
  const [stream] = makePipe();
  const websocket = new WebSocket(null, undefined, OPTIONS);
  let opened = 0;
  websocket.on('open', () => opened++);
  expect(websocket._socket).toBe(null);
  websocket.setSocket(stream, NO_BYTES, {});
  expect(opened).toBe(1);
  expect(websocket.readyState).toBe(WebSocket.OPEN);
  expect(websocket._socket).toBe(stream);
  expect(websocket._isServer).toBe(true);
  websocket.terminate();
  return closing(websocket);
});

test('messages of all sizes go both ways, in order', async () => {
  const { client, server } = makePair();
  const sent = [0, 1, 125, 126, 65_535, 65_536, 1_000_000].map((size) => Buffer.alloc(size, size));
  for (const [from, to] of [
    [client, server],
    [server, client],
  ]) {
    const messages = collect(to);
    for (const message of sent) from.send(message);
    from.send('last');
    await until(() => messages.length === sent.length + 1);
    expect(messages.pop()).toBe('last');
    expect(Buffer.concat(messages).equals(Buffer.concat(sent))).toBe(true);
  }
});

testOurs('what is sent out of the memory that messages lie in is copied to elsewhere', async () => {
  const { client, server } = makePair();
  client.send(Buffer.alloc(3_000, 7));
  const [{ buffer, byteOffset }] = await once(server, 'message');
  const sent = new Uint8Array(buffer, byteOffset, 20_000);
  // Behind the message is what has not been used yet, where a frame's header may go.
  const unused = sent.subarray(3_100);
  expect(unused.every((byte) => byte === 0)).toBe(true);
  server.send(sent);
  expect(unused.every((byte) => byte === 0)).toBe(true);
  const [received] = await once(client, 'message');
  expect(received.equals(sent)).toBe(true);
});

test('what was read behind the handshake is delivered after the caller is done', async () => {
  const [stream] = makePipe();
  const head = frames.frame(frames.TEXT, 'early', { mask: true });
  const websocket = attach(stream, { isServer: true, head });
  expect(collect(websocket)).toEqual([]);
  const [data] = await once(websocket, 'message');
  expect(data.toString()).toBe('early');
});

test('the closing handshake ends both streams', async () => {
  const { client, server } = makePair();
  const closed = Promise.all([closing(client), closing(server)]);
  client.close(4321, 'why');
  expect(await closed).toEqual([
    { code: 4321, reason: 'why' },
    { code: 4321, reason: 'why' },
  ]);
  expect(client._socket.destroyed).toBe(true);
  expect(server._socket.destroyed).toBe(true);
});

test('what was sent in front of close() arrives, however slow the stream is', async () => {
  const { client, server } = makePair();
  const messages = collect(server);
  for (let i = 0; i < 50; i++) client.send(Buffer.alloc(100_000, i));
  client.close();
  await closing(server);
  expect(messages.map((message) => [message.length, message[0]])).toEqual(
    Array.from({ length: 50 }, (_, i) => [100_000, i]),
  );
});

test("'close' comes when the stream has closed", async () => {
  const { client } = makePair();
  let wasClosed;
  client.on('close', () => (wasClosed = client._socket.closed));
  client.terminate();
  await closing(client);
  expect(wasClosed).toBe(true);
});

test('a stream that is destroyed is an abnormal end, without an error', async () => {
  const { client, server } = makePair();
  const closed = Promise.all([closing(client), closing(server)]);
  client.on('error', () => expect(true).toBe(false));
  client._socket.destroy(new Error('gone'));
  server._socket.destroy();
  expect(await closed).toEqual([
    { code: 1006, reason: '' },
    { code: 1006, reason: '' },
  ]);
});

test('a peer that breaks the protocol gets a Close frame', async () => {
  const { client, server } = makePair();
  const failed = once(server, 'error');
  const closed = closing(client);
  client._socket.write(Buffer.from([0x85, 0x80, 0, 0, 0, 0]));
  const [error] = await failed;
  expect(error.code).toBe('WS_ERR_INVALID_OPCODE');
  expect((await closed).code).toBe(1002);
});

test('bufferedAmount has what the stream has not taken', async () => {
  const { client, server } = makePair();
  server.pause();
  const total = 5_000_000;
  client.send(Buffer.alloc(total));
  expect(client.bufferedAmount).toBeGreaterThan(total / 2);
  await until(() => client.bufferedAmount > total / 2);
  const messages = collect(server);
  server.resume();
  await until(() => messages.length === 1 && client.bufferedAmount === 0);
});

test('pause() stops the stream', async () => {
  const { client, server } = makePair();
  server.pause();
  expect(server._socket.isPaused()).toBe(true);
  const messages = collect(server);
  client.send('x');
  await new Promise((resolve) => setTimeout(resolve, 30));
  expect(messages).toEqual([]);
  server.resume();
  await until(() => messages.length === 1);
});

test('closeTimeout ends a handshake that nobody answers', async () => {
  const [one, other] = makePipe();
  other.resume();
  const websocket = attach(one, { closeTimeout: 50 });
  websocket.close();
  expect(await closing(websocket)).toEqual({ code: 1006, reason: '' });
  expect(one.destroyed).toBe(true);
});

test('a net.Socket works as well', async () => {
  const server = net.createServer((socket) => attach(socket, { isServer: true }));
  server.on('connection', () => {});
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  defer(() => new Promise((resolve) => server.close(resolve)));
  const accepted = once(server, 'connection');
  const socket = net.connect(server.address().port, '127.0.0.1');
  await accepted;
  const websocket = attach(socket);
  websocket.ping('hi');
  const [payload] = await once(websocket, 'pong');
  expect(payload.toString()).toBe('hi');
  websocket.close();
  expect((await closing(websocket)).code).toBe(1005);
});

test('a peer that ends its side still gets the answers to what it has sent before', async () => {
  const answers = [];
  const stream = new Duplex({
    allowHalfOpen: false, // as TLS sockets are
    read() {},
    write(chunk, encoding, callback) {
      answers.push(chunk);
      callback();
    },
  });
  const websocket = attach(stream, { isServer: true });
  websocket.on('message', (data) => websocket.send(data));
  for (const text of ['one', 'two']) stream.push(frames.frame(frames.TEXT, text));
  stream.push(null);
  expect(await closing(websocket)).toEqual({ code: 1006, reason: '' });
  const received = new frames.FrameReader().push(Buffer.concat(answers));
  expect(received.map(({ payload }) => payload.toString())).toEqual(['one', 'two']);
});

test('_sender sends frames that somebody else has made', async () => {
  const { client, server } = makePair();
  const messages = collect(client);
  const payload = Buffer.from('broadcast');
  await new Promise((resolve) => {
    server._sender.sendFrame([Buffer.from([0x81, payload.length]), payload], resolve);
  });
  await until(() => messages.length === 1);
  expect(messages).toEqual(['broadcast']);
});

test('emitClose() is for who has made the object', () => {
  const websocket = new WebSocket(null, undefined, OPTIONS);
  const seen = [];
  websocket.on('close', (...args) => seen.push(args));
  websocket.emitClose();
  expect(seen).toEqual([[1006, NO_BYTES]]);
  expect(websocket.readyState).toBe(WebSocket.CLOSED);
});

testOurs('the end of the context ends the streams', async () => {
  const { Context } = require('..');
  const context = new Context();
  const [one] = makePipe();
  const websocket = attach(one, { context });
  const closed = closing(websocket);
  await context.destroy();
  expect(await closed).toEqual({ code: 1006, reason: '' });
  expect(one.destroyed).toBe(true);
});

testOurs('a stream that was destroyed before ends the connection', async () => {
  const [one] = makePipe();
  one.destroy();
  await once(one, 'close');
  const websocket = attach(one);
  expect(await closing(websocket)).toEqual({ code: 1006, reason: '' });
  expect(websocket.readyState).toBe(WebSocket.CLOSED);
});

testOurs('events that wait for a turn each stop the stream, and let it go on', async () => {
  const [one, other] = makePipe();
  const server = attach(one, { isServer: true, allowSynchronousEvents: false });
  attach(other);
  const messages = collect(server);
  const text = frames.frame(frames.TEXT, 'a', { mask: true });
  one.push(Buffer.concat(Array(100).fill(text)));
  await once(server, 'message');
  expect(one.isPaused()).toBe(true);
  expect(server.isPaused).toBe(false);
  await until(() => messages.length === 100);
  await until(() => !one.isPaused());
});

testOurs('a paused WebSocket stops its stream, even if somebody lets that flow', async () => {
  const [one, other] = makePipe();
  const server = attach(other, { isServer: true });
  const client = attach(one);
  const messages = collect(server);
  server.pause();
  const data = Buffer.alloc(16 * 1024, 1);
  const COUNT = 64;
  for (let i = 0; i < COUNT; i++) client.send(data);
  other.resume();
  await until(() => other.isPaused());
  // All that has not been read waits in the streams, where it counts.
  expect(client.bufferedAmount).toBeGreaterThan((COUNT / 2) * data.length);
  expect(messages).toHaveLength(0);
  server.resume();
  await until(() => messages.length === COUNT);
  expect(messages.every((message) => message.equals(data))).toBe(true);
});
