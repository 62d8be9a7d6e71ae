// Clients that come back when their connection is lost.

const { execFile } = require('node:child_process');
const { once } = require('node:events');
const https = require('node:https');
const net = require('node:net');
const path = require('node:path');

const { Context, WebSocket, WebSocketServer, createWebSocketStream } = require('./support/uvws.js');
const { makeCertificate } = require('./support/certificate.js');
const frames = require('./support/frames.js');
const { freePort } = require('./support/peers.js');
const { turn, until } = require('./support/tools.js');
const {
  closeServer,
  closing,
  collect,
  defer,
  dial,
  failure,
  open,
  rawServer,
  serve,
  thrownBy,
} = require('./support/fixtures.js');

/** No time is lost in between. */
const FAST = { delays: [5], jitter: 0 };
/** Nothing happens by itself any more. */
const NEVER = { delays: [1_000_000], jitter: 0 };

/**
 * Runs `body(uvws)` in a process of its own, where what is left over at its end does not matter.
 * Resolves with how that process ended.
 */
function run(body) {
  const source = `(${body})(require(${JSON.stringify(path.join(__dirname, '..'))}))`;
  return new Promise((resolve) => {
    const options = { timeout: 50_000, env: { ...process.env, NODE_OPTIONS: '' } };
    execFile(process.execPath, ['-e', source], options, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : (error.code ?? error.signal), stdout, stderr });
    });
  });
}

/** Counts what a client tells. */
function record(client) {
  const events = [];
  for (const name of ['open', 'reconnecting', 'reconnected', 'error', 'close']) {
    client.on(name, () => events.push(name));
  }
  return events;
}

async function echo(client, message) {
  const received = once(client, 'message');
  client.send(message);
  return String((await received)[0]);
}

async function echoServer(options) {
  const server = await serve(options);
  server.wss.on('connection', (ws) => {
    ws.on('error', () => {});
    ws.on('message', (data, binary) => ws.send(data, { binary }));
  });
  return server;
}

/** Drops all connections of a server. */
function dropAll(wss) {
  for (const each of wss.clients) each.terminate();
}

/** A client whose connection was lost, and which waits for ever. */
async function away(options = {}, reconnect = {}) {
  const { wss, url } = await echoServer();
  const client = await open(url, { reconnect: { ...NEVER, ...reconnect }, ...options });
  const waiting = once(client, 'reconnecting');
  dropAll(wss);
  await waiting;
  return { client, wss, url };
}

describe('a connection that is lost comes back', () => {
  async function comesBack(wss, url, options) {
    const client = await open(url, { reconnect: FAST, ...options });
    const events = record(client);
    client.binaryType = 'arraybuffer';
    for (let attempt = 1; attempt <= 2; attempt++) {
      const waiting = once(client, 'reconnecting');
      const back = once(client, 'reconnected');
      dropAll(wss);
      const [count, delay, cause] = await waiting;
      expect({ count, delay }).toEqual({ count: attempt, delay: 5 });
      expect(cause).toEqual({ code: 1006, reason: Buffer.alloc(0), error: null, wasOpen: true });
      expect(client.readyState).toBe(WebSocket.CONNECTING);
      await back;
      expect(client.readyState).toBe(WebSocket.OPEN);
      expect(await echo(client, `hello ${attempt}`)).toBe(`hello ${attempt}`);
    }
    const received = once(client, 'message');
    client.send(Buffer.from('bytes'));
    expect((await received)[0]).toBeInstanceOf(ArrayBuffer);
    client.close(4000, 'bye');
    expect(await closing(client)).toEqual({ code: 4000, reason: 'bye' });
    expect(events).toEqual(['reconnecting', 'reconnected', 'reconnecting', 'reconnected', 'close']);
  }

  test.each([
    ['natively', {}],
    ['by way of Node', { localAddress: '127.0.0.1' }],
    ['over a socket of Node', { generateMask: (mask) => mask.fill(1) }],
    ['with one event a turn', { allowSynchronousEvents: false }],
  ])('%s', async (_how, options) => {
    const { wss, url } = await echoServer({ perMessageDeflate: true });
    await comesBack(wss, url, options);
  });

  test('over TLS', async () => {
    const certificate = makeCertificate();
    const server = https.createServer(certificate);
    const wss = new WebSocketServer({ server });
    wss.on('connection', (ws) => {
      ws.on('message', (data, binary) => ws.send(data, { binary }));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    defer(() => new Promise((resolve) => server.close(resolve)));
    defer(() => closeServer(wss));
    await comesBack(wss, `wss://localhost:${server.address().port}`, { ca: certificate.cert });
  });

  test('a first attempt that fails is repeated', async () => {
    const port = await freePort();
    const client = dial(`ws://127.0.0.1:${port}`, { reconnect: FAST });
    const events = record(client);
    const [, , cause] = await once(client, 'reconnecting');
    expect(cause).toMatchObject({ code: 1006, wasOpen: false });
    expect(cause.error.code).toBe('ECONNREFUSED');
    await once(client, 'reconnecting');
    await echoServer({ port });
    await once(client, 'open');
    expect(await echo(client, 'hello')).toBe('hello');
    expect(events.at(-1)).toBe('open');
    expect(events.filter((name) => name !== 'reconnecting')).toEqual(['open']);
  });

  test('a client that was paused stays so', async () => {
    const { wss, url } = await serve();
    const sent = [];
    wss.on('connection', (ws) => {
      ws.on('error', () => {});
      sent.push(new Promise((resolve) => ws.send('hello', resolve)));
    });
    const client = await open(url, { reconnect: { ...FAST, offline: 'refuse' } });
    const messages = collect(client);
    await until(() => messages.length === 1);
    client.pause();
    const back = once(client, 'reconnected');
    dropAll(wss);
    // Who does not read sees by writing that the connection is gone.
    const timer = setInterval(() => client.send('x'), 5);
    await back;
    clearInterval(timer);
    expect(client.isPaused).toBe(true);
    await until(() => sent.length === 2);
    await sent[1];
    await turn();
    await turn();
    expect(messages.length).toBe(1);
    client.resume();
    await until(() => messages.length === 2);
  });

  test('each connection has timings of its own', async () => {
    const { wss, url } = await echoServer();
    const client = await open(url, { reconnect: FAST });
    const first = client.timings;
    expect(first.upgrade).toBeGreaterThan(0);
    const waiting = once(client, 'reconnecting');
    dropAll(wss);
    await waiting;
    expect(client.timings.upgrade).toBeNull();
    await once(client, 'reconnected');
    expect(client.timings).not.toBe(first);
    expect(client.timings.upgrade).toBeGreaterThan(0);
  });

  test('what was lost with a connection is told', async () => {
    const server = await rawServer();
    const client = dial(server.url, { reconnect: FAST });
    await once(client, 'open');
    const peer = await server.peer();
    peer.socket.pause();
    const told = new Promise((resolve) => {
      client.send(Buffer.alloc(16 * 1024 * 1024), resolve);
    });
    await turn();
    peer.socket.destroy();
    expect(await told).toMatchObject({ code: 'ERR_UVWS_OFFLINE' });
    await once(client, 'reconnected');
    expect(client.bufferedAmount).toBe(0);
  });

  test('a stream goes on over it', async () => {
    const { wss, url } = await echoServer();
    const client = await open(url, { reconnect: FAST });
    const stream = createWebSocketStream(client, { encoding: 'utf8' });
    const waiting = once(client, 'reconnecting');
    dropAll(wss);
    await waiting;
    stream.write('hello');
    expect(await once(stream, 'data')).toEqual(['hello']);
    stream.end();
    await once(stream, 'end');
  });
});

describe('the schedule', () => {
  afterEach(() => jest.restoreAllMocks());

  /** Resolves with the delays of a client that nobody answers, up to its end. */
  async function delaysOf(reconnect) {
    const client = dial(`ws://127.0.0.1:${await freePort()}`, { reconnect });
    const delays = [];
    client.on('reconnecting', (attempt, delay) => delays.push([attempt, delay]));
    const { error, count, code } = await failure(client);
    expect({ code, count, reason: error.code }).toEqual({
      code: 1006,
      count: 1,
      reason: 'ECONNREFUSED',
    });
    return delays;
  }

  test('the last delay repeats, and after maxAttempts the client ends', async () => {
    const delays = await delaysOf({ delays: [1, 2, 3], jitter: 0, maxAttempts: 5 });
    expect(delays).toEqual([
      [1, 1],
      [2, 2],
      [3, 3],
      [4, 3],
      [5, 3],
    ]);
  });

  test('jitter is added, in percent', async () => {
    jest.spyOn(Math, 'random').mockReturnValue(0.5);
    const delays = await delaysOf({ delays: [4, 8], jitter: 50, maxAttempts: 2 });
    expect(delays).toEqual([
      [1, 5],
      [2, 10],
    ]);
  });

  test('without attempts it is a client as any', async () => {
    expect(await delaysOf({ maxAttempts: 0 })).toEqual([]);
  });

  /** Resolves with the number of the third attempt at a server that drops each connection. */
  async function thirdAttempt(reconnect) {
    const { wss, url } = await serve();
    wss.on('connection', (ws) => ws.terminate());
    const client = dial(url, { reconnect: { ...FAST, ...reconnect } });
    const attempts = [];
    client.on('reconnecting', (attempt) => attempts.push(attempt));
    await until(() => attempts.length >= 3);
    return attempts[2];
  }

  test('a connection that does not hold does not count as a success', async () => {
    expect(await thirdAttempt({ resetAfter: 60_000 })).toBe(3);
  });

  test('a connection that held starts the count again', async () => {
    expect(await thirdAttempt({ resetAfter: 0 })).toBe(1);
  });
});

describe('what is tried again', () => {
  test.each([
    [1000, false],
    [1001, true],
    [undefined, false],
    [1002, false],
    [1003, false],
    [1007, false],
    [1008, false],
    [1009, false],
    [1010, false],
    [1011, true],
    [1012, true],
    [1013, true],
    [1014, true],
    [3000, false],
    [4000, false],
  ])('close code %p: %p', async (code, isRetried) => {
    const server = await rawServer();
    const client = dial(server.url, { reconnect: NEVER });
    await once(client, 'open');
    const peer = await server.peer();
    const end = isRetried ? once(client, 'reconnecting') : once(client, 'close');
    peer.close(code, code === undefined ? undefined : 'why');
    await peer.closing();
    peer.socket.end();
    const told = await end;
    const cause = isRetried ? told[2] : { code: told[0], reason: told[1] };
    expect(cause).toMatchObject({
      code: code ?? 1005,
      reason: Buffer.from(code === undefined ? '' : 'why'),
    });
  });

  test.each([
    [400, false],
    [401, false],
    [403, false],
    [404, false],
    [408, true],
    [425, true],
    [426, false],
    [429, true],
    [500, true],
    [502, true],
    [503, true],
    [504, true],
  ])('status %p: %p', async (status, isRetried) => {
    const server = await rawServer({
      respond: (peer) => peer.socket.end(`HTTP/1.1 ${status} X\r\nContent-Length: 0\r\n\r\n`),
    });
    for (const options of [{}, { localAddress: '127.0.0.1' }]) {
      const client = dial(server.url, { ...options, reconnect: NEVER });
      const [, , cause] = isRetried
        ? await once(client, 'reconnecting')
        : [0, 0, await failure(client)];
      expect(cause.error.message).toBe(`Unexpected server response: ${status}`);
    }
  });

  test.each([
    ['no answer', { respond: () => {} }, { handshakeTimeout: 30 }, true],
    ['no HTTP', { respond: (peer) => peer.write('hello\r\n') }, {}, true],
    ['an end', { respond: (peer) => peer.socket.end() }, {}, true],
    [
      'a wrong answer',
      { respond: (peer) => peer.write('HTTP/1.1 101 X\r\nConnection: Upgrade\r\n\r\n') },
      {},
      false,
    ],
    ['a proxy that is not there', {}, { proxy: 'http://127.0.0.1:1' }, true],
  ])('%s: tried again', async (_what, behaviour, options, isRetried) => {
    const server = await rawServer(behaviour);
    const client = dial(server.url, { ...options, reconnect: NEVER });
    const failed = failure(client).then(() => false);
    const retried = once(client, 'reconnecting').then(() => true);
    expect(await Promise.race([failed, retried])).toBe(isRetried);
    client.terminate();
    await failed;
  });

  test('a proxy that refuses: not tried again', async () => {
    const server = await rawServer();
    const proxy = net.createServer((socket) => {
      socket.resume().end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n');
    });
    proxy.listen(0, '127.0.0.1');
    await once(proxy, 'listening');
    defer(() => new Promise((resolve) => proxy.close(resolve)));
    const client = dial(server.url, {
      proxy: `http://127.0.0.1:${proxy.address().port}`,
      reconnect: NEVER,
    });
    expect((await failure(client)).error.status).toBe(407);
  });

  test('a peer that breaks the protocol ends it', async () => {
    const server = await rawServer();
    const client = dial(server.url, { reconnect: NEVER });
    await once(client, 'open');
    const failed = failure(client);
    (await server.peer()).send(frames.TEXT, Buffer.from([0xff]));
    const { error, count, code } = await failed;
    expect({ count, code, error: error.code }).toEqual({
      count: 1,
      code: 1006,
      error: 'WS_ERR_INVALID_UTF8',
    });
  });

  test('retry() decides', async () => {
    const seen = [];
    const retry = (cause, attempt) => {
      seen.push([cause.code, String(cause.reason), cause.wasOpen, attempt]);
      return attempt < 3;
    };
    const { wss, url } = await serve();
    wss.on('connection', (ws) => ws.close(4000, 'kicked'));
    const client = dial(url, { reconnect: { ...FAST, retry } });
    expect(await closing(client)).toEqual({ code: 4000, reason: 'kicked' });
    expect(seen).toEqual([1, 2, 3].map((attempt) => [4000, 'kicked', true, attempt]));
  });

  test('retry() that throws ends the client, and is reported', async () => {
    const outcome = await run(({ WebSocket: Client }) => {
      const retry = () => {
        throw new Error('from retry');
      };
      const client = new Client('ws://127.0.0.1:1', { reconnect: { retry } });
      process.on('uncaughtException', (error) => console.log(error.message));
      client.on('error', (error) => console.log(error.code));
      client.on('close', (code) => console.log(code));
    });
    expect(outcome).toEqual({ code: 0, stdout: 'ECONNREFUSED\n1006\nfrom retry\n', stderr: '' });
  });
});

describe('the user ends it', () => {
  test.each(['close', 'terminate'])('%s() of an open connection is the end', async (method) => {
    const { url } = await echoServer();
    const client = await open(url, { reconnect: FAST });
    const events = record(client);
    client[method]();
    await once(client, 'close');
    expect(events).toEqual(['close']);
  });

  test('close() behind the Close frame of a peer that restarts is the end', async () => {
    const server = await rawServer();
    const client = dial(server.url, { reconnect: FAST });
    await once(client, 'open');
    const peer = await server.peer();
    peer.close(1012);
    await peer.closing();
    client.close();
    peer.socket.end();
    expect((await closing(client)).code).toBe(1012);
  });

  test.each(['close', 'terminate'])('%s() while it is away is no error', async (method) => {
    const { client } = await away();
    const events = record(client);
    client[method]();
    expect(await closing(client)).toEqual({ code: 1006, reason: '' });
    expect(client.readyState).toBe(WebSocket.CLOSED);
    expect(events).toEqual(['close']);
  });

  test('close() from within a listener for reconnecting', async () => {
    const { wss, url } = await echoServer();
    const client = await open(url, { reconnect: FAST });
    const events = record(client);
    client.on('reconnecting', () => client.close());
    dropAll(wss);
    await once(client, 'close');
    expect(events).toEqual(['reconnecting', 'close']);
  });

  test.each([
    ['close() of the client', ({ client }) => client.close()],
    ['terminate()', ({ client }) => client.terminate()],
    ['drain() of the context', ({ context }) => context.drain()],
    ['close() of the context', ({ context }) => context.close()],
    ['destroy()', ({ context }) => context.destroy()],
    ['the signal', ({ controller }) => controller.abort()],
  ])('%s from within retry() counts more than what that returns', async (_what, end) => {
    const { wss, url } = await echoServer();
    const context = new Context();
    defer(() => context.destroy());
    const controller = new AbortController();
    const retry = jest.fn(() => {
      end({ client, context, controller });
      return true;
    });
    const { signal } = controller;
    const client = await open(url, { context, signal, reconnect: { ...FAST, retry } });
    const events = record(client);
    dropAll(wss);
    await once(client, 'close');
    expect(events).toEqual(['close']);
    expect(retry).toHaveBeenCalledTimes(1);
  });

  test('close() before it has ever been open is the error of ws', async () => {
    const client = dial(`ws://127.0.0.1:${await freePort()}`, { reconnect: NEVER });
    await once(client, 'reconnecting');
    const failed = failure(client);
    client.close();
    const { error, count, code } = await failed;
    expect({ count, code }).toEqual({ count: 1, code: 1006 });
    expect(error.message).toBe('WebSocket was closed before the connection was established');
  });

  test('a signal that aborts while it is away', async () => {
    const controller = new AbortController();
    const { client } = await away({ signal: controller.signal });
    const failed = failure(client);
    controller.abort();
    const { error, count, code } = await failed;
    expect({ count, code, error: error.code }).toEqual({
      count: 1,
      code: 1006,
      error: 'ABORT_ERR',
    });
  });

  test('a signal that aborts while it is open lets nothing follow', async () => {
    const controller = new AbortController();
    const { wss, url } = await echoServer();
    const client = await open(url, { signal: controller.signal, reconnect: FAST });
    controller.abort();
    expect(await echo(client, 'hello')).toBe('hello');
    const events = record(client);
    dropAll(wss);
    await once(client, 'close');
    expect(events).toEqual(['close']);
  });
});

describe('what is sent while it is away', () => {
  /** Resolves with what the callback of send() is told. */
  function sent(client, ...args) {
    return new Promise((resolve) => client.send(...args, resolve));
  }

  test('is sent behind what listeners send first, in order and as it was', async () => {
    const { wss, url } = await serve();
    const client = dial(url, { reconnect: FAST });
    const bytes = Buffer.from('bytes');
    const results = [
      sent(client, 'text'),
      sent(client, bytes),
      sent(client, bytes, { binary: false }),
      sent(client, 42),
      sent(client, new Blob(['blob'])),
      sent(client, Uint8Array.from([0, 1, 2]).subarray(1)),
      sent(client, Uint8Array.from([3]).buffer),
      sent(client, null),
    ];
    bytes.fill(0);
    expect(client.bufferedAmount).toBe(4 + 5 + 5 + 2 + 4 + 2 + 1);
    client.on('open', () => client.send('login'));
    const [server] = await once(wss, 'connection');
    const messages = collect(server);
    expect(await Promise.all(results)).toEqual(results.map(() => undefined));
    await until(() => messages.length === 9);
    expect(messages).toEqual([
      'login',
      'text',
      Buffer.from('bytes'),
      'bytes',
      '42',
      Buffer.from('blob'),
      Buffer.from([1, 2]),
      Buffer.from([3]),
      Buffer.alloc(0),
    ]);
    expect(client.bufferedAmount).toBe(0);
  });

  test('waits over several attempts', async () => {
    const { wss, url } = await echoServer();
    const client = await open(url, { reconnect: FAST });
    const messages = collect(client);
    client.once('reconnecting', () => client.send('one'));
    const retry = once(client, 'reconnected');
    dropAll(wss);
    await retry;
    await until(() => messages.length === 1);
    expect(messages).toEqual(['one']);
  });

  test('is refused beyond maxQueue', async () => {
    const { client } = await away({}, { maxQueue: 10 });
    client.send('12345');
    client.send('67890');
    expect(await sent(client, 'x')).toMatchObject({
      code: 'ERR_UVWS_OFFLINE',
      message: 'The message was not sent: too much is waiting for a connection',
    });
    expect(client.bufferedAmount).toBe(10);
  });

  test('is refused if so wanted', async () => {
    const { client } = await away({}, { offline: 'refuse' });
    expect(await sent(client, 'x')).toMatchObject({
      code: 'ERR_UVWS_OFFLINE',
      message: 'The message was not sent: there is no connection',
    });
    client.send('x');
    expect(client.bufferedAmount).toBe(0);
  });

  test('fails when the client ends', async () => {
    const { client } = await away();
    const told = sent(client, 'x');
    const closed = closing(client);
    client.close();
    expect(await told).toMatchObject({
      code: 'ERR_UVWS_OFFLINE',
      message: 'The message was not sent: the client has ended',
    });
    await closed;
    expect(client.bufferedAmount).toBe(0);
    expect((await sent(client, 'x')).message).toBe('WebSocket is not open: readyState 3 (CLOSED)');
  });

  test('waits from the Close frame of a peer that restarts on', async () => {
    const server = await rawServer();
    const client = dial(server.url, { reconnect: FAST });
    await once(client, 'open');
    const peer = await server.peer();
    peer.close(1012);
    await peer.closing();
    expect(client.readyState).toBe(WebSocket.CLOSING);
    client.send('late');
    peer.socket.end();
    const next = await server.peer(1);
    expect(String((await next.nextFrame()).payload)).toBe('late');
  });

  test('is not queued if it is a PING, a PONG or a fragment', async () => {
    const { client } = await away();
    const told = (method, ...args) => new Promise((resolve) => client[method](...args, resolve));
    const offline = { code: 'ERR_UVWS_OFFLINE' };
    expect(await told('ping', 'x', undefined)).toMatchObject(offline);
    expect(await told('pong', 'x', undefined)).toMatchObject(offline);
    expect(await sent(client, 'a', { fin: false })).toMatchObject(offline);
    expect(await sent(client, 'b', { fin: true })).toMatchObject(offline);
    client.send('whole');
    expect(client.bufferedAmount).toBe(5);
  });

  test('is left out if the fragments before it are lost', async () => {
    const server = await rawServer();
    const client = dial(server.url, { reconnect: FAST });
    await once(client, 'open');
    client.send('one', { fin: false });
    const peer = await server.peer();
    await peer.nextFrame();
    const back = once(client, 'reconnected');
    peer.socket.destroy();
    await back;
    const lost = { message: 'The message was not sent: the fragments before it are lost' };
    expect(await sent(client, 'two', { fin: false })).toMatchObject(lost);
    expect(await sent(client, 'three')).toMatchObject(lost);
    expect(await sent(client, 'whole')).toBe(undefined);
    const next = await server.peer(1);
    const { fin, opcode, payload } = await next.nextFrame();
    expect({ fin, opcode, payload: String(payload) }).toEqual({
      fin: true,
      opcode: frames.TEXT,
      payload: 'whole',
    });
  });

  test('a Blob that was being read does not get into the next connection', async () => {
    const server = await rawServer();
    const client = dial(server.url, { reconnect: FAST });
    await once(client, 'open');
    let finish;
    const blob = new Blob(['lost']);
    blob.arrayBuffer = () => new Promise((resolve) => (finish = resolve));
    const told = Promise.all([sent(client, blob), sent(client, 'behind it')]);
    const back = once(client, 'reconnected');
    (await server.peer()).socket.destroy();
    await back;
    for (const error of await told) expect(error).toMatchObject({ code: 'ERR_UVWS_OFFLINE' });
    finish(new ArrayBuffer(4));
    await turn();
    client.send('next');
    expect(String((await (await server.peer(1)).nextFrame()).payload)).toBe('next');
  });
});

describe('the context', () => {
  test('its destruction ends a client that is away, once', async () => {
    const context = new Context();
    const { client } = await away({ context });
    expect(context.stats().pendingConnects).toBe(1);
    const events = record(client);
    const failed = failure(client);
    const cause = new Error('why');
    await context.destroy(cause);
    expect(events).toEqual(['error', 'close']);
    const { error } = await failed;
    expect(error).toMatchObject({ code: 'ERR_UVWS_CONTEXT_CLOSED', cause });
    await turn();
    expect(events.length).toBe(2);
  });

  test('what is sent by a listener of the last error or of close is refused, and its callback told', async () => {
    const context = new Context();
    const { client } = await away({ context });
    const told = [];
    for (const event of ['error', 'close']) {
      client.on(event, () => {
        client.send(event, (error) => told.push(`${event}: ${error.message}`));
        client.ping('', true, (error) => told.push(`${event}: ${error.message}`));
      });
    }
    const ended = failure(client);
    await context.close();
    await ended;
    await turn();
    const late = (event, state) => `${event}: WebSocket is not open: readyState ${state}`;
    expect(told).toEqual([
      late('error', '2 (CLOSING)'),
      late('error', '2 (CLOSING)'),
      late('close', '3 (CLOSED)'),
      late('close', '3 (CLOSED)'),
    ]);
  });

  test('close() ends a client that is away', async () => {
    const context = new Context();
    const { client } = await away({ context });
    const failed = failure(client);
    await context.close();
    expect((await failed).error.code).toBe('ERR_UVWS_CONTEXT_CLOSED');
  });

  test('its destruction is the end of an open connection', async () => {
    const context = new Context();
    const { url } = await echoServer();
    const client = await open(url, { context, reconnect: FAST });
    const events = record(client);
    await context.destroy();
    expect(events).toEqual(['close']);
  });

  test('drain() ends a client that is away with what it was lost by', async () => {
    const context = new Context();
    const { client } = await away({ context });
    const events = record(client);
    await context.drain();
    expect(events).toEqual(['close']);
  });

  test('what is lost while it drains stays lost', async () => {
    const context = new Context();
    const { wss, url } = await echoServer();
    const client = await open(url, { context, reconnect: FAST });
    const events = record(client);
    const drained = context.drain();
    dropAll(wss);
    await drained;
    expect(events).toEqual(['close']);
  });

  test('waiting keeps the process alive, as connecting does', async () => {
    const outcome = await run(({ WebSocket: Client }) => {
      const client = new Client('ws://127.0.0.1:1', {
        reconnect: { delays: [200], maxAttempts: 2 },
      });
      client.on('error', (error) => console.log(error.code));
    });
    expect(outcome).toEqual({ code: 0, stdout: 'ECONNREFUSED\n', stderr: '' });
  });

  test('unref() lets a waiting client keep nothing alive', async () => {
    const outcome = await run(({ Context: Group, WebSocket: Client }) => {
      const [first, second] = [new Group(), new Group()];
      const reconnect = { delays: [1_000_000] };
      const one = new Client('ws://127.0.0.1:1', { context: first, reconnect });
      one.on('reconnecting', () => {
        // It waits already.
        first.unref().ref().unref();
        console.log('one');
        second.unref();
        const other = new Client('ws://127.0.0.1:1', { context: second, reconnect });
        // Something else keeps the process until that one waits, too.
        const timer = setInterval(() => {}, 1000);
        other.on('reconnecting', () => {
          console.log('other');
          clearInterval(timer);
        });
      });
    });
    expect(outcome).toEqual({ code: 0, stdout: 'one\nother\n', stderr: '' });
  });
});

describe('the options', () => {
  test.each([
    [1, '"options.reconnect" must be an object, received 1'],
    [
      { delays: [] },
      '"options.reconnect.delays" must be an array of one or more numbers of milliseconds, received []',
    ],
    [
      { delays: [1, -1] },
      '"options.reconnect.delays" must be an array of one or more numbers of milliseconds, received [ 1, -1 ]',
    ],
    [{ jitter: 101 }, '"options.reconnect.jitter" must be from 0 to 100, received 101'],
    [{ maxAttempts: -1 }, '"options.reconnect.maxAttempts" must be 0 or more, received -1'],
    [{ resetAfter: 'x' }, '"options.reconnect.resetAfter" must be a number, received \'x\''],
    [
      { maxQueue: NaN },
      '"options.reconnect.maxQueue" must be a number of 0 or more, or Infinity, received NaN',
    ],
    [
      { offline: 'drop' },
      '"options.reconnect.offline" must be "queue" or "refuse", received \'drop\'',
    ],
    [{ retry: true }, '"options.reconnect.retry" must be a function, received true'],
  ])('%j throws', (reconnect, message) => {
    expect(thrownBy(() => new WebSocket('ws://127.0.0.1:1', { reconnect })).message).toBe(message);
  });

  test('without it a send before open throws, as in ws', () => {
    const client = dial('ws://127.0.0.1:1', { reconnect: false });
    expect(thrownBy(() => client.send('x')).message).toBe(
      'WebSocket is not open: readyState 0 (CONNECTING)',
    );
    client.on('error', () => {});
  });
});
