// permessage-deflate in the native half, by its raw API, against the `ws` package: both roles, all
// combinations of parameters. What lib/ negotiates is tested elsewhere.

const { createHash } = require('node:crypto');
const { once } = require('node:events');
const net = require('node:net');
const zlib = require('node:zlib');
const { WebSocket, WebSocketServer } = require('ws');

const native = require('../lib/addon.js');
const { until } = require('./support/tools.js');

const OPTIONS = {
  handshakeTimeout: 10_000,
  closeTimeout: 5_000,
  heartbeatInterval: 0,
  heartbeatTimeout: 0,
  maxPayload: 1 << 24,
  maxControlFrames: 100,
  maxFragments: 16_384,
  maxBackpressure: 0,
  skipUtf8: false,
  autoPong: true,
};
const KINDS = { slab: 0, message: 1, own: 2, peerClose: 5, open: 6, upgrade: 7, error: 8 };
const [TEXT, BINARY, CONTINUATION, FIN, COMPRESS] = [1, 2, 0, 16, 64];

/** The least that turns records into calls: `on[kind](id, flags, bytes)`. */
function rawContext(on) {
  const records = new Uint32Array(4 + 4 * 1024);
  let slab;
  const deliver = (extras) => {
    let next = 0;
    while (records[0] < records[1]) {
      const [word, id, a, b] = records.subarray(4 + 4 * records[0]++);
      const kind = word & 0xff;
      if (kind === KINDS.slab) {
        slab = extras[next++];
        continue;
      }
      const bytes = kind === KINDS.own ? Buffer.from(extras[next++], 0, b) : null;
      const view = kind <= KINDS.upgrade ? () => Buffer.from(slab, a, b) : () => null;
      on[kind]?.(id, word >>> 8, bytes ?? view());
    }
  };
  return native.contextCreate(deliver, records);
}

function header(params) {
  let value = 'permessage-deflate';
  if (params.serverNoContextTakeover) value += '; server_no_context_takeover';
  if (params.clientNoContextTakeover) value += '; client_no_context_takeover';
  if (params.serverMaxWindowBits < 15) {
    value += `; server_max_window_bits=${params.serverMaxWindowBits}`;
  }
  if (params.clientMaxWindowBits < 15) {
    value += `; client_max_window_bits=${params.clientMaxWindowBits}`;
  }
  return value;
}

const PLAIN = {
  serverNoContextTakeover: false,
  clientNoContextTakeover: false,
  serverMaxWindowBits: 15,
  clientMaxWindowBits: 15,
};

/** A native server that agrees to `params`; its messages go to `onMessage`. */
function serve(params, { onMessage, onError, options } = {}) {
  const context = rawContext({
    [KINDS.upgrade](id) {
      native.accept(id, undefined, `Sec-WebSocket-Extensions: ${header(params)}\r\n`);
      if (!native.enableDeflate(id, params)) throw new Error('deflate was refused');
    },
    [KINDS.message]: (id, flags, bytes) => onMessage?.(id, bytes, flags === 1),
    [KINDS.own]: (id, flags, bytes) => onMessage?.(id, bytes, flags === 1),
    [KINDS.error](id, code) {
      onError?.(native.connectionFailure(id), code);
      native.closeFrame(id, code, undefined);
    },
    [KINDS.peerClose]: (id, code) => native.closeFrame(id, code === 1005 ? 0 : code, undefined),
  });
  contexts.push(context);
  const address = { host: '127.0.0.1', port: 0, strictHost: false, maxPendingHandshakes: 0 };
  const server = native.serverListen(context, address, { ...OPTIONS, ...options });
  return native.serverAddress(server).port;
}

const contexts = [];
const closers = [];

afterEach(async () => {
  for (const close of closers.splice(0)) close();
  for (const context of contexts.splice(0)) native.contextDestroy(context);
});

/** Text as programs send it, different each time. */
function json(length, seed) {
  let text = '';
  for (let i = 0; text.length < length; i++) {
    const digest = createHash('sha1').update(`${seed}${i}`).digest('hex');
    text += `{"id":"${digest.slice(0, 6)}","price":${i * 17},"symbol":"\u20ACUR/USD","side":"buy"},`;
  }
  return text.slice(0, length);
}

const MESSAGES = [
  json(1_024, 'a'),
  '',
  json(16 * 1_024, 'b'),
  'short',
  Buffer.from(json(200_000, 'c')),
  Buffer.alloc(100_000),
  createHash('sha512').update('not compressible').digest(),
  json(1_024, 'a'),
];

/** Whether a message is that of its place; jest itself takes long over large Buffers. */
function isMessage(received, index) {
  const expected = MESSAGES[index];
  return typeof expected === 'string' ? received === expected : expected.equals(received);
}

const COMBINATIONS = [];
for (const serverNoContextTakeover of [false, true]) {
  for (const clientNoContextTakeover of [false, true]) {
    for (const bits of [8, 9, 12, 15]) {
      COMBINATIONS.push({
        serverNoContextTakeover,
        clientNoContextTakeover,
        serverMaxWindowBits: bits,
        clientMaxWindowBits: 23 - bits,
      });
    }
  }
}

test.each(COMBINATIONS)('a ws client and a native server: %j', async (params) => {
  for (const level of [undefined, -1, 1, 6, 9]) {
    const port = serve(
      { ...params, level, threshold: 0 },
      {
        onMessage: (id, bytes, isBinary) =>
          native.send(id, bytes, (isBinary ? BINARY : TEXT) | FIN | COMPRESS),
      },
    );
    const ws = new WebSocket(`ws://127.0.0.1:${port}`, { perMessageDeflate: { threshold: 0 } });
    closers.push(() => ws.terminate());
    await once(ws, 'open');
    expect(ws.extensions).toContain('permessage-deflate');
    const received = [];
    ws.on('message', (data, isBinary) => received.push(isBinary ? data : String(data)));
    for (const message of MESSAGES) ws.send(message);
    await until(() => received.length === MESSAGES.length);
    expect(received.every(isMessage)).toBe(true);
    ws.close();
    await once(ws, 'close');
  }
});

test.each(COMBINATIONS)('a native client and a ws server: %j', async (params) => {
  const wss = new WebSocketServer({
    port: 0,
    host: '127.0.0.1',
    perMessageDeflate: { ...params, threshold: 0 },
  });
  closers.push(() => wss.close());
  // Sent at once: it arrives with the response, or in a read of its own in the same turn.
  wss.on('connection', (ws) => {
    ws.send(json(5_000, 'greeting'));
    ws.on('message', (data, isBinary) => ws.send(data, { binary: isBinary }));
  });
  await once(wss, 'listening');
  const received = [];
  const onMessage = (id, flags, bytes) => received.push(flags === 1 ? bytes : String(bytes));
  let head;
  const context = rawContext({
    [KINDS.open](connection, flags, bytes) {
      head = String(bytes);
      expect(flags).toBe(2);
      expect(native.enableDeflate(connection, params)).toBe(true);
      expect(native.enableDeflate(connection, params)).toBe(false);
    },
    [KINDS.message]: onMessage,
    [KINDS.own]: onMessage,
    [KINDS.error]: (connection) => received.push(native.connectionFailure(connection)),
    [KINDS.peerClose]: (connection) => native.closeFrame(connection, 0, undefined),
  });
  contexts.push(context);
  const destination = {
    hostname: '127.0.0.1',
    port: wss.address().port,
    hostHeader: 'localhost',
    path: '/',
    extensions: 'permessage-deflate; client_max_window_bits',
    headers: '',
  };
  const id = native.connect(context, destination, OPTIONS);
  await until(() => received.length === 1);
  expect(received.pop()).toBe(json(5_000, 'greeting'));
  for (const part of header(params).split('; ')) expect(head).toContain(part);
  for (const message of MESSAGES) {
    const opcode = typeof message === 'string' ? TEXT : BINARY;
    expect(native.send(id, message, opcode | FIN | COMPRESS)).toBe(0);
  }
  await until(() => received.length === MESSAGES.length);
  expect(received.every(isMessage)).toBe(true);
});

test('fragments: the first one decides', async () => {
  const text = json(30_000, 'fragments');
  for (const serverNoContextTakeover of [false, true]) {
    const params = { ...PLAIN, serverNoContextTakeover, threshold: 100 };
    let server;
    const port = serve(params, { onMessage: (id) => (server = id) });
    const ws = new WebSocket(`ws://127.0.0.1:${port}`);
    closers.push(() => ws.terminate());
    await once(ws, 'open');
    const received = [];
    ws.on('message', (data) => received.push(String(data)));
    ws.send('hello');
    await until(() => server !== undefined);
    const { _socket: socket } = ws;
    const count = async (...fragments) => {
      const before = socket.bytesRead;
      received.length = 0;
      fragments.forEach(([data, flags], index) => {
        const opcode = index === 0 ? TEXT : CONTINUATION;
        const fin = index === fragments.length - 1 ? FIN : 0;
        expect(native.send(server, data, opcode | fin | flags)).toBe(0);
        native.ping(server, 'between');
      });
      await until(() => received.length === 1);
      expect(received[0]).toBe(fragments.map(([data]) => data).join(''));
      return socket.bytesRead - before;
    };
    const whole = text.length;
    const [a, b] = [text.slice(0, 9_000), text.slice(9_000)];
    expect(await count([a, COMPRESS], [b, 0])).toBeLessThan(whole / 2);
    expect(await count([a, 0], [b, COMPRESS])).toBeGreaterThan(whole);
    expect(await count([a, COMPRESS], ['', 0], [b, COMPRESS], ['', 0])).toBeLessThan(whole / 2);
    // Below the threshold, which counts only without context takeover.
    const short = 'x'.repeat(99);
    const bytes = await count([short, COMPRESS]);
    if (serverNoContextTakeover) expect(bytes).toBeGreaterThan(99);
    else expect(bytes).toBeLessThan(40);
    ws.terminate();
  }
});

/** A client that sends what it is told to, and collects nothing. */
async function rawClient(port) {
  const socket = net.connect(port, '127.0.0.1');
  closers.push(() => socket.destroy());
  socket.write(
    'GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
      'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n' +
      'Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n',
  );
  await once(socket, 'data');
  return socket;
}

/** A masked frame whose key is zero. */
function frame(first, payload) {
  const { length } = payload;
  const head =
    length < 126 ? [first, 0x80 | length] : [first, 0x80 | 126, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([...head, 0, 0, 0, 0]), payload]);
}

/** What a server reports of a client that sends `bytes`. */
async function fault(bytes, options) {
  let reported;
  const port = serve(PLAIN, {
    options,
    onError: (failure, code) => (reported = { failure, code }),
  });
  const socket = await rawClient(port);
  const closed = once(socket, 'data');
  socket.write(bytes);
  await until(() => reported !== undefined);
  const [reply] = await closed;
  expect(reply.readUInt16BE(2)).toBe(reported.code);
  return reported;
}

test('faults are reported as ws reports them', async () => {
  expect(await fault(frame(0xc2, Buffer.from([0, 1, 2, 3, 4])))).toMatchObject({
    code: 1007,
    failure: {
      name: 'Error',
      message: 'invalid stored block lengths',
      code: 'Z_DATA_ERROR',
      errno: -3,
    },
  });
  const bomb = zlib.deflateRawSync(Buffer.alloc(1 << 22));
  expect(await fault(frame(0xc2, bomb), { maxPayload: 1 << 20 })).toMatchObject({
    code: 1009,
    failure: {
      name: 'RangeError',
      message: 'Max payload size exceeded',
      code: 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH',
    },
  });
  expect(await fault(frame(0xc9, Buffer.alloc(0)))).toMatchObject({
    code: 1002,
    failure: {
      name: 'RangeError',
      message: 'Invalid WebSocket frame: RSV1 must be clear',
      code: 'WS_ERR_UNEXPECTED_RSV_1',
    },
  });
  const latin1 = zlib.deflateRawSync(Buffer.from('\u00fcber', 'latin1'));
  expect(await fault(frame(0xc1, latin1))).toMatchObject({
    code: 1007,
    failure: {
      name: 'Error',
      message: 'Invalid WebSocket frame: invalid UTF-8 sequence',
      code: 'WS_ERR_INVALID_UTF8',
    },
  });
});

test('it is refused for what is out of range, for nobody, and without being asked', async () => {
  let server;
  const results = [];
  const context = rawContext({
    [KINDS.upgrade](id) {
      server = id;
      for (const wrong of [
        { serverMaxWindowBits: 7 },
        { clientMaxWindowBits: 16 },
        { serverMaxWindowBits: 4_294_967_295 },
        { level: 10 },
        { level: -2 },
        { memLevel: 0 },
        { memLevel: 10 },
      ]) {
        results.push(native.enableDeflate(id, { ...PLAIN, ...wrong }));
      }
      native.accept(id, undefined, '');
    },
  });
  contexts.push(context);
  const address = { host: '127.0.0.1', port: 0, strictHost: false, maxPendingHandshakes: 0 };
  const { port } = native.serverAddress(native.serverListen(context, address, OPTIONS));
  const ws = new WebSocket(`ws://127.0.0.1:${port}`);
  closers.push(() => ws.terminate());
  const message = once(ws, 'message');
  await once(ws, 'open');
  await until(() => server !== undefined);
  expect(results).toEqual(new Array(7).fill(false));
  expect(native.enableDeflate(123_456, PLAIN)).toBe(false);
  expect(() => native.enableDeflate(server, {})).toThrow();
  // The bit is ignored where nothing was agreed on.
  expect(native.send(server, 'plain', TEXT | FIN | COMPRESS)).toBe(0);
  expect(String((await message)[0])).toBe('plain');
});
