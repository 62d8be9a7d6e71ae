// Clients that go through a proxy.

const { once } = require('node:events');
const fs = require('node:fs');
const https = require('node:https');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');

const { Context, WebSocket, WebSocketServer } = require('./support/uvws.js');
const { makeCertificate } = require('./support/certificate.js');
const { closing, defer, dial, failure, open, serve, thrownBy } = require('./support/fixtures.js');
const proxies = require('./support/proxies.js');
const { until } = require('./support/tools.js');
const { proxyFor } = require('../lib/proxy/settings.js');
const Address = require('../lib/address.js');

/** A server that echoes. */
async function echoServer() {
  const { wss, port, url } = await serve();
  wss.on('connection', (ws) => {
    ws.on('message', (data, binary) => ws.send(data, { binary }));
  });
  return { port, url };
}

/** The same over TLS, for localhost. */
async function secureEchoServer(certificate) {
  const server = https.createServer(certificate);
  const wss = new WebSocketServer({ server });
  wss.on('connection', (ws) => {
    ws.on('message', (data, binary) => ws.send(data, { binary }));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  defer(async () => {
    for (const each of wss.clients) each.terminate();
    wss.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return { port: server.address().port, url: `wss://localhost:${server.address().port}` };
}

/** Starts a proxy, which is ended after the test. */
async function start(kind, ...args) {
  const proxy = await proxies[kind](...args);
  defer(() => proxy.close());
  return proxy;
}

async function echo(websocket, message) {
  const received = once(websocket, 'message');
  websocket.send(message);
  const [data] = await received;
  return String(data);
}

/** Resolves with the error of a client that does not come to be open, when it is closed. */
async function errorOf(websocket) {
  const { error, count, code } = await failure(websocket);
  expect({ count, code }).toEqual({ count: 1, code: 1006 });
  return error;
}

describe('HTTP CONNECT', () => {
  test('a ws: client tunnels, and is native afterwards', async () => {
    const { port } = await echoServer();
    const proxy = await start('httpProxy');
    const client = await open(`ws://localhost:${port}/path`, {
      proxy: `http://127.0.0.1:${proxy.port}`,
    });
    const [{ url, headers }] = proxy.requests;
    expect(url).toBe(`localhost:${port}`);
    expect(headers.host).toBe(`localhost:${port}`);
    expect(headers).not.toHaveProperty('proxy-authorization');
    expect(client._socket).not.toBeInstanceOf(net.Socket);
    expect(client._socket.remotePort).toBe(proxy.port);
    expect(await echo(client, 'hello')).toBe('hello');
    const big = 'x'.repeat(500_000);
    expect(await echo(client, big)).toBe(big);
    client.close(4000, 'bye');
    expect(await closing(client)).toEqual({ code: 4000, reason: 'bye' });
  });

  test('credentials of the URL are decoded and sent', async () => {
    const { url } = await echoServer();
    const proxy = await start('httpProxy');
    await open(url, { proxy: new URL(`http://us%40er:p%3Ass@127.0.0.1:${proxy.port}`) });
    const [{ headers }] = proxy.requests;
    expect(headers['proxy-authorization']).toBe(
      `Basic ${Buffer.from('us@er:p:ss').toString('base64')}`,
    );
  });

  test('an object has credentials and headers of its own', async () => {
    const { url } = await echoServer();
    const proxy = await start('httpProxy');
    const place = `127.0.0.1:${proxy.port}`;
    await open(url, {
      proxy: { url: place, username: 'me', password: 'secret', headers: { 'X-Team': 'blue' } },
    });
    await open(url, { proxy: { url: place, headers: { 'proxy-authorization': 'Bearer token' } } });
    const [first, second] = proxy.requests;
    expect(first.headers).toMatchObject({
      'proxy-authorization': `Basic ${Buffer.from('me:secret').toString('base64')}`,
      'x-team': 'blue',
    });
    expect(second.headers['proxy-authorization']).toBe('Bearer token');
  });

  test('an IPv6 address goes in brackets', async () => {
    const proxy = await start('httpProxy', { refuse: () => 'HTTP/1.1 502 Bad Gateway\r\n\r\n' });
    const client = dial('ws://[::1]:9/', { proxy: `http://127.0.0.1:${proxy.port}` });
    expect(await errorOf(client)).toMatchObject({ code: 'ERR_UVWS_PROXY', status: 502 });
    expect(proxy.requests[0].url).toBe('[::1]:9');
  });

  test('wss: is spoken with the destination, through the tunnel', async () => {
    const certificate = makeCertificate();
    const { url, port } = await secureEchoServer(certificate);
    const proxy = await start('httpProxy');
    const client = await open(url, {
      ca: certificate.cert,
      proxy: `http://127.0.0.1:${proxy.port}`,
    });
    expect(proxy.requests[0].url).toBe(`localhost:${port}`);
    expect(client._socket.encrypted).toBe(true);
    expect(await echo(client, 'hello')).toBe('hello');
  });

  test('a certificate of the destination that is not trusted is refused', async () => {
    const { url } = await secureEchoServer(makeCertificate());
    const proxy = await start('httpProxy');
    const client = dial(url, { proxy: `http://127.0.0.1:${proxy.port}` });
    expect((await errorOf(client)).code).toBe('DEPTH_ZERO_SELF_SIGNED_CERT');
  });

  test('the proxy itself may be reached over TLS', async () => {
    const certificate = makeCertificate();
    const [plain, secure] = [await echoServer(), await secureEchoServer(makeCertificate())];
    const proxy = await start('httpProxy', { tls: certificate });
    const place = `https://localhost:${proxy.port}`;
    const options = { proxy: { url: place, tls: { ca: certificate.cert } } };
    const client = await open(plain.url, options);
    expect(await echo(client, 'plain')).toBe('plain');
    const twice = await open(secure.url, { ...options, rejectUnauthorized: false });
    expect(await echo(twice, 'TLS in TLS')).toBe('TLS in TLS');
    // What the options say about the destination's certificate does not hold for the proxy's.
    const error = await errorOf(dial(plain.url, { proxy: place, rejectUnauthorized: false }));
    expect(error.code).toBe('ERR_UVWS_PROXY');
    expect(error.cause.code).toBe('DEPTH_ZERO_SELF_SIGNED_CERT');
  });

  test('407 is told with its status, and without the password', async () => {
    const refuse = () =>
      'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="x"\r\nContent-Length: 2\r\n\r\nno';
    const proxy = await start('httpProxy', { refuse });
    const client = dial('ws://localhost:1/', {
      proxy: `http://user:secret@127.0.0.1:${proxy.port}`,
    });
    const error = await errorOf(client);
    expect(error).toMatchObject({ code: 'ERR_UVWS_PROXY', status: 407 });
    expect(error.message).toBe(`The proxy http://127.0.0.1:${proxy.port} has answered with 407`);
  });

  test('provisional answers are skipped', async () => {
    const { port } = await echoServer();
    const proxy = await start('rawProxy', (socket) => {
      socket.once('data', () => {
        socket.write('HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n');
        const target = net.connect(port, '127.0.0.1', () => {
          socket.write('HTTP/1.0 200\r\n\r\n');
          socket.pipe(target).pipe(socket);
        });
      });
    });
    const client = await open('ws://elsewhere.test/', {
      proxy: `http://127.0.0.1:${proxy.port}`,
    });
    expect(await echo(client, 'hello')).toBe('hello');
  });
});

describe('SOCKS5', () => {
  test('socks5h: leaves the name to the proxy', async () => {
    const { port } = await echoServer();
    const proxy = await start('socksProxy', port);
    const client = await open('ws://no.such.host:4660/', {
      proxy: `socks5h://127.0.0.1:${proxy.port}`,
    });
    expect(await echo(client, 'hello')).toBe('hello');
    expect(client._socket).not.toBeInstanceOf(net.Socket);
    const [{ greeting, credentials, request }] = proxy.requests;
    expect([...greeting]).toEqual([5, 1, 0]);
    expect(credentials).toBeNull();
    expect(request).toEqual(
      Buffer.concat([
        Buffer.from([5, 1, 0, 3, 12]),
        Buffer.from('no.such.host'),
        Buffer.from([0x12, 0x34]),
      ]),
    );
  });

  test('socks5: looks the name up itself', async () => {
    const { port } = await echoServer();
    const proxy = await start('socksProxy', port);
    await open('ws://some.name:80/', {
      proxy: `socks5://127.0.0.1:${proxy.port}`,
      lookup: (name, _options, callback) => callback(null, '192.0.2.7', 4),
    });
    expect([...proxy.requests[0].request]).toEqual([5, 1, 0, 1, 192, 0, 2, 7, 0, 80]);
    const failing = dial('ws://some.name:80/', {
      proxy: `socks5://127.0.0.1:${proxy.port}`,
      lookup: (_name, _options, callback) => {
        callback(Object.assign(new Error('unknown'), { code: 'ENOTFOUND' }));
      },
    });
    expect((await errorOf(failing)).code).toBe('ENOTFOUND');
  });

  test.each([
    ['10.1.2.3', [1, 10, 1, 2, 3]],
    ['[2001:db8::1:0:2]', [4, 0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2]],
    ['[::ffff:1.2.3.4]', [4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 1, 2, 3, 4]],
    ['[::]', [4, ...new Array(16).fill(0)]],
  ])('the address %s is sent as one', async (host, bytes) => {
    const { port } = await echoServer();
    const proxy = await start('socksProxy', port);
    await open(`ws://${host}:258/`, { proxy: `socks5h://127.0.0.1:${proxy.port}` });
    expect([...proxy.requests[0].request]).toEqual([5, 1, 0, ...bytes, 1, 2]);
  });

  test('user name and password are given when asked for', async () => {
    const { port } = await echoServer();
    const proxy = await start('socksProxy', port, { method: 2 });
    await open('ws://localhost/', { proxy: `socks5h://%C3%BC:pass@127.0.0.1:${proxy.port}` });
    const [{ greeting, credentials }] = proxy.requests;
    expect([...greeting]).toEqual([5, 2, 0, 2]);
    expect(credentials).toEqual(Buffer.from('\x01\x02\xc3\xbc\x04pass', 'latin1'));
  });

  test.each([
    ['a name', [5, 0, 0, 3, 4, 1, 2, 3, 4, 0, 80]],
    ['an IPv6 address', [5, 0, 0, 4, ...new Array(18).fill(1)]],
    ['an empty name', [5, 0, 0, 3, 0, 0, 80]],
  ])('the reply may hold %s', async (_what, reply) => {
    const { port } = await echoServer();
    const proxy = await start('socksProxy', port, { reply });
    const client = await open('ws://localhost/', { proxy: `socks5h://127.0.0.1:${proxy.port}` });
    expect(await echo(client, 'hello')).toBe('hello');
  });

  test.each([
    ['another method', { method: 0xff }, 'accepts no way of authentication that was offered'],
    [
      'a method that was not offered',
      { method: 1 },
      'accepts no way of authentication that was offered',
    ],
    [
      'a refused password',
      { method: 2, status: 1 },
      'does not accept the user name and the password',
    ],
    ['another version', { reply: [4, 0, 0, 1, 0, 0, 0, 0, 0, 0] }, 'does not speak SOCKS5'],
    ['an unknown address', { reply: [5, 0, 0, 9, 0, 0, 0, 0, 0, 0] }, 'does not speak SOCKS5'],
    ['a short refusal', { reply: [5, 5, 0, 1] }, 'was refused by the host', 5],
    ['an unknown reply', { reply: [5, 200, 0, 1] }, 'has failed', 200],
    [
      'more than a reply',
      { reply: [5, 0, 0, 1, 0, 0, 0, 0, 0, 0, 7] },
      'has sent more than an answer',
    ],
  ])('%s is an error', async (_what, behaviour, message, ...reply) => {
    const { port } = await echoServer();
    const proxy = await start('socksProxy', port, behaviour);
    const place = `127.0.0.1:${proxy.port}`;
    const error = await errorOf(dial('ws://localhost/', { proxy: `socks5h://u:p@${place}` }));
    expect(error).toMatchObject({ code: 'ERR_UVWS_PROXY' });
    expect(error.message).toBe(`The proxy socks5h://${place} ${message}`);
    expect(error.reply).toBe(reply[0]);
    await until(() => proxy.sockets.size === 0, 'the end of the connection');
  });
});

describe('a proxy that does harm', () => {
  const ENDLESS = Buffer.from(`X-Filler: ${'y'.repeat(1000)}\r\n`);

  test.each([
    ['garbage', 'SSH-2.0-OpenSSH_9.2\r\n', 'does not speak HTTP'],
    ['one byte of garbage', 'x', 'does not speak HTTP'],
    ['another protocol of that name', 'HTTP/1.1.1 200 OK\r\n\r\n', 'does not speak HTTP'],
    ['a status that is none', 'HTTP/1.1 2000 OK\r\n\r\n', 'does not speak HTTP'],
    ['a bare line feed', 'HTTP/1.1 200 OK\nX: y\r\n\r\n', 'does not speak HTTP'],
    ['data behind its answer', 'HTTP/1.1 200 OK\r\n\r\nhello', 'has sent more than an answer'],
    [
      'provisional answers for ever',
      'HTTP/1.1 100 Continue\r\n\r\n'.repeat(20),
      'does not come to an answer',
    ],
    [
      'a long head in one piece',
      `HTTP/1.1 200 OK\r\n${ENDLESS.toString().repeat(20)}\r\n`,
      'sends too long an answer',
    ],
  ])('%s is an error', async (_what, bytes, message) => {
    const proxy = await start('rawProxy', (socket) =>
      socket.once('data', () => socket.write(bytes)),
    );
    const place = `http://127.0.0.1:${proxy.port}`;
    const error = await errorOf(dial('ws://localhost:1/', { proxy: place }));
    expect(error).toMatchObject({
      code: 'ERR_UVWS_PROXY',
      message: `The proxy ${place} ${message}`,
    });
    await until(() => proxy.sockets.size === 0, 'the end of the connection');
  });

  test('an answer without end is cut off', async () => {
    let written = 0;
    const proxy = await start('rawProxy', (socket) => {
      socket.write('HTTP/1.1 200 OK\r\n');
      const more = () => {
        while (!socket.destroyed && socket.write(ENDLESS)) written += ENDLESS.length;
      };
      socket.on('drain', more);
      more();
    });
    const error = await errorOf(dial('ws://localhost:1/', { proxy: `127.0.0.1:${proxy.port}` }));
    expect(error.message).toMatch(/sends too long an answer$/);
    await until(() => proxy.sockets.size === 0, 'the end of the connection');
    // What the kernel takes in advance, at most.
    expect(written).toBeLessThan(64 * 1024 * 1024);
  });

  test.each([
    ['before it is asked', (socket) => socket.end()],
    ['when it is asked', (socket) => socket.once('data', () => socket.end())],
    ['within its answer', (socket) => socket.end('HTTP/1.1 200 OK\r\nX: ')],
  ])('a connection that is closed %s is an error', async (_when, script) => {
    const proxy = await start('rawProxy', script);
    const error = await errorOf(dial('ws://localhost:1/', { proxy: `127.0.0.1:${proxy.port}` }));
    expect(error.code).toBe('ERR_UVWS_PROXY');
    expect(error.message).toMatch(/has (closed|dropped) the connection$/);
  });

  test('a connection that is reset is an error', async () => {
    const proxy = await start('rawProxy', (socket) => {
      socket.once('data', () => socket.resetAndDestroy());
    });
    const error = await errorOf(dial('ws://localhost:1/', { proxy: `127.0.0.1:${proxy.port}` }));
    expect(error.code).toBe('ERR_UVWS_PROXY');
    expect(error.cause.code).toBe('ECONNRESET');
  });

  test('nobody there is an error', async () => {
    const proxy = await proxies.rawProxy(() => {});
    await proxy.close();
    const error = await errorOf(dial('ws://localhost:1/', { proxy: `127.0.0.1:${proxy.port}` }));
    expect(error).toMatchObject({
      code: 'ERR_UVWS_PROXY',
      message: `The proxy http://127.0.0.1:${proxy.port} cannot be reached`,
    });
    expect(error.cause.code).toBe('ECONNREFUSED');
  });

  /** A proxy that sends a byte now and then, for ever. */
  function dribble(socket) {
    const timer = setInterval(() => socket.write('x'), 20);
    socket.write('HTTP/1.1 200 OK\r\nX: ');
    socket.on('close', () => clearInterval(timer));
  }

  test.each([
    ['handshakeTimeout', { handshakeTimeout: 150 }, { message: 'Opening handshake has timed out' }],
    ['connectTimeout', { connectTimeout: 150 }, { code: 'ERR_UVWS_CONNECT_TIMEOUT' }],
    ['signal', () => ({ signal: AbortSignal.timeout(150) }), { code: 'ABORT_ERR' }],
  ])('%s ends what dribbles', async (_name, options, expected) => {
    const proxy = await start('rawProxy', dribble);
    const client = dial('ws://localhost:1/', {
      proxy: `127.0.0.1:${proxy.port}`,
      ...(typeof options === 'function' ? options() : options),
    });
    expect(await errorOf(client)).toMatchObject(expected);
    await until(() => proxy.sockets.size === 0, 'the end of the connection');
  });

  test('handshakeTimeout holds for the proxy and what comes behind it together', async () => {
    const proxy = await start('rawProxy', (socket) => {
      socket.once('data', () => socket.write('HTTP/1.1 200 OK\r\n\r\n'));
    });
    const client = dial('wss://localhost:1/', {
      proxy: `127.0.0.1:${proxy.port}`,
      handshakeTimeout: 300,
      connectTimeout: 60_000,
    });
    expect((await errorOf(client)).message).toBe('Opening handshake has timed out');
  });

  test.each([
    ['close', (client) => client.close()],
    ['terminate', (client) => client.terminate()],
  ])('%s() gives it up', async (_name, end) => {
    const proxy = await start('rawProxy', dribble);
    const client = dial('ws://localhost:1/', { proxy: `127.0.0.1:${proxy.port}` });
    await until(() => proxy.sockets.size === 1, 'the connection');
    const failed = errorOf(client);
    end(client);
    expect((await failed).message).toBe(
      'WebSocket was closed before the connection was established',
    );
    await until(() => proxy.sockets.size === 0, 'the end of the connection');
  });

  test('destroying the context gives it up', async () => {
    const context = new Context();
    const proxy = await start('rawProxy', dribble);
    const client = dial('ws://localhost:1/', { context, proxy: `127.0.0.1:${proxy.port}` });
    await until(() => proxy.sockets.size === 1, 'the connection');
    const failed = errorOf(client);
    await context.destroy();
    expect((await failed).code).toBe('ERR_UVWS_CONTEXT_CLOSED');
    await until(() => proxy.sockets.size === 0, 'the end of the connection');
  });
});

describe('the options', () => {
  test.each([
    [42, TypeError, '"options.proxy" must be a string, a URL or an object, received 42'],
    [{}, TypeError, '"options.proxy.url" must be a string or a URL, received undefined'],
    [{ url: 'p', username: 1 }, TypeError, '"options.proxy.username" must be a string, received 1'],
    [{ url: 'p', headers: 1 }, TypeError, '"options.proxy.headers" must be an object, received 1'],
    [{ url: 'p', tls: null }, TypeError, '"options.proxy.tls" must be an object, received null'],
    ['http://', SyntaxError, '"options.proxy" is not a valid URL'],
    [
      'socks4://host',
      SyntaxError,
      '"options.proxy" must be an "http:", "https:", "socks5:" or "socks5h:" URL of a proxy',
    ],
    [
      `socks5://${'u'.repeat(256)}@host`,
      RangeError,
      'User name and password of "options.proxy" have at most 255 bytes for SOCKS5',
    ],
  ])('%j throws', (proxy, Class, message) => {
    const error = thrownBy(() => new WebSocket('ws://localhost:1/', { proxy }));
    expect(error).toBeInstanceOf(Class);
    expect(error.message).toBe(message);
  });

  test('a header that is not valid throws', () => {
    const proxy = { url: 'http://host', headers: { 'X-A': 'a\r\nb' } };
    expect(thrownBy(() => new WebSocket('ws://localhost:1/', { proxy })).code).toBe(
      'ERR_INVALID_CHAR',
    );
  });

  test.each(['agent', 'createConnection'])('%s excludes it', (name) => {
    const options = { proxy: 'env', [name]: () => {} };
    expect(thrownBy(() => new WebSocket('ws://localhost:1/', options)).message).toBe(
      `"options.proxy" and "options.${name}" exclude each other`,
    );
  });

  test('a Unix domain socket needs no proxy', async () => {
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'uvws-proxy-'));
    defer(() => fs.rmSync(directory, { recursive: true, force: true }));
    const file = path.join(directory, 'socket');
    const server = net.createServer((socket) => {
      socket.resume().end('HTTP/1.1 400 Bad Request\r\n\r\n');
    });
    server.listen(file);
    await once(server, 'listening');
    defer(() => new Promise((resolve) => server.close(resolve)));
    const client = dial(`ws+unix:${file}:/`, { proxy: 'http://127.0.0.1:1' });
    expect((await errorOf(client)).message).toBe('Unexpected server response: 400');
  });
});

describe('the environment', () => {
  const NAMES = ['http_proxy', 'https_proxy', 'all_proxy', 'no_proxy'];
  const VARIABLES = [...NAMES, ...NAMES.map((name) => name.toUpperCase()), 'REQUEST_METHOD'];
  let before;

  beforeEach(() => {
    before = VARIABLES.map((name) => [name, process.env[name]]);
    for (const name of VARIABLES) delete process.env[name];
  });

  afterEach(() => {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  });

  /** The host of the proxy for `url` with these variables, or null. */
  function hostFor(url, variables) {
    Object.assign(process.env, variables);
    const proxy = proxyFor(new Address(url), 'env');
    return proxy === null ? null : proxy.host;
  }

  test.each([
    ['ws://a.test', {}, null],
    ['ws://a.test', { HTTP_PROXY: 'http://upper' }, 'upper'],
    ['ws://a.test', { HTTP_PROXY: 'http://upper', http_proxy: 'http://lower' }, 'lower'],
    ['ws://a.test', { HTTPS_PROXY: 'http://secure' }, null],
    ['wss://a.test', { HTTPS_PROXY: 'http://secure', HTTP_PROXY: 'http://plain' }, 'secure'],
    ['wss://a.test', { ALL_PROXY: 'socks5://all' }, 'all'],
    ['wss://a.test', { ALL_PROXY: 'socks5://all', https_proxy: 'http://secure' }, 'secure'],
    ['wss://a.test', { ALL_PROXY: 'socks5://upper', all_proxy: 'socks5://lower' }, 'lower'],
    ['ws://a.test', { http_proxy: '', ALL_PROXY: 'socks5://all' }, 'all'],
    ['ws://a.test', { http_proxy: 'bare.test:3128' }, 'bare.test'],
    // A request may set it, where a program runs by CGI.
    ['ws://a.test', { HTTP_PROXY: 'http://upper', REQUEST_METHOD: 'GET' }, null],
    ['ws://a.test', { http_proxy: 'http://lower', REQUEST_METHOD: 'GET' }, 'lower'],
    ['ws+unix:/path', { ALL_PROXY: 'http://all' }, null],
  ])('%s with %j goes by %j', (url, variables, host) => {
    expect(hostFor(url, variables)).toBe(host);
  });

  test.each([
    ['a.test', '*', true],
    ['a.test', 'a.test', true],
    ['b.a.test', 'a.test', true],
    ['b.a.test', '.a.test', true],
    ['a.test', '.a.test', true],
    ['b.a.test', '*.a.test', true],
    ['ba.test', 'a.test', false],
    ['a.test', 'b.a.test', false],
    ['A.Test', 'a.tEST', true],
    ['a.test.', 'a.test', true],
    ['a.test', 'a.test.', true],
    ['a.test', 'x.test, a.test ,y.test', true],
    ['a.test', 'x.test a.test', true],
    ['a.test', 'x.test,,', false],
    ['a.test', 'x.test,*', false],
    ['a.test:81', 'a.test:81', true],
    ['a.test:81', 'a.test:82', false],
    ['a.test', 'a.test:80', true],
    ['10.0.0.1', '10.0.0.1', true],
    ['10.0.0.1', '0.0.1', false],
    ['10.1.2.3', '10.0.0.0/8', true],
    ['11.1.2.3', '10.0.0.0/8', false],
    ['10.1.2.3', '10.0.0.0/33', false],
    ['10.1.2.3', '10.0.0.0/x', false],
    ['10.1.2.3', '11.0.0.0/', false],
    ['[::1]', '::1', true],
    ['[::1]', '[::1]', true],
    ['[::1]:81', '[::1]:81', true],
    ['[::1]:81', '[::1]:82', false],
    ['[2001:db8::5]', '2001:db8::/32', true],
    ['[2001:db9::5]', '2001:db8::/32', false],
    ['[::1]', '127.0.0.1', false],
    ['a.test', '10.0.0.0/8', false],
  ])('%s with NO_PROXY=%j is exempt: %j', (host, list, isExempt) => {
    const variables = { ALL_PROXY: 'http://proxy', NO_PROXY: list };
    expect(hostFor(`ws://${host}/`, variables)).toBe(isExempt ? null : 'proxy');
  });

  test('the lower case of NO_PROXY counts first', () => {
    const variables = { ALL_PROXY: 'http://proxy', no_proxy: 'b.test', NO_PROXY: '*' };
    expect(hostFor('ws://a.test', variables)).toBe('proxy');
  });

  test('a variable that is no URL throws, without showing it', () => {
    process.env.HTTP_PROXY = 'http://user:secret@';
    const error = thrownBy(() => new WebSocket('ws://localhost:1/', { proxy: 'env' }));
    expect(error.message).toBe('HTTP_PROXY is not a valid URL');
  });

  test('a client asks it if told to, and is native if there is no proxy', async () => {
    const { url, port } = await echoServer();
    const proxy = await start('httpProxy');
    process.env.HTTP_PROXY = `http://127.0.0.1:${proxy.port}`;
    await open(url);
    expect(proxy.requests.length).toBe(0);
    await open(url, { proxy: 'env' });
    expect(proxy.requests.length).toBe(1);
    process.env.NO_PROXY = `127.0.0.1:${port}`;
    const direct = await open(url, { proxy: 'env' });
    expect(proxy.requests.length).toBe(1);
    expect(direct._socket.remotePort).toBe(port);
  });

  test('it is asked again for each redirect', async () => {
    const { url } = await echoServer();
    const redirecting = net.createServer((socket) => {
      socket.resume().end(`HTTP/1.1 302 Found\r\nLocation: ${url}\r\n\r\n`);
    });
    redirecting.listen(0, '127.0.0.1');
    await once(redirecting, 'listening');
    defer(() => new Promise((resolve) => redirecting.close(resolve)));
    const proxy = await start('httpProxy');
    const { port } = redirecting.address();
    process.env.HTTP_PROXY = `http://127.0.0.1:${proxy.port}`;
    process.env.NO_PROXY = `127.0.0.1:${port}`;
    const client = await open(`ws://127.0.0.1:${port}/`, { proxy: 'env', followRedirects: true });
    expect(await echo(client, 'hello')).toBe('hello');
    expect(proxy.requests.map((request) => request.url)).toEqual([new URL(url).host]);
  });
});

describe('proxies of others', () => {
  test.each([
    ['tinyproxy', 'http'],
    ['microsocks', 'socks5'],
    ['microsocks', 'socks5h'],
  ])('%s by %s, plain and with TLS', async (name, scheme) => {
    const certificate = makeCertificate();
    const [plain, secure] = [await echoServer(), await secureEchoServer(certificate)];
    const { port } = await start(name);
    const proxy = `${scheme}://user:pass@127.0.0.1:${port}`;
    for (const url of [plain.url, secure.url]) {
      const client = await open(url, { proxy, ca: certificate.cert });
      const big = 'x'.repeat(300_000);
      expect(await echo(client, big)).toBe(big);
      client.close(1000);
      expect((await closing(client)).code).toBe(1000);
    }
    const error = await errorOf(
      dial(plain.url, { proxy: `${scheme}://user:no@127.0.0.1:${port}` }),
    );
    expect(error.code).toBe('ERR_UVWS_PROXY');
  });
});
