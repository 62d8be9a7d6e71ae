// What the steps of a sequence do. Each action gets the world and four numbers; where there is nothing
// to act on it does nothing. `throws` in an action is a law: nothing else may throw.

const http = require('node:http');
const net = require('node:net');
const path = require('node:path');
const tls = require('node:tls');
const { Duplex } = require('node:stream');
const { setTimeout: delay } = require('node:timers/promises');
const { Worker } = require('node:worker_threads');

const { makeCertificate } = require('../certificate.js');
const frames = require('../frames.js');
const { upgradeRequest } = require('../peers.js');
const { messageOf } = require('./world.js');

const CLOSE_TIMEOUT = 150;
const TOPICS = ['a', 'b'];
const CODES = [undefined, 1000, 1001, 3000, 4999];
const HANDLER_EVENTS = {
  context: ['close', 'draining', 'waitCancelled'],
  server: ['connection', 'listening', 'close'],
  socket: ['open', 'message', 'close', 'ping', 'pong', 'error'],
};

/** Frames, broken and whole, that a peer sends. */
const PIECES = [
  frames.frame(frames.TEXT, 'raw:'),
  frames.frame(frames.PING, 'x'),
  frames.closeFrame(1000, 'bye'),
  frames.closeFrame(),
  frames.frame(frames.TEXT, 'raw:not masked', { mask: false }),
  frames.frame(frames.TEXT, 'raw:', { rsv: 4 }),
  frames.frame(3, 'raw:'),
  frames.frame(frames.TEXT, 'raw:cut').subarray(0, 8),
  Buffer.concat(Array(20).fill(frames.frame(frames.BINARY, 'raw:many'))),
  frames.frame(frames.BINARY, Buffer.alloc(100_000, 'raw:')),
  'GET /page HTTP/1.1\r\nHost: a.test\r\n\r\n',
  'GET /slow HTTP/1.1\r\nHost: b.test\r\n\r\n',
  upgradeRequest({ path: '/raw', host: 'a.test' }),
];

const HOSTNAMES = ['a.test', 'b.test', '*.test', undefined];
const HOSTS = [undefined, 'a.test', 'b.test', 'c.test'];

/** Made once in a process: that takes longer than a sequence. */
let certificate = null;

function certificateOf() {
  certificate ??= makeCertificate();
  return certificate;
}

/** Gives a thread the certificate of another one. */
function useCertificate(given) {
  certificate = given;
}

let clients = 0;

const contexts = (world) => world.contexts;
const live = (world) => world.contexts.filter((it) => it.closes === 0);
const listening = (world) =>
  world.servers.filter((it) => it.isListening && it.closes === 0 && typeof it.port === 'number');
const open = (world) => world.sockets.filter((it) => it.ws.readyState === 1);

/** Choose mostly among those that are alive. */
function contextOf(world, number) {
  return world.pick(number % 8 === 0 ? contexts(world) : live(world), number >> 3);
}

function socketOf(world, number) {
  return world.pick(number % 8 === 0 ? world.sockets : open(world), number >> 3);
}

function clientOptions(owner, number) {
  const options = { context: owner.context, closeTimeout: CLOSE_TIMEOUT };
  if (number % 3 === 0) options.perMessageDeflate = false;
  if (number % 5 === 0) options.allowSynchronousEvents = false;
  if (number % 7 === 0) options.handshakeTimeout = 50;
  if (number % 11 === 0) options.reconnect = { delays: [1, 5], maxAttempts: 2 };
  if (number % 13 === 0) options.finishRequest = (request) => request.end();
  if (number % 17 === 0) options.signal = AbortSignal.timeout(number % 20);
  if (number % 19 === 0) options.heartbeat = { interval: 1 + (number % 20), timeout: 30 };
  if (number % 23 === 0) options.protocols = ['other', 'chat'];
  const host = HOSTS[number % HOSTS.length];
  if (host !== undefined) options.headers = { host };
  return options;
}

function connect(world, owner, url, number) {
  const options = clientOptions(owner, number);
  // Such a certificate is none for the native half, where it is asked to trust it: Node's TLS goes on.
  if (number % 3 === 0) options.rejectUnauthorized = false;
  else options.ca = certificate?.cert;
  const ws = new world.uvws.WebSocket(`${url}/c${++clients}`, options);
  return world.watchClient(ws, owner, clients, { isLossy: options.reconnect !== undefined });
}

function serverOptions(owner, number) {
  return {
    context: owner.context,
    closeTimeout: CLOSE_TIMEOUT,
    handshakeTimeout: 300,
    perMessageDeflate: number % 2 === 0 ? { threshold: 16 } : false,
    allowSynchronousEvents: number % 5 !== 0,
    clientTracking: number % 7 !== 0,
    ...(number % 11 === 0 && { verifyClient: (_info, done) => setImmediate(done, true) }),
    ...(number % 13 === 0 && { heartbeat: { interval: 1 + (number % 20), timeout: 30 } }),
    ...(number % 17 === 0 && { maxConnections: 2, maxConnectionsPerAddress: 1 + (number % 2) }),
  };
}

/** Answers requests that are none for a WebSocket, some of them never. */
function answer({ url }, response) {
  if (url === '/slow') response.write('begun');
  else response.end('done');
}

/** Options of a server with a port, which may be that of another one. */
function listenerOptions(world, taken, number) {
  const options = {
    host: ['127.0.0.1', '127.0.0.1', undefined, 'localhost'][number % 4],
    hostname: HOSTNAMES[(number >> 2) % HOSTNAMES.length],
    port: taken?.port ?? 0,
  };
  options.strictHost = options.hostname !== undefined && number % 5 === 0;
  if (taken !== undefined && number % 3 !== 0) options.host = taken.host;
  // Servers of one port are all of TLS, or none is.
  if (taken === undefined ? number % 7 === 0 : taken.isSecure) {
    options.tls = { ...certificateOf() };
    // What takes Node's TLS.
    if (number % 2 === 0) options.tls.ciphers = tls.DEFAULT_CIPHERS;
  } else if (number % 3 === 0) {
    options.http = answer;
    if (number % 9 === 0 && world.httpServers.length < 3) {
      options.http = http.createServer(answer);
      world.httpServers.push(options.http);
    }
  }
  return options;
}

/** Sends, and holds what ws says about it: it throws while the connection is being opened. */
function send(world, it, call) {
  const state = it.ws.readyState;
  const callback = world.callback(it, `sent in state ${state}`);
  const sent = it.out.sent;
  const isQueued = state === 0 && it.isLossy;
  try {
    call(callback);
    world.expect(state !== 0 || isQueued, `${it.name}: can send in state 0`);
  } catch (error) {
    world.awaited.delete(callback);
    world.expect(state === 0, `${it.name}: send() throws in state ${state}: ${error.stack}`);
  }
  if (state !== 1) it.out.sent = sent;
}

/** A stream over a socket that has no descriptor to show: what is made of it is a bridge. */
class Wrapped extends Duplex {
  constructor(socket) {
    super({ allowHalfOpen: true });
    this.socket = socket;
    socket.on('data', (chunk) => this.push(chunk) || socket.pause());
    socket.on('end', () => this.push(null));
    socket.on('error', (error) => this.destroy(error));
    socket.on('close', () => this.destroy());
  }

  _read() {
    this.socket.resume();
  }

  _write(chunk, encoding, callback) {
    this.socket.write(chunk, encoding, callback);
  }

  _final(callback) {
    this.socket.end(callback);
  }

  _destroy(error, callback) {
    this.socket.destroy();
    callback(error);
  }
}

const ACTIONS = {
  context(world, number, name) {
    if (world.isEnding || live(world).length >= 4) return;
    const controller = number % 3 === 0 ? new AbortController() : null;
    const memoryBudget = [Infinity, 2 ** 30, 2 ** 16][number % 3];
    const options = { name: `n${name}`, data: number, memoryBudget, signal: controller?.signal };
    world.watchContext(new world.uvws.Context(options), controller);
  },

  abort(world, number) {
    const it = world.pick(
      live(world).filter(({ controller }) => controller !== null),
      number,
    );
    if (it === undefined) return;
    it.asked = 3;
    it.controller.abort();
  },

  drain(world, number) {
    const it = contextOf(world, number);
    if (it === undefined) return;
    it.asked = Math.max(it.asked, 1);
    world.expect(it.context.drain() === it.closed, `${it.name}: drain() returns another promise`);
  },

  closeContext(world, number, code, timeout) {
    const it = contextOf(world, number);
    if (it === undefined) return;
    it.asked = Math.max(it.asked, 2);
    const options = { code: code % 2 ? 1001 : 3000, reason: 'over', timeout: timeout % 100 };
    const promise = it.context.close(options);
    world.expect(promise === it.closed, `${it.name}: close() returns another promise`);
  },

  destroy(world, number) {
    const it = contextOf(world, number);
    if (it === undefined) return;
    it.asked = Math.max(it.asked, 3);
    const promise = it.context.destroy(number % 2 ? new Error('a cause') : undefined);
    world.expect(promise === it.closed, `${it.name}: destroy() returns another promise`);
  },

  wake(world, number, how) {
    const it = contextOf(world, number);
    if (it === undefined) return;
    const { state } = it.context;
    if (how % 2) {
      it.token ??= it.context.wakeToken;
      const isAwake = world.uvws.wake(it.token);
      if (state === 'running') world.expect(isAwake, `${it.name}: wake(token) says no`);
      if (state === 'destroyed') world.expect(!isAwake, `${it.name}: a late wake(token) says yes`);
    } else {
      const isAwake = it.context.wake();
      const may = !state.startsWith('destroy');
      world.expect(isAwake === may, `${it.name}: wake() says ${isAwake} in state ${state}`);
    }
  },

  ref(world, number) {
    contextOf(world, number)?.context.ref();
  },

  unref(world, number) {
    contextOf(world, number)?.context.unref();
  },

  stats(world, number) {
    const it = contextOf(world, number);
    if (it === undefined) return;
    const { limits, memory, ...stats } = it.context.stats();
    const isBudgeted = it.context.memoryBudget !== Infinity;
    world.expect((memory !== null) === isBudgeted, `${it.name}: memory is ${memory}`);
    for (const [name, value] of Object.entries({ ...stats, ...limits, ...memory })) {
      world.expect(Number.isInteger(value) && value >= 0, `${it.name}: ${name} is ${value}`);
    }
  },

  serve(world, number, which, port, more) {
    const taken = port % 3 === 0 ? world.pick(listening(world), port >> 4) : undefined;
    const isJoining = taken !== undefined && port % 9 !== 0;
    const owner = isJoining ? taken.owner : contextOf(world, number);
    if (owner === undefined || world.servers.length >= 12) return;
    const options = { ...serverOptions(owner, which), ...listenerOptions(world, taken, more) };
    const life = { inits: 0, destroys: 0 };
    if (which % 3 === 0) {
      options.protocols = { chat: world.protocolOf(life) };
      if (which % 2 === 0) options.defaultProtocol = 'chat';
    }
    const it = world.watchServer(new world.uvws.WebSocketServer(options), owner);
    // That of Node's does not wait for connections that it does not carry.
    const isHttp = options.tls?.ciphers !== undefined;
    Object.assign(it, { life, host: options.host, isSecure: options.tls !== undefined, isHttp });
  },

  serveHttp(world, number, which) {
    const owner = contextOf(world, number);
    if (owner === undefined || world.httpServers.length >= 3) return;
    const server = http.createServer((_request, response) => response.end('no'));
    world.httpServers.push(server);
    const options = serverOptions(owner, which);
    const isBridged = which % 3 === 0;
    const wss = new world.uvws.WebSocketServer(
      isBridged ? { ...options, noServer: true } : { ...options, server },
    );
    const it = world.watchServer(wss, owner, null);
    it.isHttp = true;
    if (isBridged) {
      server.on('upgrade', (request, socket, head) => {
        socket.on('error', () => {});
        if (it.closes > 0) return socket.destroy();
        const stream = new Wrapped(socket).on('error', () => {});
        wss.handleUpgrade(request, stream, head, (ws) => wss.emit('connection', ws, request));
      });
    }
    server.on('clientError', (_error, socket) => socket.destroy());
    server.listen(0, '127.0.0.1', () => {
      it.port = server.address()?.port;
      it.isListening = true;
    });
  },

  closeServer(world, number) {
    const it = world.pick(
      world.servers.filter(({ closes }) => closes === 0),
      number,
    );
    it?.server.close();
  },

  connect(world, number, which, how) {
    const owner = contextOf(world, number);
    const server = world.pick(listening(world), which);
    if (owner === undefined || server === undefined || world.sockets.length >= 60) return;
    const host = how % 4 === 0 ? 'localhost' : '127.0.0.1';
    const scheme = server.isSecure ? 'wss' : 'ws';
    connect(world, owner, `${scheme}://${host}:${server.port}`, how >> 2);
  },

  connectNowhere(world, number, port, how) {
    const owner = contextOf(world, number);
    if (owner === undefined) return;
    const urls = ['ws://127.0.0.1:1', 'ws://no.such.host.invalid:1', 'ws://localhost:1'];
    connect(world, owner, world.pick(urls, port), how);
  },

  send(world, number, length, how) {
    const it = socketOf(world, number);
    if (it === undefined) return;
    send(world, it, (callback) => {
      const text = world.nextMessage(it, length % 200);
      if (how % 3 === 0) it.ws.send(Buffer.from(text), callback);
      else if (how % 3 === 1) it.ws.send(text, { compress: false }, callback);
      else it.ws.send(text, callback);
    });
  },

  large(world, number, length, how) {
    const it = socketOf(world, number);
    if (it === undefined) return;
    send(world, it, (callback) => {
      const text = world.nextMessage(it, 8_000 + length * 6);
      it.ws.send(text, { compress: how % 2 === 0, binary: how % 3 === 0 }, callback);
    });
  },

  fragments(world, number, length) {
    const it = socketOf(world, number);
    // With reconnect each fragment would be a message that waits.
    if (it === undefined || it.isLossy) return;
    send(world, it, (callback) => {
      const text = world.nextMessage(it, 20 + (length % 3000));
      it.ws.send(text.slice(0, 9), { fin: false });
      it.ws.send(text.slice(9), callback);
    });
  },

  ping(world, number, length, how) {
    const it = socketOf(world, number);
    if (it === undefined) return;
    const method = how % 4 === 0 ? 'pong' : 'ping';
    const state = it.ws.readyState;
    try {
      it.ws[method]('x'.repeat(length % 126));
      world.expect(state !== 0 || it.isLossy, `${it.name}: ${method}() in state 0`);
    } catch (error) {
      world.expect(state === 0, `${it.name}: ${method}() throws: ${error.stack}`);
    }
  },

  close(world, number, code) {
    socketOf(world, number)?.ws.close(world.pick(CODES, code));
  },

  terminate(world, number) {
    socketOf(world, number)?.ws.terminate();
  },

  pause(world, number) {
    socketOf(world, number)?.ws.pause();
  },

  resume(world, number) {
    const paused = world.sockets.filter(({ ws }) => ws.isPaused);
    world.pick(paused, number)?.ws.resume();
  },

  bufferedAmount(world, number) {
    const it = socketOf(world, number);
    if (it === undefined) return;
    const amount = it.ws.bufferedAmount;
    world.expect(Number.isInteger(amount) && amount >= 0, `${it.name}: ${amount} bytes buffered`);
  },

  subscribe(world, number, topic, how) {
    const it = world.pick(
      world.sockets.filter(({ accepting }) => accepting !== undefined),
      number,
    );
    if (it === undefined) return;
    const method = how % 4 === 0 ? 'unsubscribe' : 'subscribe';
    const is = it.ws[method](world.pick(TOPICS, topic));
    if (method === 'subscribe') {
      // It may be gone, though events of it are still to come.
      world.expect(!is || it.ws.readyState === 1, `${it.name}: subscribe() says ${is}`);
    }
  },

  publish(world, number, topic, length) {
    const it = world.pick(world.servers, number);
    if (it === undefined) return;
    const text = messageOf('many', 20 + (length % 50_000));
    const { server } = it;
    const isToAll = length % 3 === 0 && server.clients !== undefined;
    const options = { compress: topic % 4 < 2 };
    const count = isToAll
      ? server.broadcast(text, options)
      : server.publish(world.pick(TOPICS, topic), text, options);
    world.expect(Number.isInteger(count) && count >= 0, `${it.name}: publish() says ${count}`);
  },

  rawConnect(world, number, how) {
    const server = world.pick(listening(world), number);
    if (server === undefined || world.peers.length >= 20) return;
    const socket = net.connect(server.port, '127.0.0.1');
    socket.on('error', () => {});
    if (how % 8 !== 0) socket.resume();
    if (how % 5 === 1)
      socket.write(`GET /${how % 2 ? 'slow' : ''} HTTP/1.1\r\nHost: a.test\r\n\r\n`);
    else if (how % 5 !== 0) socket.write(upgradeRequest({ path: '/raw' }));
    world.peers.push(socket);
  },

  rawWrite(world, number, piece, more) {
    const peer = world.pick(world.peers, number);
    if (peer === undefined || !peer.writable) return;
    peer.write(world.pick(PIECES, piece));
    if (more % 3 === 0) peer.write(world.pick(PIECES, more >> 2));
  },

  rawReset(world, number) {
    // Node never closes a socket that is reset before it is connected, or behind its FIN.
    const resettable = world.peers.filter((peer) => !peer.connecting && !peer.writableEnded);
    world.pick(resettable, number)?.resetAndDestroy();
  },

  rawEnd(world, number) {
    world.pick(world.peers, number)?.end();
  },

  worker(world, seed, length) {
    if (world.workers.length >= 2) return;
    const worker = new Worker(path.join(__dirname, 'main.js'), {
      workerData: { seed, root: world.root, certificate: certificateOf() },
      execArgv: [],
    });
    const it = { worker, hasExited: false };
    worker.on('message', (faults) => faults.forEach((text) => world.fault(`a worker: ${text}`)));
    worker.on('error', (error) => world.fault(`a worker: ${error.stack}`));
    worker.on('exit', () => (it.hasExited = true));
    const timer = setTimeout(() => worker.terminate(), length % 150);
    worker.on('exit', () => clearTimeout(timer));
    world.workers.push(it);
  },

  turn(_world, count) {
    return turns(1 + (count % 3));
  },

  wait(_world, time) {
    return delay(time % 8);
  },

  /** Has a step done within the next handler of an event. */
  when(world, which, number, event, _how, step) {
    const lists = [world.contexts, world.servers, world.sockets, world.sockets];
    arm(world.pick(lists[which % lists.length], number), event, step);
  },

  /** Has the next handler of an event throw. */
  throwIn(world, which, number, event) {
    const lists = [world.servers, world.sockets, world.sockets];
    arm(world.pick(lists[which % lists.length], number), event, null);
  },
};

function arm(it, event, step) {
  if (it === undefined) return;
  const events = HANDLER_EVENTS[it.kind];
  const name = events[event % events.length];
  if (!it.pending.has(name)) it.pending.set(name, []);
  it.pending.get(name).push(step);
}

async function turns(count) {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** Plays a step. What it throws is against the laws. */
function play(world, [name, ...numbers]) {
  world.calls++;
  world.checkStates();
  try {
    return ACTIONS[name](world, ...numbers);
  } catch (error) {
    world.fault(`${name} throws: ${error.stack}`);
    return undefined;
  } finally {
    world.checkStates();
  }
}

module.exports = { play, turns, useCertificate };
