// How long the steps of a client's opening handshake take, how long they may take, and from where it
// connects.

const { once } = require('node:events');
const https = require('node:https');

const { WebSocket, WebSocketServer } = require('./support/uvws.js');
const { makeCertificate } = require('./support/certificate.js');
const { freePort } = require('./support/peers.js');
const proxies = require('./support/proxies.js');
const {
  closeServer,
  defer,
  dial,
  failure,
  open,
  rawServer,
  serve,
  thrownBy,
} = require('./support/fixtures.js');

/** Leads each name to this machine. */
function lookup(_name, options, callback) {
  const found = { address: '127.0.0.1', family: 4 };
  setImmediate(() => {
    if (options.all) callback(null, [found]);
    else callback(null, found.address, found.family);
  });
}

/** Fails unless the steps, in this order, were reached and no others. */
function expectSteps(timings, ...names) {
  const steps = Object.keys(timings).filter((name) => timings[name] !== null);
  expect(new Set(steps)).toEqual(new Set(names));
  const times = names.map((name) => timings[name]);
  expect(times).toEqual([...times].sort((a, b) => a - b));
  for (const time of times) expect(time).toBeGreaterThanOrEqual(0);
}

describe('timings', () => {
  test('of an address, natively', async () => {
    const { url } = await serve();
    const client = dial(url);
    expect(client.timings).toBeNull();
    await once(client, 'open');
    expectSteps(client.timings, 'connect', 'upgrade');
  });

  test('of a name, natively', async () => {
    const { port } = await serve();
    const client = await open(`ws://localhost:${port}`, { family: 4 });
    expectSteps(client.timings, 'dns', 'connect', 'upgrade');
    const { timings } = client;
    client.terminate();
    await once(client, 'close');
    expect(client.timings).toEqual(timings);
  });

  test('of a name, by way of Node', async () => {
    const { port } = await serve();
    const client = await open(`ws://some.name:${port}`, { lookup });
    expectSteps(client.timings, 'dns', 'connect', 'upgrade');
  });

  test('of TLS, and through a proxy', async () => {
    const certificate = makeCertificate();
    const server = https.createServer(certificate);
    const wss = new WebSocketServer({ server });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    defer(() => new Promise((resolve) => server.close(resolve)));
    defer(() => closeServer(wss));
    const proxy = await proxies.httpProxy();
    defer(() => proxy.close());
    const url = `wss://127.0.0.1:${server.address().port}`;
    const direct = await open(url, { ca: certificate.cert });
    expectSteps(direct.timings, 'connect', 'tls', 'upgrade');
    const place = `http://some.name:${proxy.port}`;
    const tunnelled = await open(url, { ca: certificate.cert, proxy: place, lookup });
    expectSteps(tunnelled.timings, 'dns', 'connect', 'proxy', 'tls', 'upgrade');
  });

  test('show how far an attempt came that failed', async () => {
    const server = await rawServer({ respond: () => {} });
    for (const options of [{}, { localAddress: '127.0.0.1' }]) {
      const client = dial(server.url, { handshakeTimeout: 300, ...options });
      await failure(client);
      expectSteps(client.timings, 'connect');
    }
    const refused = dial(`ws://127.0.0.1:${await freePort()}`);
    await failure(refused);
    expectSteps(refused.timings);
  });

  test('are of clients only', async () => {
    const { wss, url } = await serve();
    const connected = once(wss, 'connection');
    await open(url);
    const [server] = await connected;
    expect(server.timings).toBeNull();
  });
});

describe('connectTimeout', () => {
  test('ends what does not connect', async () => {
    const client = dial('ws://some.name:1', { connectTimeout: 30, lookup: () => {} });
    const { error, count, code } = await failure(client);
    expect({ count, code }).toEqual({ count: 1, code: 1006 });
    expect(error).toMatchObject({
      code: 'ERR_UVWS_CONNECT_TIMEOUT',
      message: 'Connecting has timed out',
    });
  });

  test('does not concern what comes behind it', async () => {
    const server = await rawServer({ respond: () => {} });
    const client = dial(server.url, { connectTimeout: 300, handshakeTimeout: 600 });
    expect((await failure(client)).error.message).toBe('Opening handshake has timed out');
  });

  test('is none if it is 0', async () => {
    const { url } = await serve();
    await open(url, { connectTimeout: 0 });
  });

  test('has to be a number', () => {
    const options = { connectTimeout: -1 };
    expect(thrownBy(() => new WebSocket('ws://localhost:1', options)).message).toMatch(
      /^"options.connectTimeout" must be a number of milliseconds/,
    );
  });
});

test('handshakeTimeout ends a response that dribbles', async () => {
  const server = await rawServer({
    respond: ({ socket }) => {
      socket.write('HTTP/1.1 101 Switching Protocols\r\nX: ');
      const timer = setInterval(() => socket.write('x'), 20);
      socket.on('close', () => clearInterval(timer));
    },
  });
  for (const options of [{}, { localAddress: '127.0.0.1' }]) {
    const client = dial(server.url, { handshakeTimeout: 150, ...options });
    expect((await failure(client)).error.message).toBe('Opening handshake has timed out');
  }
});

test('localAddress and localPort are where a client connects from', async () => {
  const { wss, url } = await serve();
  const localPort = await freePort();
  const connected = once(wss, 'connection');
  const client = await open(url, { localAddress: '127.0.0.2', localPort });
  const [, request] = await connected;
  expect(request.socket.remoteAddress).toBe('127.0.0.2');
  expect(request.socket.remotePort).toBe(localPort);
  expect(client._socket.localAddress).toBe('127.0.0.2');
  expect(client._socket.localPort).toBe(localPort);
});
