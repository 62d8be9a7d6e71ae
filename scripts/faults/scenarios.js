'use strict';

// What is played, with each call in it failing in turn. A scenario gets a Scene, and goes on with
// whatever is left when something has failed. Without a failure it has no error and comes to its end.
//
//   play(scene)      plays it once
//   overHandles      whether it is played over libuv's handles as well
//   points           what fails, if not everything
//   most             calls of one point that fail, at most, where a play takes long
//   without          errors that the system would not answer here
//   prepare()        makes what every play needs, which is scene.tools
//   clean(tools)     takes that away

const crypto = require('node:crypto');
const fs = require('node:fs');
const http = require('node:http');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { Worker } = require('node:worker_threads');

const { Workshop } = require('../../__tests__/support/authority.js');
const frames = require('../../__tests__/support/frames.js');
const { upgradeMessage, upgradeRequest } = require('../../__tests__/support/peers.js');
const { End, makePipe } = require('../../__tests__/support/pipe.js');
const { MEMORY } = require('./points.js');

const HOST = '127.0.0.1';
const LARGE = Buffer.alloc(200_000, 'large');
/** More than the system takes at once. */
const MORE = Buffer.alloc(5_000_000, 'more');
/** Messages for which there is to be no memory: they take more than whatever has a fixed size (faults/). */
const LONG = Buffer.alloc(1_500_000, 'long');
/** The same, of which compression saves a quarter. */
const NOISE = Buffer.from(crypto.randomBytes(720_000).toString('base64'));
const SHORT_TIMES = { closeTimeout: 300, handshakeTimeout: 300 };

const echo = (ws) => ws.on('message', (data, binary) => ws.send(data, { binary }));

/** Makes an echo server; null, or it and its port. `connections` has the ends on its side. */
async function serve(scene, options) {
  const connections = [];
  const all = { host: HOST, port: 0, ...SHORT_TIMES, ...options };
  const server = await scene.server(all, (ws) => {
    echo(ws);
    connections.push(ws);
  });
  const port = server === null ? null : scene.attempt('address', () => server.address())?.port;
  return typeof port === 'number' ? { server, port, connections } : null;
}

/** Connects some clients and waits for them to be open. */
async function connect(scene, url, count, options) {
  const clients = [];
  for (let i = 0; i < count; i++) {
    const it = scene.client(url, { ...SHORT_TIMES, ...options });
    if (it !== null) clients.push(it);
  }
  await scene.all('open', clients, ({ opens }) => opens > 0);
  return clients;
}

/** Sends a small and a large message, and waits for both to come back. */
async function exchange(scene, clients, data = LARGE) {
  const wanted = new Map(clients.map((it) => [it, it.bytes + 5 + (data.size ?? data.length)]));
  for (const it of clients) {
    scene.send(it, 'small');
    scene.send(it, data);
  }
  await scene.all('echoes', clients, (it) => it.bytes === wanted.get(it));
}

/** Sends long messages of every kind, and waits for their echoes. */
async function exchangeLong(scene, clients, data = LONG) {
  await exchange(scene, clients, data);
  const text = data.toString();
  await exchange(scene, clients, text);
  await exchange(scene, clients, new Blob([data]));
  const wanted = new Map(clients.map((it) => [it, it.bytes + 3 * data.length]));
  for (const it of clients) {
    for (const fin of [false, false, true]) scene.send(it, data, { fin });
  }
  await scene.all('echoes', clients, (it) => it.bytes === wanted.get(it));
}

/** Sends more to receivers that are slow than the system takes, in every way, and waits for all of it. */
async function flood(scene, served, clients, data = LONG) {
  const { connections, server } = served;
  for (const ws of connections) if (ws.readyState === 1) ws.subscribe('news');
  const before = new Map(clients.map((it) => [it, it.messages]));
  let count = 4;
  for (const { ws } of clients) ws.pause();
  const publish = (message) => {
    const send = () => server.publish('news', message, { maxBackpressure: Infinity });
    // Without memory for a text nobody gets it, and the publisher is told.
    if (scene.attempt('publish', send) !== null) count++;
  };
  publish(data);
  for (const ws of connections) ws.send(data);
  publish(data);
  const frame = frames.frame(frames.BINARY, data, { mask: false });
  for (const ws of connections) ws._socket?.write(frame);
  for (const ws of connections) ws.send(data, { fin: false });
  publish(data);
  publish(data.toString());
  publish('small');
  for (const ws of connections) ws.send(data, { fin: true });
  // Behind a Blob that is being read.
  for (const ws of connections) ws.send(new Blob([data]));
  publish(data.toString());
  await new Promise((resolve) => setTimeout(resolve, 10));
  for (const { ws } of clients) ws.resume();
  await scene.all('the flood', clients, (it) => it.messages === before.get(it) + count);
}

/** Starts an HTTP server of Node's; resolves with it when it listens. */
function startHttp(where, listener) {
  const server = http.createServer(listener);
  server.on('clientError', (_error, socket) => socket.destroy());
  return new Promise((resolve) => server.listen(...where, () => resolve(server)));
}

function stopHttp(server) {
  server.closeAllConnections();
  return new Promise((resolve) => server.close(resolve));
}

/** Connects, writes, waits a little, and ends as it is told; resolves when the socket is closed. */
function playPeer(port, { write, end }) {
  return new Promise((resolve) => {
    const socket = net.connect(port, HOST, () => {
      for (const data of write) socket.write(data);
      setTimeout(() => socket[end](), 10);
    });
    socket.on('error', () => {});
    socket.on('close', resolve);
    socket.setTimeout(1000, () => socket.destroy());
    socket.resume();
  });
}

/** One end of a pipe in memory, which breaks with the other one. */
class LinkedEnd extends End {
  _destroy(error, callback) {
    if (!this.other.destroyed) process.nextTick(() => this.other.destroy());
    callback(error);
  }
}

/** What a thread does: it plays the echo of a server, and ends as it is told. */
function work(root) {
  const { parentPort } = require('node:worker_threads');
  const uvws = require(root);
  try {
    const context = new uvws.Context();
    const options = { host: '127.0.0.1', port: 0, context };
    const server = new uvws.WebSocketServer(options);
    server.on('connection', (ws) => ws.on('message', (data) => ws.send(data)));
    server.on('error', () => parentPort.postMessage('server'));
    server.on('listening', () => {
      const address = server.address();
      if (address === null) return parentPort.postMessage('address');
      const ws = new uvws.WebSocket(`ws://127.0.0.1:${address.port}`, { context });
      ws.on('open', () => ws.send('to and fro'));
      ws.on('error', () => {});
      ws.on('message', () => parentPort.postMessage('echo'));
      ws.on('close', () => parentPort.postMessage('close'));
    });
  } catch (error) {
    parentPort.postMessage(error.code ?? error.stack);
  }
  parentPort.once('message', () => process.exit());
}

/** What scenarios with TLS are made of. */
const SECURE = {
  prepare() {
    const workshop = new Workshop();
    const authority = workshop.authority();
    const { key, cert } = workshop.make({ issuer: authority });
    return { workshop, ca: authority.cert, key, cert };
  },
  clean: ({ workshop }) => workshop.remove(),
};

/** Makes an echo server and connects clients to it, over TLS in a scenario of SECURE; null, or all of them. */
async function meet(scene, context, count) {
  const { key, cert, ca } = scene.tools ?? {};
  const [scheme, tls] = key === undefined ? ['ws'] : ['wss', { key, cert }];
  const served = await serve(scene, { context, tls });
  if (served === null) return null;
  const url = `${scheme}://${HOST}:${served.port}/`;
  return { ...served, clients: await connect(scene, url, count, { context, ca }) };
}

/** Long messages, for which there may be no memory. */
async function playLong(scene, count) {
  const context = scene.context();
  if (context === null) return;
  const met = await meet(scene, context, count);
  if (met !== null) {
    await exchangeLong(scene, met.clients);
    await flood(scene, met, met.clients);
  }
  await scene.end();
}

/** Makes a server's and a client's end over two streams in memory; returns both pairs. */
function bridged(scene, context) {
  const streams = makePipe({}, LinkedEnd);
  const ends = streams.map((stream, index) => {
    const ws = new scene.uvws.WebSocket(null, undefined, { context, ...SHORT_TIMES });
    ws._isServer = index === 0;
    const it = scene.watch(ws, index === 0 ? 'server' : 'client');
    stream.on('error', () => {});
    scene.attempt('setSocket', () => ws.setSocket(stream, Buffer.alloc(0), { context }));
    return it;
  });
  return [ends, streams];
}

const SCENARIOS = {
  /** A server and clients, all ways in which a connection ends, and a graceful end. */
  echo: {
    overHandles: true,
    async play(scene) {
      const context = scene.context();
      if (context === null) return;
      const met = await meet(scene, context, 3);
      if (met !== null) {
        const { clients, connections, server } = met;
        for (const { ws } of clients) {
          scene.attempt('keep-alive', () => ws._socket?.setKeepAlive(true, 1000));
          scene.attempt('keep-alive', () => ws._socket?.setKeepAlive(false));
          scene.attempt('address', () => ws._socket?.remoteAddress);
        }
        await exchange(scene, clients);
        clients[0]?.ws.close(1000, 'over');
        clients[1]?.ws.terminate();
        connections[2]?.close(4000);
        await scene.all('closed', clients.slice(0, 2), () => false);
        // One that is closed says so again, as with ws.
        if (scene.servers[0].closes === 0) server.close();
      }
      await scene.end('close');
    },
  },

  /** A receiver that pauses until nothing can be sent any more. */
  backpressure: {
    overHandles: true,
    most: 8,
    // A write that goes on does so because there is room again, which is told once for each time that
    // there was none.
    without: ['EAGAIN', 'SHORT'],
    async play(scene) {
      const context = scene.context();
      if (context === null) return;
      const served = await serve(scene, { context });
      if (served !== null) {
        const clients = await connect(scene, `ws://${HOST}:${served.port}/`, 1, { context });
        for (const it of clients) {
          it.ws.pause();
          scene.send(it, MORE);
          await new Promise((resolve) => setTimeout(resolve, 10));
          it.ws.resume();
        }
        await scene.all('echoes', clients, ({ bytes }) => bytes === MORE.length);
        scene.isAbrupt = true;
        for (const it of clients) {
          scene.send(it, MORE);
          it.ws.close();
        }
        await scene.all('closed', clients, () => false);
      }
      await scene.end();
    },
  },

  /** Many connections at once, messages to all of them, and an abrupt end. */
  crowd: {
    overHandles: true,
    async play(scene) {
      const context = scene.context();
      if (context === null) return;
      const served = await serve(scene, { context, maxPendingHandshakes: 3 });
      if (served !== null) {
        const clients = await connect(scene, `ws://${HOST}:${served.port}/`, 16, { context });
        for (const ws of served.connections) ws.subscribe('news');
        const data = Buffer.alloc(70_000, 'news');
        scene.attempt('publish', () => served.server.publish('news', 'small'));
        scene.attempt('publish', () => served.server.publish('news', data, { binary: true }));
        scene.attempt('broadcast', () => served.server.broadcast('to all'));
        const isThere = ({ opens, messages }) => opens === 0 || messages === 3;
        await scene.all('news', clients, isThere);
      }
      await scene.end();
    },
  },

  /** TLS, on both sides. */
  tls: {
    ...SECURE,
    overHandles: true,
    async play(scene) {
      const context = scene.context();
      if (context === null) return;
      const met = await meet(scene, context, 2);
      if (met !== null) {
        const { clients, connections } = met;
        await exchange(scene, clients);
        clients[0]?.ws.close();
        await scene.all('closed', clients.slice(0, 1), () => false);
        for (const ws of connections) ws.terminate();
        await scene.all('closed', clients, () => false);
      }
      await scene.end('close');
    },
  },

  /** Connections of Node's HTTP server that are taken over. */
  adopt: {
    overHandles: true,
    prepare: async () => ({ server: await startHttp([0, HOST]) }),
    clean: ({ server }) => stopHttp(server),
    async play(scene) {
      const { server } = scene.tools;
      const context = scene.context();
      if (context === null) return;
      await scene.server({ server, context, ...SHORT_TIMES }, echo);
      const url = `ws://${HOST}:${server.address().port}/`;
      const clients = await connect(scene, url, 3, { context });
      await exchange(scene, clients);
      clients[0]?.ws.close();
      clients[1]?.ws.terminate();
      await scene.all('closed', clients.slice(0, 2), () => false);
      await scene.end();
      server.removeAllListeners('upgrade');
    },
  },

  /** Peers that break off in the midst of whatever, or are silent, and a server for all addresses. */
  peers: {
    overHandles: true,
    async play(scene) {
      const context = scene.context();
      if (context === null) return;
      const served = await serve(scene, { context, host: undefined, handshakeTimeout: 50 });
      if (served !== null) {
        scene.isAbrupt = true;
        const request = upgradeRequest();
        const text = frames.frame(frames.TEXT, 'from a peer');
        await Promise.all(
          [
            { write: [], end: 'end' },
            // It waits until it is dropped.
            { write: [], end: 'resume' },
            { write: [request.slice(0, 40)], end: 'resetAndDestroy' },
            { write: [request, text], end: 'end' },
            { write: [request, text.subarray(0, 4)], end: 'resetAndDestroy' },
            { write: [request, frames.frame(3, 'no opcode')], end: 'end' },
            { write: [request, frames.closeFrame(1000)], end: 'destroy' },
          ].map((plan) => playPeer(served.port, plan)),
        );
        const { connections } = served;
        await scene.until('all gone', () =>
          connections.every(({ readyState }) => readyState === 3),
        );
      }
      await scene.end();
    },
  },

  /** Requests that are none for a WebSocket go to Node's HTTP server. */
  beside: {
    overHandles: true,
    async play(scene) {
      const context = scene.context();
      if (context === null) return;
      const beside = http.createServer((_request, response) => response.end('page'));
      const served = await serve(scene, { context, http: beside });
      if (served !== null) {
        const request = http.get({ host: HOST, port: served.port, agent: false });
        let isOver = false;
        const conclude = () => {
          isOver = true;
          scene.changed();
        };
        request.on('error', conclude);
        request.on('response', (response) => response.resume().on('close', conclude));
        request.setTimeout(1000, () => request.destroy());
        await scene.until('a response', () => isOver);
        const clients = await connect(scene, `ws://${HOST}:${served.port}/`, 1, { context });
        await exchange(scene, clients);
      }
      await scene.end();
      beside.closeAllConnections();
    },
  },

  /** Connections over streams in memory. */
  bridge: {
    async play(scene) {
      const context = scene.context();
      if (context === null) return;
      const [ends, streams] = bridged(scene, context);
      const [server, client] = ends;
      echo(server.ws);
      await exchange(scene, [client]);
      client.ws.close();
      await scene.all('closed', ends, () => false);
      await scene.end();
      for (const stream of streams) stream.destroy();
    },
  },

  /** Names that are looked up, several addresses, nobody there, and clients that come back. */
  dial: {
    overHandles: true,
    async play(scene) {
      const context = scene.context();
      if (context === null) return;
      const served = await serve(scene, { context, host: 'localhost' });
      if (served !== null) {
        const options = { context };
        const clients = await connect(scene, `ws://localhost:${served.port}/`, 2, options);
        await exchange(scene, clients, Buffer.from('and back'));
        const reconnect = { delays: [5], jitter: 0, maxAttempts: 3 };
        const [back] = await connect(scene, `ws://localhost:${served.port}/`, 1, {
          ...options,
          reconnect,
        });
        if (back !== undefined && back.closes === 0) {
          served.connections.at(-1)?.terminate();
          const count = served.connections.length;
          await scene.all('back', [back], () => served.connections.length > count);
        }
      }
      await scene.end();
    },
  },

  /** A path of the file system, which is Node's. */
  unix: {
    async prepare() {
      const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'uvws-faults-'));
      const file = path.join(directory, 'socket');
      return { directory, file, server: await startHttp([file]) };
    },
    async clean({ directory, server }) {
      await stopHttp(server);
      fs.rmSync(directory, { recursive: true });
    },
    async play(scene) {
      const { file, server } = scene.tools;
      const context = scene.context();
      if (context === null) return;
      await scene.server({ server, context, ...SHORT_TIMES }, echo);
      const clients = await connect(scene, `ws+unix:${file}:/`, 2, { context });
      await exchange(scene, clients);
      clients[0]?.ws.close();
      await scene.all('closed', clients.slice(0, 1), () => false);
      await scene.end();
      server.removeAllListeners('upgrade');
    },
  },

  /** Large messages are compressed by libuv's threads. */
  deflate: {
    async play(scene) {
      const context = scene.context();
      if (context === null) return;
      const perMessageDeflate = { threshold: 0 };
      const served = await serve(scene, { context, perMessageDeflate });
      if (served !== null) {
        const options = { context, perMessageDeflate };
        const clients = await connect(scene, `ws://${HOST}:${served.port}/`, 2, options);
        await exchange(scene, clients, Buffer.alloc(1_500_000, 'deflated'));
        scene.isAbrupt = true;
        if (clients.length > 0) scene.send(clients[0], Buffer.alloc(600_000));
        clients[0]?.ws.terminate();
      }
      await scene.end();
    },
  },

  /** Long messages, for which there may be no memory. */
  long: { overHandles: true, points: MEMORY, play: (scene) => playLong(scene, 2) },

  /** The same, over TLS. */
  longTls: { ...SECURE, points: MEMORY, play: (scene) => playLong(scene, 1) },

  /** The same, compressed, with and without context takeover. */
  longDeflate: {
    points: MEMORY,
    most: 12,
    async play(scene) {
      for (const takesOver of [true, false]) {
        const context = scene.context();
        if (context === null) continue;
        const perMessageDeflate = {
          threshold: 0,
          serverNoContextTakeover: !takesOver,
          clientNoContextTakeover: !takesOver,
        };
        const served = await serve(scene, { context, perMessageDeflate });
        if (served === null) continue;
        const options = { context, perMessageDeflate };
        const clients = await connect(scene, `ws://${HOST}:${served.port}/`, 1, options);
        await exchange(scene, clients, NOISE);
        await flood(scene, served, clients, NOISE);
      }
      await scene.end();
    },
  },

  /** The same, over streams in memory. */
  longBridge: {
    points: MEMORY,
    async play(scene) {
      const context = scene.context();
      if (context === null) return;
      const [ends, streams] = bridged(scene, context);
      const [server, client] = ends;
      echo(server.ws);
      await exchangeLong(scene, [client]);
      // What its stream brings meanwhile is kept.
      client.ws.pause();
      const messages = client.messages + 2;
      for (let i = 0; i < 2; i++) scene.send(server, LONG);
      await new Promise((resolve) => setTimeout(resolve, 10));
      client.ws.resume();
      await scene.all('what was kept', [client], (it) => it.messages === messages);
      await scene.end();
      for (const stream of streams) stream.destroy();
    },
  },

  /** So many frames of a client, which sends them or answers by them, that masking keys are fetched again. */
  keys: {
    points: ['getrandom'],
    async play(scene) {
      const context = scene.context();
      if (context === null) return;
      const options = { context, maxControlFrames: Infinity };
      const served = await serve(scene, options);
      if (served !== null) {
        served.server.on('connection', (_ws, { headers }) => {
          const key = Buffer.from(headers['sec-websocket-key'], 'base64');
          if (key.every((byte) => byte === 0)) scene.fault('a key of zeros');
        });
        const clients = await connect(scene, `ws://${HOST}:${served.port}/`, 1, options);
        for (const it of clients) {
          for (let i = 0; i < 1100; i++) scene.send(it, 'key');
        }
        await scene.all('echoes', clients, ({ messages }) => messages === 1100);
        for (const ws of served.connections) {
          for (let i = 0; i < 1100; i++) {
            ws.ping();
            ws.send('behind a PING');
          }
        }
        await scene.all('what is behind', clients, ({ messages }) => messages === 2200);
        // Another one fetches keys where the first one could not.
        const others = await connect(scene, `ws://${HOST}:${served.port}/`, 1, { context });
        await exchange(scene, others);
      }
      await scene.end();
    },
  },

  /** A context that drains: its last connection, over a stream, ends while something is published to it. */
  longDrain: {
    points: MEMORY,
    async play(scene) {
      const context = scene.context();
      if (context === null) return;
      const server = await scene.server({ noServer: true, context });
      if (server === null) return;
      const streams = makePipe({}, LinkedEnd);
      for (const stream of streams) stream.on('error', () => {});
      const accept = (ws) => {
        scene.watch(ws, 'connection');
        ws.subscribe('news');
        context.drain();
        for (let i = 0; i < 2; i++) ws.send(LARGE);
      };
      server.handleUpgrade(upgradeMessage(), streams[0], Buffer.alloc(0), accept);
      await new Promise((resolve) => setTimeout(resolve, 10));
      const options = { maxBackpressure: Infinity };
      for (let i = 0; i < 200; i++) server.publish('news', LARGE.subarray(0, 10_000), options);
      await scene.end();
      for (const stream of streams) stream.destroy();
    },
  },

  /** Contexts that come and go, with nothing in them, and with members that hold nothing alive. */
  contexts: {
    overHandles: true,
    async play(scene) {
      for (let i = 0; i < 4; i++) {
        const context = scene.context();
        if (context === null) continue;
        if (i === 1) context.unref();
        const served = await serve(scene, {
          context,
          heartbeat: { interval: 1000, timeout: 1000 },
        });
        scene.attempt('wake', () => context.wake());
        if (i === 2) context.drain();
        if (served === null || i === 2) continue;
        const url = `ws://${HOST}:${served.port}/`;
        const it = scene.client(url, { context, ...SHORT_TIMES });
        if (it !== null && i === 3) await scene.all('open', [it], ({ opens }) => opens > 0);
      }
      await scene.end();
    },
  },

  /** A thread with a server and a client that ends while they are connected. */
  worker: {
    most: 6,
    async play(scene) {
      const source = `(${work})(${JSON.stringify(scene.root)})`;
      const worker = new Worker(source, { eval: true, execArgv: [] });
      let [messages, hasExited] = [[], false];
      worker.on('message', (message) => {
        messages = [...messages, message];
        scene.changed();
      });
      worker.on('error', (error) => {
        scene.error('worker', error);
        scene.changed();
      });
      worker.on('exit', () => {
        hasExited = true;
        scene.changed();
      });
      await scene.until('the worker', () => hasExited || messages.length > 0);
      worker.postMessage('end');
      await scene.until('the end of the worker', () => hasExited);
      await worker.terminate();
    },
  },
};

module.exports = { SCENARIOS };
