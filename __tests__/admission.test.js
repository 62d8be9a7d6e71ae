// How many may connect, from where, and by when: what is refused, with which status, and that it is
// counted.

const assert = require('node:assert/strict');
const { once } = require('node:events');
const http = require('node:http');
const net = require('node:net');

const {
  closeServer,
  closing,
  defer,
  dial,
  open,
  rawConnect,
  serve,
} = require('./support/fixtures.js');
const { CARRIERS, carry } = require('./support/carriers.js');
const { upgradeRequest } = require('./support/peers.js');
const { delay, until } = require('./support/tools.js');
const { Context, WebSocketServer } = require('./support/uvws.js');

/** How often each limit was breached, without those that were not. */
function breaches(owner) {
  return Object.fromEntries(Object.entries(owner.stats().limits).filter(([, count]) => count > 0));
}

/** Drops the peer of a connection and waits for the server's end of it. */
async function leave({ peer, server }) {
  const closed = closing(server);
  await peer.destroy();
  await closed;
}

describe.each(CARRIERS)('on %s', (carrier) => {
  test('maxConnections refuses one more with 503, until one is gone', async () => {
    const { pair, upgrade, wss } = await carry(carrier, { maxConnections: 2 });
    const first = await pair();
    await pair();
    for (let i = 0; i < 3; i++) {
      const refused = await upgrade();
      expect(refused.status).toBe(503);
      await refused.when(({ hasEnded, hasClosed }) => hasEnded || hasClosed);
    }
    expect(wss.clients.size).toBe(2);
    expect(breaches(wss)).toEqual({ maxConnections: 3 });
    expect(wss.stats()).toMatchObject({ connections: 2, connectionsOpened: 2 });
    await leave(first);
    await pair();
    expect((await upgrade()).status).toBe(503);
    expect(wss.stats()).toMatchObject({ connections: 2, connectionsOpened: 3 });
  });

  test('maxConnectionsPerAddress refuses one more with 503, until one is gone', async () => {
    const { pair, upgrade, wss } = await carry(carrier, { maxConnectionsPerAddress: 1 });
    for (let i = 1; i <= 3; i++) {
      const one = await pair();
      expect((await upgrade()).status).toBe(503);
      expect(breaches(wss)).toEqual({ maxConnectionsPerAddress: i });
      await leave(one);
    }
  });

  test('what a verifyClient refuses is not counted, and what is open meanwhile is', async () => {
    let answer;
    const { pair, upgrade, wss } = await carry(carrier, {
      maxConnections: 1,
      verifyClient: (_info, callback) => {
        if (answer === undefined) callback(true);
        else answer.push(callback);
      },
    });
    answer = [];
    const refused = upgrade();
    await until(() => answer.length === 1);
    answer[0](false, 401);
    const peer = await refused;
    expect(peer.status).toBe(401);
    await peer.destroy();
    await until(() => wss.stats().pendingHandshakes === 0);
    answer = undefined;
    await pair();
    expect((await upgrade()).status).toBe(503);
  });

  test('allowedOrigins lets in what is listed exactly, and nothing else', async () => {
    const allowedOrigins = [
      'https://example.com',
      'http://localhost:8080',
      'chrome-extension://abc',
    ];
    const verifyClient = jest.fn(() => true);
    const { upgrade, wss } = await carry(carrier, { allowedOrigins, verifyClient });
    for (const origin of allowedOrigins) {
      expect((await upgrade({ lines: [`Origin: ${origin}`] })).status).toBe(101);
    }
    expect(verifyClient).toHaveBeenCalledTimes(3);
    const refused = [
      [],
      ['Origin:'],
      ['Origin: null'],
      ['Origin: https://example.com.evil.com'],
      ['Origin: https://example.com/'],
      ['Origin: https://example.com:443'],
      ['Origin: http://example.com'],
      ['Origin: HTTPS://EXAMPLE.COM'],
      ['Origin: https://example.com https://example.com'],
      ['Origin: https://example.com, https://example.com'],
      ['Origin: https://example.com', 'Origin: https://example.com'],
      ['Origin: https://example.com', 'Origin: https://evil.com'],
      ['Origin: \x80\xff'],
      ['Origin: __proto__'],
      ['Origin: constructor'],
    ];
    for (const lines of refused) {
      expect([lines, (await upgrade({ lines })).status]).toEqual([lines, 403]);
    }
    expect(verifyClient).toHaveBeenCalledTimes(3);
    expect(breaches(wss)).toEqual({ allowedOrigins: refused.length });
  });

  test('allowedOrigins may list null, and may be a function that says true', async () => {
    const { upgrade, wss } = await carry(carrier, { allowedOrigins: ['null'] });
    expect((await upgrade({ lines: ['Origin: null'] })).status).toBe(101);
    expect((await upgrade()).status).toBe(403);

    const seen = [];
    wss.options.allowedOrigins = (origin, request) => {
      seen.push([origin, request.url]);
      return origin === undefined || origin === 'https://a.example';
    };
    expect((await upgrade()).status).toBe(101);
    expect((await upgrade({ lines: ['Origin: https://a.example'] })).status).toBe(101);
    expect((await upgrade({ lines: ['Origin: https://b.example'] })).status).toBe(403);
    // It is not asked about what is none.
    expect((await upgrade({ lines: ['Origin: a b'] })).status).toBe(403);
    expect(seen.map(([origin]) => origin)).toEqual([
      undefined,
      'https://a.example',
      'https://b.example',
    ]);
    expect(seen[0][1]).toBe('/');
    wss.options.allowedOrigins = async () => true;
    expect((await upgrade()).status).toBe(403);
  });
});

test('allowedOrigins looks at the header that version 8 has for it', async () => {
  const { port } = await serve({ allowedOrigins: ['https://example.com'] });
  const ws = dial(`ws://127.0.0.1:${port}`, { protocolVersion: 8, origin: 'https://example.com' });
  await once(ws, 'open');
  const other = dial(`ws://127.0.0.1:${port}`, { protocolVersion: 8, origin: 'https://other.com' });
  const [error] = await once(other, 'error');
  expect(error.message).toBe('Unexpected server response: 403');
});

test('100,000 origins of any characters are refused without an exception', async () => {
  const { isAllowedOrigin } = require('../lib/origin.js');
  const seen = new Set();
  const allowed = (origin) => seen.add(origin);
  let seed = 1;
  const random = (below) => (seed = (seed * 48271) % 2147483647) % below;
  for (let i = 0; i < 100_000; i++) {
    const length = random(40);
    const origin = String.fromCharCode(...Array.from({ length }, () => random(256)));
    if (isAllowedOrigin(['https://example.com'], { headers: { origin } })) throw new Error(origin);
    isAllowedOrigin(allowed, { headers: { origin } });
  }
  for (const origin of seen) expect(origin).toMatch(/^(null$|[a-z][^,\s]*:\/\/)/i);
});

describe('maxConnectionsPerAddress', () => {
  /** A server on both IP versions, or nothing where there is no IPv6. */
  async function serveBoth(options) {
    const started = await serve({ host: '::', ...options });
    return started;
  }

  test('takes IPv4 and its form for IPv6 as one address', async () => {
    const { port, wss } = await serveBoth({ maxConnectionsPerAddress: 1 });
    // To a server of both versions this is ::ffff:127.0.0.1.
    await open(`ws://127.0.0.1:${port}`);
    await open(`ws://[::1]:${port}`);
    for (const host of ['127.0.0.1', '[::1]']) {
      const [error] = await once(dial(`ws://${host}:${port}`), 'error');
      expect(error.message).toBe('Unexpected server response: 503');
    }
    expect(breaches(wss)).toEqual({ maxConnectionsPerAddress: 2 });
    // Another address of the same host.
    const other = await rawConnect(port, { localAddress: '127.0.0.2' });
    other.write(upgradeRequest());
    await other.when(({ head }) => head !== null);
    expect(other.status).toBe(101);
  });

  test('takes a network of 64 bits of IPv6 as one address', () => {
    const native = require('../lib/addon.js');
    const id = native.admissionCreate(0, 1);
    for (const [address, isFree] of [
      ['2001:db8:1:2::1', true],
      ['2001:db8:1:2:ffff:ffff:ffff:ffff', false],
      ['2001:db8:1:3::1', true],
      ['192.0.2.1', true],
      ['::ffff:192.0.2.1', false],
      ['::ffff:c000:201', false],
      ['192.0.2.2', true],
      [undefined, true],
      [undefined, true],
      ['no address', true],
    ]) {
      expect([address, native.admissionEnter(id, address) === -1]).toEqual([address, isFree]);
    }
    native.admissionLeave(id, '2001:db8:1:2:3:4:5:6');
    expect(native.admissionEnter(id, '2001:db8:1:2::2')).toBe(-1);
    native.admissionRelease(id);
    expect(native.admissionEnter(id, '2001:db8:1:2::3')).toBe(-1);
  });

  test('counts connections that send no request, from when they are accepted', async () => {
    const { port, wss } = await serve({ maxConnectionsPerAddress: 2 });
    const idle = [await rawConnect(port), await rawConnect(port)];
    const refused = await rawConnect(port);
    await refused.when(({ head }) => head !== null);
    expect(refused.status).toBe(503);
    await Promise.all(idle.map((peer) => peer.destroy()));
    await until(() => wss.stats().pendingHandshakes <= 1);
    await open(`ws://127.0.0.1:${port}`);
  });
});

test('a server without clientTracking that is closed goes on counting until its last one is gone', async () => {
  const server = http.createServer();
  const wss = new WebSocketServer({ server, clientTracking: false, maxConnections: 1 });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  defer(() => new Promise((resolve) => server.close(resolve)));
  const connected = once(wss, 'connection');
  const client = await open(`ws://127.0.0.1:${server.address().port}`);
  const [ws] = await connected;
  await new Promise((resolve) => wss.close(resolve));
  expect(wss.stats().connections).toBe(1);
  const closed = closing(ws);
  client.terminate();
  await closed;
  expect(wss.stats().connections).toBe(0);
});

test('a server that is closed twice takes no limit from another one', async () => {
  const first = new WebSocketServer({ noServer: true, maxConnections: 1 });
  await new Promise((resolve) => first.close(resolve));
  const { upgrade } = await carry('an adopted socket', { maxConnections: 1 });
  first.close();
  expect((await upgrade()).status).toBe(101);
  expect((await upgrade()).status).toBe(503);
});

test('a server that cannot be made leaves nothing of its limits', () => {
  const server = http.createServer();
  const limits = { maxConnections: 1 };
  const there = new WebSocketServer({ server, hostname: 'a.test' });
  defer(() => closeServer(there));
  const numberOf = () => {
    const wss = new WebSocketServer({ noServer: true, ...limits });
    const { id } = wss._admission;
    wss._admission.end();
    wss.close();
    return id;
  };
  const before = numberOf();
  const protocols = { chat: { init: () => assert.fail('init') } };
  expect(() => new WebSocketServer({ noServer: true, protocols, ...limits })).toThrow('init');
  expect(() => new WebSocketServer({ server, hostname: 'a.test', ...limits })).toThrow('a.test');
  expect(numberOf()).toBe(before);
});

test('servers that share a port count their own connections, once their requests tell whose they are', async () => {
  const { port, wss: first } = await serve({ hostname: 'a.test', maxConnections: 1 });
  const { wss: second } = await serve({
    port,
    hostname: 'b.test',
    maxConnections: 2,
    maxConnectionsPerAddress: 2,
  });
  const connect = (host) => dial(`ws://127.0.0.1:${port}`, { headers: { host } });
  const isRefused = async (host) => {
    const [error] = await once(connect(host), 'error');
    expect(error.message).toBe('Unexpected server response: 503');
  };
  const a = connect('a.test');
  await once(a, 'open');
  await isRefused('a.test');
  await once(connect('b.test'), 'open');
  await once(connect('b.test'), 'open');
  await isRefused('b.test');
  expect(breaches(first)).toEqual({ maxConnections: 1 });
  expect(breaches(second)).toEqual({ maxConnections: 1 });
  const [ws] = first.clients;
  const closed = closing(ws);
  a.terminate();
  await closed;
  await once(connect('a.test'), 'open');
});

describe('maxPendingHandshakes', () => {
  test('stops accepting until there are fewer', async () => {
    const { port, url, wss } = await serve({ maxPendingHandshakes: 3 });
    const idle = [];
    for (let i = 0; i < 3; i++) idle.push(await rawConnect(port));
    await until(() => wss.stats().pendingHandshakes === 3);
    const late = dial(url);
    // The system has accepted it, and nobody reads its request.
    await delay(50);
    expect(wss.stats().pendingHandshakes).toBe(3);
    expect(late.readyState).toBe(late.CONNECTING);
    expect(breaches(wss)).toEqual({ maxPendingHandshakes: 1 });
    const opened = once(late, 'open');
    await idle[0].destroy();
    await opened;
    // Open ones do not count.
    await open(url);
    expect(wss.stats().pendingHandshakes).toBe(2);
  });

  test('is not reached by any number of open connections', async () => {
    const { url, wss } = await serve({ maxPendingHandshakes: 1 });
    for (let i = 0; i < 5; i++) await open(url);
    expect(wss.stats()).toMatchObject({ connections: 5, pendingHandshakes: 0 });
  });

  test('counts requests that wait for verifyClient, and refused ones until they are gone', async () => {
    const callbacks = [];
    const { port, url, wss } = await serve({
      maxPendingHandshakes: 2,
      verifyClient: (_info, callback) => callbacks.push(callback),
    });
    const undecided = dial(url);
    await until(() => callbacks.length === 1);
    const refused = await rawConnect(port, { allowHalfOpen: true });
    refused.write('garbage\r\n\r\n');
    await refused.when(({ hasEnded }) => hasEnded);
    expect(refused.status).toBe(400);
    const next = dial(url);
    await delay(30);
    expect(callbacks).toHaveLength(1);
    refused.socket.end();
    await until(() => callbacks.length === 2);
    for (const callback of callbacks) callback(true);
    await until(() => undecided.readyState === undecided.OPEN && next.readyState === next.OPEN);
    expect(wss.stats().pendingHandshakes).toBe(0);
  });

  test('lets a flood of idle connections wait in the system, and serves all in the end', async () => {
    const { port, url, wss } = await serve({ maxPendingHandshakes: 8, handshakeTimeout: 100 });
    const sockets = Array.from({ length: 100 }, () => net.connect(port, '127.0.0.1'));
    for (const socket of sockets) {
      socket.on('error', () => {});
      defer(() => socket.destroy());
    }
    await Promise.all(sockets.map((socket) => once(socket, 'connect')));
    const most = () => expect(wss.stats().pendingHandshakes).toBeLessThanOrEqual(8);
    const timer = setInterval(most, 5);
    const ws = dial(url, { handshakeTimeout: 20_000 });
    await once(ws, 'open');
    clearInterval(timer);
    expect(breaches(wss).handshakeTimeout).toBeGreaterThanOrEqual(90);
  });

  test('a server that does not accept closes, and so does its context', async () => {
    for (const end of [
      (context, wss) => new Promise((resolve) => wss.close(resolve)).then(() => context.destroy()),
      (context) => context.close({ timeout: 50 }),
      (context) => context.destroy(),
      (context) => context.drain(),
    ]) {
      const context = new Context();
      const options = { port: 0, host: '127.0.0.1', context, maxPendingHandshakes: 1 };
      const wss = new WebSocketServer({ ...options, handshakeTimeout: 200 });
      await once(wss, 'listening');
      const { port } = wss.address();
      const peers = [];
      for (let i = 0; i < 3; i++) peers.push(await rawConnect(port));
      await until(() => wss.stats().pendingHandshakes === 1);
      await end(context, wss);
      expect(context.stats().handles).toBe(0);
      for (const peer of peers) await peer.when(({ hasEnded, hasClosed }) => hasEnded || hasClosed);
    }
  });
});

describe('handshakeTimeout', () => {
  test('is 408 where bytes came, however they dribble, and a silent end where none did', async () => {
    const { port, wss } = await serve({ handshakeTimeout: 400 });
    const start = performance.now();
    const [dribbling, silent] = [await rawConnect(port), await rawConnect(port)];
    const timer = setInterval(() => dribbling.write('G'), 10);
    defer(() => clearInterval(timer));
    await dribbling.when(({ hasEnded }) => hasEnded);
    clearInterval(timer);
    expect(dribbling.status).toBe(408);
    expect(performance.now() - start).toBeGreaterThan(390);
    await silent.when(({ hasEnded, hasClosed }) => hasEnded || hasClosed);
    expect(silent.text).toBe('');
    expect(breaches(wss)).toEqual({ handshakeTimeout: 2 });
  });

  test('is 10 seconds without the option', () => {
    const wss = new WebSocketServer({ noServer: true });
    defer(() => wss.close());
    expect(wss.options.handshakeTimeout).toBe(10_000);
  });
});

test('a head that is too long, or of too many lines, is counted', async () => {
  const { port, wss } = await serve();
  for (const [lines, limits] of [
    [[`x: ${'x'.repeat(17 * 1024)}`], { maxHeaderSize: 1 }],
    [Array(2_001).fill('a:'), { maxHeaderSize: 1, maxHeadersCount: 1 }],
  ]) {
    const peer = await rawConnect(port);
    peer.write(upgradeRequest({ lines }));
    await peer.when(({ head }) => head !== null);
    expect(peer.status).toBe(431);
    await until(() => JSON.stringify(breaches(wss)) === JSON.stringify(limits));
  }
});

test.each([
  ['maxConnections', 0],
  ['maxConnections', -1],
  ['maxConnections', 1.5],
  ['maxConnections', NaN],
  ['maxConnections', 2 ** 32],
  ['maxConnections', '5'],
  ['maxConnectionsPerAddress', 0],
  ['maxConnectionsPerAddress', {}],
  ['maxPendingHandshakes', 0],
  ['maxPendingHandshakes', '1'],
  ['allowedOrigins', 'https://example.com'],
  ['allowedOrigins', ['https://example.com/']],
  ['allowedOrigins', ['https://example.com:443']],
  ['allowedOrigins', ['HTTPS://example.com']],
  ['allowedOrigins', ['https://bücher.example']],
  ['allowedOrigins', ['example.com']],
  ['allowedOrigins', ['*']],
  ['allowedOrigins', [null]],
  ['allowedOrigins', new Set()],
])('%s: %p throws at once', (name, value) => {
  const make = () => new WebSocketServer({ noServer: true, [name]: value });
  expect(make).toThrow(new RegExp(`"options\\.${name}" must `));
});

test.each([
  ['maxConnections', Infinity],
  ['maxConnections', undefined],
  ['maxConnectionsPerAddress', 2 ** 32 - 1],
  ['maxPendingHandshakes', Infinity],
  ['allowedOrigins', null],
  ['allowedOrigins', []],
  ['allowedOrigins', ['null', 'http://[::1]:8080', 'https://xn--bcher-kva.example', 'app://-']],
])('%s: %p is taken', (name, value) => {
  const wss = new WebSocketServer({ noServer: true, [name]: value });
  defer(() => wss.close());
});
