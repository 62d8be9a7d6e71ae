// The memory budget of a context: what counts, who is kept from sending, who ends, that honest peers go
// on, and that the sum of all accounts is what is held.

const { once } = require('node:events');

const { CARRIERS, carry } = require('./support/carriers.js');
const { inChild } = require('./support/child.js');
const {
  closing,
  collect,
  defer,
  dial,
  failure,
  open,
  pair,
  rawClient,
  rawConnect,
  rawServer,
  serve,
  thrownBy,
} = require('./support/fixtures.js');
const frames = require('./support/frames.js');
const { delay, generator, turn, until } = require('./support/tools.js');
const { Context, WebSocket } = require('./support/uvws.js');

const KIB = 1024;
const MIB = 1024 * KIB;
/** How long members may be kept from reading before somebody ends. */
const GRACE = 1000;

/** A context with a budget; it is destroyed after the test, when nothing is held any more. */
function budgeted(memoryBudget) {
  const context = new Context({ memoryBudget });
  defer(async () => {
    await until(() => context.stats().connections === 0, 'the end of all connections');
    // The law: what is left when all are gone is nothing.
    expect(context.stats()).toMatchObject({ bytesBuffered: 0, memory: { used: 0 } });
    await context.destroy();
  });
  return context;
}

function used(context) {
  return context.stats().memory.used;
}

/** The front of a message that is never whole. */
function part(size, opcode = frames.BINARY) {
  return frames.frame(opcode, Buffer.alloc(size), { fin: false });
}

/** A frame of which some bytes are missing. */
function cut(size, missing = 1) {
  return frames.frame(frames.BINARY, Buffer.alloc(size)).subarray(0, -missing);
}

describe('the option', () => {
  test('is off by default, can be set and changed, and is shown by stats()', async () => {
    const context = new Context();
    expect([context.memoryBudget, context.stats().memory]).toEqual([Infinity, null]);
    context.memoryBudget = 1000;
    expect(context.memoryBudget).toBe(1000);
    expect(context.stats().memory).toEqual({ budget: 1000, used: 0, peak: 0 });
    context.memoryBudget = Infinity;
    expect(context.stats().memory).toBe(null);
    const destroyed = context.destroy();
    // From the end on nothing comes of it.
    context.memoryBudget = 1;
    expect([context.memoryBudget, context.stats().memory]).toEqual([Infinity, null]);
    await destroyed;
    context.memoryBudget = 1;
    expect([context.memoryBudget, context.stats().memory]).toEqual([Infinity, null]);
  });

  test.each([
    ['1', 'TypeError'],
    [0, 'RangeError'],
    [-1, 'RangeError'],
    [1.5, 'RangeError'],
    [NaN, 'RangeError'],
    [2 ** 53, 'RangeError'],
  ])('%p is refused', async (value, name) => {
    const context = new Context();
    for (const set of [
      () => new Context({ memoryBudget: value }),
      () => (context.memoryBudget = value),
    ]) {
      const error = thrownBy(set);
      expect(error.name).toBe(name);
      expect(error.message).toMatch(/memoryBudget" must be /);
    }
    await context.destroy();
  });

  test('counts what was held before it was set, and lets go of all when it is removed', async () => {
    const context = new Context();
    const { wss, port } = await serve({ context });
    const peer = await rawClient(port);
    const [server] = wss.clients;
    const messages = collect(server);
    peer.write(cut(100 * KIB));
    await until(() => context.stats().bytesBuffered >= 100 * KIB - 1);
    context.memoryBudget = 111 * KIB;
    expect(used(context)).toBe(context.stats().bytesBuffered);
    // Nine tenths are used: nothing more is read.
    peer.write(Buffer.alloc(1));
    context.memoryBudget = Infinity;
    await until(() => messages.length === 1);
    await peer.destroy();
    await until(() => context.stats().connections === 0);
    await context.destroy();
  });
});

describe.each(CARRIERS)('on %s', (carrier) => {
  test('who holds most gets 1013 when more is held than may be, and the others go on', async () => {
    const context = budgeted(MIB);
    const { pair: connect, wss } = await carry(carrier, { context });
    const small = await connect();
    small.peer.write(part(100 * KIB));
    await until(() => used(context) >= 100 * KIB);
    const large = await connect();
    const failed = failure(large.server);
    large.peer.write(part(600 * KIB));
    large.peer.write(frames.frame(0, Buffer.alloc(600 * KIB), { fin: false }));
    expect(await large.peer.closing()).toEqual({ code: 1013, reason: '' });
    large.peer.socket.end();
    const { error, count, code } = await failed;
    expect(error.code).toBe('ERR_UVWS_MEMORY_BUDGET');
    expect([count, code]).toEqual([1, 1006]);
    expect(wss.stats().limits.memoryBudget).toBe(1);
    expect(context.stats().limits.memoryBudget).toBe(1);
    const messages = collect(small.server);
    small.peer.write(frames.frame(0, 'the end'));
    await until(() => messages.length === 1);
    expect(messages[0].length).toBe(100 * KIB + 7);
  });

  test('who does not read ends, at once with what was sent too much', async () => {
    const context = budgeted(8 * MIB);
    const { pair: connect, wss } = await carry(carrier, { context });
    const slow = [];
    for (let i = 0; i < 4; i++) slow.push(await connect());
    for (const { peer } of slow) peer.socket.pause();
    const failures = slow.map(({ server }) => failure(server));
    let rest = 0;
    // The first one gets most.
    for (let i = 0; wss.stats().limits.memoryBudget === 0; i++) {
      const { server } = slow[i % 5 === 4 ? 0 : i % 5];
      server.send(Buffer.alloc(256 * KIB));
      const { memory } = context.stats();
      expect(memory.used).toBeLessThanOrEqual(memory.budget);
      expect(memory.peak).toBeLessThanOrEqual(memory.budget + 256 * KIB + 10);
      if (i % 20 === 19) await turn();
      rest = Math.max(rest, i);
    }
    expect(rest).toBeGreaterThan(32);
    const { error, code } = await failures[0];
    expect([error.code, code]).toEqual(['ERR_UVWS_MEMORY_BUDGET', 1006]);
    expect(slow.slice(1).every(({ server }) => server.readyState === WebSocket.OPEN)).toBe(true);
  });

  test('the sum of all accounts is what is held, whatever happens', async () => {
    const context = budgeted(2 ** 40);
    const { pair: connect, wss } = await carry(carrier, { context, perMessageDeflate: true });
    const random = generator(17);
    const pick = (list) => list[Math.floor(random() * list.length)];
    const bytes = (most) => Buffer.alloc(Math.floor(random() * most), 'abcdefg');
    const connections = [];
    const add = async () => {
      const { peer, server } = await connect();
      server.on('error', () => {});
      connections.push({ peer, server, isWithin: false });
    };
    for (let i = 0; i < 5; i++) await add();
    const actions = [
      ({ peer }) => peer.socket.pause(),
      ({ peer }) => peer.socket.resume(),
      ({ server }) => server.pause(),
      ({ server }) => server.resume(),
      ({ server }) => server.send(bytes(300 * KIB), { compress: random() < 0.5 }),
      ({ server }) => server.send(bytes(1000), { fin: random() < 0.5 }, () => {}),
      ({ server }) => server.ping(),
      () => wss.broadcast(bytes(100 * KIB)),
      () => wss.broadcast(bytes(100)),
      (connection) => {
        const { peer, isWithin } = connection;
        connection.isWithin = random() < 0.7;
        const options = { fin: !connection.isWithin };
        peer.write(frames.frame(isWithin ? 0 : 2, bytes(100 * KIB), options));
      },
      async (connection) => {
        if (random() < 0.2) {
          connections.splice(connections.indexOf(connection), 1);
          if (random() < 0.5) connection.peer.destroy();
          else connection.server.terminate();
          await add();
        }
      },
    ];
    let most = 0;
    for (let i = 0; i < 400; i++) {
      await pick(actions)(pick(connections));
      if (random() < 0.3) await turn();
      else if (random() < 0.1) await delay(2);
      else continue;
      // What is about to be written is not held, but shown: a turn that is long leaves some for the next.
      let { bytesBuffered, memory } = context.stats();
      for (let j = 0; j < 100 && memory.used !== bytesBuffered; j++) {
        await turn();
        ({ bytesBuffered, memory } = context.stats());
      }
      expect(memory.used).toBe(bytesBuffered);
      most = Math.max(most, memory.used);
    }
    expect(most).toBeGreaterThan(MIB);
    expect(context.stats().memory.peak).toBeGreaterThanOrEqual(most);
  });

  test('random sequences with a budget that is always too small leave nothing', async () => {
    const context = budgeted(256 * KIB);
    const { pair: connect } = await carry(carrier, { context, perMessageDeflate: true });
    const random = generator(4);
    let ended = 0;
    for (let round = 0; round < 10; round++) {
      const connections = [];
      for (let i = 0; i < 5; i++) {
        const { peer, server } = await connect();
        server.on('error', (error) => {
          ended++;
          expect(error.code).toBe('ERR_UVWS_MEMORY_BUDGET');
        });
        if (random() < 0.5) peer.socket.pause();
        connections.push({ peer, server });
        peer.write(part(1));
      }
      for (let i = 0; i < 100; i++) {
        const { peer, server } = connections[Math.floor(random() * 5)];
        const size = Math.floor(random() * 100 * KIB);
        if (random() < 0.5) server.send(Buffer.alloc(size), { compress: random() < 0.5 });
        else peer.write(frames.frame(0, Buffer.alloc(size), { fin: false }));
        if (random() < 0.2) await turn();
        expect(used(context)).toBeLessThan(2 * 256 * KIB);
      }
      for (const { peer } of connections) peer.destroy();
      await until(() => context.stats().connections === 0);
      expect(used(context)).toBe(0);
    }
    expect(ended).toBeGreaterThan(10);
  });
});

test('a peer with part of a message is not read from while memory is short', async () => {
  const context = budgeted(4 * MIB);
  const { wss, port } = await serve({ context });
  const slow = await rawClient(port);
  slow.socket.pause();
  const [taker] = wss.clients;
  // Above nine tenths, by output that is not taken.
  while (used(context) < 3.7 * MIB) taker.send(Buffer.alloc(64 * KIB));
  await turn();
  const peer = await rawClient(port);
  const server = [...wss.clients][1];
  const messages = collect(server);
  peer.write(frames.frame(frames.TEXT, 'whole'));
  await until(() => messages.length === 1);
  peer.write(frames.frame(frames.BINARY, Buffer.alloc(512 * KIB)));
  await delay(GRACE / 10);
  peer.write(frames.frame(frames.TEXT, 'behind it'));
  await delay(GRACE / 10);
  expect(messages).toEqual(['whole']);
  expect(used(context)).toBeLessThan(4 * MIB);
  expect(server.isPaused).toBe(false);
  // Who takes what is sent makes room.
  slow.socket.resume();
  await until(() => messages.length === 3);
  expect(messages[1].length).toBe(512 * KIB);
  expect(messages[2]).toBe('behind it');
  expect(context.stats().limits.memoryBudget).toBe(0);
});

test('when all wait for the rest of a message the largest holder ends after a second', async () => {
  const context = budgeted(4 * MIB);
  const { wss, port } = await serve({ context });
  const silent = await rawClient(port);
  const [holder] = wss.clients;
  const failed = failure(holder);
  const begun = performance.now();
  silent.write(cut(3.8 * MIB));
  await until(() => used(context) > 3.7 * MIB);
  const peer = await rawClient(port);
  const messages = collect([...wss.clients][1]);
  peer.write(frames.frame(frames.BINARY, Buffer.alloc(300 * KIB)));
  await until(() => messages.length === 1);
  expect(performance.now() - begun).toBeGreaterThan(0.9 * GRACE);
  expect(await silent.closing()).toEqual({ code: 1013, reason: '' });
  silent.socket.end();
  expect((await failed).error.code).toBe('ERR_UVWS_MEMORY_BUDGET');
  expect(context.stats().limits.memoryBudget).toBe(1);
});

test('hundreds of peers that never end their messages do not keep honest ones from going on', async () => {
  const context = budgeted(6 * MIB);
  const { wss, port, url } = await serve({ context });
  wss.on('connection', (ws) => {
    ws.on('error', (error) => expect(error.code).toBe('ERR_UVWS_MEMORY_BUDGET'));
    ws.on('message', (data) => ws.send(data));
  });
  // Not in the budget.
  const clients = [];
  for (let i = 0; i < 10; i++) clients.push(await open(url, { perMessageDeflate: false }));
  let answers = 0;
  let goesOn = true;
  const echo = async (ws, payload) => {
    while (goesOn) {
      ws.send(payload);
      const [data] = await once(ws, 'message');
      expect(data.length).toBe(payload.length);
      answers++;
    }
  };
  const loops = clients.map((ws) => echo(ws, Buffer.alloc(1000)));

  const attackers = [];
  const piece = frames.frame(0, Buffer.alloc(16 * KIB), { fin: false });
  for (let i = 0; i < 400; i++) {
    const peer = await rawClient(port);
    attackers.push(peer);
    peer.write(part(16 * KIB));
  }
  // They go on for three seconds, each as fast as it is let.
  const before = answers;
  const end = performance.now() + 3 * GRACE;
  while (performance.now() < end) {
    for (const { socket } of attackers) if (!socket.writableNeedDrain) socket.write(piece);
    const { memory } = context.stats();
    expect(memory.used).toBeLessThanOrEqual(6 * MIB);
    // What one read brings, in a buffer that doubles: at most as much again as one of them had.
    expect(memory.peak).toBeLessThan(2 * 6 * MIB);
    await turn();
  }
  expect(answers - before).toBeGreaterThan(100);
  expect(clients.every(({ readyState }) => readyState === WebSocket.OPEN)).toBe(true);
  expect(context.stats().limits.memoryBudget).toBeGreaterThan(10);
  // A long message takes more than one read, and has its turn, too: once those who are left hold more than it
  // does, or there is room for it.
  const mayHaveTurn = () => wss.clients.size <= 25 || used(context) <= 3 * MIB;
  await until(mayHaveTurn, 'the end of most attackers', 30_000);
  const long = await open(url, { perMessageDeflate: false });
  long.send(Buffer.alloc(200 * KIB));
  const [data] = await once(long, 'message');
  expect(data.length).toBe(200 * KIB);

  for (const peer of attackers) peer.destroy();
  await until(() => wss.clients.size === 11, 'the end of the attackers');
  goesOn = false;
  await Promise.all(loops);
  await until(() => used(context) === 0);
});

test('compressed messages count with what they are inflated to, and with their state', async () => {
  const context = budgeted(MIB);
  const { client, server } = await pair(
    { context, perMessageDeflate: true },
    { perMessageDeflate: true },
  );
  const failed = failure(server);
  const closed = closing(client);
  client.send('x', { fin: false, compress: true });
  await until(() => used(context) > 40 * KIB);
  client.send(Buffer.alloc(4 * MIB), { fin: false, compress: true });
  expect((await failed).error.code).toBe('ERR_UVWS_MEMORY_BUDGET');
  expect((await closed).code).toBe(1013);
  expect(context.stats().memory.peak).toBeLessThan(2 * MIB + 64 * KIB);
});

test('messages that are inflated in turns come one after the other, not all at the end', async () => {
  const context = budgeted(1024 * MIB);
  const { wss, port } = await serve({ context, perMessageDeflate: true });
  const lengths = [];
  wss.on('connection', (ws) => ws.on('message', (data) => lengths.push(data.length)));
  const message = frames.compressed(Buffer.alloc(MIB - 1000));
  const peers = [];
  for (let i = 0; i < 100; i++) {
    peers.push(await rawClient(port, { lines: ['Sec-WebSocket-Extensions: permessage-deflate'] }));
  }
  for (const peer of peers) peer.write(message);
  await until(() => lengths.length === peers.length, 'the messages', 20_000);
  expect(new Set(lengths)).toEqual(new Set([MIB - 1000]));
  // Each has its state and the beginning of a message, and few have all of it.
  expect(context.stats().memory.peak).toBeLessThan(peers.length * 512 * KIB);
  for (const peer of peers) peer.destroy();
});

test('what waits for its compression counts', async () => {
  const context = budgeted(MIB);
  const { client, server } = await pair(
    { context, perMessageDeflate: { concurrencyLimit: 1 } },
    { perMessageDeflate: true },
  );
  const failed = failure(server);
  const closed = closing(client);
  for (let i = 0; i < 8; i++) server.send(Buffer.alloc(MIB / 4));
  expect(used(context)).toBe(0);
  expect((await failed).error.code).toBe('ERR_UVWS_MEMORY_BUDGET');
  expect((await closed).code).toBe(1006);
});

test('heads that have not come whole count, and what is left to an HTTP server does not', async () => {
  const context = budgeted(MIB);
  const { port } = await serve({ context, http: (request, response) => response.end('plain') });
  const peer = await rawConnect(port);
  peer.write(Buffer.from(`GET / HTTP/1.1\r\nHost: x\r\nX-Long: ${'x'.repeat(8 * KIB)}`));
  await until(() => used(context) > 8 * KIB);
  expect(used(context)).toBe(context.stats().bytesBuffered);
  peer.write(Buffer.from('\r\nConnection: close\r\n\r\n'));
  await peer.when(({ text }) => text.endsWith('plain'));
  expect(used(context)).toBe(0);
});

test('a client counts in the budget of its own context', async () => {
  const context = budgeted(MIB);
  const { wss, url } = await serve();
  const connected = once(wss, 'connection');
  const client = dial(url, { context });
  const [[server]] = await Promise.all([connected, once(client, 'open')]);
  const failed = failure(client);
  const closed = closing(server);
  server.send(Buffer.alloc(MIB), { fin: false });
  server.send(Buffer.alloc(MIB), { fin: false });
  expect((await failed).error.code).toBe('ERR_UVWS_MEMORY_BUDGET');
  expect((await closed).code).toBe(1013);
});

test('a client whose handshake is too large for the budget is told that', async () => {
  const context = budgeted(KIB);
  const head = `HTTP/1.1 101 Switching Protocols\r\nX-Long: ${'x'.repeat(4 * KIB)}`;
  const server = await rawServer({ respond: (peer) => peer.write(Buffer.from(head)) });
  const { error, count, code } = await failure(dial(server.url, { context }));
  expect([error.code, count, code]).toEqual(['ERR_UVWS_MEMORY_BUDGET', 1, 1006]);
  expect(context.stats().limits.memoryBudget).toBe(1);
});

test('connections that wait for room keep the process alive until somebody has ended', async () => {
  const code = await inChild(async ({ frames, once, rawServer, uvws }) => {
    const server = await rawServer();
    const context = new uvws.Context({ memoryBudget: 1024 * 1024 });
    const client = new uvws.WebSocket(server.url, { context });
    const opened = once(client, 'open');
    const peer = await server.peer();
    await opened;
    peer.write(frames.frame(frames.BINARY, Buffer.alloc(950 * 1024), { fin: false, mask: false }));
    // Nothing else is on the loop.
    peer.socket.unref();
    server.server.close();
    const [error] = await once(client, 'error');
    await context.destroy();
    peer.destroy();
    return error.code;
  });
  expect(code).toBe('ERR_UVWS_MEMORY_BUDGET');
});
