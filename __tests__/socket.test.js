// `_socket` of a native connection: what code written for ws does with the net.Socket it finds there.

const { once } = require('node:events');

const frames = require('./support/frames.js');
const { closing, collect, pair, rawPair } = require('./support/fixtures.js');
const { until } = require('./support/tools.js');

test('write() sends bytes as they are, and tells when the system has them', async () => {
  const { client, server } = await pair();
  const messages = collect(client);
  server.send('first');
  await new Promise((resolve) => {
    server._socket.write(frames.frame(frames.TEXT, 'raw', { mask: false }), resolve);
  });
  server.send('last');
  await until(() => messages.length === 3);
  expect(messages).toEqual(['first', 'raw', 'last']);
});

test('end() ends the connection without a Close frame, behind what was sent', async () => {
  const { client, server } = await pair();
  const messages = collect(client);
  const finished = once(server._socket, 'finish');
  const closed = Promise.all([closing(client), closing(server)]);
  server.send('last words');
  server._socket.end();
  expect(server._socket.writableEnded).toBe(true);
  expect(await closed).toEqual([
    { code: 1006, reason: '' },
    { code: 1006, reason: '' },
  ]);
  await finished;
  expect(messages).toEqual(['last words']);
});

test("a 'data' listener sees the bytes of the frames, in front of their messages", async () => {
  const { server, peer } = await rawPair();
  const seen = [];
  // A copy: a frame may be unmasked in place.
  const onData = (chunk) => seen.push(Buffer.from(chunk));
  server._socket.prependListener('data', onData);
  server.on('message', (data) => seen.push(data.toString()));
  const bytes = frames.frame(frames.TEXT, 'x');
  peer.write(bytes);
  await until(() => seen.length === 2);
  expect(seen).toEqual([bytes, 'x']);
  server._socket.removeListener('data', onData);
  peer.write(bytes);
  await until(() => seen.length === 3);
  expect(seen[2]).toBe('x');
});

test('destroy() and resetAndDestroy() are an abnormal end for both', async () => {
  for (const end of ['destroy', 'resetAndDestroy']) {
    const { client, server } = await pair();
    const closed = Promise.all([closing(client), closing(server)]);
    server._socket[end]();
    expect((await closed).map(({ code }) => code)).toEqual([1006, 1006]);
    expect(server._socket.destroyed).toBe(true);
  }
});

test('destroy() tells listeners of the socket why', async () => {
  const { server } = await pair();
  const told = [];
  server._socket.on('error', (error) => told.push(error.message));
  server._socket.on('close', (hadError) => told.push(hadError));
  server.on('error', () => told.push('an error of the WebSocket'));
  const closed = closing(server);
  server._socket.destroy(new Error('why'));
  expect((await closed).code).toBe(1006);
  expect(told.sort()).toEqual([true, 'why']);
});

test('_sender.sendFrame() sends a frame in pieces, and its callback is not synchronous', async () => {
  const { client, server } = await pair();
  const messages = collect(client);
  let isCalled = false;
  const sent = new Promise((resolve) => {
    server._sender.sendFrame([Buffer.from([0x81, 2]), Buffer.from('hi')], (error) => {
      isCalled = true;
      resolve(error);
    });
  });
  expect(isCalled).toBe(false);
  expect((await sent) ?? null).toBe(null);
  await until(() => messages.length === 1);
  server.terminate();
  await closing(server);
  const error = await new Promise((resolve) =>
    server._sender.sendFrame([Buffer.alloc(2)], resolve),
  );
  expect(typeof error.message).toBe('string');
});

test('_receiver concludes with the Close frame of the peer', async () => {
  const { client, server } = await pair();
  const concluded = once(server._receiver, 'conclude');
  client.close(4000, 'bye');
  const [code, reason] = await concluded;
  expect([code, reason.toString()]).toEqual([4000, 'bye']);
  await closing(server);
});

test('_closeTimer is there once closing has begun', async () => {
  const { client } = await pair(undefined, { closeTimeout: 1234 });
  expect(client._closeTimer).toBe(null);
  client.close();
  expect(client._closeTimer._idleTimeout).toBe(1234);
  await closing(client);
});

test('what is set while it closes is set of nothing', async () => {
  const { client, server } = await pair();
  const closed = Promise.all([closing(client), closing(server)]);
  const { _socket: socket } = server;
  server.terminate();
  expect(socket.setNoDelay(false).setKeepAlive(true, 1000).unref().ref()).toBe(socket);
  expect((await closed).map(({ code }) => code)).toEqual([1006, 1006]);
  expect(socket.setNoDelay().setKeepAlive()).toBe(socket);
});

test('is there for whoever asks for it only when the connection is gone', async () => {
  const { client, server } = await pair();
  const closed = Promise.all([closing(client), closing(server)]);
  let address = 'nobody asked';
  server.on('close', () => (address = server._socket.remoteAddress));
  client.close();
  await closed;
  expect(address).toBe(undefined);
  expect(server._socket.destroyed).toBe(true);
});

test("an 'error' listener hears what broke the connection, in front of 'close'", async () => {
  const { client, server } = await pair();
  const events = [];
  client._socket.on('error', (error) => events.push(error.code));
  client.on('error', () => events.push('error of the WebSocket'));
  const closed = closing(client);
  server._socket.resetAndDestroy();
  const { code } = await closed;
  expect(code).toBe(1006);
  expect(events).toEqual(['ECONNRESET']);
  expect(client._socket.destroyed).toBe(true);
});
