const { once } = require('node:events');

const { closing, collect, failure, pair, rawPair, thrownBy } = require('./support/fixtures.js');
const frames = require('./support/frames.js');
const { until } = require('./support/tools.js');
const { WebSocket } = require('./support/uvws.js');

/** The data of each test, and what arrives. */
const DATA = [
  ['a string', 'Grüße, 世界, \u{1f600}', 'Grüße, 世界, \u{1f600}'],
  ['an empty string', '', ''],
  ['a number', 42, '42'],
  ['zero', 0, '0'],
  ['a Buffer', Buffer.from([0, 1, 2, 255]), Buffer.from([0, 1, 2, 255])],
  ['an empty Buffer', Buffer.alloc(0), Buffer.alloc(0)],
  ['a Uint8Array', Uint8Array.from([1, 2, 3]), Buffer.from([1, 2, 3])],
  ['an ArrayBuffer', Uint8Array.from([1, 2, 3]).buffer, Buffer.from([1, 2, 3])],
  [
    'a part of an ArrayBuffer',
    new Uint8Array(Uint8Array.from([1, 2, 3, 4]).buffer, 1, 2),
    Buffer.from([2, 3]),
  ],
  ['a Float32Array', Float32Array.from([1]), Buffer.from([0, 0, 128, 63])],
  ['a DataView', new DataView(Uint8Array.from([9, 8]).buffer), Buffer.from([9, 8])],
  ['an array of bytes', [1, 2, 3], Buffer.from([1, 2, 3])],
  ['undefined', undefined, Buffer.alloc(0)],
  ['null', null, Buffer.alloc(0)],
  ['a slice of a pooled Buffer', Buffer.from('pooled').subarray(1, 3), Buffer.from('oo')],
];

describe.each(['client', 'server'])('send() of a %s', (side) => {
  const other = side === 'client' ? 'server' : 'client';

  test.each(DATA)('takes %s', async (_name, data, expected) => {
    const ends = await pair();
    const messages = collect(ends[other]);
    expect(ends[side].send(data)).toBeUndefined();
    await until(() => messages.length === 1);
    expect(messages).toEqual([expected]);
  });

  test.each([
    ['an object', {}],
    ['a symbol', Symbol('s')],
    ['a boolean', true],
    ['a function', () => {}],
  ])('throws for %s', async (_name, data) => {
    const ends = await pair();
    expect(thrownBy(() => ends[side].send(data)).name).toBe('TypeError');
    expect(ends[side].readyState).toBe(WebSocket.OPEN);
    const messages = collect(ends[other]);
    ends[side].send('unharmed');
    await until(() => messages.length === 1);
    expect(messages).toEqual(['unharmed']);
  });

  test('sends as text or as binary what the option says', async () => {
    const ends = await pair();
    const messages = collect(ends[other]);
    ends[side].send('as binary', { binary: true });
    ends[side].send(Buffer.from('as text'), { binary: false });
    ends[side].send('as it is', {});
    await until(() => messages.length === 3);
    expect(messages).toEqual([Buffer.from('as binary'), 'as text', 'as it is']);
  });

  test('sends fragments, with control frames between them', async () => {
    const ends = await pair();
    const messages = collect(ends[other]);
    const pings = [];
    ends[other].on('ping', (data) => pings.push(String(data)));
    ends[side].send('one ', { fin: false });
    ends[side].ping('between');
    ends[side].send('two ', { fin: false, binary: true });
    ends[side].send('three', { fin: true });
    ends[side].send('whole');
    await until(() => messages.length === 2);
    expect(messages).toEqual(['one two three', 'whole']);
    expect(pings).toEqual(['between']);
  });

  test('calls its callback once, later, without an error', async () => {
    const ends = await pair();
    let isReturned = false;
    const called = new Promise((resolve) => {
      ends[side].send('x', (...args) => resolve({ isReturned, args }));
    });
    isReturned = true;
    const result = await called;
    expect(result.isReturned).toBe(true);
    expect(result.args[0] ?? null).toBeNull();
    await new Promise((resolve) => ends[side].send('y', undefined, resolve));
    await new Promise((resolve) => ends[side].send('z', { binary: true }, resolve));
    await new Promise((resolve) => ends[side].ping('z', undefined, resolve));
    await new Promise((resolve) => ends[side].pong(resolve));
  });

  test('calls its callbacks in the order of the calls', async () => {
    const ends = await pair();
    const order = [];
    for (let i = 0; i < 50; i++) {
      ends[side].send(i % 7 === 0 ? Buffer.alloc(200_000) : 'x', () => order.push(i));
    }
    await until(() => order.length === 50);
    expect(order).toEqual(Array.from({ length: 50 }, (_, i) => i));
  });

  test('takes a snapshot of the data at the time the callback is due', async () => {
    // Until then the Buffer belongs to the connection. Afterwards it can be used again.
    const ends = await pair();
    const messages = collect(ends[other]);
    const buffer = Buffer.alloc(1000, 'a');
    await new Promise((resolve) => ends[side].send(buffer, resolve));
    buffer.fill('b');
    await until(() => messages.length === 1);
    expect(messages[0].every((byte) => byte === 97)).toBe(true);
  });

  test('keeps the order of a Blob and what is sent behind it', async () => {
    const ends = await pair();
    const messages = collect(ends[other]);
    ends[side].send('first');
    ends[side].send(new Blob(['blob ', 'parts']));
    ends[side].send('behind');
    ends[side].ping('ping');
    ends[side].send('last');
    const closed = closing(ends[other]);
    ends[side].close(1000, 'done');
    expect(await closed).toEqual({ code: 1000, reason: 'done' });
    expect(messages).toEqual(['first', Buffer.from('blob parts'), 'behind', 'last']);
  });
});

describe('send() on a connection that is not open any more', () => {
  test('tells its callback, and does not throw', async () => {
    const { client, server } = await pair();
    server.pause();
    client.close();
    const closingError = await new Promise((resolve) => client.send('too late', resolve));
    expect(closingError).toBeInstanceOf(Error);
    expect(closingError.message).toBe('WebSocket is not open: readyState 2 (CLOSING)');
    server.resume();
    await closing(client);
    for (const method of ['send', 'ping', 'pong']) {
      const error = await new Promise((resolve) => client[method]('too late', resolve));
      expect(error.message).toBe('WebSocket is not open: readyState 3 (CLOSED)');
    }
    expect(() => client.send('too late')).not.toThrow();
  });

  test('counts into bufferedAmount', async () => {
    const { client } = await pair();
    const closed = closing(client);
    client.close();
    await closed;
    expect(client.bufferedAmount).toBe(0);
    client.send('12345');
    client.send(Buffer.alloc(10));
    client.ping('12');
    client.send('é');
    expect(client.bufferedAmount).toBe(19);
  });

  test('tells the callbacks of what was queued when the connection was dropped', async () => {
    const { peer, server } = await rawPair();
    peer.socket.pause();
    const results = [];
    for (let i = 0; i < 10; i++) {
      server.send(Buffer.alloc(4 * 1024 * 1024), (error) => results.push(error));
    }
    const closed = closing(server);
    server.terminate();
    await closed;
    await until(() => results.length === 10);
    expect(results.at(-1).message).toEqual(expect.any(String));
  });
});

describe('ping() and pong()', () => {
  test.each(['ping', 'pong'])('%s() reaches the other side with its data', async (method) => {
    const { client, server } = await pair();
    const seen = [];
    server.on(method, (data) => seen.push(data));
    client[method]();
    client[method]('text');
    client[method](Buffer.from([1, 2]));
    client[method](7);
    client[method]('x'.repeat(125));
    await until(() => seen.length === 5);
    expect(seen.every((data) => Buffer.isBuffer(data))).toBe(true);
    expect(seen.map(String)).toEqual(['', 'text', '\u0001\u0002', '7', 'x'.repeat(125)]);
  });

  test.each(['ping', 'pong'])('%s() throws for more than 125 bytes', async (method) => {
    const { client } = await pair();
    const error = new RangeError('The data size must not be greater than 125 bytes');
    expect(() => client[method]('x'.repeat(126))).toThrow(error);
    expect(() => client[method]('é'.repeat(63))).toThrow(error);
    expect(client.readyState).toBe(WebSocket.OPEN);
  });

  test('a PING is answered by itself, with its data', async () => {
    const { peer, server } = await rawPair();
    const pinged = once(server, 'ping');
    peer.send(frames.PING, 'are you there?');
    const frame = await peer.nextFrame();
    expect(frame.opcode).toBe(frames.PONG);
    expect(String(frame.payload)).toBe('are you there?');
    expect(String((await pinged)[0])).toBe('are you there?');
  });

  test('without autoPong a PING is only told', async () => {
    const { peer, server } = await rawPair({ autoPong: false });
    const pinged = once(server, 'ping');
    peer.send(frames.PING, 'x');
    await pinged;
    server.send('what comes first');
    const frame = await peer.nextFrame();
    expect(frame.opcode).toBe(frames.TEXT);
  });
});

describe('messages', () => {
  test.each([1, 125, 126, 65_535, 65_536, 1_000_000])(
    'of %i bytes arrive as they were sent, both ways',
    async (size) => {
      const { client, server } = await pair();
      server.on('message', (data, isBinary) => server.send(data, { binary: isBinary }));
      const bytes = Buffer.alloc(size);
      for (let i = 0; i < size; i++) bytes[i] = (i * 7) & 255;
      client.send(bytes);
      const [binary, isBinary] = await once(client, 'message');
      expect(isBinary).toBe(true);
      expect(binary.equals(bytes)).toBe(true);
      const text = 'x'.repeat(size - 1) + 'y';
      client.send(text);
      const [data, isBinaryText] = await once(client, 'message');
      expect(isBinaryText).toBe(false);
      expect(Buffer.isBuffer(data)).toBe(true);
      expect(String(data) === text).toBe(true);
    },
  );

  test('are of the type that binaryType says; text is not affected', async () => {
    const { client, server } = await pair();
    const receive = async () => (await once(server, 'message'))[0];
    for (const [type, check] of [
      ['arraybuffer', (data) => Object.prototype.toString.call(data) === '[object ArrayBuffer]'],
      ['fragments', (data) => Array.isArray(data) && data.every(Buffer.isBuffer)],
      ['nodebuffer', Buffer.isBuffer],
    ]) {
      server.binaryType = type;
      const data = receive();
      client.send(Buffer.from([1, 2, 3]));
      expect([type, check(await data)]).toEqual([type, true]);
      const empty = receive();
      client.send(Buffer.alloc(0));
      expect([type, check(await empty)]).toEqual([type, true]);
      const large = receive();
      client.send(Buffer.alloc(100_000, 1));
      const message = await large;
      expect([type, check(message)]).toEqual([type, true]);
      if (type === 'arraybuffer') expect(message.byteLength).toBe(100_000);
      const text = receive();
      client.send('text');
      expect(Buffer.isBuffer(await text)).toBe(true);
    }
  });

  test('of the type blob are Blobs', async () => {
    const { client, server } = await pair();
    server.binaryType = 'blob';
    expect(server.binaryType).toBe('blob');
    const received = once(server, 'message');
    client.send(Buffer.from('blob'));
    const [blob] = await received;
    expect(blob).toBeInstanceOf(Blob);
    expect(await blob.text()).toBe('blob');
  });

  test('of a peer that sends one byte at a time arrive whole', async () => {
    const { peer, server } = await rawPair();
    peer.socket.setNoDelay(true);
    const messages = collect(server);
    const bytes = Buffer.concat([
      frames.frame(frames.TEXT, 'wörld'),
      frames.frame(frames.BINARY, 'x'.repeat(200)),
      frames.frame(frames.TEXT, 'frag', { fin: false }),
      frames.frame(frames.PING, 'p'),
      frames.frame(frames.CONTINUATION, 'ment'),
    ]);
    for (const byte of bytes) {
      peer.write(Buffer.from([byte]));
      await new Promise(setImmediate);
    }
    await until(() => messages.length === 3);
    expect(messages).toEqual(['wörld', Buffer.from('x'.repeat(200)), 'fragment']);
  });

  test('do not share memory that would change', async () => {
    const { peer, server } = await rawPair();
    const messages = collect(server);
    for (let i = 0; i < 1000; i++) peer.send(frames.BINARY, Buffer.alloc(50, i & 255));
    await until(() => messages.length === 1000);
    messages.forEach((data, i) => {
      expect(data.length).toBe(50);
      expect(data.every((byte) => byte === (i & 255))).toBe(true);
    });
  });
});

describe('the mask option of send()', () => {
  test.each([
    ['text', 'unmasked', frames.TEXT],
    ['binary', Buffer.from('unmasked'), frames.BINARY],
    ['an ArrayBuffer', Uint8Array.from(Buffer.from('unmasked')).buffer, frames.BINARY],
  ])('sends %s of a client unmasked, which a server refuses', async (_name, data, opcode) => {
    const { client, server } = await pair();
    const bytes = [];
    server._socket.prependListener('data', (chunk) => bytes.push(Buffer.from(chunk)));
    const failed = failure(server);
    client.send(data, { mask: false, binary: opcode === frames.BINARY });
    const { error } = await failed;
    expect(error.code).toBe('WS_ERR_EXPECTED_MASK');
    const frame = frames.frame(opcode, 'unmasked', { mask: false });
    // The client's Close frame may have come behind it.
    expect(Buffer.concat(bytes).subarray(0, frame.length)).toEqual(frame);
  });

  test('sends what a server has masked, which a client refuses', async () => {
    const { client, server } = await pair();
    const failed = failure(client);
    server.send('masked', { mask: true });
    expect((await failed).error.code).toBe('WS_ERR_UNEXPECTED_MASK');
  });

  test('may say what holds anyway', async () => {
    const { client, server } = await pair();
    const messages = [collect(server), collect(client)];
    await new Promise((resolve) => client.send('masked', { mask: true }, resolve));
    await new Promise((resolve) => server.send('unmasked', { mask: false }, resolve));
    await until(() => messages.flat().length === 2);
    expect(messages).toEqual([['masked'], ['unmasked']]);
  });
});
