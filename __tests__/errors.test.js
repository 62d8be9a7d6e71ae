// What a peer does wrong: each breach is answered by a Close frame with its code, one error with the
// code that ws gives it, and then close with 1006.

const { failure, rawPair, rawPairOfClient, testOurs } = require('./support/fixtures.js');
const frames = require('./support/frames.js');
const { until } = require('./support/tools.js');

const { BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, closeFrame, frame } = frames;

const INVALID = 'Invalid WebSocket frame: ';

/** The name, the frames of the peer, and what is expected: the error's code, message, close code. */
const BREACHES = [
  [
    'RSV1',
    (mask) => [frame(TEXT, 'x', { mask, rsv: 4 })],
    'UNEXPECTED_RSV_1',
    `${INVALID}RSV1 must be clear`,
    1002,
  ],
  [
    'RSV2',
    (mask) => [frame(TEXT, 'x', { mask, rsv: 2 })],
    'UNEXPECTED_RSV_2_3',
    `${INVALID}RSV2 and RSV3 must be clear`,
    1002,
  ],
  [
    'RSV3',
    (mask) => [frame(PING, 'x', { mask, rsv: 1 })],
    'UNEXPECTED_RSV_2_3',
    `${INVALID}RSV2 and RSV3 must be clear`,
    1002,
  ],
  ...[3, 4, 5, 6, 7, 11, 12, 13, 14, 15].map((opcode) => [
    `the opcode ${opcode}`,
    (mask) => [frame(opcode, '', { mask })],
    'INVALID_OPCODE',
    `${INVALID}invalid opcode ${opcode}`,
    1002,
  ]),
  [
    'a continuation of nothing',
    (mask) => [frame(CONTINUATION, 'x', { mask })],
    'INVALID_OPCODE',
    `${INVALID}invalid opcode 0`,
    1002,
  ],
  [
    'a new message inside a message',
    (mask) => [frame(TEXT, 'x', { mask, fin: false }), frame(BINARY, 'y', { mask })],
    'INVALID_OPCODE',
    `${INVALID}invalid opcode 2`,
    1002,
  ],
  ...[PING, PONG, CLOSE].map((opcode) => [
    `a fragment of a control frame of opcode ${opcode}`,
    (mask) => [frame(opcode, '', { mask, fin: false })],
    'EXPECTED_FIN',
    `${INVALID}FIN must be set`,
    1002,
  ]),
  [
    'a PING of 126 bytes',
    (mask) => [frame(PING, 'x'.repeat(126), { mask })],
    'INVALID_CONTROL_PAYLOAD_LENGTH',
    `${INVALID}invalid payload length 126`,
    1002,
  ],
  [
    'a Close frame of one byte',
    (mask) => [frame(CLOSE, 'x', { mask })],
    'INVALID_CONTROL_PAYLOAD_LENGTH',
    `${INVALID}invalid payload length 1`,
    1002,
  ],
  ...[0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65535].map((code) => [
    `a Close frame with the code ${code}`,
    (mask) => [closeFrame(code, '', { mask })],
    'INVALID_CLOSE_CODE',
    `${INVALID}invalid status code ${code}`,
    1002,
  ]),
  [
    'a Close frame whose reason is no UTF-8',
    (mask) => [frame(CLOSE, Buffer.from([0x03, 0xe8, 0xff, 0xfe]), { mask })],
    'INVALID_UTF8',
    `${INVALID}invalid UTF-8 sequence`,
    1007,
  ],
  [
    'text that is no UTF-8',
    (mask) => [frame(TEXT, Buffer.from([0xce, 0xba, 0xe1, 0xbd]), { mask })],
    'INVALID_UTF8',
    `${INVALID}invalid UTF-8 sequence`,
    1007,
  ],
  [
    'text of fragments that is no UTF-8',
    (mask) => [
      frame(TEXT, Buffer.from([0xce]), { mask, fin: false }),
      frame(CONTINUATION, Buffer.from([0xce]), { mask }),
    ],
    'INVALID_UTF8',
    `${INVALID}invalid UTF-8 sequence`,
    1007,
  ],
  [
    'a payload of 2^53 bytes',
    (mask) => [frame(BINARY, '', { mask, length: 2n ** 53n })],
    'UNSUPPORTED_DATA_PAYLOAD_LENGTH',
    'Unsupported WebSocket frame: payload length > 2^53 - 1',
    1009,
  ],
  [
    'a payload of 2^64 - 1 bytes',
    (mask) => [frame(BINARY, '', { mask, length: 2n ** 64n - 1n })],
    'UNSUPPORTED_DATA_PAYLOAD_LENGTH',
    'Unsupported WebSocket frame: payload length > 2^53 - 1',
    1009,
  ],
  [
    'a message larger than maxPayload',
    (mask) => [frame(BINARY, Buffer.alloc(1001), { mask })],
    'UNSUPPORTED_MESSAGE_LENGTH',
    'Max payload size exceeded',
    1009,
  ],
  [
    'fragments that are together larger than maxPayload',
    (mask) => [
      frame(BINARY, Buffer.alloc(600), { mask, fin: false }),
      frame(CONTINUATION, Buffer.alloc(600), { mask }),
    ],
    'UNSUPPORTED_MESSAGE_LENGTH',
    'Max payload size exceeded',
    1009,
  ],
  [
    'more fragments than maxFragments',
    (mask) => [
      frame(BINARY, 'x', { mask, fin: false }),
      ...Array(12).fill(frame(CONTINUATION, 'x', { mask, fin: false })),
    ],
    'TOO_MANY_BUFFERED_PARTS',
    'Too many message fragments',
    1008,
  ],
  [
    'more empty fragments than maxFragments',
    (mask) => [
      frame(TEXT, '', { mask, fin: false }),
      ...Array(12).fill(frame(CONTINUATION, '', { mask, fin: false })),
    ],
    'TOO_MANY_BUFFERED_PARTS',
    'Too many message fragments',
    1008,
  ],
];

const LIMITS = { maxPayload: 1000, maxFragments: 10, perMessageDeflate: false };

async function ends(side) {
  if (side === 'server') {
    const { peer, server } = await rawPair(LIMITS);
    return { peer, ws: server };
  }
  const { peer, client } = await rawPairOfClient(LIMITS);
  return { peer, ws: client };
}

async function expectBreach({ peer, ws }, bytes, code, message, closeCode) {
  const messages = [];
  ws.on('message', (data) => messages.push(data));
  const failed = failure(ws);
  peer.write(bytes);
  const closed = peer.closing();
  const result = await Promise.race([failed, closed.then(() => failed)]);
  expect(await closed).toEqual({ code: closeCode, reason: '' });
  expect(result.count).toBe(1);
  expect(result.error.code).toBe(`WS_ERR_${code}`);
  expect(result.error.message).toBe(message);
  expect(result.error).toBeInstanceOf(code === 'INVALID_UTF8' ? Error : RangeError);
  expect(result).toMatchObject({ code: 1006, reason: '' });
  expect(messages).toEqual([]);
  // The Close frame is the last: nothing is read or answered any more.
  peer.send(frames.PING, 'x');
  await peer.when(({ hasEnded, hasClosed }) => hasEnded || hasClosed);
  expect(peer.frames.map(({ opcode }) => opcode)).toEqual([CLOSE]);
}

describe.each(['server', 'client'])('a %s', (side) => {
  const mask = side === 'server';

  test.each(BREACHES)('closes on %s', async (_name, make, code, message, closeCode) => {
    await expectBreach(await ends(side), Buffer.concat(make(mask)), code, message, closeCode);
  });

  test('closes on a frame that is masked the wrong way', async () => {
    await expectBreach(
      await ends(side),
      frame(TEXT, 'x', { mask: !mask }),
      mask ? 'EXPECTED_MASK' : 'UNEXPECTED_MASK',
      `${INVALID}MASK must be ${mask ? 'set' : 'clear'}`,
      1002,
    );
  });

  test('delivers the messages in front of a breach, and nothing behind it', async () => {
    const { peer, ws } = await ends(side);
    const events = [];
    ws.on('message', (data) => events.push(String(data)));
    ws.on('error', (error) => events.push(error.code));
    const failed = failure(ws);
    peer.write(
      Buffer.concat([
        frame(TEXT, 'one', { mask }),
        frame(TEXT, 'two', { mask }),
        frame(3, '', { mask }),
        frame(TEXT, 'three', { mask }),
        frame(4, '', { mask }),
      ]),
    );
    await peer.closing();
    peer.socket.end();
    expect(await failed).toMatchObject({ code: 1006, count: 1 });
    expect(events).toEqual(['one', 'two', 'WS_ERR_INVALID_OPCODE']);
  });

  test('emits its error when the Close frame is on its way, and is CLOSING then', async () => {
    const { peer, ws } = await ends(side);
    const states = [];
    ws.on('error', () => states.push(ws.readyState));
    const failed = failure(ws);
    peer.write(frame(3, '', { mask }));
    await peer.closing();
    await failed;
    expect(states).toEqual([2]);
    expect(ws.readyState).toBe(3);
  });

  test('takes what is just within the limits', async () => {
    const { peer, ws } = await ends(side);
    const lengths = [];
    ws.on('message', (data) => lengths.push(data.length));
    peer.write(
      Buffer.concat([
        frame(BINARY, Buffer.alloc(1000), { mask }),
        frame(BINARY, Buffer.alloc(500), { mask, fin: false }),
        frame(PING, 'x'.repeat(125), { mask }),
        frame(CONTINUATION, Buffer.alloc(500), { mask }),
        frame(BINARY, 'x', { mask, fin: false }),
        ...Array(8).fill(frame(CONTINUATION, 'x', { mask, fin: false })),
        frame(CONTINUATION, 'x', { mask }),
        closeFrame(4999, 'x'.repeat(123), { mask }),
      ]),
    );
    expect(await peer.closing()).toEqual({ code: 4999, reason: 'x'.repeat(123) });
    expect(lengths).toEqual([1000, 1000, 10]);
    peer.socket.end();
  });
});

testOurs.each([16, 64])(
  'a length that is written in %i bits although it needs fewer is refused with 1002',
  async (lengthBits) => {
    const { peer, ws } = await ends('server');
    const failed = failure(ws);
    peer.write(frame(TEXT, 'short', { lengthBits }));
    expect((await peer.closing()).code).toBe(1002);
    peer.socket.end();
    const { error, code, count } = await failed;
    expect(error).toMatchObject({ name: 'RangeError', code: 'ERR_UVWS_LENGTH_NOT_MINIMAL' });
    expect([code, count]).toEqual([1006, 1]);
  },
);

test('with skipUTF8Validation text that is no UTF-8 is delivered', async () => {
  const { peer, server } = await rawPair({ skipUTF8Validation: true });
  const received = new Promise((resolve) => server.on('message', resolve));
  const bytes = Buffer.from([0xce, 0xff]);
  peer.send(TEXT, bytes);
  expect(await received).toEqual(bytes);
});

test('an announced length allocates nothing: 200 peers announce 64 MiB each', async () => {
  const { serve, rawClient } = require('./support/fixtures.js');
  const { port } = await serve({ maxPayload: 100 * 1024 * 1024 });
  const before = process.memoryUsage().rss;
  const peers = [];
  for (let i = 0; i < 200; i++) {
    const peer = await rawClient(port);
    peer.write(frame(BINARY, 'x'.repeat(10), { length: 64 * 1024 * 1024 }).subarray(0, 24));
    peers.push(peer);
  }
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(process.memoryUsage().rss - before).toBeLessThan(100 * 1024 * 1024);
});

testOurs(
  'of 100,000 PINGs of a peer that does not read only the last one is answered',
  async () => {
    const FLOODS = 50;
    const { peer, server } = await rawPair({ maxControlFrames: 0 });
    let pings = 0;
    server.on('ping', () => pings++);
    peer.socket.pause();
    // More than the system takes.
    server.send(Buffer.alloc(32 * 1024 * 1024));
    const before = server.bufferedAmount;
    expect(before).toBeGreaterThan(0);
    for (let flood = 1; flood <= FLOODS; flood++) {
      const some = Array.from({ length: 2000 }, (_, i) =>
        frame(PING, `${flood}, ${i}`.padEnd(125)),
      );
      peer.write(Buffer.concat(some));
      await until(() => pings === 2000 * flood);
    }
    expect(server.bufferedAmount).toBeLessThanOrEqual(before);
    peer.socket.resume();
    const isPong = ({ opcode }) => opcode === PONG;
    await peer.when(({ frames: list }) => list.some(isPong));
    peer.send(PING, 'behind');
    await peer.when(({ frames: list }) => String(list.at(-1).payload) === 'behind');
    const answers = peer.frames.filter(isPong).map(({ payload }) => String(payload).trim());
    expect(answers).toEqual([`${FLOODS}, 1999`, 'behind']);
  },
);
