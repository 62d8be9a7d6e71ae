// The limits of a connection, however it is carried: what a breach does, that what is just within the
// limit passes, and that breaches are counted.

const { once } = require('node:events');
const fs = require('node:fs');
const path = require('node:path');

const {
  collect,
  failure,
  pair,
  rawPair,
  rawPairOfClient,
  thrownBy,
} = require('./support/fixtures.js');
const { MAX_FRAGMENTS, MAX_PAYLOAD } = require('../lib/constants.js');
const { CARRIERS, carry } = require('./support/carriers.js');
const frames = require('./support/frames.js');
const { turn, until } = require('./support/tools.js');
const { Context, WebSocket, WebSocketServer } = require('./support/uvws.js');

const MIB = 1024 * 1024;

const NAMES = [
  'maxPayload',
  'maxFragments',
  'maxControlFrames',
  'maxBackpressure',
  'memoryBudget',
  'maxConnections',
  'maxConnectionsPerAddress',
  'maxPendingHandshakes',
  'handshakeTimeout',
  'closeTimeout',
  'maxHeaderSize',
  'maxHeadersCount',
  'heartbeat',
  'allowedOrigins',
];

/** How often each limit was breached, without those that were not. */
function breaches(owner) {
  const { limits } = owner.stats();
  expect(Object.keys(limits)).toEqual(NAMES);
  return Object.fromEntries(Object.entries(limits).filter(([, count]) => count > 0));
}

/** What the test adds to the counts of the default context. */
function counting() {
  const before = Context.default.stats().limits;
  return () => {
    const { limits } = Context.default.stats();
    const added = NAMES.map((name) => [name, limits[name] - before[name]]);
    return Object.fromEntries(added.filter(([, count]) => count > 0));
  };
}

function ping(count, payload = 'x', opcode = frames.PING) {
  return Buffer.concat(Array(count).fill(frames.frame(opcode, payload)));
}

test('both halves know the same numbers', () => {
  const text = fs.readFileSync(path.join(__dirname, '..', 'src', 'protocol', 'limits.rs'), 'utf8');
  const number = (name) => {
    const [, product] = RegExp(`pub const ${name}: \\w+ = ([\\d_ *]+);`).exec(text);
    return product.split('*').reduce((all, factor) => all * Number(factor.replaceAll('_', '')), 1);
  };
  expect(number('DEFAULT_MAX_PAYLOAD')).toBe(MAX_PAYLOAD);
  expect(number('DEFAULT_MAX_FRAGMENTS')).toBe(MAX_FRAGMENTS);
  const fastest = number('FASTEST_CONTROL_FRAMES');
  const make = (maxControlFrames) => new WebSocketServer({ noServer: true, maxControlFrames });
  expect(() => make(fastest)).not.toThrow();
  expect(() => make(fastest + 1)).toThrow(RangeError);
});

describe.each(CARRIERS)('on %s', (carrier) => {
  test('200 PINGs at once are answered, and the next ones are 1008', async () => {
    const counted = counting();
    const { pair, wss } = await carry(carrier);
    const { peer, server } = await pair();
    const failed = failure(server);
    peer.write(ping(200));
    await until(() => server.readyState !== WebSocket.OPEN || peer.frames.length > 0);
    expect(server.readyState).toBe(WebSocket.OPEN);
    expect(breaches(wss)).toEqual({});
    // More than come back while the test is slow.
    peer.write(ping(5_000));
    expect(await peer.closing()).toEqual({ code: 1008, reason: '' });
    peer.socket.end();
    const { error, count, code } = await failed;
    expect(error).toBeInstanceOf(RangeError);
    expect(error.message).toBe('Too many control frames');
    expect(error.code).toBe('ERR_UVWS_TOO_MANY_CONTROL_FRAMES');
    expect([count, code]).toEqual([1, 1006]);
    // Counted once, and for good.
    expect(breaches(wss)).toEqual({ maxControlFrames: 1 });
    expect(counted()).toEqual({ maxControlFrames: 1 });
  });

  test('PONGs that nobody asked for count, and data does not', async () => {
    const { pair, wss } = await carry(carrier);
    const { peer, server } = await pair();
    const failed = failure(server);
    let messages = 0;
    server.on('message', () => messages++);
    peer.write(Buffer.concat(Array(5_000).fill(frames.frame(frames.TEXT, 'data'))));
    await until(() => messages === 5_000);
    peer.write(ping(5_000, '', frames.PONG));
    expect((await peer.closing()).code).toBe(1008);
    peer.socket.end();
    expect((await failed).error.code).toBe('ERR_UVWS_TOO_MANY_CONTROL_FRAMES');
    expect(breaches(wss)).toEqual({ maxControlFrames: 1 });
  });

  test('the breaches of messages are counted by their limits', async () => {
    const { pair, wss } = await carry(carrier, { maxPayload: 10, maxFragments: 2 });
    for (const [bytes, code, limit] of [
      [frames.frame(frames.TEXT, 'x'.repeat(10)), undefined, {}],
      [frames.frame(frames.TEXT, 'x'.repeat(11)), 1009, { maxPayload: 1 }],
      [frames.frame(frames.TEXT, 'x', { length: 2n ** 53n }), 1009, { maxPayload: 2 }],
      [
        Buffer.concat([0, 1, 2].map((i) => frames.frame(i === 0 ? 1 : 0, '', { fin: false }))),
        1008,
        { maxPayload: 2, maxFragments: 1 },
      ],
    ]) {
      const { peer, server } = await pair();
      server.on('error', () => {});
      const messages = collect(server);
      peer.write(bytes);
      if (code === undefined) await until(() => messages.length === 1);
      else expect((await peer.closing()).code).toBe(code);
      await until(() => JSON.stringify(breaches(wss)) === JSON.stringify(limit));
    }
  });

  test('a peer that does not answer a heartbeat is counted when it is dropped', async () => {
    const { pair, wss } = await carry(carrier, { heartbeat: { interval: 20, timeout: 20 } });
    const { peer, server } = await pair();
    const closed = once(server, 'close');
    peer.socket.pause();
    expect((await closed)[0]).toBe(1006);
    expect(breaches(wss)).toEqual({ heartbeat: 1 });
  });

  test('a peer that does not answer our Close frame is counted when it is dropped', async () => {
    const { pair, wss } = await carry(carrier, { closeTimeout: 30 });
    const { peer, server } = await pair();
    const closed = once(server, 'close');
    peer.socket.pause();
    server.close(1000);
    expect((await closed)[0]).toBe(1006);
    expect(breaches(wss)).toEqual({ closeTimeout: 1 });
  });
});

describe.each(CARRIERS)('maxBackpressure on %s', (carrier) => {
  /** Sends by `send` until the connection has failed; resolves with that, and what callbacks got. */
  async function overfill({ server, peer }, send) {
    peer.socket.pause();
    const failed = failure(server);
    const outcomes = [];
    let highest = 0;
    while (server.readyState === WebSocket.OPEN && outcomes.length < 10_000) {
      send(server, (error) => outcomes.push(error));
      highest = Math.max(highest, server.bufferedAmount);
      await turn();
    }
    const { error, count, code } = await failed;
    await turn();
    return { error, count, code, outcomes, highest };
  }

  test('ends a connection whose peer takes too little, and tells the callbacks', async () => {
    const counted = counting();
    const { pair, wss } = await carry(carrier, { maxBackpressure: MIB });
    const connection = await pair();
    let sent = 0;
    const { error, count, code, outcomes, highest } = await overfill(connection, (ws, callback) => {
      sent++;
      ws.send(Buffer.alloc(MIB / 16), callback);
    });
    expect(error.code).toBe('ERR_UVWS_BACKPRESSURE');
    expect([count, code]).toEqual([1, 1006]);
    expect(outcomes.length).toBe(sent);
    // What was taken before has no error; all behind it have this one.
    const lost = outcomes.filter((outcome) => outcome !== undefined);
    expect(lost.length).toBeGreaterThan(8);
    expect(lost.every((outcome) => outcome === error)).toBe(true);
    // A message more, and what a stream of Node's holds.
    expect(highest).toBeGreaterThan(MIB);
    expect(highest).toBeLessThan(1.5 * MIB);
    expect(breaches(wss)).toEqual({ maxBackpressure: 1 });
    expect(counted()).toEqual({ maxBackpressure: 1 });
  });

  test('holds for what is sent in one turn', async () => {
    const { pair, wss } = await carry(carrier, { maxBackpressure: MIB });
    const { peer, server } = await pair();
    peer.socket.pause();
    const failed = failure(server);
    const before = process.memoryUsage().rss;
    const payload = Buffer.alloc(MIB / 4);
    for (let i = 0; i < 1000; i++) server.send(payload);
    expect(process.memoryUsage().rss - before).toBeLessThan(100 * MIB);
    expect((await failed).error.code).toBe('ERR_UVWS_BACKPRESSURE');
    expect(breaches(wss)).toEqual({ maxBackpressure: 1 });
  });

  test('lets through one message that is longer, and goes on when it has been taken', async () => {
    const { pair, wss } = await carry(carrier, { maxBackpressure: 1000 });
    const { peer, server } = await pair();
    for (let i = 1; i <= 3; i++) {
      server.send(Buffer.alloc(8 * MIB));
      await peer.when(({ frames }) => frames.length === i);
      await until(() => server.bufferedAmount === 0);
    }
    expect(breaches(wss)).toEqual({});
  });

  test('holds for control frames, what is published, and raw bytes', async () => {
    const { pair, wss } = await carry(carrier, { maxBackpressure: MIB });
    const publish = () => wss.broadcast(Buffer.alloc(MIB), { maxBackpressure: Infinity });
    for (const [i, last] of [
      (server) => server.ping('x'),
      (server) => server.pong('x'),
      () => publish(),
      (server) => server._sender.sendFrame([Buffer.alloc(10), Buffer.alloc(10)]),
    ].entries()) {
      const { peer, server } = await pair();
      peer.socket.pause();
      while (server.bufferedAmount <= MIB) {
        expect(publish()).toBe(1);
        await turn();
      }
      const failed = failure(server);
      last(server);
      expect((await failed).error.code).toBe('ERR_UVWS_BACKPRESSURE');
      expect(breaches(wss)).toEqual({ maxBackpressure: i + 1 });
    }
  });
});

test('maxBackpressure counts what waits for its compression', async () => {
  const { client, server, wss } = await pair({
    maxBackpressure: MIB,
    perMessageDeflate: { concurrencyLimit: 1 },
  });
  const failed = failure(server);
  const outcomes = [];
  const messages = collect(client);
  const payload = Buffer.alloc(MIB / 4);
  for (let i = 0; i < 8; i++) server.send(payload, (error) => outcomes.push(error));
  const { error } = await failed;
  expect(error.code).toBe('ERR_UVWS_BACKPRESSURE');
  expect(breaches(wss)).toEqual({ maxBackpressure: 1 });
  await until(() => outcomes.length === 8);
  // Five are a message more than a mebibyte; the sixth was too much, and those behind it came too late.
  expect(outcomes.filter((outcome) => outcome === error).length).toBe(6);
  expect(outcomes.every((outcome) => outcome instanceof Error)).toBe(true);
  expect(messages).toEqual([]);
});

test('maxBackpressure is an option of clients, too', async () => {
  const { client, peer } = await rawPairOfClient({ maxBackpressure: MIB });
  peer.socket.pause();
  const failed = failure(client);
  for (let i = 0; i < 32; i++) client.send(Buffer.alloc(MIB));
  const { error, code } = await failed;
  expect([error.code, code]).toEqual(['ERR_UVWS_BACKPRESSURE', 1006]);
});

test('maxBackpressure is taken as it is, or refused', () => {
  for (const [value, name] of [
    ['1', 'TypeError'],
    [0, 'RangeError'],
    [-1, 'RangeError'],
    [1.5, 'RangeError'],
    [NaN, 'RangeError'],
    [2 ** 53, 'RangeError'],
  ]) {
    const options = { maxBackpressure: value };
    for (const make of [
      () => new WebSocketServer({ noServer: true, ...options }),
      () => new WebSocket('ws://127.0.0.1:1', options),
    ]) {
      const error = thrownBy(make);
      expect(error.name).toBe(name);
      expect(error.message).toMatch(/"options.maxBackpressure" must be /);
    }
  }
});

test('a PONG for each PING of ours is free, however many we send', async () => {
  const { peer, server } = await rawPair();
  const failed = failure(server);
  let pongs = 0;
  server.on('pong', () => pongs++);
  for (let i = 0; i < 3_000; i++) server.ping();
  await peer.when(() => peer.frames.length === 3_000);
  peer.write(ping(3_000, '', frames.PONG));
  await until(() => pongs === 3_000);
  expect(server.readyState).toBe(WebSocket.OPEN);
  peer.write(ping(5_000, '', frames.PONG));
  expect((await failed).error.code).toBe('ERR_UVWS_TOO_MANY_CONTROL_FRAMES');
});

test('the number of control frames is an option, and 0 is no limit', async () => {
  const some = await rawPair({ maxControlFrames: 5 });
  const failed = failure(some.server);
  some.peer.write(ping(10));
  await until(() => some.peer.frames.length > 0);
  expect(some.server.readyState).toBe(WebSocket.OPEN);
  some.peer.write(ping(100));
  expect((await failed).error.code).toBe('ERR_UVWS_TOO_MANY_CONTROL_FRAMES');

  for (const none of [0, Infinity]) {
    const { peer, server } = await rawPair({ maxControlFrames: none });
    let pings = 0;
    server.on('ping', () => pings++);
    peer.write(ping(20_000));
    await until(() => pings === 20_000);
    expect(server.readyState).toBe(WebSocket.OPEN);
  }

  const options = { noServer: true };
  for (const [value, message] of [
    ['5', /^"options.maxControlFrames" must be a number/],
    ...[NaN, -1, 0.5, 2.5, 1001, 1e300].map((number) => [
      number,
      /^"options.maxControlFrames" must be an integer from 0 to 1000, or Infinity/,
    ]),
  ]) {
    expect(() => new WebSocketServer({ ...options, maxControlFrames: value })).toThrow(message);
  }
});

test('a client has the limit, too', async () => {
  const counted = counting();
  const { client, peer } = await rawPairOfClient();
  const failed = failure(client);
  peer.write(Buffer.concat(Array(5_000).fill(frames.frame(frames.PING, '', { mask: false }))));
  expect((await peer.closing()).code).toBe(1008);
  peer.socket.end();
  expect((await failed).error.code).toBe('ERR_UVWS_TOO_MANY_CONTROL_FRAMES');
  expect(counted()).toEqual({ maxControlFrames: 1 });
});

test('counts stay when the server and the context are closed', async () => {
  const context = new Context();
  const wss = new WebSocketServer({ port: 0, host: '127.0.0.1', context, maxPayload: 1 });
  await once(wss, 'listening');
  const connected = once(wss, 'connection');
  const client = new WebSocket(`ws://127.0.0.1:${wss.address().port}`, { context });
  const [[server]] = await Promise.all([connected, once(client, 'open')]);
  const failed = failure(server);
  client.send('too long');
  expect((await failed).error.code).toBe('WS_ERR_UNSUPPORTED_MESSAGE_LENGTH');
  await context.close();
  expect(breaches(context)).toEqual({ maxPayload: 1 });
  expect(breaches(wss)).toEqual({ maxPayload: 1 });
  expect(wss.stats()).toMatchObject({ connections: 0, connectionsOpened: 1 });
  const { limits } = context.stats();
  limits.maxPayload = 100;
  expect(breaches(context)).toEqual({ maxPayload: 1 });
});
