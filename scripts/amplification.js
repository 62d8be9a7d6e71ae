'use strict';

// What a peer can make a server hold, of everything that the addon allocates: the law of docs/limits.md on
// a thousand real connections for each attack. Prints the bytes for each connection, and exits with 1 where
// there are more than the law allows, or where something is left when all have gone.
//
//   node scripts/amplification.js
//
// The addon is the one of scripts/faults.js, whose allocator counts. Peers are sockets of Node's in this
// process: what they have is Node's, and not counted. Neither are JavaScript's own objects.

const { once } = require('node:events');
const net = require('node:net');
const path = require('node:path');
const { setFlagsFromString } = require('node:v8');
const vm = require('node:vm');
const tls = require('node:tls');

const frames = require('../__tests__/support/frames.js');
const { makeCertificate } = require('../__tests__/support/certificate.js');
const { upgradeRequest } = require('../__tests__/support/peers.js');
const faults = require('./faults.js');

const { BINARY, CONTINUATION, PING, compressed, deflated, frame } = frames;

const PEERS = 1000;
const AT_A_TIME = 100;
/** Milliseconds without a byte after which a server has read whatever it reads. */
const SILENCE = 300;
/** Milliseconds for all that a server limits in time. */
const PATIENCE = 300_000;
const KIB = 1024;
const SLACK = 16 * KIB;
/** Less than any of the peers had: tables that grow and shrink. */
const LEFT = 32 * KIB;
const DEFLATE_SLACK = 64 * KIB;
const MAX_PAYLOAD = 256 * KIB;

const sleep = (time) => new Promise((resolve) => setTimeout(resolve, time));
const repeated = (bytes, count) => Buffer.concat(new Array(count).fill(bytes));

const REQUEST = upgradeRequest();
const DEFLATING = upgradeRequest({ lines: ['Sec-WebSocket-Extensions: permessage-deflate'] });
const LONG_HEAD = upgradeRequest({ lines: [`X: ${'x'.repeat(15_000)}`] });

const fragments = (payload, count) =>
  Buffer.concat([
    frame(BINARY, payload, { fin: false }),
    repeated(frame(CONTINUATION, payload, { fin: false }), count - 1),
  ]);

const INFLATING = 'a message without its end that inflates to 200 KiB';

/**
 * What each peer does: the bytes of its handshake, and those after it. `limit` is what may be held for it at
 * most, where that is not the law for what it has sent; `least` is what has to be, if the attack is one.
 * Where it `isCounted`, the server has read all of it; what belongs to the handshake of TLS is in no count.
 */
const ATTACKS = {
  'a connection that says nothing': { head: '' },
  'a head of 15 KiB without its end': { least: 15_000, head: LONG_HEAD.slice(0, -1) },
  'an open connection that says nothing': {},
  '301 fragments of 0 bytes': { bytes: fragments('', 301) },
  '301 fragments of 1 byte': { bytes: fragments('x', 301) },
  'a message of 64 MiB of which 10 bytes come': {
    bytes: frame(BINARY, '0123456789', { length: 64 * KIB * KIB }),
    options: { maxPayload: 100 * KIB * KIB },
  },
  'a message of 100,000 bytes without its end': {
    least: 100_000,
    bytes: fragments('x'.repeat(1000), 100),
  },
  'PING frames, 2,000 of 125 bytes': {
    bytes: repeated(frame(PING, Buffer.alloc(125)), 2000),
    options: { maxControlFrames: 0 },
  },
  'messages to a connection that is paused, 200,000 bytes': {
    bytes: repeated(frame(BINARY, Buffer.alloc(1000)), 200),
    onConnection: (ws) => ws.pause(),
    isCounted: false,
  },
  'an open connection that could compress': { head: DEFLATING, limit: DEFLATE_SLACK },
  [INFLATING]: {
    least: 200 * KIB,
    head: DEFLATING,
    bytes: frame(BINARY, deflated(Buffer.alloc(200 * KIB)), { rsv: 4, fin: false }),
    limit: MAX_PAYLOAD + DEFLATE_SLACK,
  },
  'a bomb of 16 MiB': {
    head: DEFLATING,
    bytes: compressed(Buffer.alloc(16 * KIB * KIB)),
    limit: MAX_PAYLOAD + DEFLATE_SLACK,
  },
  'over TLS: an open connection that says nothing': { isSecure: true },
  'over TLS: a message of 100,000 bytes without its end': {
    least: 100_000,
    isSecure: true,
    bytes: fragments('x'.repeat(1000), 100),
  },
  'over TLS: a record of 16 KiB without its end, instead of a hello': {
    least: 16 * KIB,
    isSecure: true,
    isPlain: true,
    isCounted: false,
    head: Buffer.concat([Buffer.from([0x16, 3, 1, 0x40, 0]), Buffer.alloc(16 * KIB - 1)]),
  },
};

setFlagsFromString('--expose-gc');
const collectGarbage = vm.runInNewContext('gc');

/** Bytes that the addon holds when what JavaScript has let go of is collected. */
async function measure(native) {
  for (let i = 0; i < 3; i++) {
    collectGarbage();
    await sleep(20);
  }
  return native.faultHeld();
}

/** Waits until nothing more is read. */
async function settle(context) {
  for (let before = -1, now = 0; now !== before;) {
    before = now;
    await sleep(SILENCE);
    now = context.stats().bytesReceived;
  }
}

function connectionsOf(context) {
  const { connections, pendingHandshakes } = context.stats();
  return connections + pendingHandshakes;
}

/** Opens a connection and does what the attack is. It stays, whatever the server does. */
async function attack(port, { head = REQUEST, bytes = '', isSecure, isPlain }) {
  const options = { port, host: '127.0.0.1', rejectUnauthorized: false, allowHalfOpen: true };
  const isWrapped = isSecure && !isPlain;
  const socket = isWrapped ? tls.connect(options) : net.connect(options);
  socket.on('error', () => {});
  await once(socket, isWrapped ? 'secureConnect' : 'connect');
  socket.write(head);
  if (bytes.length > 0) {
    await Promise.race([once(socket, 'data'), once(socket, 'close')]);
    socket.write(bytes);
  }
  socket.resume();
  return socket;
}

/** Lets peers attack, and resolves when nothing more is read. */
async function gather(context, port, name) {
  const sockets = [];
  while (sockets.length < PEERS) {
    const some = Array.from({ length: AT_A_TIME }, () => attack(port, ATTACKS[name]));
    sockets.push(...(await Promise.all(some)));
  }
  await settle(context);
  return sockets;
}

/** Lets them go, and resolves when the server knows: one that is paused does not read an end either. */
async function scatter(wss, sockets) {
  const { context } = wss;
  for (const socket of sockets) socket.destroy();
  for (const ws of wss.clients) ws.resume();
  while (connectionsOf(context) > 0) await sleep(10);
}

/** Plays an attack; returns what is held for each peer, and what is left of it all. */
async function play({ Context, WebSocketServer }, native, name) {
  const { head = REQUEST, bytes = '', isSecure, options, onConnection = () => {} } = ATTACKS[name];
  const {
    least = 1,
    limit = 2 * (head.length + bytes.length) + SLACK,
    isCounted = true,
  } = ATTACKS[name];
  const without = await measure(native);
  const context = new Context();
  const wss = new WebSocketServer({
    ...{ port: 0, host: '127.0.0.1', context, perMessageDeflate: true, maxPayload: MAX_PAYLOAD },
    // Nobody is to go before all are measured.
    ...{ handshakeTimeout: PATIENCE, closeTimeout: PATIENCE },
    ...(isSecure ? { tls: makeCertificate() } : {}),
    ...options,
  });
  wss.on('connection', (ws) => {
    ws.on('error', () => {});
    onConnection(ws);
  });
  await once(wss, 'listening');
  const { port } = wss.address();
  // What a context has once for so many connections, such as its tables.
  await scatter(wss, await gather(context, port, name));

  const [before, read] = [await measure(native), context.stats().bytesReceived];
  const sockets = await gather(context, port, name);
  const held = ((await measure(native)) - before) / PEERS;
  const here = connectionsOf(context);
  const received = (context.stats().bytesReceived - read) / PEERS;
  await scatter(wss, sockets);
  const left = [(await measure(native)) - before];
  await context.destroy();
  left.push((await measure(native)) - without);

  const wrong = [];
  if (held > limit) wrong.push('more than the law allows');
  if (held < least || here !== PEERS) wrong.push(`${here} attacks were none, or over`);
  if (received < head.length + bytes.length && isCounted) wrong.push(`${received} bytes came`);
  if (Math.max(...left) > LEFT) wrong.push('something is left');
  return { held, left, limit, wrong };
}

async function playAll() {
  const uvws = require(faults.PACKAGE);
  const native = require(path.join(faults.PACKAGE, 'uvws.node'));
  const broken = [];
  let passed = 0;
  // What is made once for all connections is made, as the buffer to inflate in.
  await play(uvws, native, INFLATING);
  for (const name of Object.keys(ATTACKS)) {
    const { held, left, limit, wrong } = await play(uvws, native, name);
    const figures = `${Math.round(held)} bytes for each peer, of ${limit}`;
    console.log(`${name}: ${figures}; ${left.join(' and ')} left`);
    if (wrong.length > 0) broken.push(`${name}: ${figures}: ${wrong.join(', ')}`);
    else passed++;
  }
  return { passed, broken };
}

module.exports = { playAll };

async function main() {
  faults.prepare();
  const { broken } = await playAll();
  for (const text of broken) console.error(text);
  if (broken.length > 0) process.exitCode = 1;
}

if (require.main === module) {
  if (process.platform === 'linux') main();
  else console.log('skipped: memory is counted on Linux only');
}
