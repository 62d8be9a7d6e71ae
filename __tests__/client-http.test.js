// Clients whose options ask for Node's HTTP client: TLS, Unix sockets, agents, redirects.

const { once } = require('node:events');
const fs = require('node:fs');
const http = require('node:http');
const https = require('node:https');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');

const ws = require('ws');
const { WebSocket } = require('./support/uvws.js');
const { makeCertificate } = require('./support/certificate.js');
const { closing, defer, dial, failure, open, serve, testOurs } = require('./support/fixtures.js');

/** An HTTP server that echoes over WebSockets at every path; remembers its requests. */
async function httpServer(server = http.createServer(), address = 0) {
  const requests = [];
  const wss = new ws.WebSocketServer({ noServer: true });
  server.on('upgrade', (request, socket, head) => {
    requests.push(request);
    if (server.redirect?.(request, socket)) return;
    wss.handleUpgrade(request, socket, head, (websocket) => {
      websocket.on('message', (data, binary) => websocket.send(data, { binary }));
    });
  });
  server.listen(address);
  await once(server, 'listening');
  defer(async () => {
    for (const each of wss.clients) each.terminate();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  const { port } = server.address();
  return { server, requests, port, url: `ws://localhost:${port}` };
}

/** Answers every upgrade with a redirect. */
function redirectTo(server, location) {
  server.redirect = (request, socket) => {
    const target = typeof location === 'function' ? location(request) : location;
    if (target === null) return false;
    socket.end(`HTTP/1.1 302 Found\r\nLocation: ${target}\r\nConnection: close\r\n\r\n`);
    return true;
  };
}

async function echo(websocket, message) {
  const received = once(websocket, 'message');
  websocket.send(message);
  const [data, isBinary] = await received;
  return isBinary ? data : data.toString();
}

/** Resolves with the error of a client that does not come to be open, when it is closed. */
async function errorOf(websocket) {
  const { error, count, code } = await failure(websocket);
  expect({ count, code }).toEqual({ count: 1, code: 1006 });
  return error;
}

const AGENT = { agent: new http.Agent() };

test('an agent makes the connection, which then goes on natively', async () => {
  const { url, requests } = await httpServer();
  const websocket = await open(url, { agent: new http.Agent() });
  expect(await echo(websocket, 'hello')).toBe('hello');
  const big = Buffer.alloc(1_000_000, 7);
  expect((await echo(websocket, big)).equals(big)).toBe(true);
  expect(requests[0].headers['sec-websocket-version']).toBe('13');
  websocket.close(4000, 'bye');
  expect(await closing(websocket)).toEqual({ code: 4000, reason: 'bye' });
});

test('the headers are those of ws, in its order', async () => {
  const { url, port, requests } = await httpServer();
  await open(url, ['a', 'b'], {
    ...AGENT,
    perMessageDeflate: false,
    origin: 'https://example.com',
    headers: { 'X-Foo': 'bar' },
  });
  const names = requests[0].rawHeaders.filter((_, index) => index % 2 === 0);
  expect(names).toEqual([
    'X-Foo',
    'Sec-WebSocket-Version',
    'Sec-WebSocket-Key',
    'Connection',
    'Upgrade',
    'Sec-WebSocket-Protocol',
    'Origin',
    'Host',
  ]);
  expect(requests[0].headers).toMatchObject({
    'sec-websocket-protocol': 'a,b',
    host: `localhost:${port}`,
    origin: 'https://example.com',
  });
});

test('version 8 names the origin otherwise', async () => {
  const { url, requests } = await httpServer();
  await open(url, { protocolVersion: 8, origin: 'https://example.com' });
  expect(requests[0].headers).toMatchObject({
    'sec-websocket-version': '8',
    'sec-websocket-origin': 'https://example.com',
  });
});

test('createConnection makes the socket, which stays the one of the WebSocket', async () => {
  const { url, port } = await httpServer();
  let socket;
  const websocket = await open(url, {
    createConnection: (options) => {
      socket = net.connect({ port: options.port, host: options.host });
      return socket;
    },
  });
  expect(websocket._socket).toBe(socket);
  expect(websocket._socket.remotePort).toBe(port);
  expect(await echo(websocket, 'x')).toBe('x');
});

test('lookup resolves the name', async () => {
  const { port } = await httpServer();
  const websocket = await open(`ws://no.such.host:${port}`, {
    lookup: (_name, options, callback) => {
      const found = { address: '127.0.0.1', family: 4 };
      if (options.all) callback(null, [found]);
      else callback(null, found.address, found.family);
    },
  });
  expect(await echo(websocket, 'x')).toBe('x');
});

test('finishRequest may change the request, and has to end it', async () => {
  const { url, requests } = await httpServer();
  let seen;
  const websocket = dial(url, {
    finishRequest: (request, itself) => {
      seen = itself;
      setImmediate(() => {
        request.setHeader('X-Late', '1');
        request.end();
      });
    },
  });
  await once(websocket, 'open');
  expect(seen).toBe(websocket);
  expect(requests[0].headers['x-late']).toBe('1');
});

test('generateMask makes the masking keys, and messages arrive all the same', async () => {
  const { url } = await httpServer();
  let calls = 0;
  const websocket = await open(url, {
    perMessageDeflate: false,
    generateMask: (mask) => {
      calls++;
      mask.fill(0);
    },
  });
  for (const size of [0, 1, 125, 126, 65_535, 65_536, 300_000]) {
    const message = Buffer.alloc(size, size & 255);
    expect((await echo(websocket, message)).equals(message)).toBe(true);
  }
  expect(calls).toBeGreaterThanOrEqual(7);
});

describe('what a listener that is added behind the constructor changes', () => {
  test('unexpected-response gets the request and the response of Node', async () => {
    const server = http.createServer((_request, response) => {
      response.writeHead(401, { 'X-Why': 'because' }).end('no');
    });
    server.on('upgrade', (_request, socket) => {
      socket.end('HTTP/1.1 401 Unauthorized\r\nX-Why: because\r\nContent-Length: 2\r\n\r\nno');
    });
    server.listen(0);
    await once(server, 'listening');
    defer(() => new Promise((resolve) => server.close(resolve)));
    const websocket = dial(`ws://localhost:${server.address().port}`);
    const [request, response] = await once(websocket, 'unexpected-response');
    expect(request).toBeInstanceOf(http.ClientRequest);
    expect(response.statusCode).toBe(401);
    expect(response.headers['x-why']).toBe('because');
    let body = '';
    for await (const chunk of response.setEncoding('utf8')) body += chunk;
    expect(body).toBe('no');
    expect(websocket.readyState).toBe(WebSocket.CONNECTING);
    const failed = errorOf(websocket);
    websocket.close();
    expect((await failed).message).toBe(
      'WebSocket was closed before the connection was established',
    );
  });

  test('who looks at the request gets one', async () => {
    const { url, requests } = await httpServer();
    const websocket = dial(url);
    const key = websocket._req.getHeader('Sec-WebSocket-Key');
    await once(websocket, 'open');
    expect(requests[0].headers['sec-websocket-key']).toBe(key);
    expect(websocket._req).toBe(null);
  });
});

describe('what fails', () => {
  const KEY = /^sec-websocket-key: (.*)$/im;

  /** A client whose handshake is answered by `answer(key)`. */
  async function answered(answer, ...rest) {
    const server = net.createServer((socket) => {
      socket.on('error', () => {});
      socket.once('data', (data) => socket.end(answer(KEY.exec(data.toString())[1].trim())));
    });
    server.listen(0);
    await once(server, 'listening');
    defer(() => new Promise((resolve) => server.close(resolve)));
    const websocket = dial(`ws://localhost:${server.address().port}`, ...rest);
    const error = await errorOf(websocket);
    return error.message;
  }

  const head = (...lines) =>
    ['HTTP/1.1 101 Switching Protocols', 'Connection: Upgrade', ...lines, '\r\n'].join('\r\n');
  const accept = (key) =>
    require('node:crypto')
      .createHash('sha1')
      .update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
      .digest('base64');

  test.each([
    ['Unexpected server response: 404', () => 'HTTP/1.1 404 Not Found\r\n\r\n', []],
    ['Invalid Upgrade header', () => head('Upgrade: foo'), []],
    ['Invalid Sec-WebSocket-Accept header', () => head('Upgrade: websocket'), []],
    [
      'Server sent no subprotocol',
      (key) => head('Upgrade: websocket', `Sec-WebSocket-Accept: ${accept(key)}`),
      ['a'],
    ],
    [
      'Server sent an invalid subprotocol',
      (key) =>
        head(
          'Upgrade: websocket',
          `Sec-WebSocket-Accept: ${accept(key)}`,
          'Sec-WebSocket-Protocol: b',
        ),
      ['a'],
    ],
    [
      'Server sent a subprotocol but none was requested',
      (key) =>
        head(
          'Upgrade: websocket',
          `Sec-WebSocket-Accept: ${accept(key)}`,
          'Sec-WebSocket-Protocol: b',
        ),
      [],
    ],
    [
      'Server sent a Sec-WebSocket-Extensions header but no extension was requested',
      (key) =>
        head(
          'Upgrade: websocket',
          `Sec-WebSocket-Accept: ${accept(key)}`,
          'Sec-WebSocket-Extensions: permessage-deflate',
        ),
      [],
    ],
  ])('%s', async (message, answer, protocols) => {
    expect(await answered(answer, protocols, { ...AGENT, perMessageDeflate: false })).toBe(message);
  });

  test('a connection that cannot be made', async () => {
    const { port } = await httpServer();
    const server = net.createServer().listen(0);
    await once(server, 'listening');
    const { port: free } = server.address();
    await new Promise((resolve) => server.close(resolve));
    expect(port).not.toBe(free);
    const error = await errorOf(dial(`ws://127.0.0.1:${free}`, AGENT));
    expect(error.code).toBe('ECONNREFUSED');
  });

  test('handshakeTimeout', async () => {
    const server = net.createServer((socket) => socket.on('error', () => {}).resume());
    server.listen(0);
    await once(server, 'listening');
    defer(() => new Promise((resolve) => server.close(resolve)));
    const websocket = dial(`ws://localhost:${server.address().port}`, {
      ...AGENT,
      handshakeTimeout: 50,
    });
    expect((await errorOf(websocket)).message).toBe('Opening handshake has timed out');
  });

  test('close() and terminate() before it is open', async () => {
    const { url } = await httpServer();
    for (const end of ['close', 'terminate']) {
      const websocket = dial(url, AGENT);
      websocket[end]();
      expect(websocket.readyState).toBe(WebSocket.CLOSING);
      const error = await errorOf(websocket);
      expect(error.message).toBe('WebSocket was closed before the connection was established');
    }
  });

  testOurs('the context is closed meanwhile', async () => {
    const { Context } = require('..');
    const { url } = await httpServer();
    const context = new Context();
    const websocket = dial(url, { ...AGENT, context });
    const failed = errorOf(websocket);
    await context.close();
    expect((await failed).code).toBe('ERR_UVWS_CONTEXT_CLOSED');
  });

  testOurs('the signal aborts', async () => {
    const { url } = await httpServer();
    const controller = new AbortController();
    const websocket = dial(url, { ...AGENT, signal: controller.signal });
    controller.abort();
    expect((await errorOf(websocket)).code).toBe('ABORT_ERR');
  });
});

describe('redirects', () => {
  test('are followed if followRedirects says so', async () => {
    const { server, url, requests } = await httpServer();
    redirectTo(server, (request) => (request.url === '/end' ? null : '/end'));
    const websocket = await open(`${url}/start`, { followRedirects: true });
    expect(websocket.url).toBe(`${url}/end`);
    expect(websocket._redirects).toBe(1);
    expect(requests.map((request) => request.url)).toEqual(['/start', '/end']);
    expect(await echo(websocket, 'x')).toBe('x');
  });

  test('are an error otherwise', async () => {
    const { server, url } = await httpServer();
    redirectTo(server, '/end');
    expect((await errorOf(dial(url))).message).toBe('Unexpected server response: 302');
  });

  test('are followed at most maxRedirects times', async () => {
    const { server, url, requests } = await httpServer();
    redirectTo(server, '/again');
    const websocket = dial(url, { followRedirects: true, maxRedirects: 2 });
    expect((await errorOf(websocket)).message).toBe('Maximum redirects exceeded');
    expect(requests).toHaveLength(3);
  });

  test('to what is no URL are an error', async () => {
    const { server, url } = await httpServer();
    redirectTo(server, 'ws://');
    const error = await errorOf(dial(url, { followRedirects: true }));
    expect(error.name).toBe('SyntaxError');
    expect(error.message).toBe('Invalid URL: ws://');
  });

  test.each([
    [false, undefined],
    [true, 'secret'],
  ])(
    'to another host carry credentials only with a redirect listener (%p)',
    async (isHeard, expected) => {
      const target = await httpServer();
      const { server, url } = await httpServer();
      redirectTo(server, `ws://127.0.0.1:${target.port}/`);
      const websocket = dial(url, {
        followRedirects: true,
        headers: { Authorization: 'secret', Cookie: 'a=b', 'X-Other': 'c' },
      });
      const heard = [];
      if (isHeard) websocket.on('redirect', (to, request) => heard.push([to, request]));
      await once(websocket, 'open');
      const { headers } = target.requests[0];
      expect(headers.authorization).toBe(expected);
      expect(headers['x-other']).toBe('c');
      expect(heard).toHaveLength(isHeard ? 1 : 0);
    },
  );
});

describe('TLS', () => {
  let certificate;
  beforeAll(() => {
    certificate = makeCertificate();
  });

  async function secureServer() {
    const { port, requests } = await httpServer(https.createServer(certificate));
    return { requests, port, url: `wss://localhost:${port}` };
  }

  test('carries messages of all sizes both ways', async () => {
    const { url } = await secureServer();
    const websocket = await open(url, { ca: certificate.cert, perMessageDeflate: false });
    expect(websocket._socket.encrypted).toBe(true);
    expect(websocket._socket.authorized).toBe(true);
    expect(await echo(websocket, 'text')).toBe('text');
    for (const size of [0, 1, 126, 65_536, 3_000_000]) {
      const message = Buffer.alloc(size, size & 255);
      expect((await echo(websocket, message)).equals(message)).toBe(true);
    }
    websocket.close(1000, 'done');
    expect(await closing(websocket)).toEqual({ code: 1000, reason: 'done' });
    expect(websocket._socket.destroyed).toBe(true);
  });

  test('does not trust what nobody has signed, unless told so', async () => {
    const { url } = await secureServer();
    expect((await errorOf(dial(url))).code).toBe('DEPTH_ZERO_SELF_SIGNED_CERT');
    await open(url, { rejectUnauthorized: false });
  });

  test('leaves the default port out of the Host header', async () => {
    const addRequest = jest.fn();
    const agent = Object.assign(new https.Agent(), { addRequest });
    dial('wss://localhost', { agent }).on('error', () => {});
    expect(addRequest.mock.calls[0][0].getHeader('host')).toBe('localhost');
  });

  test('terminate() drops the connection', async () => {
    const { url } = await secureServer();
    const websocket = await open(url, { ca: certificate.cert });
    websocket.terminate();
    expect(await closing(websocket)).toEqual({ code: 1006, reason: '' });
  });
});

test('a Unix socket is reached with ws+unix:', async () => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'uvws-unix-'));
  defer(() => fs.rmSync(directory, { recursive: true }));
  const file = path.join(directory, 's');
  const { requests } = await httpServer(http.createServer(), file);
  const websocket = await open(`ws+unix:${file}:/path?a=b`);
  expect(requests[0].url).toBe('/path?a=b');
  expect(await echo(websocket, 'x')).toBe('x');
  await open(`ws+unix:${file}`);
  expect(requests[1].url).toBe('/');
});

testOurs('a URL that was given is not changed', () => {
  const url = new URL('http://localhost:1');
  dial(url).on('error', () => {});
  expect(url.href).toBe('http://localhost:1/');
});

test('without allowSynchronousEvents each message has a turn of the loop', async () => {
  const { wss, url } = await serve();
  wss.on('connection', (websocket) => {
    for (let i = 0; i < 300; i++) websocket.send(String(i));
    websocket.ping();
    websocket.close(4001, 'over');
  });
  const websocket = dial(url, { allowSynchronousEvents: false });
  let turn = 0;
  const next = () => {
    turn++;
    timer = setImmediate(next);
  };
  let timer = setImmediate(next);
  const turns = [];
  const messages = [];
  websocket.on('message', (data) => {
    turns.push(turn);
    messages.push(Number(data.toString()));
  });
  let pings = 0;
  websocket.on('ping', () => pings++);
  expect(await closing(websocket)).toEqual({ code: 4001, reason: 'over' });
  clearImmediate(timer);
  expect(messages).toEqual(Array.from({ length: 300 }, (_, i) => i));
  expect(new Set(turns).size).toBe(300);
  expect(pings).toBe(1);
});

testOurs('destroy() does not leave a handshake behind that Node does', async () => {
  const { Context } = require('..');
  const { url } = await httpServer();
  const context = new Context();
  const websocket = dial(url, { ...AGENT, context });
  expect(context.stats().pendingConnects).toBe(1);
  const seen = [];
  websocket.on('error', (error) => seen.push(error.code));
  websocket.on('close', () => seen.push('websocket'));
  context.on('close', () => seen.push('context'));
  await context.destroy();
  expect(seen).toEqual(['ERR_UVWS_CONTEXT_CLOSED', 'websocket', 'context']);
});

test("an 'upgrade' listener gets the response of Node, even one that is not acceptable", async () => {
  const server = net.createServer((socket) => {
    socket.once('data', () => {
      socket.end('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n');
    });
  });
  server.listen(0);
  await once(server, 'listening');
  defer(() => new Promise((resolve) => server.close(resolve)));
  const websocket = dial(`ws://localhost:${server.address().port}`);
  const upgraded = once(websocket, 'upgrade');
  const failed = errorOf(websocket);
  const [response] = await upgraded;
  expect(response).toBeInstanceOf(http.IncomingMessage);
  expect(response.headers.upgrade).toBe('x');
  expect((await failed).message).toBe('Invalid Upgrade header');
});

test('a connection that an agent made and one that Node carries compress', async () => {
  const compressing = new ws.WebSocketServer({ port: 0, perMessageDeflate: true });
  defer(() => new Promise((resolve) => compressing.close(resolve)));
  await once(compressing, 'listening');
  compressing.on('connection', (websocket) => {
    websocket.on('message', (data, binary) => websocket.send(data, { binary }));
  });
  const { port } = compressing.address();
  for (const options of [AGENT, { createConnection: () => net.connect(port, 'localhost') }]) {
    const websocket = await open(`ws://localhost:${port}`, options);
    expect(websocket.extensions).toBe('permessage-deflate');
    const message = 'compressible '.repeat(10_000);
    expect(await echo(websocket, message)).toBe(message);
    expect(websocket._socket.bytesRead).toBeLessThan(message.length / 2);
    websocket.close();
    await closing(websocket);
  }
});
