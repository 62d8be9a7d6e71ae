const { once } = require('node:events');
const http = require('node:http');

const {
  closing,
  dial,
  failure,
  open,
  pair,
  rawPairOfClient,
  rawServer,
  serve,
  testOurs,
  thrownBy,
} = require('./support/fixtures.js');
const frames = require('./support/frames.js');
const { acceptFor, freePort, upgradeResponse } = require('./support/peers.js');
const { WebSocket } = require('./support/uvws.js');

describe('the constructor of a client', () => {
  test.each([
    ['foo', 'Invalid URL: foo'],
    ['', 'Invalid URL: '],
    [undefined, 'Invalid URL: undefined'],
    [
      'ftp://localhost',
      'The URL\'s protocol must be one of "ws:", "wss:", "http:", "https:", or "ws+unix:"',
    ],
    ['ws://localhost#here', 'The URL contains a fragment identifier'],
    ['ws+unix:', "The URL's pathname is empty"],
  ])('throws a SyntaxError for the URL %p', (url, message) => {
    expect(() => new WebSocket(url)).toThrow(new SyntaxError(message));
  });

  test.each([
    ['a NUL', 'a\0b'],
    ['a space', 'a b'],
    ['a control character', 'a\x01b'],
    ['DEL', 'a\x7fb'],
    ['nothing', ''],
  ])('throws a SyntaxError for a host name with %s', (_name, host) => {
    const url = `ws://${host}/`;
    expect(() => new WebSocket(url)).toThrow(new SyntaxError(`Invalid URL: ${url}`));
  });

  testOurs('throws a SyntaxError for a host name that is too long to be one', async () => {
    const longest = `${`${'a'.repeat(62)}.`.repeat(4)}a`;
    for (const name of [`${longest}a`, `${longest}a.`]) {
      expect(() => new WebSocket(`ws://${name}`)).toThrow(
        new SyntaxError("The URL's host name is longer than 253 characters"),
      );
    }
    // Looked up, and by nobody on a network.
    for (const name of [longest, `${longest}.`]) {
      const lookup = (host, _options, answer) =>
        answer(Object.assign(new Error(host), { code: 'ENOTFOUND' }));
      const { error } = await failure(dial(`ws://${name}`, { lookup }));
      expect([error.code, error.message]).toEqual(['ENOTFOUND', name]);
    }
  });

  test.each([
    ['', ''],
    ['null', null],
    ['a space', 'a b'],
    ['a comma', 'a,b'],
    ['the same one twice', ['a', 'a']],
    ['one that is empty', ['']],
    ['one that is no string', [1]],
  ])('throws a SyntaxError for a subprotocol: %s', (_name, protocols) => {
    expect(() => new WebSocket('ws://localhost', protocols)).toThrow(
      new SyntaxError('An invalid or duplicated subprotocol was specified'),
    );
  });

  test('throws a RangeError for an unknown protocol version', () => {
    expect(() => new WebSocket('ws://localhost', { protocolVersion: 1000 })).toThrow(
      new RangeError('Unsupported protocol version: 1000 (supported versions: 8, 13)'),
    );
  });

  test.each([
    ['a line break', { 'X-A': 'a\r\nX-B: b' }],
    ['a name with a space', { 'X A': 'a' }],
    ['NUL', { 'X-A': 'a\0' }],
  ])('throws for a header with %s', (_name, headers) => {
    const error = thrownBy(() => new WebSocket('ws://localhost', { headers }));
    expect(error.name).toBe('TypeError');
  });

  test('takes a URL object, and does not change it', async () => {
    const { port } = await serve();
    const url = new URL(`http://127.0.0.1:${port}/path`);
    const ws = await open(url);
    expect(ws.url).toBe(`ws://127.0.0.1:${port}/path`);
    expect(url.href).toBe(`http://127.0.0.1:${port}/path`);
  });

  test('takes options in the place of subprotocols', async () => {
    const { url, wss } = await serve();
    const connected = once(wss, 'connection');
    await open(url, { headers: { 'X-Here': 'yes' } });
    const [, request] = await connected;
    expect(request.headers['x-here']).toBe('yes');
  });

  test('makes the object of a server connection when the address is null', () => {
    const ws = new WebSocket(null, undefined, { autoPong: true, closeTimeout: 30_000 });
    expect(ws.readyState).toBe(WebSocket.CONNECTING);
    expect(ws.url).toBeUndefined();
  });
});

describe('properties', () => {
  test('have their values before the connection is open', async () => {
    const { url } = await serve();
    const ws = dial(url);
    expect(ws).toMatchObject({
      binaryType: 'nodebuffer',
      bufferedAmount: 0,
      extensions: '',
      isPaused: false,
      protocol: '',
      readyState: WebSocket.CONNECTING,
      url: `${url}/`,
      onopen: null,
      onmessage: null,
      onclose: null,
      onerror: null,
    });
    await once(ws, 'open');
    expect(ws.readyState).toBe(WebSocket.OPEN);
    const closed = closing(ws);
    ws.close();
    expect(ws.readyState).toBe(WebSocket.CLOSING);
    await closed;
    expect(ws.readyState).toBe(WebSocket.CLOSED);
  });

  test.each(['binaryType', 'bufferedAmount', 'extensions', 'isPaused', 'protocol', 'url'])(
    '%s is an enumerable accessor of the prototype',
    (name) => {
      expect(Object.getOwnPropertyDescriptor(WebSocket.prototype, name)).toMatchObject({
        configurable: true,
        enumerable: true,
        get: expect.any(Function),
      });
    },
  );

  test.each(['CONNECTING', 'OPEN', 'CLOSING', 'CLOSED'])('%s is a constant', (name) => {
    const value = ['CONNECTING', 'OPEN', 'CLOSING', 'CLOSED'].indexOf(name);
    const descriptor = { configurable: false, enumerable: true, value, writable: false };
    expect(Object.getOwnPropertyDescriptor(WebSocket, name)).toEqual(descriptor);
    expect(Object.getOwnPropertyDescriptor(WebSocket.prototype, name)).toEqual(descriptor);
  });

  test('binaryType ignores what it does not know', () => {
    const ws = new WebSocket(null, undefined, {});
    for (const type of ['fragments', 'arraybuffer', 'nodebuffer']) {
      ws.binaryType = type;
      expect(ws.binaryType).toBe(type);
      ws.binaryType = 'something else';
      expect(ws.binaryType).toBe(type);
    }
  });
});

describe('the request', () => {
  /** Connects to a plain server and returns the head that it gets. */
  async function requestOf(url, ...rest) {
    const server = await rawServer();
    const ws = dial(server.url + url, ...rest);
    const peer = await server.peer();
    await once(ws, 'open');
    return { head: peer.head, port: server.port };
  }

  test('is one of RFC 6455 section 4.1', async () => {
    const { head, port } = await requestOf('/path?a=b', { perMessageDeflate: false });
    const [line, ...lines] = head.split('\r\n');
    expect(line).toBe('GET /path?a=b HTTP/1.1');
    expect(lines).toContain(`Host: 127.0.0.1:${port}`);
    expect(lines).toContain('Upgrade: websocket');
    expect(lines).toContain('Connection: Upgrade');
    expect(lines).toContain('Sec-WebSocket-Version: 13');
    const key = /Sec-WebSocket-Key: (.*)/.exec(head)[1].trim();
    expect(Buffer.from(key, 'base64')).toHaveLength(16);
    expect(head).not.toMatch(/Sec-WebSocket-Protocol|Origin:|Authorization/);
  });

  test('has a new key each time', async () => {
    const server = await rawServer();
    const keys = new Set();
    for (let i = 0; i < 10; i++) {
      dial(server.url);
      const peer = await server.peer(i);
      keys.add(/Sec-WebSocket-Key: (.*)/.exec(peer.head)[1]);
    }
    expect(keys.size).toBe(10);
  });

  test('has the headers, the origin and the subprotocols that were given', async () => {
    const options = { headers: { 'X-One': '1', 'X-Two': ['a', 'b'] }, origin: 'http://here' };
    const server = await rawServer({
      respond: (peer) =>
        peer.write(upgradeResponse(peer.head, ['Sec-WebSocket-Protocol: superchat'])),
    });
    const ws = dial(server.url, ['chat', 'superchat'], options);
    const { head } = await server.peer();
    await once(ws, 'open');
    expect(ws.protocol).toBe('superchat');
    expect(head).toMatch(/\r\nX-One: 1\r\n/);
    expect(head).toMatch(/\r\nX-Two: a\r\nX-Two: b\r\n/);
    expect(head).toMatch(/\r\nOrigin: http:\/\/here\r\n/);
    expect(head).toMatch(/\r\nSec-WebSocket-Protocol: chat,superchat\r\n/);
  });

  test('has the Host header of the caller, if there is one', async () => {
    const { head } = await requestOf('/', { headers: { Host: 'example.com' } });
    expect(head.match(/^host: .*$/gim)).toEqual([expect.stringMatching(/^host: example.com/i)]);
  });

  test('has the credentials of the option, or rather of the URL', async () => {
    const basic = (text) => `Authorization: Basic ${Buffer.from(text).toString('base64')}`;
    const server = await rawServer();
    dial(server.url, { auth: 'foo:bar' });
    expect((await server.peer(0)).head).toContain(basic('foo:bar'));
    const url = new URL(server.url);
    url.username = 'me';
    url.password = 'p%40ss';
    dial(url, { auth: 'foo:bar' });
    expect((await server.peer(1)).head).toContain(basic('me:p@ss'));
  });
});

describe('the handshake of a client', () => {
  /** Answers the request with a text, and returns how the client fails. */
  async function answer(text, ...rest) {
    const server = await rawServer({
      respond: (peer) => peer.socket.end(typeof text === 'function' ? text(peer.head) : text),
    });
    return failure(dial(server.url, ...rest));
  }
  const accept = (head) => acceptFor(/Sec-WebSocket-Key: (.*)\r/.exec(head)[1]);
  const response = (lines) => (head) =>
    [
      'HTTP/1.1 101 Switching Protocols',
      ...lines.map((line) => line.replace('{accept}', accept(head))),
      '',
      '',
    ].join('\r\n');
  const GOOD = ['Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Accept: {accept}'];

  test.each([200, 302, 401, 404, 426, 500, 503])('fails by the status %i', async (status) => {
    const result = await answer(`HTTP/1.1 ${status} Whatever\r\nContent-Length: 2\r\n\r\nno`);
    expect(result.error.message).toBe(`Unexpected server response: ${status}`);
    expect(result).toMatchObject({ code: 1006, count: 1, reason: '' });
  });

  test.each([
    ['no Upgrade header', ['Connection: Upgrade'], 'Invalid Upgrade header'],
    [
      'another Upgrade header',
      ['Connection: Upgrade', 'Upgrade: h2c', 'Sec-WebSocket-Accept: {accept}'],
      'Invalid Upgrade header',
    ],
    [
      'no accept header',
      ['Upgrade: websocket', 'Connection: Upgrade'],
      'Invalid Sec-WebSocket-Accept header',
    ],
    [
      'a wrong accept header',
      ['Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Accept: AAAA'],
      'Invalid Sec-WebSocket-Accept header',
    ],
    [
      'a subprotocol that was not asked for',
      [...GOOD, 'Sec-WebSocket-Protocol: chat'],
      'Server sent a subprotocol but none was requested',
    ],
    [
      'an extension that was not asked for',
      [...GOOD, 'Sec-WebSocket-Extensions: permessage-deflate'],
      'Server sent a Sec-WebSocket-Extensions header but no extension was requested',
    ],
  ])('fails by %s', async (_name, lines, message) => {
    // Without an Upgrade header Node's parser, below ws, sees a plain response.
    const isPlain = lines.length === 1 && process.env.UVWS_TEST_SUBJECT === 'ws';
    const result = await answer(response(lines), { perMessageDeflate: false });
    if (!isPlain) expect(result.error.message).toBe(message);
    expect(result).toMatchObject({ code: 1006, count: 1 });
  });

  test('fails by a subprotocol that is none of those asked for, and by none at all', async () => {
    const other = await answer(response([...GOOD, 'Sec-WebSocket-Protocol: other']), ['chat']);
    expect(other.error.message).toBe('Server sent an invalid subprotocol');
    const none = await answer(response(GOOD), ['chat']);
    expect(none.error.message).toBe('Server sent no subprotocol');
  });

  test.each([
    ['garbage', 'this is no HTTP at all\r\n\r\n'],
    ['nothing', ''],
    ['half a head', 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: web'],
    ['a status line without a number', 'HTTP/1.1 abc Switching\r\n\r\n'],
  ])('fails by %s', async (_name, text) => {
    const { error, code, count } = await answer(text);
    expect(error.message).toEqual(expect.any(String));
    expect([code, count]).toEqual([1006, 1]);
  });

  test('fails by a head that does not end', async () => {
    const server = await rawServer({
      respond(peer) {
        peer.write('HTTP/1.1 101 Switching Protocols\r\n');
        const line = `X-Filler: ${'x'.repeat(1000)}\r\n`;
        for (let i = 0; i < 200; i++) peer.write(line);
      },
    });
    const { error, count } = await failure(dial(server.url));
    expect(error.message).toEqual(expect.any(String));
    expect(count).toBe(1);
  });

  test('fails when the time for it is over', async () => {
    const server = await rawServer({ respond: () => {} });
    const start = performance.now();
    const { error, code } = await failure(dial(server.url, { handshakeTimeout: 60 }));
    expect(error.message).toBe('Opening handshake has timed out');
    expect(code).toBe(1006);
    expect(performance.now() - start).toBeGreaterThan(50);
  });

  test('fails when nobody listens', async () => {
    const port = await freePort();
    const { error, code, count } = await failure(dial(`ws://127.0.0.1:${port}`));
    expect(error).toMatchObject({
      code: 'ECONNREFUSED',
      syscall: 'connect',
      address: '127.0.0.1',
      port,
      message: `connect ECONNREFUSED 127.0.0.1:${port}`,
    });
    expect([code, count]).toEqual([1006, 1]);
  });

  test('fails when there is no such name', async () => {
    const { error, code, count } = await failure(dial('ws://does-not-exist.invalid'));
    expect(error).toMatchObject({ syscall: 'getaddrinfo', hostname: 'does-not-exist.invalid' });
    expect(['ENOTFOUND', 'EAI_AGAIN']).toContain(error.code);
    expect([code, count]).toEqual([1006, 1]);
  });

  test('succeeds however the answer is split', async () => {
    const server = await rawServer({
      async respond(peer) {
        peer.socket.setNoDelay(true);
        const text = upgradeResponse(peer.head);
        const rest = frames.frame(frames.TEXT, 'hello', { mask: false });
        for (const byte of Buffer.concat([Buffer.from(text), rest])) {
          peer.write(Buffer.from([byte]));
          await new Promise(setImmediate);
        }
      },
    });
    const ws = dial(server.url);
    const opened = jest.fn();
    ws.on('open', opened);
    const [data] = await once(ws, 'message');
    expect(String(data)).toBe('hello');
    expect(opened).toHaveBeenCalledTimes(1);
  });

  test('delivers frames that came with the answer after the open event', async () => {
    const server = await rawServer({
      respond: (peer) =>
        peer.write(
          Buffer.concat([
            Buffer.from(upgradeResponse(peer.head)),
            frames.frame(frames.TEXT, 'one', { mask: false }),
            frames.frame(frames.TEXT, 'two', { mask: false }),
          ]),
        ),
    });
    const ws = dial(server.url);
    const events = [];
    const done = new Promise((resolve) => {
      ws.on('open', () => {
        events.push('open');
        ws.on('message', (data) => {
          events.push(String(data));
          if (events.length === 3) resolve();
        });
      });
    });
    await done;
    expect(events).toEqual(['open', 'one', 'two']);
  });

  test('emits upgrade with the response before open', async () => {
    const { url, wss } = await serve();
    wss.on('headers', (headers) => headers.push('X-From-Server: yes'));
    const ws = dial(url);
    const events = [];
    ws.on('upgrade', (message) => events.push(message));
    ws.on('open', () => events.push('open'));
    await once(ws, 'open');
    expect(events).toHaveLength(2);
    expect(events[0]).toBeInstanceOf(http.IncomingMessage);
    expect(events[0].statusCode).toBe(101);
    expect(events[0].headers['x-from-server']).toBe('yes');
    expect(events[1]).toBe('open');
  });
});

describe('a client that is given up while it connects', () => {
  test.each(['close', 'terminate'])('by %s() emits an error and close', async (method) => {
    const server = await rawServer({ respond: () => {} });
    const ws = dial(server.url);
    const failed = failure(ws);
    let isReturned = false;
    ws.on('error', () => expect(isReturned).toBe(true));
    ws[method]();
    isReturned = true;
    expect(ws.readyState).toBe(WebSocket.CLOSING);
    const { error, code, count } = await failed;
    expect(error.message).toBe('WebSocket was closed before the connection was established');
    expect([code, count]).toEqual([1006, 1]);
  });

  test.each(['close', 'terminate'])(
    'by %s() in an upgrade listener does not open',
    async (method) => {
      const { url } = await serve();
      const ws = dial(url);
      const opened = jest.fn();
      ws.on('open', opened);
      ws.on('upgrade', () => ws[method]());
      const { error, code } = await failure(ws);
      expect(error.message).toBe('WebSocket was closed before the connection was established');
      expect(code).toBe(1006);
      expect(opened).not.toHaveBeenCalled();
    },
  );

  test('throws for send(), ping() and pong()', async () => {
    const { url } = await serve();
    const ws = dial(url);
    for (const method of ['send', 'ping', 'pong']) {
      expect(() => ws[method]('x')).toThrow(
        new Error('WebSocket is not open: readyState 0 (CONNECTING)'),
      );
    }
    await once(ws, 'open');
  });
});

describe('the frames of a client', () => {
  test('are masked, each with a key of its own', async () => {
    const { client, peer } = await rawPairOfClient({ perMessageDeflate: false });
    const chunks = [];
    peer.socket.on('data', (chunk) => chunks.push(chunk));
    for (let i = 0; i < 20; i++) client.send('same text');
    client.ping('x');
    client.close(1000);
    await peer.closing();
    expect(peer.frames).toHaveLength(22);
    expect(peer.frames.every(({ isMasked }) => isMasked)).toBe(true);
    const wire = Buffer.concat(chunks);
    const keys = new Set();
    for (let i = 0; i < 20; i++) keys.add(wire.readUInt32BE(i * 15 + 2));
    expect(keys.size).toBe(20);
    peer.close(1000);
    peer.socket.end();
  });

  test('do not change what the caller gave', async () => {
    const { client, peer } = await rawPairOfClient({ perMessageDeflate: false });
    const buffer = Buffer.from('not to be changed');
    client.send(buffer);
    expect((await peer.nextFrame()).payload).toEqual(buffer);
    expect(String(buffer)).toBe('not to be changed');
  });
});

test('a client and a server of one process exchange messages on IPv6', async () => {
  const { url } = await serve({ host: '::1' });
  const port = new URL(url).port;
  await open(`ws://[::1]:${port}`);
});

test('_socket tells the addresses of both ends', async () => {
  const { client, server, port } = await pair();
  expect(client._socket).toMatchObject({ remoteAddress: '127.0.0.1', remotePort: port });
  expect(server._socket.remotePort).toBe(client._socket.localPort);
  expect(server._socket.localPort).toBe(port);
});
