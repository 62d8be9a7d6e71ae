// What is told to those who watch: figures, metrics, channels, and lines of NODE_DEBUG.

const { execFileSync } = require('node:child_process');
const diagnostics = require('node:diagnostics_channel');
const { once } = require('node:events');
const http2 = require('node:http2');
const { duplexPair } = require('node:stream');
const { setTimeout: sleep } = require('node:timers/promises');

const { makeCertificate } = require('./support/certificate.js');
const { inChild, runChild } = require('./support/child.js');
const { CARRIERS, carry } = require('./support/carriers.js');
const {
  defer,
  dial,
  failure,
  open,
  pair,
  rawConnect,
  rawPair,
  rawPairOfClient,
  rawServer,
  serve,
} = require('./support/fixtures.js');
const frames = require('./support/frames.js');
const { freePort, upgradeRequest } = require('./support/peers.js');
const { until } = require('./support/tools.js');
const { Context, WebSocket, WebSocketServer, metrics } = require('./support/uvws.js');

const TRANSPORTS = {
  'a native listener': 'tcp',
  'a native listener of TLS': 'tls',
  'an adopted socket': 'tcp',
  'a bridged stream': 'stream',
};

/** Collects what is published from now on, until the test is over. */
function watch(...names) {
  const list = [];
  for (const name of names.length === 0 ? ['connection', 'close', 'error', 'limit'] : names) {
    const listener = (message, channel) => list.push({ ...message, channel: channel.slice(5) });
    diagnostics.subscribe(`uvws:${name}`, listener);
    defer(() => diagnostics.unsubscribe(`uvws:${name}`, listener));
  }
  return list;
}

/** A context that is destroyed when the test is over. */
function createContext(options) {
  const context = new Context(options);
  defer(() => context.destroy());
  return context;
}

describe('ws.stats()', () => {
  test.each(CARRIERS)('counts, on %s', async (carrier) => {
    const { pair: connect } = await carry(carrier);
    const { peer, server } = await connect();
    expect(server.stats()).toMatchObject({
      transport: TRANSPORTS[carrier],
      compression: false,
      messagesReceived: 0,
      messagesSent: 0,
    });
    const before = server.stats();
    server.on('message', (data) => server.send(data));
    // A message in two fragments is one, and so is what is sent in two.
    peer.send(frames.TEXT, 'one', { fin: false });
    peer.send(0, 'two');
    peer.send(frames.BINARY, 'three');
    peer.send(frames.PING, 'ping');
    server.send('a', { fin: false });
    server.send('b');
    server.ping();
    peer.send(frames.PONG, '');
    await until(() => peer.frames.length === 6 && server.stats().pongsReceived === 1);
    const stats = server.stats();
    expect(stats).toMatchObject({
      bytesBuffered: 0,
      messagesReceived: 2,
      messagesSent: 3,
      messagesDropped: 0,
      pingsReceived: 1,
      pingsSent: 1,
      pongsReceived: 1,
      pongsSent: 1,
    });
    // Headers of two bytes, and masks of four.
    expect(stats.bytesReceived - before.bytesReceived).toBe(5 * 6 + 3 + 3 + 5 + 4);
    expect(stats.bytesSent - before.bytesSent).toBe(6 * 2 + 1 + 1 + 6 + 5 + 4);
  });

  test.each(CARRIERS)('stays as it was at the end, on %s', async (carrier) => {
    const { pair: connect } = await carry(carrier);
    const { peer, server } = await connect();
    peer.send(frames.TEXT, 'last words');
    await once(server, 'message');
    let atClose;
    server.on('close', () => (atClose = server.stats()));
    await peer.destroy();
    await until(() => atClose !== undefined);
    expect(atClose).toMatchObject({ transport: TRANSPORTS[carrier], messagesReceived: 1 });
    // The number is somebody else's by now.
    await connect();
    await sleep(5);
    expect(server.stats()).toEqual(atClose);
    expect(server.stats()).not.toBe(atClose);
  });

  test('is all zero before there is a connection', async () => {
    const server = await rawServer({ respond: () => {} });
    for (const options of [{}, { finishRequest: (request) => request.end() }]) {
      const client = dial(server.url, options);
      const failed = failure(client);
      const { transport, compression, ...figures } = client.stats();
      expect([transport, compression]).toEqual([null, false]);
      expect(Object.values(figures).every((value) => value === 0)).toBe(true);
      client.terminate();
      await failed;
      expect(client.stats().messagesReceived).toBe(0);
    }
  });

  test('tells how long a connection has been open, and silent', async () => {
    const { client, server } = await pair();
    await sleep(500);
    client.send('x');
    await once(server, 'message');
    expect(server.stats().duration).toBeGreaterThanOrEqual(490);
    expect(server.stats().idleTime).toBeLessThan(400);
    await sleep(60);
    expect(server.stats().idleTime).toBeGreaterThanOrEqual(50);
    const closed = once(client, 'close');
    client.close();
    await closed;
    const { duration } = client.stats();
    await sleep(10);
    expect(client.stats().duration).toBe(duration);
  });

  test('tells of compression, and counts what was compressed', async () => {
    const options = { perMessageDeflate: { threshold: 0 } };
    const { client, server } = await pair(options, options);
    client.send('x'.repeat(1000));
    await once(server, 'message');
    for (const ws of [client, server]) expect(ws.stats().compression).toBe(true);
    expect(server.stats().bytesReceived).toBeLessThan(1000);
    // On the thread pool.
    client.send(Buffer.alloc(100_000));
    await once(server, 'message');
    expect([client.stats().messagesSent, server.stats().messagesReceived]).toEqual([2, 2]);
  });

  test('counts messages to many, and those that were dropped', async () => {
    const { peer, server, wss } = await rawPair();
    wss.broadcast('all');
    expect(server.stats().messagesSent).toBe(1);
    peer.socket.pause();
    server.send(Buffer.alloc(16 * 1024 * 1024));
    expect(server.stats().bytesBuffered).toBeGreaterThan(4 * 1024 * 1024);
    wss.broadcast('missed', { maxBackpressure: 1 });
    expect(server.stats()).toMatchObject({ messagesSent: 2, messagesDropped: 1 });
  });

  test('adds up to the figures of the context', async () => {
    const context = createContext();
    const { client, server } = await pair({ context }, { context });
    server.on('message', (data) => server.send(data));
    client.send('x'.repeat(100_000));
    await once(client, 'message');
    const all = context.stats();
    expect(all.connectionsOpened).toBe(2);
    const names = ['bytesReceived', 'bytesSent', 'messagesReceived', 'messagesSent'];
    for (const name of names) {
      expect([name, client.stats()[name] + server.stats()[name]]).toEqual([name, all[name]]);
    }
    client.terminate();
    await once(server, 'close');
    expect(context.stats()).toMatchObject({ connections: 0, connectionsOpened: 2 });
  });

  test('is that of the last connection with `reconnect`', async () => {
    const { wss, url } = await serve();
    const sockets = [];
    wss.on('connection', (ws) => sockets.push(ws));
    const client = await open(url, { reconnect: { delays: [20], jitter: 0 } });
    client.send('first');
    await until(() => sockets.length === 1);
    await once(sockets[0], 'message');
    sockets[0].terminate();
    await once(client, 'reconnecting');
    expect(client.stats()).toMatchObject({ transport: 'tcp', messagesSent: 1 });
    await once(client, 'reconnected');
    expect(client.stats()).toMatchObject({ transport: 'tcp', messagesSent: 0 });
  });
});

describe('diagnostics channels', () => {
  test.each(CARRIERS)('tell of connections and their ends, on %s', async (carrier) => {
    const told = watch();
    const { pair: connect, wss } = await carry(carrier);
    const { context } = wss;
    const order = [];
    wss.on('connection', (ws) => {
      order.push(`connection after ${told.length}`);
      ws.on('close', () => order.push(`close after ${told.length}`));
    });
    const { peer, server, request } = await connect();
    expect(told).toEqual([
      { channel: 'connection', websocket: server, server: wss, context, request },
    ]);
    peer.close(4000, 'bye');
    await once(server, 'close');
    const end = { channel: 'close', websocket: server, server: wss, context };
    expect(told.slice(1)).toEqual([
      { ...end, code: 4000, reason: Buffer.from('bye'), initiator: 'remote' },
    ]);
    expect(order).toEqual(['connection after 1', 'close after 2']);
  });

  test('tell of a client as of a server, and who has begun the end', async () => {
    const { wss, url } = await serve();
    const context = createContext();
    for (const [how, options] of [
      ['native', {}],
      ["by Node's HTTP client", { finishRequest: (request) => request.end() }],
      ['compressed', { perMessageDeflate: true }],
    ]) {
      const told = watch();
      const client = await open(url, { context, ...options });
      const [of] = told.filter(({ server }) => server === null);
      expect([how, of]).toEqual([
        how,
        { channel: 'connection', websocket: client, server: null, context, request: null },
      ]);
      const [server] = wss.clients;
      client.close(1000);
      await Promise.all([once(client, 'close'), once(server, 'close')]);
      const ends = told.filter(({ channel }) => channel === 'close');
      expect(ends.map(({ websocket, initiator }) => [websocket, initiator])).toEqual(
        expect.arrayContaining([
          [client, 'local'],
          [server, 'remote'],
        ]),
      );
      expect(ends).toHaveLength(2);
      expect(told).toHaveLength(4);
    }
  });

  test('tell null if nobody has sent a Close frame', async () => {
    const told = watch('close');
    const { client, server } = await pair();
    client.terminate();
    await once(server, 'close');
    expect(told.map(({ code, initiator }) => [code, initiator])).toEqual([
      [1006, null],
      [1006, null],
    ]);
  });

  test('tell of streams, by setSocket() and HTTP/2', async () => {
    const told = watch('connection', 'close');
    if (typeof duplexPair === 'function') {
      const [ours] = duplexPair();
      const websocket = new WebSocket(null, undefined, {});
      websocket.setSocket(ours, Buffer.alloc(0));
      expect(told.pop()).toMatchObject({ websocket, server: null, context: Context.default });
      websocket.terminate();
      await once(websocket, 'close');
      expect(told.pop()).toMatchObject({ channel: 'close', websocket, server: null });
    }
    const server = http2.createServer();
    const wss = new WebSocketServer({ server });
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    const session = http2.connect(`http://127.0.0.1:${server.address().port}`);
    await once(session, 'remoteSettings');
    const stream = session.request({
      ':method': 'CONNECT',
      ':protocol': 'websocket',
      ':path': '/',
      'sec-websocket-version': '13',
    });
    stream.on('error', () => {});
    const [websocket, request] = await once(wss, 'connection');
    expect(told.pop()).toMatchObject({ websocket, server: wss, request });
    websocket.terminate();
    await once(websocket, 'close');
    session.destroy();
    wss.close();
    await new Promise((resolve) => server.close(resolve));
  });

  test('tell of failures once, in front of the event', async () => {
    const told = watch();
    const context = createContext();
    const client = dial(`ws://127.0.0.1:${await freePort()}`, { context });
    const [error] = await once(client, 'error');
    expect(told).toEqual([{ channel: 'error', websocket: client, server: null, context, error }]);
    await once(client, 'close');
    expect(told).toHaveLength(1);

    const { wss, port } = await serve();
    const second = new WebSocketServer({ port, host: '127.0.0.1', context });
    const [taken] = await once(second, 'error');
    expect(taken.code).toBe('EADDRINUSE');
    expect(told.slice(1)).toEqual([
      { channel: 'error', websocket: null, server: second, context, error: taken },
    ]);
    wss.close();
  });

  test.each([
    ['natively', {}],
    ['by Node', { ciphers: 'ECDHE-ECDSA-AES128-GCM-SHA256', maxVersion: 'TLSv1.2' }],
  ])('tell of TLS that fails with a client, done %s', async (_how, options) => {
    const { wss, port } = await serve({ tls: { ...makeCertificate(), ...options } });
    const told = watch();
    const fail = async () => {
      const peer = await rawConnect(port);
      peer.write(upgradeRequest());
      await peer.when(({ hasClosed, hasEnded }) => hasClosed || hasEnded);
      await peer.destroy();
    };
    await fail();
    await until(() => told.length === 1);
    const emitted = once(wss, 'tlsClientError');
    await fail();
    const [error] = await emitted;
    expect(error.code).toBe('ERR_SSL_HTTP_REQUEST');
    expect(told[1]).toEqual({
      channel: 'error',
      websocket: null,
      server: wss,
      context: wss.context,
      error,
    });
    expect(told).toHaveLength(2);
  });

  test('do not tell of a client without TLS that goes away', async () => {
    const { wss, port } = await serve();
    const told = watch();
    const peer = await rawConnect(port);
    peer.write('GET / HTTP/1.1\r\n');
    await until(() => wss.context.stats().bytesReceived > 0);
    peer.socket.resetAndDestroy();
    await until(() => wss.stats().pendingHandshakes === 0);
    expect(told).toEqual([]);
  });

  test.each(CARRIERS)('tell of a peer that breaks a limit, on %s', async (carrier) => {
    const { pair: connect, wss } = await carry(carrier, { maxPayload: 1 });
    const { peer, server } = await connect();
    const told = watch();
    const failed = failure(server);
    peer.send(frames.TEXT, 'too long');
    await peer.closing();
    peer.socket.end();
    const { error } = await failed;
    const of = { websocket: server, server: wss, context: wss.context };
    expect(told).toEqual([
      { channel: 'limit', limit: 'maxPayload', ...of },
      { channel: 'error', error, ...of },
      { channel: 'close', code: 1006, reason: Buffer.alloc(0), initiator: 'local', ...of },
    ]);
  });

  test.each(CARRIERS)('tell of a peer that is refused, on %s', async (carrier) => {
    const { pair: connect, upgrade, wss } = await carry(carrier, { maxConnections: 1 });
    await connect();
    const told = watch();
    expect((await upgrade()).status).toBe(503);
    expect(told).toEqual([
      {
        channel: 'limit',
        limit: 'maxConnections',
        websocket: null,
        server: wss,
        context: wss.context,
      },
    ]);
  });

  test('tell of the limits of a client', async () => {
    const told = watch('limit');
    const server = await rawServer({ respond: () => {} });
    const late = dial(server.url, { handshakeTimeout: 20 });
    await failure(late);
    const { client, peer } = await rawPairOfClient({ maxPayload: 1 });
    const failed = failure(client);
    peer.send(frames.TEXT, 'too long');
    await peer.closing();
    peer.socket.end();
    await failed;
    const of = { channel: 'limit', server: null, context: Context.default };
    expect(told).toEqual([
      { limit: 'handshakeTimeout', websocket: late, ...of },
      { limit: 'maxPayload', websocket: client, ...of },
    ]);
  });

  test('tell of each connection of a client that comes back, and of each attempt', async () => {
    const told = watch();
    const server = await rawServer();
    const client = await open(server.url, { reconnect: { delays: [10], jitter: 0 } });
    (await server.peer(0)).socket.destroy();
    await once(client, 'reconnected');
    await server.close();
    await once(client, 'reconnecting');
    await once(client, 'reconnecting');
    client.terminate();
    await once(client, 'close');
    const channels = told.map(({ channel }) => channel);
    expect(channels.slice(0, 5)).toEqual(['connection', 'close', 'connection', 'close', 'error']);
    expect(new Set(channels.slice(4))).toEqual(new Set(['error']));
    expect(told.every(({ websocket }) => websocket === client)).toBe(true);
  });

  test.each(['close', 'terminate', 'drain', 'destroy'])(
    'a client that a subscriber ends by %s does not come back, and each failure is told of once',
    async (how) => {
      const context = new Context();
      const server = await rawServer();
      const reconnect = { delays: [5], jitter: 0 };
      const lost = await open(server.url, { context, reconnect });
      const refused = dial('ws://127.0.0.1:1', { context, reconnect });
      const ended = [once(lost, 'close'), failure(refused)];
      const back = jest.fn();
      for (const client of [lost, refused]) client.on('reconnecting', back);
      const told = watch('error', 'close');
      const end = ({ websocket }) => (how in websocket ? websocket : context)[how]();
      for (const name of ['error', 'close']) diagnostics.subscribe(`uvws:${name}`, end);
      try {
        (await server.peer(0)).socket.destroy();
        const [, { count }] = await Promise.all(ended);
        expect(count).toBe(1);
      } finally {
        for (const name of ['error', 'close']) diagnostics.unsubscribe(`uvws:${name}`, end);
      }
      expect(back).not.toHaveBeenCalled();
      const channelsOf = (client) =>
        told.filter(({ websocket }) => websocket === client).map(({ channel }) => channel);
      expect([channelsOf(lost), channelsOf(refused)]).toEqual([['close'], ['error']]);
      await context.destroy();
    },
  );

  test('are not used while nobody listens', async () => {
    const channels = ['connection', 'close'].map((name) => diagnostics.channel(`uvws:${name}`));
    const published = channels.map((channel) => jest.spyOn(channel, 'publish'));
    const { client, server } = await pair();
    client.close();
    await once(server, 'close');
    for (const spy of published) {
      expect(spy).not.toHaveBeenCalled();
      spy.mockRestore();
    }
  });

  test('what a subscriber throws is uncaught, and everything ends as usual', async () => {
    const thrown = await inChild(async ({ assert, once, uvws }) => {
      const { subscribe } = require('node:diagnostics_channel');
      const { Context, WebSocket, WebSocketServer } = uvws;
      const errors = [];
      process.on('uncaughtException', (error) => errors.push(error.message));
      for (const name of ['connection', 'close', 'error', 'limit']) {
        subscribe(`uvws:${name}`, () => {
          throw new Error(name);
        });
      }
      const context = new Context();
      const wss = new WebSocketServer({ port: 0, host: '127.0.0.1', context, maxPayload: 10 });
      await once(wss, 'listening');
      let opened = 0;
      wss.on('connection', (ws) => {
        opened++;
        ws.on('error', () => {});
      });
      const { port } = wss.address();
      const fine = new WebSocket(`ws://127.0.0.1:${port}`, { context });
      await once(fine, 'open');
      fine.send('x'.repeat(11));
      assert.deepEqual((await once(fine, 'close'))[0], 1009);
      const lost = new WebSocket('ws://127.0.0.1:1', { context });
      await once(lost, 'error');
      await context.close();
      assert.equal(opened, 1);
      assert.equal(context.stats().handles, 0);
      return errors.sort();
    });
    expect(thrown).toEqual([
      'close',
      'close',
      'connection',
      'connection',
      'error',
      'error',
      'limit',
    ]);
  });

  test('a subscriber may end everything', async () => {
    await inChild(async ({ assert, once, uvws }) => {
      const { subscribe, unsubscribe } = require('node:diagnostics_channel');
      const { Context, WebSocket, WebSocketServer } = uvws;
      for (const name of ['connection', 'close', 'error', 'limit']) {
        for (const method of ['close', 'destroy', 'drain']) {
          const context = new Context();
          const wss = new WebSocketServer({ port: 0, host: '127.0.0.1', context, maxPayload: 1 });
          await once(wss, 'listening');
          wss.on('connection', (ws) => ws.on('error', () => {}));
          let isTold = false;
          const end = ({ websocket }) => {
            isTold = true;
            websocket?.terminate();
            if (method === 'close') context.close({ timeout: 100 });
            else context[method]();
          };
          subscribe(`uvws:${name}`, end);
          const client = new WebSocket(`ws://127.0.0.1:${wss.address().port}`, { context });
          client.on('error', () => {});
          client.on('open', () => client.send('too long', () => {}));
          await context.closed;
          unsubscribe(`uvws:${name}`, end);
          assert.ok(isTold, name);
          assert.equal(client.readyState, WebSocket.CLOSED);
          assert.equal(context.stats().handles, 0);
        }
      }
    });
  });
});

/** Reads the text format strictly: `{ name: { type, help, samples: Map(labels, value) } }`. */
function parse(text) {
  const families = {};
  let current;
  expect(text.endsWith('\n')).toBe(true);
  for (const line of text.slice(0, -1).split('\n')) {
    const help = /^# HELP ([a-z_]+) ([^\\]+)$/.exec(line);
    const type = /^# TYPE ([a-z_]+) (counter|gauge)$/.exec(line);
    const sample = /^([a-z_]+)(\{(?:[a-z]+="(?:[^"\\]|\\[\\"n])*",?)+\}) (\d+)$/.exec(line);
    if (help !== null) {
      // Each name once, and its lines together.
      expect(families).not.toHaveProperty(help[1]);
      current = { help: help[2], type: null, samples: new Map() };
      families[help[1]] = current;
    } else if (type !== null) {
      expect(families[type[1]]).toBe(current);
      expect(current.type).toBeNull();
      current.type = type[2];
      expect(type[1].endsWith('_total')).toBe(current.type === 'counter');
    } else {
      expect([line, sample !== null]).toEqual([line, true]);
      expect(families[sample[1]]).toBe(current);
      expect(current.type).not.toBeNull();
      expect(current.samples.has(sample[2])).toBe(false);
      current.samples.set(sample[2], Number(sample[3]));
    }
  }
  return families;
}

/** The value of a metric, by the name of a context. */
function valueOf(name, context, more = '') {
  return parse(metrics())[name].samples.get(`{context="${context}"${more}}`);
}

describe('metrics()', () => {
  test('says what stats() says', async () => {
    const context = createContext({ name: 'told' });
    const { client, server } = await pair({ context, maxPayload: 10 }, { context });
    server.on('message', (data) => server.send(data));
    client.send('hello');
    await once(client, 'message');
    const stats = context.stats();
    const families = parse(metrics());
    const labels = '{context="told"}';
    for (const [name, figure] of Object.entries({
      connections: 'connections',
      connections_opened_total: 'connectionsOpened',
      listeners: 'listeners',
      pending_connects: 'pendingConnects',
      pending_handshakes: 'pendingHandshakes',
      handles: 'handles',
      closing_handles: 'closing',
      buffered_bytes: 'bytesBuffered',
      received_bytes_total: 'bytesReceived',
      sent_bytes_total: 'bytesSent',
      messages_received_total: 'messagesReceived',
      messages_sent_total: 'messagesSent',
      messages_dropped_total: 'messagesDropped',
    })) {
      expect([name, families[`uvws_${name}`].samples.get(labels)]).toEqual([name, stats[figure]]);
      delete families[`uvws_${name}`];
    }
    expect(Object.keys(families)).toEqual(['uvws_limit_breaches_total']);
    const failed = failure(client);
    client.send('longer than that');
    await failed;
    const limits = parse(metrics()).uvws_limit_breaches_total.samples;
    for (const [limit, count] of Object.entries(context.stats().limits)) {
      expect([limit, limits.get(`{context="told",limit="${limit}"}`)]).toEqual([limit, count]);
    }
    expect(limits.get('{context="told",limit="maxPayload"}')).toBe(1);
  });

  test('tells of the budgets of memory, where there are any', async () => {
    const names = ['memory_budget_bytes', 'memory_used_bytes', 'memory_peak_bytes'];
    const values = (context) => names.map((name) => valueOf(`uvws_${name}`, context));
    createContext({ name: 'without' });
    expect(metrics()).not.toContain('uvws_memory');

    const context = createContext({ name: 'with', memoryBudget: 100_000 });
    const { peer, server } = await rawPair({ context });
    peer.send(frames.BINARY, Buffer.alloc(50_000), { fin: false });
    await until(() => server.stats().bytesBuffered >= 50_000);
    peer.send(0, '');
    await once(server, 'message');
    const { budget, used, peak } = context.stats().memory;
    expect(budget).toBe(100_000);
    expect(peak).toBeGreaterThanOrEqual(50_000);
    expect(values('with')).toEqual([budget, used, peak]);
    expect(values('without')).toEqual([undefined, undefined, undefined]);
    const other = createContext({ name: 'with', memoryBudget: 1 });
    expect(values('with')).toEqual([budget + 1, used, peak]);
    await other.destroy();
    expect(values('with')).toEqual([budget, used, peak]);
  });

  test('escapes names, and promtool has nothing to say about it', () => {
    const memoryBudget = 2 ** 20;
    for (const name of ['', 'a "quoted" \\name\n', 'größer', '{},=']) {
      createContext({ name, memoryBudget });
    }
    const text = metrics();
    expect(text).toContain('uvws_connections{context="a \\"quoted\\" \\\\name\\n"} 0\n');
    parse(text);
    expect(metrics.contentType).toBe('text/plain; version=0.0.4; charset=utf-8');
    const output = execFileSync('promtool', ['check', 'metrics'], {
      input: text,
      encoding: 'utf8',
    });
    expect(output).toBe('');
  });

  test('adds up contexts of one name, and does not forget what was', async () => {
    const name = 'twins';
    const [one, other] = [createContext({ name }), createContext({ name })];
    const { client, server } = await pair({ context: one }, { context: other });
    client.send('x');
    await once(server, 'message');
    expect(valueOf('uvws_connections', name)).toBe(2);
    expect(valueOf('uvws_messages_sent_total', name)).toBe(1);
    const sent = valueOf('uvws_sent_bytes_total', name);
    await other.destroy();
    expect(valueOf('uvws_messages_sent_total', name)).toBe(1);
    expect(valueOf('uvws_connections_opened_total', name)).toBe(2);
    expect(valueOf('uvws_sent_bytes_total', name)).toBeGreaterThanOrEqual(sent);
    expect(valueOf('uvws_listeners', name)).toBe(1);
    await one.destroy();
    expect(metrics()).not.toContain(name);
    createContext({ name });
    expect(valueOf('uvws_messages_sent_total', name)).toBe(0);
  });

  test('is empty without a context, and makes none', async () => {
    const result = await inChild(async ({ uvws }) => {
      const before = uvws.metrics();
      const context = new uvws.Context();
      const between = uvws.metrics().length > 0;
      await context.close();
      return [before, between, uvws.metrics()];
    });
    expect(result).toEqual(['', true, '']);
  });
});

describe('NODE_DEBUG=uvws', () => {
  /** Runs a server and its peers; resolves with what is written to stderr. */
  async function lines(NODE_DEBUG) {
    const { stderr } = await runChild(
      async ({ once, rawClient, rawConnect, upgradeRequest, uvws }) => {
        const http = require('node:http');
        const { Context, WebSocket, WebSocketServer } = uvws;
        const context = new Context({ name: 'logged' });
        const wss = new WebSocketServer({
          port: 0,
          host: '127.0.0.1',
          path: '/here',
          context,
          maxPayload: 1,
        });
        await once(wss, 'listening');
        wss.on('connection', (ws) => ws.on('error', () => {}));
        const { port } = wss.address();
        const refuse = async (request, to = port) => {
          const refused = await rawConnect(to);
          refused.write(request);
          await refused.when(({ hasEnded, hasClosed }) => hasEnded || hasClosed);
          await refused.destroy();
        };
        const request = upgradeRequest({ path: '/there?token=secret' });
        await refuse(request);
        await refuse(request.replace('HTTP/1.1', 'HTTP/1.0'));
        await refuse(request.replace('GET', 'POST'));
        await refuse('AUTH secret\r\n\r\n');
        await refuse(`AUTH ${'secret'.repeat(10_000)}`);
        const client = new WebSocket(`ws://me:secret@127.0.0.1:${port}/here?secret`, { context });
        await once(client, 'open');
        client.send('too long');
        await once(client, 'close');
        const peer = await rawClient(port, { path: '/here' });
        peer.close(4000, 'bye\n\u001b[31m');
        await peer.when(({ hasEnded }) => hasEnded);
        await peer.destroy();
        const lost = new WebSocket('ws://127.0.0.1:1', {
          context,
          reconnect: { delays: [5], jitter: 0, maxAttempts: 1 },
        });
        await once(lost, 'error');
        const redirecting = http.createServer((request, response) => {
          response.writeHead(302, { Location: 'http://me:secret@[?secret' }).end();
        });
        await once(redirecting.listen(0, '127.0.0.1'), 'listening');
        const origin = `ws://127.0.0.1:${redirecting.address().port}`;
        const led = new WebSocket(origin, { context, followRedirects: true });
        await once(led, 'error');
        redirecting.close();
        const tls = require('./certificate.js').makeCertificate();
        const secure = new WebSocketServer({
          port: 0,
          host: '127.0.0.1',
          context,
          hostname: 'a',
          strictHost: true,
          tls,
        });
        await once(secure, 'listening');
        await refuse(request, secure.address().port);
        secure.close();
        const strict = new WebSocketServer({
          port: 0,
          host: '127.0.0.1',
          context,
          hostname: 'a',
          strictHost: true,
        });
        await once(strict, 'listening');
        await refuse(request, strict.address().port);
        await context.close();
      },
      { env: { NODE_DEBUG } },
    );
    return stderr
      .replace(/^UVWS \d+: /gm, '')
      .replace(/127\.0\.0\.1:\d+/g, 'HOST')
      .split('\n')
      .filter((line) => line !== '');
  }

  test('writes what happens, and no secrets', async () => {
    const written = await lines('uvws');
    const refusal = 'ECONNREFUSED HOST (ECONNREFUSED)';
    const expected = [
      'server 1 listens: "HOST"',
      'server 1 has refused "/there": 400 ""',
      'server 1 has refused "/there": 400 "Bad Request"',
      'server 1 has refused "/there": 405 "Invalid HTTP method"',
      'server 1 has refused "": 400 "Bad Request"',
      'server 1 has refused "": 431 "Request Header Fields Too Large"',
      'maxHeaderSize was breached at server 1',
      'connection 3 of server 1 is open: "/here"',
      'client 4 is open: "ws://HOST/here"',
      'connection 3 has breached maxPayload',
      'connection 3 has failed: "Max payload size exceeded (WS_ERR_UNSUPPORTED_MESSAGE_LENGTH)"',
      'client 4 is closed: 1009 "", by the peer',
      'connection 3 is closed: 1006 "", by this end',
      'connection 5 of server 1 is open: "/here"',
      'connection 5 is closed: 4000 "bye\\n\\u001b[31m", by the peer',
      `client 6 has failed: "connect ${refusal}"`,
      'client 6 makes attempt 1 in 5 ms',
      `client 6 has failed: "connect ${refusal}"`,
      'client 7 has failed: "Invalid URL: http://["',
      'server 8 listens: "HOST"',
      'a connection to server 8 has failed: "received corrupt message of type InvalidContentType (ERR_SSL_HTTP_REQUEST)"',
      'server 9 listens: "HOST"',
      'server 9 has refused "/there": 421 ""',
      'closing',
      'destroyed',
    ].map((line) => `context 2 "logged": ${line}`);
    // Which end of a connection hears of it first is chance.
    expect([...written].sort()).toEqual(expected.sort());
    expect(written[0]).toMatch(/listens/);
    expect(written.at(-1)).toMatch(/destroyed/);
    expect(written.join()).not.toMatch(/secret/);
  });

  test('nothing is written without it', async () => {
    expect(await lines('')).toEqual([]);
    expect(await lines('net2')).toEqual([]);
  });
});

test('a connection that never comes to be is none of theirs', async () => {
  const told = watch('connection', 'close');
  const { port, wss } = await serve({ verifyClient: () => false });
  const peer = await rawConnect(port);
  peer.write(upgradeRequest());
  await peer.when(({ head }) => head !== null);
  expect(peer.status).toBe(401);
  expect(told).toEqual([]);
  expect(wss.context.stats().connections).toBe(0);
});
