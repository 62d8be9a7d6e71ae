// permessage-deflate (RFC 7692): what is negotiated, and that messages survive it.

const { once } = require('node:events');
const http = require('node:http');

const {
  closing,
  collect,
  defer,
  open,
  rawClient,
  serve,
  testOurs,
} = require('./support/fixtures.js');
const { until } = require('./support/tools.js');
const { WebSocket, WebSocketServer } = require('./support/uvws.js');

const TEXT = 'a text that repeats itself '.repeat(2000);

/** Opens a client and returns it with the server's end of it. */
async function connect({ wss, url }, options) {
  const [client, [socket]] = await Promise.all([open(url, options), once(wss, 'connection')]);
  return { client, socket };
}

describe('negotiation', () => {
  test('is off at a server by default, and so nothing is agreed on', async () => {
    const { client, socket } = await connect(await serve());
    expect([client.extensions, socket.extensions]).toEqual(['', '']);
  });

  test('names the extension on both sides', async () => {
    const { client, socket } = await connect(await serve({ perMessageDeflate: true }));
    expect([client.extensions, socket.extensions]).toEqual([
      'permessage-deflate',
      'permessage-deflate',
    ]);
  });

  test('a client may do without', async () => {
    const server = await serve({ perMessageDeflate: true });
    const { client, socket } = await connect(server, { perMessageDeflate: false });
    expect([client.extensions, socket.extensions]).toEqual(['', '']);
  });

  test('the response has the parameters that the server wants', async () => {
    const { port } = await serve({
      perMessageDeflate: {
        serverNoContextTakeover: true,
        clientNoContextTakeover: true,
        serverMaxWindowBits: 10,
        clientMaxWindowBits: 11,
      },
    });
    const peer = await rawClient(port, {
      lines: ['Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits'],
    });
    const [, line] = /^Sec-WebSocket-Extensions: (.*)\r$/im.exec(String(peer.head));
    expect(line.split('; ').sort()).toEqual([
      'client_max_window_bits=11',
      'client_no_context_takeover',
      'permessage-deflate',
      'server_max_window_bits=10',
      'server_no_context_takeover',
    ]);
  });

  test.each([
    'permessage-deflate; unknown',
    'permessage-deflate; server_max_window_bits=7',
    'permessage-deflate; server_max_window_bits=10; server_max_window_bits=11',
  ])('%s is refused with 400', async (offer) => {
    const { port } = await serve({ perMessageDeflate: true });
    const response = await new Promise((resolve, reject) => {
      const request = http.get({
        port,
        host: '127.0.0.1',
        headers: {
          Connection: 'Upgrade',
          Upgrade: 'websocket',
          'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
          'Sec-WebSocket-Version': 13,
          'Sec-WebSocket-Extensions': offer,
        },
      });
      request.on('response', resolve).on('error', reject);
    });
    response.resume();
    expect(response.statusCode).toBe(400);
  });

  test('a client refuses a parameter that it has excluded', async () => {
    const { url } = await serve({ perMessageDeflate: { clientNoContextTakeover: true } });
    const client = new WebSocket(url, { perMessageDeflate: { clientNoContextTakeover: false } });
    const closed = new Promise((resolve) => client.on('close', resolve));
    const [error] = await once(client, 'error');
    expect(error.message).toBe('Invalid Sec-WebSocket-Extensions header');
    expect(await closed).toBe(1006);
  });
});

describe.each([
  ['with context takeover', {}],
  [
    'without context takeover',
    { serverNoContextTakeover: true, clientNoContextTakeover: true, threshold: 10 },
  ],
  ['with small windows', { serverMaxWindowBits: 9, clientMaxWindowBits: 9 }],
  ['with options of zlib', { zlibDeflateOptions: { level: 9, memLevel: 9 } }],
])('messages %s', (_name, perMessageDeflate) => {
  test('arrive as they were sent, compressed or not', async () => {
    const { client, socket } = await connect(await serve({ perMessageDeflate }), {
      perMessageDeflate,
    });
    socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
    const messages = collect(client);
    client.send(TEXT);
    client.send('short');
    client.send('');
    client.send('plain', { compress: false });
    client.send('frag', { fin: false });
    client.send('mented', { fin: true });
    client.send(TEXT);
    await until(() => messages.length === 6);
    expect(messages).toEqual([TEXT, 'short', '', 'plain', 'fragmented', TEXT]);
  });

  test('need fewer bytes on the wire', async () => {
    const { client, socket } = await connect(await serve({ perMessageDeflate }), {
      perMessageDeflate,
    });
    const before = socket._socket.bytesRead;
    const received = once(socket, 'message');
    client.send(TEXT);
    const [data] = await received;
    expect(String(data)).toBe(TEXT);
    expect(socket._socket.bytesRead - before).toBeLessThan(TEXT.length / 10);
  });
});

test('callbacks come after the data is written, and in order', async () => {
  const { client } = await connect(await serve({ perMessageDeflate: true }));
  const order = [];
  await new Promise((resolve) => {
    client.send(TEXT, () => order.push('first'));
    client.send('x', { compress: false }, () => order.push('second'));
    client.ping('', undefined, () => {
      order.push('third');
      resolve();
    });
    order.push('returned');
  });
  expect(order).toEqual(['returned', 'first', 'second', 'third']);
});

test('a message that is too large once it is inflated ends the connection with 1009', async () => {
  const server = await serve({ perMessageDeflate: true, maxPayload: 1000 });
  const { client, socket } = await connect(server);
  const failed = once(socket, 'error');
  const closed = closing(client);
  client.send(TEXT);
  const [error] = await failed;
  expect(error.code).toBe('WS_ERR_UNSUPPORTED_MESSAGE_LENGTH');
  expect((await closed).code).toBe(1009);
});

test('a connection that Node accepted compresses too', async () => {
  const server = http.createServer();
  const wss = new WebSocketServer({ server, perMessageDeflate: true });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  defer(async () => {
    wss.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  const { client, socket } = await connect({ wss, url: `ws://127.0.0.1:${server.address().port}` });
  expect(socket.extensions).toBe('permessage-deflate');
  const received = once(client, 'message');
  socket.send(TEXT);
  expect(String((await received)[0])).toBe(TEXT);
  const closed = Promise.all([closing(client), once(socket, 'close')]);
  client.terminate();
  await closed;
});

describe('an option that is not valid', () => {
  const cases = [
    [{ serverMaxWindowBits: 7 }, 'Invalid value for parameter "server_max_window_bits": 7'],
    [{ clientMaxWindowBits: 20 }, 'Invalid value for parameter "client_max_window_bits": 20'],
    [{ serverMaxWindowBits: '10\r\nX: y' }, 'Invalid value for parameter "server_max_window_bits"'],
    [{ clientMaxWindowBits: '10\r\nX: y' }, 'Invalid value for parameter "client_max_window_bits"'],
    [{ zlibDeflateOptions: { level: 22 } }, 'The value of "options.level" is out of range'],
    [{ zlibDeflateOptions: { level: '3' } }, '"options.level" property must be of type number'],
    [{ zlibDeflateOptions: { memLevel: 0 } }, 'The value of "options.memLevel" is out of range'],
  ];

  testOurs.each(cases)('%j is thrown by the constructors', (perMessageDeflate, message) => {
    expect(() => new WebSocketServer({ noServer: true, perMessageDeflate })).toThrow(message);
    const url = 'ws://127.0.0.1:1';
    expect(() => new WebSocket(url, { perMessageDeflate })).toThrow(message);
    const options = { perMessageDeflate, followRedirects: true };
    expect(() => new WebSocket(url, options)).toThrow(message);
  });

  testOurs('refuses the handshake if it is set later', async () => {
    const { wss, port } = await serve({ perMessageDeflate: true });
    wss.options.perMessageDeflate = { serverMaxWindowBits: 7 };
    const lines = ['Sec-WebSocket-Extensions: permessage-deflate'];
    const peer = await rawClient(port, { lines, wait: false });
    await peer.when(({ hasClosed }) => hasClosed);
    expect(peer.status).toBe(400);
  });

  testOurs('drops the connection if it is set after the last check', async () => {
    const zlibDeflateOptions = {};
    const { wss, port } = await serve({ perMessageDeflate: { zlibDeflateOptions } });
    const connections = [];
    wss.on('connection', (socket) => connections.push(socket));
    wss.on('headers', () => {
      zlibDeflateOptions.level = 22;
    });
    const lines = ['Sec-WebSocket-Extensions: permessage-deflate'];
    const peer = await rawClient(port, { lines, wait: false });
    await peer.when(({ hasClosed }) => hasClosed);
    await until(() => wss.context.stats().connections === 0);
    expect(connections).toEqual([]);
    expect(wss.clients.size).toBe(0);
  });
});

testOurs.each([[null], [{ level: null }], [{ level: NaN, memLevel: undefined }]])(
  'zlibDeflateOptions may be %j',
  async (zlibDeflateOptions) => {
    const perMessageDeflate = { zlibDeflateOptions };
    const { client, socket } = await connect(await serve({ perMessageDeflate }), {
      perMessageDeflate,
    });
    expect([client.extensions, socket.extensions]).toEqual([
      'permessage-deflate',
      'permessage-deflate',
    ]);
    const received = once(socket, 'message');
    client.send(TEXT);
    expect(String((await received)[0])).toBe(TEXT);
  },
);
