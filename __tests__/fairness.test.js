// Whatever comes at once, a turn of the loop does only some of it: the rest has its turn later. What
// counts is messages for each turn, not time, so that no test depends on a quiet machine.

const { once } = require('node:events');

const { defer, pair, rawClient, serve } = require('./support/fixtures.js');
const { BINARY, frame } = require('./support/frames.js');
const { carry } = require('./support/carriers.js');
const { upgradeRequest } = require('./support/peers.js');
const { block, startWorker, turn: turnOfLoop } = require('./support/tools.js');
const { Context } = require('./support/uvws.js');

const PEERS = 20;
const EACH = 2000;
/** What a handler takes: a batch of messages is longer than a context may go on in a turn. */
const WORK = 0.01;
/** A few batches of 1,024. */
const MOST_IN_A_TURN = 6 * 1024;

const work = (time = WORK) => block(time);

/** Counts what happens in each turn of the loop, until it is stopped. */
function turns() {
  const counts = [0];
  const state = { most: 0, busy: 0, all: 0, add: () => counts[0]++ };
  let immediate = setImmediate(function next() {
    state.all++;
    state.most = Math.max(state.most, counts[0]);
    if (counts[0] > 0) state.busy++;
    counts[0] = 0;
    immediate = setImmediate(next);
  });
  state.stop = () => clearImmediate(immediate);
  defer(state.stop);
  return state;
}

/** Counts the messages of a server, in all and for each turn; each takes some milliseconds. */
function counting(wss, turn, time) {
  const seen = { received: 0 };
  wss.on('connection', (ws) => {
    ws.on('message', () => {
      seen.received++;
      turn.add();
      work(time);
    });
  });
  return seen;
}

/** Some peers that have all written `bytes` before the server reads any of it. */
async function flood(port, bytes, count = PEERS, connect = () => rawClient(port)) {
  const peers = [];
  for (let i = 0; i < count; i++) peers.push(await connect());
  for (const peer of peers) peer.write(bytes);
}

/** Resolves when `condition()` holds; it is asked in each turn. */
async function until(condition) {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

const numbered = Buffer.concat(
  Array.from({ length: EACH }, (_, index) => {
    const payload = Buffer.alloc(2);
    payload.writeUInt16BE(index);
    return frame(BINARY, payload);
  }),
);

test('a flood of small messages is delivered over many turns, whole and in order', async () => {
  const { wss, port } = await serve();
  const turn = turns();
  let received = 0;
  let misplaced = 0;
  wss.on('connection', (ws) => {
    let next = 0;
    ws.on('message', (data) => {
      if (data.readUInt16BE() !== next++) misplaced++;
      received++;
      turn.add();
      work();
    });
  });
  await flood(port, numbered);
  await until(() => received === PEERS * EACH);
  turn.stop();
  expect(misplaced).toBe(0);
  expect(turn.most).toBeLessThanOrEqual(MOST_IN_A_TURN);
});

test('a flood over TLS is read over many turns, too', async () => {
  const COUNT = 60;
  const { wss, port, upgrade } = await carry('a native listener of TLS');
  const turn = turns();
  const seen = counting(wss, turn, 0);
  await flood(port, numbered, COUNT, upgrade);
  await until(() => seen.received === COUNT * EACH);
  turn.stop();
  // A batch of each.
  expect(turn.most).toBeLessThan((COUNT * 1024) / 2);
});

test('handlers that take long get fewer messages in a turn', async () => {
  const some = numbered.subarray(0, numbered.length / 10);
  const { wss, port } = await serve();
  const turn = turns();
  const seen = counting(wss, turn, 10 * WORK);
  await flood(port, some);
  await until(() => seen.received === (PEERS * EACH) / 10);
  turn.stop();
  // Of batches of 1,024 there would be four.
  expect(turn.busy).toBeGreaterThan(12);
});

test('whoever has held up the loop for milliseconds stays out of its next turn', async () => {
  const ENOUGH = 40;
  const { server, client } = await pair();
  let received = 0;
  for (const ws of [server, client]) {
    ws.on('message', (data) => {
      received++;
      work(5);
      ws.send(data);
    });
  }
  const turn = turns();
  client.send('ball');
  await until(() => received >= ENOUGH);
  turn.stop();
  // Without that each message is read in the turn after it was sent.
  expect(turn.all).toBeGreaterThan(1.7 * ENOUGH);
});

test('others of a context have their turn beside one that never ends', async () => {
  const MOST = 30_000;
  const { wss, port } = await serve();
  let flooded = 0;
  let heard = 0;
  wss.on('connection', (ws, { url }) => {
    ws.on('message', () => {
      if (url === '/flood') flooded++;
      else heard++;
      work(WORK / 10);
    });
  });
  // From a thread of its own, so that there is always something to read.
  const flooder = startWorker(async ({ input, frames, rawClient }) => {
    const { socket } = await rawClient(input, { path: '/flood' });
    // Fewer than a batch in each read, so that none is ever left over.
    const some = Buffer.concat(Array(1000).fill(frames.frame(frames.BINARY, Buffer.alloc(100))));
    const write = () => {
      while (socket.write(some));
    };
    socket.on('drain', write);
    socket.on('error', () => {});
    write();
  }, port);
  const others = [];
  for (let i = 0; i < 4; i++) others.push(await rawClient(port));
  await until(() => flooded > 3000);
  const before = flooded;
  for (const other of others) other.send(BINARY, 'me, too');
  await until(() => heard === others.length || flooded - before > MOST);
  await flooder.terminate();
  expect(heard).toBe(others.length);
});

test('what came with many requests is delivered little by little once they are answered', async () => {
  const COUNT = 200;
  const answers = [];
  const before = Context.default.stats().bytesReceived;
  const { wss, port } = await serve({ verifyClient: (_info, answer) => answers.push(answer) });
  const turn = turns();
  const seen = counting(wss, turn, 10 * WORK);
  const after = frame(BINARY, Buffer.alloc(30_000));
  for (let i = 0; i < COUNT; i++) await rawClient(port, { after, wait: false });
  const expected = COUNT * (after.length + upgradeRequest().length);
  await until(() => Context.default.stats().bytesReceived - before === expected);
  for (const answer of answers) answer(true);
  await until(() => seen.received === COUNT);
  turn.stop();
  // A batch is a mebibyte.
  expect(turn.most).toBeLessThan(COUNT / 2);
});

test('connections that come at once are accepted over many turns', async () => {
  const BURST = 300;
  const { port } = await serve();
  const connected = new Int32Array(new SharedArrayBuffer(4));
  const worker = startWorker(
    async ({ input, net, once }) => {
      const sockets = [];
      for (let i = 0; i < input.burst; i++) {
        sockets.push(net.connect(input.port, '127.0.0.1'));
        await once(sockets.at(-1), 'connect');
        Atomics.add(input.connected, 0, 1);
        Atomics.notify(input.connected, 0);
      }
      await once(require('node:worker_threads').parentPort, 'message');
      for (const socket of sockets) socket.destroy();
    },
    { port, burst: BURST, connected },
  );
  // The loop stands still meanwhile: they wait in the queue of the system.
  for (let count = 0; count < BURST; count = Atomics.load(connected, 0)) {
    expect(Atomics.wait(connected, 0, count, 10_000)).not.toBe('timed-out');
  }
  const accepted = () => Context.default.stats().pendingHandshakes;
  let most = 0;
  for (let before = accepted(); before < BURST;) {
    await turnOfLoop();
    most = Math.max(most, accepted() - before);
    before = accepted();
  }
  // libuv accepts all of them, whatever else there is.
  if (process.env.UVWS_TRANSPORT !== 'uv') expect(most).toBeLessThanOrEqual(64);
  const ended = once(worker, 'exit');
  worker.postMessage('end');
  await ended;
  await until(() => accepted() === 0);
});

test('another context has its turn in the middle of a flood', async () => {
  const flooded = await serve({ context: new Context() });
  const { wss, port } = await serve({ context: new Context() });
  defer(() => flooded.wss.options.context.destroy());
  defer(() => wss.options.context.destroy());
  let received = 0;
  flooded.wss.on('connection', (ws) => {
    ws.on('message', () => {
      received++;
      work();
    });
  });
  let receivedByThen;
  wss.on('connection', (ws) => {
    ws.on('message', () => (receivedByThen = received));
  });
  const other = await rawClient(port);
  await flood(flooded.port, numbered);
  other.send(BINARY, 'me, too');
  await until(() => received === PEERS * EACH);
  expect(receivedByThen).toBeLessThan((PEERS * EACH) / 2);
});

test('a context can be destroyed in the middle of a flood', async () => {
  const context = new Context();
  const { wss, port } = await serve({ context });
  let received = 0;
  let closes = 0;
  wss.on('connection', (ws) => {
    ws.on('close', () => closes++);
    ws.on('message', () => {
      work();
      if (++received === 3000) context.destroy();
    });
  });
  await flood(port, numbered);
  await once(context, 'close');
  expect(received).toBe(3000);
  expect(closes).toBe(PEERS);
  expect(context.stats().handles).toBe(0);
});
