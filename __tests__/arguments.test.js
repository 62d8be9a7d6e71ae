'use strict';

// Bad arguments throw at once, with a message that says what was expected. Each option and argument is given
// each of these values; the tables say which of them it takes. As in ws, what is true or false takes any
// value, and what may be left out is left out by undefined or null, and mostly by whatever is falsy.

const { once } = require('node:events');
const fs = require('node:fs');
const path = require('node:path');
const { PassThrough } = require('node:stream');

const { defer, pair } = require('./support/fixtures.js');
const { upgradeMessage } = require('./support/peers.js');

const {
  closeOnSignals,
  Context,
  createWebSocketStream,
  wake,
  WebSocket,
  WebSocketServer,
} = require('..');

const VALUES = new Map([
  ['undefined', undefined],
  ['null', null],
  ['false', false],
  ['0', 0],
  ['NaN', NaN],
  ["''", ''],
  ['-1', -1],
  ['1', 1],
  ['1.5', 1.5],
  ["'x'", 'x'],
  ['true', true],
  ['1n', 1n],
  ['symbol', Symbol('x')],
  ['function', () => {}],
  ['{}', {}],
  ['[]', []],
]);

const ANY = [...VALUES.keys()];
const UNDEFINED = ['undefined'];
const NONE = ['undefined', 'null'];
const FALSY = [...NONE, 'false', '0', 'NaN', "''"];
const OBJECTS = ['{}', '[]'];
const STRINGS = ["''", "'x'"];
/** What stands for a Buffer without bytes. */
const NO_BYTES = ["''", '[]'];
/** What is counted, where 0 and less, and half of one, are nothing. */
const COUNT = [...NONE, '1'];
/** A limit as ws has them: 0 and less are none. */
const LIMIT = [...NONE, '0', '-1', '1', '1.5'];
/** A number of 0 or more, as of milliseconds. */
const NUMBER = [...NONE, '0', '1', '1.5'];

// Rows are a name, the values that it takes, and what the message says if it is not that the name must be
// something.

const CONNECTION = [
  ['allowSynchronousEvents', ANY],
  ['autoPong', ANY],
  ['closeTimeout', NUMBER],
  ['context', UNDEFINED],
  ['heartbeat', [...NONE, 'false', 'true', ...OBJECTS]],
  ['maxBackpressure', COUNT],
  ['maxBufferedChunks', ANY],
  ['maxControlFrames', [...NONE, '0', '1']],
  ['maxFragments', LIMIT],
  ['maxPayload', LIMIT],
  ['maxPendingAutoPongs', ANY],
  ['perMessageDeflate', ANY],
  ['skipUTF8Validation', ANY],
];

const SERVER = [
  ['allowedOrigins', [...NONE, 'function', '[]']],
  ['backlog', [...NONE, '0', '1']],
  ['clientTracking', ANY],
  ['data', ANY],
  ['defaultProtocol', NONE],
  ['handleProtocols', [...FALSY, 'function']],
  ['handshakeTimeout', NUMBER],
  ['host', [...NONE, ...STRINGS]],
  ['hostname', [...NONE, "'x'"]],
  ['http', [...NONE, 'function']],
  ['maxConnections', COUNT],
  ['maxConnectionsPerAddress', COUNT],
  ['maxPendingHandshakes', COUNT],
  ['noServer', FALSY, /One and only one/],
  ['path', [...FALSY, "'x'"]],
  ['port', ['0', '1'], /"options.port" must be|One and only one/],
  ['protocols', [...NONE, ...OBJECTS]],
  ['server', FALSY, /"options.server" must be|One and only one/],
  ['strictHost', [...NONE, 'false'], /"options.strictHost" (must be|needs)/],
  ['tls', NONE],
  ['verifyClient', [...FALSY, 'function']],
  ['WebSocket', ['undefined', 'function']],
];

const CLIENT = [
  ['auth', [...FALSY, "'x'"]],
  ['connectTimeout', NUMBER],
  ['family', [...NONE, '0']],
  ['finishRequest', [...FALSY, 'function']],
  ['followRedirects', ANY],
  ['generateMask', [...FALSY, 'function']],
  ['handshakeTimeout', NUMBER],
  ['headers', [...FALSY, ...OBJECTS]],
  ['maxRedirects', NUMBER],
  // A header is what its value is as a string.
  ['origin', ANY.filter((name) => name !== 'symbol'), /Cannot convert a Symbol value to a string/],
  ['protocols', [...NONE, "'x'", '[]'], /An invalid or duplicated subprotocol/],
  ['protocolVersion', UNDEFINED, /Unsupported protocol version: /],
  ['proxy', [...FALSY, "'x'"], /"options.proxy(.url)?" must be/],
  ['reconnect', [...FALSY, 'true', ...OBJECTS]],
  ['signal', NONE],
];

const DEFLATE = [
  ['clientMaxWindowBits', [...NONE, 'false', 'true'], /parameter "client_max_window_bits"/],
  ['clientNoContextTakeover', ANY],
  ['concurrencyLimit', LIMIT],
  ['serverMaxWindowBits', [...NONE, 'false', 'true'], /parameter "server_max_window_bits"/],
  ['serverNoContextTakeover', ANY],
  ['threshold', [...LIMIT, "''"]],
  ['zlibDeflateOptions', [...FALSY, ...OBJECTS]],
  ['zlibInflateOptions', [...FALSY, ...OBJECTS]],
];

const HEARTBEAT = [
  ['interval', [...NONE, '1', '1.5']],
  ['timeout', [...NONE, '1', '1.5']],
];

const PROXY = [
  ['headers', ['undefined', ...OBJECTS]],
  ['password', [...NONE, ...STRINGS]],
  ['tls', ['undefined', ...OBJECTS]],
  ['url', ["'x'"], /"options.proxy.url" (must be|is not)/],
  ['username', [...NONE, ...STRINGS]],
];

const RECONNECT = [
  ['delays', NONE],
  ['jitter', NUMBER],
  ['maxAttempts', NUMBER],
  ['maxQueue', LIMIT],
  ['offline', NONE],
  ['resetAfter', NUMBER],
  ['retry', [...NONE, 'function']],
];

const CONTEXT = [
  ['data', ANY],
  ['memoryBudget', COUNT],
  ['name', [...NONE, ...STRINGS]],
  ['signal', UNDEFINED],
];

const CONTEXT_CLOSE = [
  ['code', UNDEFINED, /must be a valid error code number/],
  ['reason', ['undefined', ...STRINGS], /must be a string or a Uint8Array/],
  ['signal', UNDEFINED],
  ['timeout', NUMBER],
];

const PUBLISH = [
  ['binary', [...NONE, 'false', 'true']],
  ['compress', [...NONE, 'false', 'true']],
  ['maxBackpressure', NUMBER],
  ['overflow', NONE],
];

/** Tells of each value whether `take` takes it, or what is wrong with how it refuses it. */
function outcomes(take, message) {
  return ANY.map((name) => {
    try {
      take(VALUES.get(name));
      return [name, 'taken'];
    } catch (error) {
      // Classes of Node's own are not those of this realm.
      const isClear = /^(Type|Range|Syntax)Error$/.test(error.name) && message.test(error.message);
      return [name, isClear ? 'refused' : `${error}`];
    }
  });
}

/** Proves that `take` takes the values of these names and refuses all others. */
function prove(take, taken, message) {
  const expected = ANY.map((name) => [name, taken.includes(name) ? 'taken' : 'refused']);
  expect(outcomes(take, message)).toEqual(expected);
}

function mustBe(name) {
  return new RegExp(`^"${name.replaceAll('.', '\\.')}" must (be|have) `);
}

/** The names of the members that an interface of index.d.ts has by itself. */
function membersOf(name) {
  const types = fs.readFileSync(path.join(__dirname, '../index.d.ts'), 'utf8');
  const [, body] = types.split(new RegExp(`^  interface ${name}\\b`, 'm'));
  const lines = body.split(/^ {2}\}/m)[0];
  return Array.from(lines.matchAll(/^ {4}(\w+)\??:/gm), ([, member]) => member);
}

function makeServer(options) {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1', ...options });
  // It may be somebody else's port, or no host.
  server.on('error', () => {});
  server.close();
}

function makeClient(options, ...rest) {
  const client = new WebSocket('ws://127.0.0.1:9', options, ...rest);
  client.on('error', () => {});
  client.terminate();
}

function withContext(use) {
  const context = new Context();
  try {
    use(context);
  } finally {
    context.destroy();
  }
}

beforeEach(() => defer(() => Context.default.destroy()));

/** Interfaces of options: their rows, how messages begin to name them, and what takes them. */
const INTERFACES = [
  ['ConnectionOptions', CONNECTION, 'options.', makeServer],
  ['ConnectionOptions', CONNECTION, 'options.', makeClient],
  ['ServerOptions', SERVER, 'options.', makeServer],
  ['ClientOptions', CLIENT, 'options.', makeClient],
  [
    'PerMessageDeflateOptions',
    DEFLATE,
    'options.perMessageDeflate.',
    (perMessageDeflate) => makeServer({ perMessageDeflate }),
  ],
  [
    'PerMessageDeflateOptions',
    DEFLATE,
    'options.perMessageDeflate.',
    (perMessageDeflate) => makeClient({ perMessageDeflate }),
  ],
  ['HeartbeatOptions', HEARTBEAT, 'options.heartbeat.', (heartbeat) => makeServer({ heartbeat })],
  [
    'ProxyOptions',
    PROXY,
    'options.proxy.',
    (proxy) => makeClient({ proxy: { url: 'http://127.0.0.1:9', ...proxy } }),
  ],
  ['ReconnectOptions', RECONNECT, 'options.reconnect.', (reconnect) => makeClient({ reconnect })],
  ['ContextOptions', CONTEXT, 'options.', (options) => new Context(options).destroy()],
  [
    'ContextCloseOptions',
    CONTEXT_CLOSE,
    'options.',
    (options) => withContext((context) => context.close(options)),
  ],
  [
    'PublishOptions',
    PUBLISH,
    'options.',
    (options) => new WebSocketServer({ noServer: true }).publish('topic', '', options),
  ],
];

describe.each(INTERFACES)('%s', (name, rows, prefix, use) => {
  test('are all looked at', () => {
    expect(rows.map(([option]) => option).sort()).toEqual(membersOf(name).sort());
  });

  test.each(rows)('%s', (option, taken, message = mustBe(prefix + option)) => {
    prove((value) => use({ [option]: value }), taken, message);
  });
});

test('what is undefined is not given', async () => {
  const { wss, server } = await pair({ clientTracking: undefined, WebSocket: undefined });
  expect([...wss.clients]).toEqual([server]);
});

test('a client whose perMessageDeflate is null does not compress, as in ws', async () => {
  const extensions = [];
  for (const perMessageDeflate of [undefined, null]) {
    const { request } = await pair({ perMessageDeflate: true }, { perMessageDeflate });
    extensions.push(request.headers['sec-websocket-extensions']);
  }
  expect(extensions).toEqual([expect.stringContaining('permessage-deflate'), undefined]);
});

test('what is true as perMessageDeflate, and no object, stands for the defaults', async () => {
  const given = { perMessageDeflate: 'true' };
  const { client, server } = await pair(given, given);
  expect([client.extensions, server.extensions]).toEqual(Array(2).fill('permessage-deflate'));
});

test('nothing is no listener', async () => {
  const { client } = await pair();
  for (const none of [undefined, null]) client.addEventListener('close', none);
  expect(client.listenerCount('close')).toBe(0);
});

test('who replaces shouldHandle() may have paths of any kind', async () => {
  class Server extends WebSocketServer {
    shouldHandle({ url }) {
      return this.options.path.test(url);
    }
  }
  const wss = new Server({ port: 0, host: '127.0.0.1', path: /^\/chat\b/ });
  defer(() => new Promise((resolve) => wss.close(resolve)));
  await once(wss, 'listening');
  const url = `ws://127.0.0.1:${wss.address().port}`;
  const [accepted, refused] = ['/chat/1', '/other'].map((path) => new WebSocket(url + path));
  const [[error]] = await Promise.all([once(refused, 'error'), once(accepted, 'open')]);
  expect(error.message).toBe('Unexpected server response: 400');
  accepted.terminate();
  await once(accepted, 'close');
});

test('what stands behind the callback is not looked at', async () => {
  const { client } = await pair();
  for (const send of [
    (done) => client.send('x', done, 'more'),
    (done) => client.ping(done, 'more', 'more'),
    (done) => client.pong('x', done, 'more'),
  ]) {
    expect(await new Promise(send)).toBeUndefined();
  }
});

test('numbers that ws has may be strings, as in the environment of a process', async () => {
  const wss = new WebSocketServer({
    port: 0,
    backlog: '10',
    closeTimeout: '1000',
    maxFragments: '10',
    maxPayload: '10',
    perMessageDeflate: { concurrencyLimit: '10', threshold: '5' },
  });
  wss.on('connection', (ws) => ws.on('error', () => {}));
  await once(wss, 'listening');
  const options = { followRedirects: true, maxPayload: '10', maxRedirects: '1' };
  const client = new WebSocket(`ws://127.0.0.1:${wss.address().port}`, options);
  await once(client, 'open');
  client.send(Buffer.alloc(11));
  const [code] = await once(client, 'close');
  expect(code).toBe(1009);
  wss.close();
});

const REQUEST = upgradeMessage();
const HEAD = Buffer.alloc(0);

function makeNoServer(callback) {
  return new WebSocketServer({ noServer: true }, callback);
}

/** A stream of HTTP/2, as far as it is looked at. */
function stream() {
  return Object.assign(new PassThrough(), { respond() {} });
}

function setSocket(...given) {
  const websocket = new WebSocket(null, undefined, {});
  websocket.on('error', () => {});
  websocket.setSocket(...given);
  websocket.terminate();
}

/** Calls, by their names: the argument, the values that it takes, and the call. */
const CALLS = {
  'new WebSocket()': [
    ['address', [], (address) => new WebSocket(address), /^Invalid URL: |"options" must be/],
    [
      'protocols',
      ['undefined', "'x'", ...OBJECTS],
      (protocols) => makeClient(protocols, {}),
      /An invalid or duplicated subprotocol/,
    ],
    ['options', [...NONE, ...OBJECTS], (options) => makeClient([], options)],
    ['options', OBJECTS, (options) => new WebSocket(null, undefined, options)],
  ],
  'setSocket()': [
    ['socket', [], (socket) => setSocket(socket, HEAD)],
    ['head', NO_BYTES, (head) => setSocket(new PassThrough(), head)],
    [
      'options',
      ['undefined', ...OBJECTS],
      (options) => setSocket(new PassThrough(), HEAD, options),
    ],
    ['options.context', UNDEFINED, (context) => setSocket(new PassThrough(), HEAD, { context })],
    [
      'options.generateMask',
      [...FALSY, 'function'],
      (generateMask) => setSocket(new PassThrough(), HEAD, { generateMask }),
    ],
  ],
  'addEventListener()': [
    [
      'listener',
      [...NONE, 'function', ...OBJECTS],
      (listener) => new WebSocket(null, undefined, {}).addEventListener('open', listener),
    ],
  ],
  'new WebSocketServer()': [
    ['options', [], (options) => new WebSocketServer(options), /^One and only one/],
    ['options.server', [], (server) => new WebSocketServer({ server }), /"options.server"|One and/],
    // Programs have options there, too.
    ['callback', ANY, (callback) => makeNoServer(callback)],
  ],
  'server.close()': [
    ['callback', [...FALSY, 'function'], (callback) => makeNoServer().close(callback)],
  ],
  'handleUpgrade()': [
    [
      'request',
      [],
      (request) => makeNoServer().handleUpgrade(request, new PassThrough(), HEAD, () => {}),
      /^"request(\.headers)?" must be an object/,
    ],
    ['socket', [], (socket) => makeNoServer().handleUpgrade(REQUEST, socket, HEAD, () => {})],
    [
      'head',
      NO_BYTES,
      (head) => makeNoServer().handleUpgrade(REQUEST, new PassThrough(), head, () => {}),
    ],
    [
      'callback',
      ['function'],
      (callback) => makeNoServer().handleUpgrade(REQUEST, new PassThrough(), HEAD, callback),
    ],
  ],
  'handleStream()': [
    ['stream', [], (value) => makeNoServer().handleStream(value, {}, () => {})],
    // Which refuses a request that is none for a WebSocket.
    ['headers', OBJECTS, (headers) => makeNoServer().handleStream(stream(), headers, () => {})],
    ['callback', ['function'], (callback) => makeNoServer().handleStream(stream(), {}, callback)],
  ],
  'a context': [
    ['options', ['undefined', ...OBJECTS], (options) => new Context(options).destroy()],
    [
      'options',
      ['undefined', ...OBJECTS],
      (options) => withContext((context) => context.close(options)),
    ],
    ['error', UNDEFINED, (error) => withContext((context) => context.destroy(error))],
    [
      'memoryBudget',
      ['1'],
      (budget) =>
        withContext((context) => {
          context.memoryBudget = budget;
        }),
    ],
  ],
  functions: [
    ['token', ['1n'], wake],
    ['contexts', ['[]'], (contexts) => closeOnSignals(contexts)()],
    ['options', ['undefined', ...OBJECTS], (options) => closeOnSignals([], options)()],
    ['options.signals', ['undefined', '[]'], (signals) => closeOnSignals([], { signals })()],
    ['options.timeout', NUMBER, (timeout) => closeOnSignals([], { timeout })()],
    ['websocket', [], (websocket) => createWebSocketStream(websocket)],
    [
      'options',
      [...FALSY, ...OBJECTS],
      (options) => createWebSocketStream(new WebSocket(null, undefined, {}), options),
    ],
  ],
};

describe.each(Object.keys(CALLS))('%s', (name) => {
  test.each(CALLS[name])('%s', (argument, taken, take, message = mustBe(argument)) => {
    prove(take, taken, message);
  });
});

/** What Buffer.from() says. */
const NO_DATA = /must be of type string or an instance of Buffer/;

/** Calls that need a connection: with its server's end, and its server. */
const CONNECTED_CALLS = [
  ['send data', [...FALSY, '-1', '1', '1.5', "'x'", '[]'], (value, ws) => ws.send(value), NO_DATA],
  ['callback', [...FALSY, 'function'], (value, ws) => ws.send('', {}, value)],
  [
    'ping data',
    [...FALSY, '-1', '1', '1.5', "'x'", '[]', 'function'],
    (value, ws) => ws.ping(value),
    NO_DATA,
  ],
  ['callback', [...FALSY, 'function'], (value, ws) => ws.pong('', true, value)],
  ['topic', STRINGS, (value, ws) => ws.subscribe(value)],
  ['topic', STRINGS, (value, ws) => ws.unsubscribe(value)],
  ['topic', STRINGS, (value, ws) => ws.isSubscribed(value)],
  ['topic', STRINGS, (value, ws) => ws.publish(value, '')],
  ['topic', STRINGS, (value, ws, wss) => wss.publish(value, '')],
  ['topic', STRINGS, (value, ws, wss) => wss.numSubscribers(value)],
  ['data', STRINGS, (value, ws) => ws.publish('', value)],
  ['data', STRINGS, (value, ws, wss) => wss.publish('', value)],
  ['data', STRINGS, (value, ws, wss) => wss.broadcast(value)],
  ['options', ['undefined', ...OBJECTS], (value, ws) => ws.publish('', '', value)],
  ['options', ['undefined', ...OBJECTS], (value, ws, wss) => wss.publish('', '', value)],
  ['options', ['undefined', ...OBJECTS], (value, ws, wss) => wss.broadcast('', value)],
];

test.each(CONNECTED_CALLS)(
  'of a connection: %s',
  async (argument, taken, take, message = mustBe(argument)) => {
    const { server, wss } = await pair();
    prove((value) => take(value, server, wss), taken, message);
  },
);
