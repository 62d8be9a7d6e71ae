// Peers that do not keep to TLS, or do so in unusual ways, against a native listener.

const { once } = require('node:events');
const net = require('node:net');
const tls = require('node:tls');

const WS = require('ws');

const { Context, WebSocket, WebSocketServer } = require('..');
const { Workshop } = require('./support/authority.js');
const { inChild } = require('./support/child.js');
const { closeServer, defer } = require('./support/fixtures.js');
const { upgradeRequest } = require('./support/peers.js');
const { delay, turn, until } = require('./support/tools.js');

const workshop = new Workshop();
const root = workshop.authority();
const leaf = workshop.make({ issuer: root });
const own = { key: leaf.key, cert: leaf.cert };

afterAll(() => workshop.remove());

/** Starts an echo server; resolves with it, its port, and what it has reported. */
async function serve(more = {}) {
  const faults = [];
  const connections = [];
  const codes = [];
  const wss = new WebSocketServer({ port: 0, host: '127.0.0.1', tls: own, ...more });
  defer(() => closeServer(wss));
  wss.on('tlsClientError', (error) => faults.push(error));
  wss.on('connection', (ws) => {
    connections.push(ws);
    ws.on('message', (data, isBinary) => ws.send(data, { binary: isBinary }));
    ws.on('close', (code) => codes.push(code));
  });
  await once(wss, 'listening');
  return { wss, port: wss.address().port, faults, connections, codes };
}

/** Connects a bare socket, and notes what comes and that it has ended. */
async function dial(port) {
  const socket = net.connect(port, '127.0.0.1');
  defer(() => socket.destroy());
  const peer = { socket, received: [], isOver: false };
  socket.on('data', (chunk) => peer.received.push(chunk)).on('error', () => {});
  socket.on('close', () => (peer.isOver = true));
  await once(socket, 'connect');
  return peer;
}

/** Relays to a server what `pass(chunk, send)` lets through; resolves with the port. */
async function relay(port, pass) {
  const server = net.createServer((client) => {
    const upstream = net.connect(port, '127.0.0.1');
    for (const socket of [client, upstream]) {
      socket.setNoDelay(true).on('error', () => {});
      defer(() => socket.destroy());
    }
    upstream.pipe(client);
    client.on('data', (chunk) => pass(chunk, (bytes) => upstream.write(bytes), client));
    client.on('close', () => upstream.destroy());
  });
  defer(() => new Promise((resolve) => server.close(resolve)));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server.address().port;
}

/** Connects with ws. */
async function connect(port, options = {}) {
  const ws = new WS(`wss://localhost:${port}/`, { ca: root.cert, ...options });
  defer(() => ws.terminate());
  ws.on('error', () => {});
  await new Promise((resolve, reject) => ws.once('open', resolve).once('error', reject));
  return ws;
}

async function echo(ws, data) {
  ws.send(data);
  const [reply] = await once(ws, 'message');
  return reply;
}

test.each([['TLSv1.2'], ['TLSv1.3']])(
  'bytes that come one at a time make the same handshake (%s)',
  async (maxVersion) => {
    const { port } = await serve();
    const waiting = [];
    let isBusy = false;
    const slow = await relay(port, async (chunk, send) => {
      waiting.push(...chunk);
      if (isBusy) return;
      isBusy = true;
      while (waiting.length > 0) {
        send(Buffer.from([waiting.shift()]));
        await turn();
      }
      isBusy = false;
    });
    const ws = await connect(slow, { maxVersion });
    expect(String(await echo(ws, 'in pieces'))).toBe('in pieces');
  },
);

test('a record that has not come whole does not keep the server from sending', async () => {
  const { port, connections } = await serve();
  let held = null;
  let rest;
  const between = await relay(port, (chunk, send) => {
    if (held === null) return send(chunk);
    held.push(chunk);
    const all = Buffer.concat(held);
    rest = () => send(all.subarray(10));
    return send(all.subarray(0, 10));
  });
  const ws = await connect(between);
  held = [];
  ws.send('held back');
  await until(() => rest !== undefined);
  await delay(20);
  for (const size of [1, 100_000]) {
    connections[0].send(Buffer.alloc(size));
    const [data] = await once(ws, 'message');
    expect(data.length).toBe(size);
  }
  held = null;
  rest();
  const [reply] = await once(ws, 'message');
  expect(String(reply)).toBe('held back');
});

test('a client of TLS 1.1 is turned away', async () => {
  const { port, faults } = await serve();
  const options = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' };
  await expect(connect(port, options)).rejects.toThrow(/alert handshake failure/);
  await until(() => faults.length === 1);
  expect(faults[0].code).toBe('ERR_SSL_UNSUPPORTED_PROTOCOL');
});

test('a client that renegotiates is refused that, and its connection ends', async () => {
  const { port, codes } = await serve();
  const ws = await connect(port, { maxVersion: 'TLSv1.2' });
  const failed = once(ws._socket, 'error');
  ws._socket.renegotiate({}, () => {});
  await expect(failed).resolves.toMatchObject([{ code: 'ERR_SSL_NO_RENEGOTIATION' }]);
  await until(() => codes.length === 1);
  expect(codes).toEqual([1006]);
});

test('a stream that ends without a close_notify is one that is lost', async () => {
  const { port, codes } = await serve();
  let cut;
  const between = await relay(port, (chunk, send, client) => {
    cut = () => client.destroy();
    send(chunk);
  });
  const ws = await connect(between);
  ws.send('half a mess');
  await once(ws, 'message');
  cut();
  await until(() => codes.length === 1);
  expect(codes).toEqual([1006]);
});

test.each([
  ['HTTP in the clear', 'GET / HTTP/1.1\r\nHost: x\r\n\r\n', 'ERR_SSL_HTTP_REQUEST'],
  ['nothing that is TLS', '\x16\x03\x01\xff\xff'.padEnd(70_000, 'x'), 'ERR_SSL_BAD_PACKET'],
  ['data before the handshake', '\x17\x03\x03\x00\x05hello', 'EPROTO'],
])('who speaks %s is turned away', async (_name, bytes, code) => {
  const { port, faults } = await serve();
  const peer = await dial(port);
  peer.socket.write(bytes, 'latin1');
  await until(() => peer.isOver && faults.length === 1);
  expect(faults[0].code).toBe(code);
});

test('a message of the handshake that never ends is not kept', async () => {
  const { wss, port, faults } = await serve();
  const peer = await dial(port);
  // A ClientHello of 16 MiB, in records of a few bytes: headers alone would be as much again.
  peer.socket.write(Buffer.from('160301000401ffffff', 'hex'));
  const record = Buffer.from('1603010001ff', 'hex');
  const flood = Buffer.concat(Array.from({ length: 100 }, () => record));
  while (!peer.isOver) {
    if (!peer.socket.write(flood)) await Promise.race([once(peer.socket, 'drain'), delay(50)]);
    expect(wss.context.stats().bytesBuffered).toBeLessThan(256 * 1024);
    await turn();
  }
  await until(() => faults.length === 1);
});

test('such a message of a peer that stays below the limits of TLS ends in order, too', async () => {
  const reported = await inChild(
    async ({ uvws, net, once, until, input }) => {
      const context = new uvws.Context();
      const options = { port: 0, host: '127.0.0.1', tls: input, context };
      const wss = new uvws.WebSocketServer(options);
      const faults = [];
      wss.on('tlsClientError', (error) => faults.push(error.code));
      await once(wss, 'listening');
      const socket = net.connect(wss.address().port, '127.0.0.1').on('error', () => {});
      // A ClientHello of 60,000 bytes, one in each record.
      const first = Buffer.from('16030100040100ea60', 'hex');
      const others = Buffer.from('160301000100'.repeat(30_000), 'hex');
      socket.write(Buffer.concat([first, others]));
      await until(() => faults.length === 1);
      socket.destroy();
      await context.destroy();
      return faults;
    },
    { input: { key: String(own.key), cert: String(own.cert) } },
  );
  expect(reported).toEqual(['ERR_SSL_DATA_LENGTH_TOO_LONG']);
});

test('the handshake of TLS is part of the one that has a time limit', async () => {
  const { port, connections } = await serve({ handshakeTimeout: 200 });
  const silent = await dial(port);
  const begun = await dial(port);
  // The beginning of a ClientHello.
  begun.socket.write(Buffer.from('1603010200010001fc0303', 'hex'));
  const secured = tls.connect({ port, ca: root.cert, servername: 'localhost' });
  defer(() => secured.destroy());
  let isOver = false;
  secured.on('close', () => (isOver = true)).on('error', () => {});
  await until(() => silent.isOver && begun.isOver && isOver);
  expect(connections).toEqual([]);
});

test('records that have been changed end the connection', async () => {
  const { port, codes } = await serve();
  let isSpoilt = false;
  const between = await relay(port, (chunk, send) => {
    if (isSpoilt) chunk[chunk.length - 1] ^= 1;
    send(chunk);
  });
  const ws = await connect(between);
  isSpoilt = true;
  ws.send('hello');
  await until(() => codes.length === 1);
  expect(codes).toEqual([1006]);
});

test('what is written before the handshake of HTTP is over reaches the server in order', async () => {
  const { port, connections } = await serve();
  const socket = tls.connect({ port, ca: root.cert, servername: 'localhost' });
  defer(() => socket.destroy());
  // A masked frame right behind the request, in the same record.
  socket.write(
    Buffer.concat([
      Buffer.from(upgradeRequest()),
      Buffer.from('818500000000', 'hex'),
      Buffer.from('hello'),
    ]),
  );
  let text = '';
  socket.on('data', (chunk) => (text += chunk.toString('latin1')));
  await until(() => text.endsWith('\r\n\r\n\x81\x05hello'));
  expect(connections.length).toBe(1);
});

describe('nothing is left', () => {
  test('when a context is destroyed in the middle of handshakes', async () => {
    const context = new Context();
    const { port } = await serve({ context });
    const silent = net.createServer((socket) => socket.on('error', () => {}).resume());
    silent.listen(0);
    await once(silent, 'listening');
    const peers = await Promise.all(Array.from({ length: 20 }, () => dial(port)));
    for (const { socket } of peers) socket.write(Buffer.from('1603010200010001fc0303', 'hex'));
    const clients = Array.from(
      { length: 20 },
      () => new WebSocket(`wss://localhost:${silent.address().port}/`, { context }),
    );
    const errors = [];
    for (const client of clients) client.on('error', ({ code }) => errors.push(code));
    await until(() => context.stats().pendingHandshakes === 20);
    clients[0].terminate();
    await context.destroy();
    expect(errors.length).toBe(20);
    await until(() => peers.every(({ isOver }) => isOver));
    await new Promise((resolve) => silent.close(resolve));
  });

  test('when a worker with connections of TLS is terminated', async () => {
    const result = await inChild(
      async ({ startWorker, once: wait, input }) => {
        for (let i = 0; i < 3; i++) {
          const worker = startWorker(async ({ uvws, input: options, once: waitInside }) => {
            const { WebSocket: Client, WebSocketServer: Listener } = uvws;
            const wss = new Listener({ port: 0, host: '127.0.0.1', tls: options });
            await waitInside(wss, 'listening');
            const url = `wss://localhost:${wss.address().port}/`;
            wss.on('connection', (ws) => setInterval(() => ws.send(Buffer.alloc(50_000)), 1));
            const clients = Array.from({ length: 10 }, () => new Client(url, { ca: options.ca }));
            await Promise.all(clients.map((client) => waitInside(client, 'message')));
            require('node:worker_threads').parentPort.postMessage('busy');
            await new Promise(() => {});
          }, input);
          await wait(worker, 'message');
          await worker.terminate();
        }
        return 'done';
      },
      { input: { ...text(own), ca: String(root.cert) } },
    );
    expect(result).toBe('done');
  });
});

/** The same as strings. */
function text(options) {
  return Object.fromEntries(Object.entries(options).map(([name, value]) => [name, String(value)]));
}
