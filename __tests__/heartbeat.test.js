// The option `heartbeat`: peers that are gone without having said so.

const { fork } = require('node:child_process');
const { pbkdf2, pbkdf2Sync } = require('node:crypto');
const { once } = require('node:events');
const http = require('node:http');
const path = require('node:path');
const { PassThrough, Duplex } = require('node:stream');
const { promisify } = require('node:util');

const { inChild } = require('./support/child.js');
const {
  closing,
  defer,
  dial,
  failure,
  pair,
  rawClient,
  rawPair,
  rawPairOfClient,
  rawServer,
  serve,
} = require('./support/fixtures.js');
const frames = require('./support/frames.js');
const { block, delay, turn, until } = require('./support/tools.js');
const { WebSocket, WebSocketServer } = require('./support/uvws.js');

/** Short, and no test depends on how late a timer is. */
const heartbeat = { interval: 60, timeout: 60 };
/** Longer than any test. */
const AGES = 1_000_000;

/** Lets a peer on a plain socket answer each PING; returns their payloads. */
function answerPings(peer) {
  const pings = [];
  const answer = () => {
    for (const frame of peer.frames.splice(0)) {
      if (frame.opcode !== frames.PING) continue;
      pings.push(String(frame.payload));
      peer.send(frames.PONG, frame.payload);
    }
  };
  peer.socket.on('data', answer);
  return pings;
}

/** Keeps all threads of libuv's pool busy for some seconds, however fast they are. */
function jamThreadPool() {
  const start = performance.now();
  pbkdf2Sync('', '', 50_000, 64, 'sha512');
  const iterations = Math.ceil((50_000 * 2000) / (performance.now() - start));
  const threads = Number(process.env.UV_THREADPOOL_SIZE) || 4;
  const run = promisify(pbkdf2);
  return Promise.all(Array.from({ length: threads }, () => run('', '', iterations, 64, 'sha512')));
}

describe('a peer that says nothing', () => {
  test('gets a PING after the interval, and is dropped after the timeout: 1006 and no error', async () => {
    const start = performance.now();
    const { peer, server } = await rawPair({ heartbeat });
    const failed = failure(server);
    const causes = [];
    server._socket.on('error', (error) => causes.push(error.code));
    const ping = await peer.nextFrame();
    expect(ping).toMatchObject({ opcode: frames.PING, fin: true });
    expect(ping.payload).toHaveLength(0);
    expect(performance.now() - start).toBeGreaterThan(55);
    expect(await failed).toEqual({ error: undefined, count: 0, code: 1006, reason: '' });
    expect(performance.now() - start).toBeGreaterThan(115);
    expect(causes).toEqual(['ERR_UVWS_HEARTBEAT_TIMEOUT']);
    expect(peer.frames).toEqual([]);
  });

  test('has the whole timeout, of several intervals', async () => {
    const start = performance.now();
    const { peer, server } = await rawPair({ heartbeat: { interval: 60, timeout: 310 } });
    expect(await failure(server)).toMatchObject({ code: 1006 });
    expect(performance.now() - start).toBeGreaterThan(350);
    expect(peer.frames).toHaveLength(1);
  });

  test('is dropped by a client as well', async () => {
    const { peer, client } = await rawPairOfClient({ heartbeat });
    const failed = failure(client);
    expect(await peer.nextFrame()).toMatchObject({ opcode: frames.PING });
    expect(await failed).toMatchObject({ count: 0, code: 1006 });
  });

  test('stays without the option, and with it until the interval is over', async () => {
    for (const option of [undefined, null, false, true, { interval: AGES }]) {
      const { peer, server } = await rawPair({ heartbeat: option });
      await delay(100);
      expect([peer.frames, server.readyState]).toEqual([[], WebSocket.OPEN]);
    }
  });

  test('is dropped if it is a process that has stopped', async () => {
    // A process has its pauses.
    const { wss, url } = await serve({ heartbeat: { interval: 60, timeout: 1000 } });
    const program = path.join(__dirname, 'support', 'silent-client.js');
    const child = fork(program, [url], { execArgv: [] });
    const [server] = await once(wss, 'connection');
    // As long as it runs it answers.
    let pongs = 0;
    server.on('pong', () => pongs++);
    await until(() => pongs >= 3, 'PONG frames');
    const failed = failure(server);
    child.kill('SIGSTOP');
    expect(await failed).toMatchObject({ count: 0, code: 1006 });
    child.kill('SIGCONT');
    expect(await once(child, 'message')).toEqual([1006, undefined]);
    await once(child, 'close');
  });
});

describe('a peer that shows that it is there', () => {
  test('by answering, stays, and is asked again', async () => {
    const { peer, server } = await rawPair({ heartbeat });
    const pings = answerPings(peer);
    await until(() => pings.length >= 4, 'PING frames');
    expect(server.readyState).toBe(WebSocket.OPEN);
  });

  test('by answering, is asked after the next interval, however long it may take', async () => {
    const { peer } = await rawPair({ heartbeat: { interval: 60, timeout: AGES } });
    const pings = answerPings(peer);
    await until(() => pings.length >= 4, 'PING frames');
  });

  test('by bytes of whatever kind, is not even asked', async () => {
    const { peer, server } = await rawPair({ heartbeat: { interval: 800, timeout: 100 } });
    const message = frames.frame(frames.BINARY, Buffer.alloc(120), { mask: true });
    const received = once(server, 'message');
    for (const byte of message) {
      await delay(10);
      peer.write(Buffer.of(byte));
    }
    expect((await received)[0]).toHaveLength(120);
    expect(peer.frames).toEqual([]);
  });

  test('by answering while a message to it is being compressed, stays', async () => {
    const extension = 'Sec-WebSocket-Extensions: permessage-deflate';
    const options = { heartbeat, perMessageDeflate: true };
    const { peer, server } = await rawPair(options, { lines: [extension] });
    const pings = answerPings(peer);
    const jam = jamThreadPool();
    let isSent = false;
    server.send(Buffer.alloc(100_000), () => (isSent = true));
    await until(() => pings.length >= 4 || server.readyState !== WebSocket.OPEN, 'PING frames');
    expect([isSent, server.readyState]).toEqual([false, WebSocket.OPEN]);
    await jam;
    await until(() => isSent, 'the message');
  });

  test('by answers that come while the loop stands still, stays, with many others', async () => {
    // Both longer than it takes to open all, and to answer.
    const time = 2000;
    const { wss, port } = await serve({ heartbeat: { interval: time, timeout: time } });
    const servers = [];
    let closed = 0;
    wss.on('connection', (server) => {
      servers.push(server);
      server.on('close', () => closed++);
    });
    const count = 1000;
    const program = path.join(__dirname, 'support', 'answering-peers.js');
    const child = fork(program, [port, count], { execArgv: [] });
    const ended = once(child, 'close');
    defer(() => {
      child.kill();
      return ended;
    });
    await once(child, 'message');
    await until(() => servers.length === count, 'connections');
    const total = (name) => servers.reduce((sum, server) => sum + server.stats()[name], 0);
    const pings = total('pingsSent');
    // All fall due, are asked in one turn, and answer while the loop stands still for the whole timeout.
    block(time + 100);
    while (total('pingsSent') < pings + count) await new Promise(setImmediate);
    block(time + 100);
    await until(() => total('pongsReceived') + closed >= pings + count, 'PONG frames');
    expect(closed).toBe(0);
  });

  test('by something else than the PONG, after the PING, stays', async () => {
    const { peer, server } = await rawPair({ heartbeat });
    for (let i = 0; i < 3; i++) {
      expect(await peer.nextFrame()).toMatchObject({ opcode: frames.PING });
      peer.send(frames.TEXT, 'busy');
    }
    expect(server.readyState).toBe(WebSocket.OPEN);
  });

  test('by taking what is sent to it, slowly, stays; and not any more when it stops', async () => {
    const { peer, server } = await rawPair({ heartbeat: { interval: 50, timeout: 600 } });
    const { socket } = peer;
    socket.removeAllListeners('data');
    socket.pause();
    let closed = false;
    server.on('close', () => (closed = true));
    server.send(Buffer.alloc(80_000_000));
    // Some 20 MB a second, more than twice as long as the heartbeat would wait.
    let taken = 0;
    let elapsed = 0;
    for (const start = performance.now(); elapsed < 2000; elapsed = performance.now() - start) {
      while (taken < elapsed * 20_000 && socket.readableLength > 0) taken += socket.read().length;
      socket.read(0);
      await turn();
    }
    expect(taken).toBeLessThan(80_000_000);
    expect(closed).toBe(false);
    await until(() => closed, 'the end');
  });
});

test('an empty PONG that answers is an event like any other', async () => {
  const { server } = await pair({ heartbeat });
  expect(String((await once(server, 'pong'))[0])).toBe('');
});

test('a connection that is paused is not judged before it is read from again', async () => {
  const { peer, server } = await rawPair({ heartbeat });
  const ended = closing(server);
  server.pause();
  await delay(400);
  expect([peer.frames, server.readyState]).toEqual([[], WebSocket.OPEN]);
  server.resume();
  expect(await peer.nextFrame()).toMatchObject({ opcode: frames.PING });
  server.pause();
  await delay(400);
  peer.send(frames.PONG, '');
  await delay(20);
  server.resume();
  expect(await peer.nextFrame()).toMatchObject({ opcode: frames.PING });
  expect(await ended).toEqual({ code: 1006, reason: '' });
});

describe('after a Close frame of ours', () => {
  test('no PING is sent, and closeTimeout counts', async () => {
    const { peer, server } = await rawPair({ heartbeat, closeTimeout: 500 });
    const start = performance.now();
    const ended = closing(server);
    server.close(1000);
    await ended;
    expect(performance.now() - start).toBeGreaterThan(490);
    expect(peer.frames.map(({ opcode }) => opcode)).toEqual([frames.CLOSE]);
  });

  test('that is sent while the PONG is awaited, closeTimeout counts', async () => {
    const { peer, server } = await rawPair({ heartbeat, closeTimeout: 10_000 });
    const ended = closing(server);
    await peer.nextFrame();
    const start = performance.now();
    server.close(4000);
    await peer.closing();
    await delay(200);
    peer.close(4000);
    expect(await ended).toEqual({ code: 4000, reason: '' });
    expect(performance.now() - start).toBeLessThan(9_000);
  });
});

test('a peer that has ended its side and never reads is dropped after closeTimeout', async () => {
  const { peer, server } = await rawPair({ heartbeat: { interval: AGES }, closeTimeout: 200 });
  const ended = closing(server);
  peer.socket.pause();
  server.send(Buffer.alloc(60_000_000));
  peer.socket.end();
  expect(await ended).toEqual({ code: 1006, reason: '' });
});

describe('carried by', () => {
  test('a connection of an HTTP server', async () => {
    const server = http.createServer();
    const wss = new WebSocketServer({ server, heartbeat });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    defer(() => new Promise((resolve) => server.close(resolve)));
    defer(() => new Promise((resolve) => wss.close(resolve)));
    const connected = once(wss, 'connection');
    const peer = await rawClient(server.address().port);
    const [ws] = await connected;
    const ended = closing(ws);
    expect(await peer.nextFrame()).toMatchObject({ opcode: frames.PING });
    expect(await ended).toEqual({ code: 1006, reason: '' });
  });

  test('any stream', async () => {
    const output = new PassThrough();
    const stream = Duplex.from({ readable: new PassThrough(), writable: output });
    const ws = new WebSocket(null, undefined, { heartbeat });
    ws.setSocket(stream, Buffer.alloc(0), { heartbeat });
    const ended = closing(ws);
    expect((await once(output, 'data'))[0]).toEqual(Buffer.of(0x89, 0));
    expect(await ended).toEqual({ code: 1006, reason: '' });
  });
});

test('a client with reconnect comes back from a server that has fallen silent', async () => {
  const server = await rawServer();
  const client = dial(server.url, { heartbeat, reconnect: { delays: [5], jitter: 0 } });
  const causes = [];
  client.on('reconnecting', (_attempt, _delay, cause) => causes.push(cause));
  await once(client, 'reconnected');
  expect(causes).toHaveLength(1);
  expect(causes[0]).toMatchObject({ code: 1006, error: null, wasOpen: true });
  // The new connection has a heartbeat of its own.
  await once(client, 'reconnected');
});

test('a heartbeat neither keeps a process alive nor outlives its context', async () => {
  await inChild(async ({ uvws, net, once, until, require }) => {
    const { upgradeRequest } = require('./peers.js');
    const context = new uvws.Context();
    const heartbeat = { interval: 20, timeout: 1_000_000 };
    const wss = new uvws.WebSocketServer({ port: 0, host: '127.0.0.1', context, heartbeat });
    await once(wss, 'listening');
    const socket = net.connect(wss.address().port, '127.0.0.1');
    let text = '';
    socket.on('data', (chunk) => (text += chunk.toString('latin1')));
    socket.write(upgradeRequest());
    await until(() => text.endsWith('\x89\0'), 'a PING');
    const closed = once(socket, 'close');
    await context.destroy();
    await closed;
  });
});

test('thousands of connections are asked in turns, each once', async () => {
  const result = await inChild(
    async ({ uvws, once, until }) => {
      const heartbeat = { interval: 200, timeout: 100_000 };
      const wss = new uvws.WebSocketServer({ port: 0, host: '127.0.0.1', heartbeat });
      await once(wss, 'listening');
      const count = 1500;
      const pings = new Array(count).fill(0);
      const clients = pings.map((_, i) => {
        const options = { autoPong: false, perMessageDeflate: false };
        const client = new uvws.WebSocket(`ws://127.0.0.1:${wss.address().port}`, options);
        client.on('ping', () => pings[i]++);
        return client;
      });
      await until(() => wss.clients.size === count, 'connections');
      // All fall due while the loop stands still.
      const end = performance.now() + 500;
      while (performance.now() < end);
      await until(() => pings.every((each) => each > 0), 'PING frames');
      for (const client of clients) client.terminate();
      wss.close();
      await once(wss, 'close');
      await uvws.Context.default.destroy();
      return Math.max(...pings);
    },
    { timeout: 60_000 },
  );
  expect(result).toBe(1);
}, 65_000);

test.each([
  [0, TypeError],
  ['30s', TypeError],
  [{ interval: 0 }, RangeError],
  [{ interval: '30' }, TypeError],
  [{ timeout: -1 }, RangeError],
  [{ interval: NaN }, RangeError],
])('heartbeat: %p is refused at once', (option, error) => {
  expect(() => new WebSocketServer({ noServer: true, heartbeat: option })).toThrow(error);
  expect(() => new WebSocket('ws://127.0.0.1:1', { heartbeat: option })).toThrow(error);
});
