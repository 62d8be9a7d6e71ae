// Large compressed messages: they are compressed on the thread pool and inflated in turns. Whatever
// is sent meanwhile keeps its place, and an end in the midst of it leaves nothing behind.

const { createCipheriv } = require('node:crypto');
const { once } = require('node:events');
const https = require('node:https');
const tls = require('node:tls');
const ws = require('ws');

const { makeCertificate } = require('./support/certificate.js');
const {
  closeServer,
  defer,
  drop,
  open,
  pair,
  rawClient,
  rawPair,
  serve,
  testOurs,
} = require('./support/fixtures.js');
const frames = require('./support/frames.js');
const { upgradeRequest } = require('./support/peers.js');
const { block, generator, until } = require('./support/tools.js');
const uvws = require('./support/uvws.js');

const describeOurs = uvws.Context === undefined ? describe.skip : describe;

const KIB = 1024;
const MIB = 1024 * KIB;

/** Text that compresses to three quarters, different for each seed. */
function noise(length, seed) {
  const cipher = createCipheriv('aes-128-ctr', Buffer.alloc(16, seed), Buffer.alloc(16));
  const bytes = cipher.update(Buffer.alloc((length * 3) / 4));
  return Buffer.from(bytes.toString('base64').slice(0, length));
}

const LARGE = noise(300 * KIB, 0);

/** Opens a connection between two libraries: the end that sends, and the one that receives. */
async function connect(sendingLibrary, receivingLibrary, sender, perMessageDeflate) {
  const isServer = sender === 'server';
  const [of, by] = isServer
    ? [sendingLibrary, receivingLibrary]
    : [receivingLibrary, sendingLibrary];
  // Hundreds of PINGs and PONGs are sent at once.
  const options = { perMessageDeflate, maxControlFrames: 0 };
  const wss = new of.WebSocketServer({ port: 0, host: '127.0.0.1', ...options });
  await once(wss, 'listening');
  const connected = once(wss, 'connection');
  const client = new by.WebSocket(`ws://127.0.0.1:${wss.address().port}`, options);
  // Before the first bytes can come.
  const [[server]] = await Promise.all([connected, once(client, 'open')]);
  defer(async () => {
    await Promise.all([client, server].map(drop));
    await new Promise((resolve) => wss.close(resolve));
  });
  return isServer ? [server, client] : [client, server];
}

/** What is sent in one test: [kind, payload], the kinds those of `send` below. */
function program(count, seed) {
  const random = generator(seed);
  const kinds = ['text', 'binary', 'large', 'plain', 'ping', 'pong', 'fragments', 'threshold'];
  return Array.from({ length: count }, (_, index) => {
    const kind = kinds[Math.floor(random() * kinds.length)];
    const size = {
      large: 64 * KIB + random() * 60 * KIB,
      threshold: 60 * KIB + random() * 8 * KIB,
    };
    const tag = `${index} ${kind} `;
    if (kind === 'ping' || kind === 'pong') return [kind, tag];
    const length = Math.floor(size[kind] ?? 2000 * random());
    const from = Math.floor(random() * 100 * KIB);
    return [kind, tag + LARGE.latin1Slice(from, from + length)];
  });
}

function send(socket, [kind, payload], callback) {
  switch (kind) {
    case 'ping':
    case 'pong':
      socket[kind](payload, undefined, callback);
      break;
    case 'text':
      socket.send(payload, callback);
      break;
    case 'plain':
      socket.send(payload, { compress: false }, callback);
      break;
    case 'fragments':
      socket.send(payload.slice(0, 40), { fin: false });
      socket.send(payload.slice(40), { fin: true }, callback);
      break;
    default:
      socket.send(Buffer.from(payload, 'latin1'), callback);
  }
}

/** Collects what arrives as the program has it. */
function record(socket) {
  const seen = [];
  socket.on('message', (data) => seen.push(data.latin1Slice()));
  socket.on('ping', (data) => seen.push(data.latin1Slice()));
  socket.on('pong', (data) => seen.push(data.latin1Slice()));
  return seen;
}

const LIBRARIES = [
  ['ours', uvws, uvws],
  ['ours and ws', uvws, ws],
];
const AGREEMENTS = [
  ['with context takeover', { threshold: 0 }],
  [
    'without context takeover',
    { serverNoContextTakeover: true, clientNoContextTakeover: true, threshold: 0 },
  ],
];
const COMBINATIONS = LIBRARIES.flatMap(([libraries, sending, receiving]) =>
  AGREEMENTS.flatMap(([agreement, options]) =>
    ['server', 'client'].map((sender) => ({
      libraries,
      agreement,
      sender,
      sending,
      receiving,
      options,
    })),
  ),
);

test.each(COMBINATIONS)(
  '1,000 sends of all kinds arrive in order, then the close: $libraries, $agreement, from the $sender',
  async ({ sending, receiving, sender, options }) => {
    const [from, to] = await connect(sending, receiving, sender, options);
    const sent = program(1000, 7);
    const seen = record(to);
    const closed = once(to, 'close');
    const called = [];
    let drains = 0;
    from.on('drain', () => (drains += 1));
    sent.forEach((each, index) => send(from, each, (error) => called.push(error ?? index)));
    expect(from.bufferedAmount).toBeGreaterThan(MIB);
    from.close(4001, 'behind all of it');
    expect(called).toEqual([]);
    const [code, reason] = await closed;
    expect([code, String(reason)]).toEqual([4001, 'behind all of it']);
    expect(seen.length).toBe(sent.length);
    expect(seen.findIndex((payload, index) => payload !== sent[index][1])).toBe(-1);
    expect(called).toEqual(sent.map((_, index) => index));
    if (sending === uvws && uvws.Context !== undefined) expect(drains).toBeLessThanOrEqual(1);
  },
  60_000,
);

test('a large message refers to the one before it', async () => {
  // A level that finds whatever repeats within the window.
  const perMessageDeflate = { threshold: 0, zlibDeflateOptions: { level: 9 } };
  const [sender, receiver] = await connect(uvws, uvws, 'server', perMessageDeflate);
  const message = Buffer.concat(Array(40).fill(noise(2 * KIB, 1)));
  const read = [];
  for (let i = 0; i < 2; i++) {
    const before = receiver._socket.bytesRead;
    sender.send(message);
    const [data] = await once(receiver, 'message');
    expect(data.equals(message)).toBe(true);
    read.push(receiver._socket.bytesRead - before);
  }
  // The second message lacks what the first one has of the noise itself.
  expect(read[0] - read[1]).toBeGreaterThan(KIB);
});

test('the loop turns while a message of 16 MiB is compressed', async () => {
  const { server, client } = await pair({ perMessageDeflate: true }, { perMessageDeflate: true });
  const events = [];
  const payload = noise(16 * MIB, 3);
  const received = once(client, 'message');
  server.send(payload, () => events.push('sent'));
  server.send('behind');
  setTimeout(() => events.push('timer'), 1);
  const [data] = await received;
  expect(payload.equals(data)).toBe(true);
  expect(events).toEqual(['timer', 'sent']);
});

testOurs('what waits counts as buffered, and drains once', async () => {
  const { server, client } = await pair({ perMessageDeflate: true }, { perMessageDeflate: true });
  let drains = 0;
  server.on('drain', () => (drains += 1));
  const received = record(client);
  server.send(LARGE);
  server.send('small');
  server.ping('ping');
  expect(server.bufferedAmount).toBe(LARGE.length + 5 + 4);
  for (let i = 0; i < 8; i++) server.send(LARGE);
  expect(server.bufferedAmount).toBe(9 * LARGE.length + 5 + 4);
  await until(() => received.length === 11);
  await until(() => drains > 0);
  expect(server.bufferedAmount).toBe(0);
  server.send('behind');
  await until(() => received.length === 12);
  expect(drains).toBe(1);
});

test('an answer to the peer while a message is compressed', async () => {
  const { server, client } = await pair({ perMessageDeflate: true }, { perMessageDeflate: true });
  const received = once(client, 'message');
  const ponged = once(client, 'pong');
  server.send(noise(4 * MIB, 5));
  client.ping('still there?');
  expect(String((await ponged)[0])).toBe('still there?');
  await received;
  client.close(1000, 'bye');
  expect((await once(client, 'close'))[0]).toBe(1000);
});

test('raw frames keep their place too', async () => {
  const { server, client } = await pair({ perMessageDeflate: true }, { perMessageDeflate: true });
  const seen = record(client);
  server.send('first', { compress: false });
  await until(() => seen.length === 1);
  server._sender.sendFrame([Buffer.from([0x81, 3]), Buffer.from('raw')]);
  server.send('last');
  await until(() => seen.length === 3);
  expect(seen).toEqual(['first', 'raw', 'last']);
});

testOurs('raw frames wait behind a message that is compressed', async () => {
  const { server, client } = await pair({ perMessageDeflate: true }, { perMessageDeflate: true });
  const seen = record(client);
  const called = [];
  server.send(LARGE, () => called.push('large'));
  server._sender.sendFrame([Buffer.from([0x81, 3]), Buffer.from('raw')], () => called.push('raw'));
  server.send('last', () => called.push('last'));
  await until(() => called.length === 3);
  await until(() => seen.length === 3);
  expect(seen.map((payload) => payload.length)).toEqual([LARGE.length, 3, 4]);
  expect(called).toEqual(['large', 'raw', 'last']);
});

test.each(['terminate', 'destroy of the socket', 'reset by the peer'])(
  'callbacks get an error when the connection ends by %s',
  async (how) => {
    const { server, client } = await pair({ perMessageDeflate: true }, { perMessageDeflate: true });
    client.on('error', () => {});
    const closed = once(server, 'close');
    const called = [];
    // Long enough to be under way still when the peer's end is seen.
    server.send(noise(16 * MIB, 9), (error) => called.push(error));
    for (let i = 0; i < 10; i++) server.send(`small ${i}`, (error) => called.push(error));
    server.ping('ping', undefined, (error) => called.push(error));
    if (how === 'terminate') server.terminate();
    else if (how === 'destroy of the socket') server._socket.destroy();
    else client._socket.resetAndDestroy();
    await closed;
    await until(() => called.length === 12);
    for (const error of called) {
      expect(error.message).toBe('The socket was closed while data was being compressed');
    }
  },
  60_000,
);

testOurs('so does that of a message that is back, but finds the stream broken', async () => {
  const lines = ['Sec-WebSocket-Extensions: permessage-deflate'];
  const { peer, server } = await rawPair({ perMessageDeflate: true }, { lines });
  const closed = once(server, 'close');
  const called = [];
  server.send(LARGE, (error) => called.push(error));
  // The job ends first, then comes the reset, and both are seen in one turn of the loop.
  block(300);
  peer.socket.resetAndDestroy();
  await closed;
  await until(() => called.length === 1);
  expect(called[0]).toBeInstanceOf(Error);
});

test('fewer at a time than connections: all get their turn', async () => {
  // The first options decide for the process, and these are not them: ten at a time.
  const { wss, url } = await serve({ perMessageDeflate: true });
  wss.on('connection', (socket) => {
    socket.send(LARGE);
    socket.send('behind');
  });
  const clients = await Promise.all(Array.from({ length: 40 }, () => connectAndRecord(url)));
  clients[7].socket.terminate();
  clients.splice(7, 1);
  await until(() => clients.every(({ seen }) => seen.length === 2), 'all messages', 30_000);
  for (const { seen } of clients) {
    expect(seen[0]).toBe(LARGE.latin1Slice());
    expect(seen[1]).toBe('behind');
  }
});

async function connectAndRecord(url) {
  const opening = open(url, { perMessageDeflate: true });
  const socket = await opening;
  return { socket, seen: record(socket) };
}

/** Connections of one server: the ends there, and what arrives at the others. */
async function group(receivingLibrary, clientOptions, serverOptions) {
  const { wss, url } = await serve({ perMessageDeflate: serverOptions });
  const [servers, inboxes] = [[], []];
  for (const perMessageDeflate of clientOptions) {
    const connected = once(wss, 'connection');
    const client = new receivingLibrary.WebSocket(url, { perMessageDeflate });
    defer(() => drop(client));
    inboxes.push(record(client));
    const [[server]] = await Promise.all([connected, once(client, 'open')]);
    servers.push(server);
  }
  return { wss, servers, inboxes };
}

describeOurs('messages to many while a large one is compressed', () => {
  test.each(
    [
      ['ours', uvws],
      ['ws', ws],
    ].flatMap(([receiver, receiving]) =>
      AGREEMENTS.map(([agreement, options]) => ({ receiver, receiving, agreement, options })),
    ),
  )(
    '1,500 of all kinds arrive in order: $agreement, at $receiver',
    async (row) => {
      const clients = [row.options, row.options, false, row.options];
      const { wss, servers, inboxes } = await group(row.receiving, clients, row.options);
      const random = generator(11);
      const pick = (count) => Math.floor(random() * count);
      const text = (tag, length) => {
        const from = pick(100 * KIB);
        return `${tag} ${LARGE.latin1Slice(from, from + length)}`;
      };
      // What each is to get; the rest of a message that has begun, and what was published since.
      const expected = servers.map(() => []);
      const rests = servers.map(() => null);
      const held = servers.map(() => []);
      const end = (index) => {
        servers[index].send(rests[index].slice(-3), { fin: true });
        expected[index].push(rests[index], ...held[index].splice(0));
        rests[index] = null;
      };
      const whole = (index, payload, options) => {
        if (rests[index] !== null) end(index);
        servers[index].send(payload, options);
        expected[index].push(payload);
      };
      for (let i = 0; i < 1500; i++) {
        const index = pick(servers.length);
        const length = [10, 2000, 20 * KIB][pick(3)];
        switch (pick(6)) {
          case 0:
            whole(index, text(`${i} large`, 64 * KIB + pick(40 * KIB)));
            break;
          case 1:
            whole(index, text(`${i} small`, length), { compress: random() < 0.5 });
            break;
          case 2: {
            const payload = text(`${i} to each`, length);
            servers.forEach((_, each) => whole(each, payload));
            break;
          }
          case 3:
            if (rests[index] === null) {
              rests[index] = text(`${i} fragments`, random() < 0.5 ? 80 * KIB : length);
              servers[index].send(rests[index].slice(0, -3), { fin: false });
            } else {
              end(index);
            }
            break;
          default: {
            const payload = text(`${i} to all`, length);
            const options = { compress: random() < 0.7, maxBackpressure: Infinity };
            expect(wss.broadcast(payload, options)).toBe(servers.length);
            servers.forEach((_, each) => {
              (rests[each] === null ? expected[each] : held[each]).push(payload);
            });
          }
        }
        // So that much is sent behind jobs, and jobs end in between.
        if (i % 100 === 99) {
          await until(() => inboxes[index].length + 50 > expected[index].length);
        }
      }
      rests.forEach((rest, index) => rest !== null && end(index));
      await until(
        () => inboxes.every((inbox, index) => inbox.length === expected[index].length),
        'all messages',
        30_000,
      );
      for (const [index, inbox] of inboxes.entries()) {
        expect(inbox.findIndex((payload, at) => payload !== expected[index][at])).toBe(-1);
      }
      await until(() => servers.every((server) => server.bufferedAmount === 0));
    },
    60_000,
  );

  test.each([
    ['first', LARGE, 'end'],
    ['last', 'start', LARGE],
  ])('follow a message whose %s fragment is large', async (_, first, last) => {
    const { wss, servers, inboxes } = await group(uvws, [true], true);
    const called = [];
    servers[0].send(first, { fin: false, binary: false }, () => called.push('first'));
    expect(wss.broadcast('within')).toBe(1);
    servers[0].send(last, { fin: true }, () => called.push('last'));
    servers[0].send('behind', () => called.push('behind'));
    expect(wss.broadcast('behind it, too')).toBe(1);
    await until(() => inboxes[0].length === 4 && called.length === 3);
    expect(inboxes[0]).toEqual([`${first}${last}`, 'within', 'behind', 'behind it, too']);
    expect(called).toEqual(['first', 'last', 'behind']);
  });

  test('count as buffered, and are bounded; what is compressed makes nobody slow', async () => {
    const { wss, servers, inboxes } = await group(uvws, [true, false], true);
    const options = { maxBackpressure: 1000, overflow: 'drop' };
    servers[0].send(LARGE);
    const message = 'x'.repeat(800);
    expect(wss.broadcast(message, { ...options, overflow: 'close' })).toBe(2);
    expect(servers[0].bufferedAmount).toBe(LARGE.length + 800 + 4);
    expect(wss.broadcast(message, options)).toBe(2);
    expect(wss.broadcast(message, options)).toBe(1);
    expect(wss.context.stats().messagesDropped).toBe(1);
    await until(() => inboxes[0].length === 3 && inboxes[1].length === 3);
    expect(inboxes[0]).toEqual([LARGE.latin1Slice(), message, message]);
    expect(wss.broadcast(message, options)).toBe(2);
    await until(() => inboxes[0].length === 4);
  });

  test('are dropped with the connection', async () => {
    const { wss, servers, inboxes } = await group(uvws, [true, true], true);
    let error;
    servers[0].send(LARGE, { fin: false }, (cause) => (error = cause));
    wss.broadcast(LARGE, { compress: false });
    servers[0].send('', { fin: true });
    wss.broadcast('last');
    const closed = once(servers[0], 'close');
    servers[0].terminate();
    await closed;
    await until(() => inboxes[1].length === 2 && error !== undefined);
    expect(error.message).toBe('The socket was closed while data was being compressed');
    expect(inboxes).toEqual([[], [LARGE.latin1Slice(), 'last']]);
  });
});

/** What a client announces. */
const OFFER = { lines: ['Sec-WebSocket-Extensions: permessage-deflate'] };

test('a message of 64 MiB in 64 KiB lets the loop turn, and others have their turn', async () => {
  const { wss, port, server, peer } = await rawPair({ perMessageDeflate: true }, OFFER);
  const other = await open(`ws://127.0.0.1:${port}`, { perMessageDeflate: false });
  wss.clients.forEach((each) => each !== server && each.on('message', (data) => each.send(data)));
  let turns = 0;
  let isOver = false;
  let echoes = 0;
  const received = once(server, 'message').then(([data]) => {
    isOver = true;
    return data;
  });
  other.on('message', () => {
    echoes += 1;
    if (!isOver) other.send('again');
  });
  const count = () => {
    turns += 1;
    if (!isOver) setImmediate(count);
  };
  peer.write(frames.compressed(Buffer.alloc(64 * MIB)));
  setImmediate(count);
  other.send('first');
  const data = await received;
  expect(data.length).toBe(64 * MIB);
  // As many as there are slices of 256 KiB, and a round trip of another connection among them.
  if (uvws.Context !== undefined) expect(turns).toBeGreaterThan(240);
  expect(echoes).toBeGreaterThan(2);
});

test('a message that is inflated in turns is bounded all the same', async () => {
  const options = { perMessageDeflate: true, maxPayload: 8 * MIB };
  const { server, peer } = await rawPair(options, OFFER);
  const failed = once(server, 'error');
  peer.write(frames.compressed(Buffer.alloc(64 * MIB)));
  const [error] = await failed;
  expect(error.code).toBe('WS_ERR_UNSUPPORTED_MESSAGE_LENGTH');
});

test('what follows a message that is inflated in turns comes behind it, the end too', async () => {
  const { server, peer } = await rawPair({ perMessageDeflate: true }, OFFER);
  const seen = [];
  server.on('message', (data) => seen.push(data.length));
  server.on('ping', (data) => seen.push(String(data)));
  const closed = once(server, 'close');
  peer.write(
    Buffer.concat([
      frames.compressed(Buffer.alloc(10 * MIB)),
      frames.frame(frames.PING, 'ping'),
      frames.compressed(Buffer.alloc(5 * MIB)),
    ]),
  );
  peer.socket.end();
  await closed;
  expect(seen).toEqual([10 * MIB, 'ping', 5 * MIB]);
});

test('a connection that is paused or dropped while a message is inflated', async () => {
  const { wss, port } = await serve({ perMessageDeflate: true });
  for (const how of ['pause', 'terminate']) {
    const connected = once(wss, 'connection');
    const peer = await rawClient(port, OFFER);
    const [server] = await connected;
    let messages = 0;
    server.on('message', () => (messages += 1));
    const closed = once(server, 'close');
    peer.write(frames.compressed(Buffer.alloc(32 * MIB)));
    await until(() => server._socket.bytesRead > 1000);
    server[how]();
    if (how === 'pause') {
      server.resume();
      await until(() => messages === 1);
      server.terminate();
    }
    await closed;
    expect(messages).toBe(how === 'pause' ? 1 : 0);
  }
});

test('a stream of TLS is paused while there is enough to inflate, and its end comes behind', async () => {
  const server = https.createServer(makeCertificate());
  const wss = new uvws.WebSocketServer({ server, perMessageDeflate: true });
  defer(() => closeServer(wss));
  server.listen(0, '127.0.0.1');
  defer(() => new Promise((resolve) => server.close(resolve)));
  await once(server, 'listening');
  const peer = tls.connect({ port: server.address().port, rejectUnauthorized: false });
  const connected = once(wss, 'connection');
  peer.write(upgradeRequest(OFFER));
  peer.resume();
  const [socket] = await connected;
  let pauses = 0;
  socket._socket.on('pause', () => (pauses += 1));
  const lengths = [];
  socket.on('message', (data) => lengths.push(data.length));
  const closed = once(socket, 'close');
  const message = frames.compressed(Buffer.alloc(8 * MIB));
  for (let i = 0; i < 30; i++) peer.write(message);
  peer.end();
  await closed;
  expect(lengths).toEqual(new Array(30).fill(8 * MIB));
  expect(pauses).toBeGreaterThan(0);
});
