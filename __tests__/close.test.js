const { once } = require('node:events');

const {
  closing,
  collect,
  failure,
  pair,
  rawPair,
  rawPairOfClient,
  testOurs,
  thrownBy,
} = require('./support/fixtures.js');
const frames = require('./support/frames.js');
const { until } = require('./support/tools.js');
const { WebSocket } = require('./support/uvws.js');

describe('close()', () => {
  test.each([
    [undefined, undefined, 1005, ''],
    [1000, undefined, 1000, ''],
    [1000, '', 1000, ''],
    [1000, 'some reason', 1000, 'some reason'],
    [1001, Buffer.from('bytes'), 1001, 'bytes'],
    [1014, 'é', 1014, 'é'],
    [3000, 'x'.repeat(123), 3000, 'x'.repeat(123)],
    [4999, undefined, 4999, ''],
  ])('sends %p and %p, and both ends see it', async (code, reason, seenCode, seenReason) => {
    const { client, server } = await pair();
    const ends = Promise.all([closing(client), closing(server)]);
    client.close(code, reason);
    expect(client.readyState).toBe(WebSocket.CLOSING);
    const expected = { code: seenCode, reason: seenReason };
    expect(await ends).toEqual([expected, expected]);
    expect([client.readyState, server.readyState]).toEqual([3, 3]);
  });

  test('works from the side of the server as well', async () => {
    const { client, server } = await pair();
    const ends = Promise.all([closing(client), closing(server)]);
    server.close(4000, 'from the server');
    const expected = { code: 4000, reason: 'from the server' };
    expect(await ends).toEqual([expected, expected]);
  });

  test('works from both sides at once', async () => {
    const { client, server } = await pair();
    const ends = Promise.all([closing(client), closing(server)]);
    server.close(4000, 'server');
    client.close(4001, 'client');
    expect(await ends).toEqual([
      { code: 4000, reason: 'server' },
      { code: 4001, reason: 'client' },
    ]);
  });

  test.each([
    0,
    999,
    1004,
    1005,
    1006,
    1015,
    1016,
    2000,
    2999,
    5000,
    -1,
    Infinity,
    NaN,
    null,
    '1000',
    {},
  ])('throws for the code %p, and the connection stays open', async (code) => {
    const { client, server } = await pair();
    expect(() => client.close(code)).toThrow(
      new TypeError('First argument must be a valid error code number'),
    );
    expect(client.readyState).toBe(WebSocket.OPEN);
    const messages = collect(server);
    client.send('unharmed');
    await until(() => messages.length === 1);
  });

  test('throws for a reason that is too long or none, and the connection stays open', async () => {
    const { client } = await pair();
    expect(() => client.close(1000, 'x'.repeat(124))).toThrow(RangeError);
    expect(() => client.close(1000, 'é'.repeat(62))).toThrow(RangeError);
    expect(thrownBy(() => client.close(1000, { length: 10 })).name).toBe('TypeError');
    expect(client.readyState).toBe(WebSocket.OPEN);
  });

  test('does nothing on a connection that is closing or closed', async () => {
    const { client, server } = await pair();
    const codes = [];
    server.on('close', (code) => codes.push(code));
    const closed = closing(client);
    client.close(1000);
    client.close(1001);
    await closed;
    client.close(1002);
    client.terminate();
    await until(() => codes.length === 1);
    expect(codes).toEqual([1000]);
  });

  test('comes behind what was sent before', async () => {
    const { client, server } = await pair();
    const messages = collect(server);
    const closed = closing(server);
    for (let i = 0; i < 100; i++) client.send(`message ${i}`);
    client.send(Buffer.alloc(3_000_000));
    client.close();
    await closed;
    expect(messages).toHaveLength(101);
    expect(messages[100]).toHaveLength(3_000_000);
  });

  test('of an open connection still delivers what the peer sends until its Close frame', async () => {
    const { peer, server } = await rawPair();
    const messages = collect(server);
    server.close(1000);
    await peer.closing();
    peer.send(frames.TEXT, 'last words');
    peer.close(1000);
    expect(await closing(server)).toEqual({ code: 1000, reason: '' });
    expect(messages).toEqual(['last words']);
  });

  test('drops a peer that does not answer when closeTimeout is over', async () => {
    const { peer, server } = await rawPair({ closeTimeout: 100 });
    const start = performance.now();
    const closed = closing(server);
    server.close(1000);
    await peer.closing();
    expect(await closed).toEqual({ code: 1006, reason: '' });
    const elapsed = performance.now() - start;
    expect(elapsed).toBeGreaterThan(90);
    expect(elapsed).toBeLessThan(10_000);
  });

  test('drops a peer that answers but does not end its side when closeTimeout is over', async () => {
    // A client waits for the server to end the connection (RFC 6455 section 7.1.1).
    const { peer, client } = await rawPairOfClient({ closeTimeout: 500 });
    const closed = closing(client);
    client.close(1000, 'bye');
    await peer.closing();
    peer.close(1000, 'bye');
    expect(await closed).toEqual({ code: 1000, reason: 'bye' });
  });
});

describe('a Close frame of the peer', () => {
  test.each([
    [1000, ''],
    [1001, 'going away'],
    [3999, 'x'.repeat(123)],
    [undefined, ''],
  ])('is answered with its code and reason: %p %p', async (code, reason) => {
    const { peer, server } = await rawPair();
    const closed = closing(server);
    peer.close(code, reason);
    expect(await peer.closing()).toEqual({ code: code ?? 1005, reason });
    expect(await closed).toEqual({ code: code ?? 1005, reason });
    await peer.when(({ hasEnded }) => hasEnded);
    expect(peer.error).toBeNull();
  });

  test('ends what is read: what comes behind it is not delivered', async () => {
    const { peer, server } = await rawPair();
    const messages = collect(server);
    const failed = failure(server);
    peer.write(
      Buffer.concat([
        frames.frame(frames.TEXT, 'before'),
        frames.closeFrame(1000),
        frames.frame(frames.TEXT, 'behind'),
        Buffer.from([0xff, 0xff]),
      ]),
    );
    expect(await failed).toMatchObject({ code: 1000, count: 0 });
    expect(messages).toEqual(['before']);
  });

  test('is delivered behind the messages in front of it, also while they are held back', async () => {
    const { peer, server } = await rawPair();
    const messages = collect(server);
    const closed = closing(server);
    server.pause();
    for (let i = 0; i < 10; i++) peer.send(frames.TEXT, `message ${i}`);
    peer.close(1000);
    await new Promise((resolve) => setTimeout(resolve, 30));
    server.resume();
    expect(await closed).toEqual({ code: 1000, reason: '' });
    expect(messages).toHaveLength(10);
  });

  test('is the last that the peer hears, when it has sent one', async () => {
    const { peer, server } = await rawPair();
    const closed = closing(server);
    server.on('message', () => server.send('answer'));
    peer.write(Buffer.concat([frames.frame(frames.TEXT, 'x'), frames.closeFrame(1000)]));
    await closed;
    await peer.when(({ hasEnded }) => hasEnded);
    expect(peer.frames.map(({ opcode }) => opcode)).toEqual([frames.TEXT, frames.CLOSE]);
  });

  testOurs('lets a server end the connection without waiting for the peer to do so', async () => {
    const { peer, server } = await rawPair({ closeTimeout: 60_000 });
    const closed = closing(server);
    const large = Buffer.alloc(1 << 20, 'x');
    server.send(large);
    server.close(1000, 'bye');
    // The peer keeps its side open, and still gets everything.
    await peer.closing();
    peer.write(frames.closeFrame(1000, 'bye'));
    expect(await closed).toEqual({ code: 1000, reason: 'bye' });
    await peer.when(({ hasEnded }) => hasEnded);
    expect(peer.frames.map(({ opcode }) => opcode)).toEqual([frames.BINARY, frames.CLOSE]);
    expect(peer.frames[0].payload.equals(large)).toBe(true);
  });
});

describe('a connection that ends without a closing handshake', () => {
  test('closes with 1006 by a FIN', async () => {
    const { peer, server } = await rawPair();
    const failed = failure(server);
    peer.socket.end();
    expect(await failed).toMatchObject({ code: 1006, reason: '', count: 0 });
  });

  test('closes with 1006 by a reset, and without an error', async () => {
    const { peer, server } = await rawPair();
    const failed = failure(server);
    peer.socket.resetAndDestroy();
    expect(await failed).toMatchObject({ code: 1006, reason: '', count: 0 });
  });

  test('closes with 1006 by terminate(), and without an error', async () => {
    const { client, server } = await pair();
    const ends = Promise.all([failure(client), failure(server)]);
    client.terminate();
    const [ours, theirs] = await ends;
    expect(ours).toMatchObject({ code: 1006, reason: '', count: 0 });
    expect(theirs).toMatchObject({ code: 1006, reason: '', count: 0 });
  });

  test('delivers what was whole before', async () => {
    const { peer, server } = await rawPair();
    const messages = collect(server);
    const closed = closing(server);
    const half = frames.frame(frames.TEXT, 'never whole').subarray(0, 8);
    peer.socket.end(Buffer.concat([frames.frame(frames.TEXT, 'whole'), half]));
    expect(await closed).toEqual({ code: 1006, reason: '' });
    expect(messages).toEqual(['whole']);
  });

  test('closes with 1006 when it is dropped while it is closing', async () => {
    const { peer, server } = await rawPair();
    const closed = closing(server);
    server.close(1000);
    await peer.closing();
    peer.socket.destroy();
    expect(await closed).toEqual({ code: 1006, reason: '' });
  });
});

testOurs.each([true, false])(
  'terminate() inside a message handler delivers nothing more (allowSynchronousEvents: %s)',
  async (allowSynchronousEvents) => {
    const { peer, server } = await rawPair({ allowSynchronousEvents });
    const events = [];
    server.on('message', (data) => {
      events.push(String(data));
      server.terminate();
    });
    for (const name of ['ping', 'pong']) server.on(name, () => events.push(name));
    const closed = closing(server);
    const { TEXT, PING, PONG } = frames;
    peer.write(Buffer.concat([TEXT, TEXT, PING, PONG].map((opcode) => frames.frame(opcode, 'a'))));
    expect(await closed).toEqual({ code: 1006, reason: '' });
    expect(events).toEqual(['a']);
  },
);

test('close() inside a message handler still delivers what has arrived', async () => {
  const { peer, server } = await rawPair();
  const messages = [];
  server.on('message', (data) => {
    messages.push(String(data));
    server.close(1000);
  });
  const closed = closing(server);
  peer.write(Buffer.concat(['a', 'b', 'c'].map((text) => frames.frame(frames.TEXT, text))));
  await peer.closing();
  peer.close(1000);
  expect(await closed).toEqual({ code: 1000, reason: '' });
  expect(messages).toEqual(['a', 'b', 'c']);
});

test('a closing handshake ends both sockets', async () => {
  const { client, server } = await pair();
  const closed = Promise.all([once(client, 'close'), once(server, 'close')]);
  client.close();
  await closed;
  for (const ws of [client, server]) {
    expect(ws._socket?.destroyed ?? true).toBe(true);
    expect(ws.bufferedAmount).toBe(0);
  }
});
