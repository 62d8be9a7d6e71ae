// The option `http`: requests on a native listener that are none for a WebSocket.

const { once } = require('node:events');
const http = require('node:http');
const https = require('node:https');

const { inChild } = require('./support/child.js');
const {
  closing,
  collect,
  defer,
  dial,
  open,
  rawClient,
  rawConnect,
  serve,
} = require('./support/fixtures.js');
const frames = require('./support/frames.js');
const { upgradeRequest } = require('./support/peers.js');
const { delay, until } = require('./support/tools.js');
const { Context, WebSocketServer } = require('./support/uvws.js');

/** Says what it was asked, when it has read all of it. */
function answer(request, response) {
  let length = 0;
  request.on('data', (chunk) => (length += chunk.length));
  request.on('end', () => response.end(`${request.method} ${request.url} ${length};`));
}

/** Writes to a port, in pieces, and resolves with what comes back before `end` holds. */
async function talk(port, pieces, end = ({ hasEnded }) => hasEnded) {
  const peer = await rawConnect(port);
  for (const piece of [pieces].flat()) {
    peer.write(piece);
    await delay(5);
  }
  await peer.when(end);
  return peer.text;
}

const has = (text) => (peer) => peer.text.includes(text);

/** An HTTP server that does not listen. */
function makeServer(listener = answer) {
  const server = http.createServer(listener);
  defer(() => {
    server.closeAllConnections();
    server.close();
  });
  return server;
}

describe.each([
  ['a handler', () => answer],
  ['a server', () => makeServer()],
])('%s answers', (_name, make) => {
  async function start(options) {
    const server = await serve({ http: make(), ...options });
    server.wss.on('connection', (ws) => ws.on('message', (data) => ws.send(`echo ${data}`)));
    return server;
  }

  test('requests of all kinds, beside WebSockets on the same port', async () => {
    const { port, url } = await start();
    const page = `http://127.0.0.1:${port}/page`;
    expect(await (await fetch(page)).text()).toBe('GET /page 0;');
    const head = await fetch(page, { method: 'HEAD' });
    expect([head.status, await head.text()]).toEqual([200, '']);
    for (const size of [1, 1000, 70_000, 3_000_000]) {
      const response = await fetch(page, { method: 'POST', body: 'x'.repeat(size) });
      expect(await response.text()).toBe(`POST /page ${size};`);
    }
    const client = await open(url);
    const messages = collect(client);
    client.send('hello');
    await until(() => messages.length === 1);
    expect(messages).toEqual(['echo hello']);
  });

  test('what came in one packet with the head, or byte by byte', async () => {
    const { port } = await start();
    const post =
      'POST /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello';
    expect(await talk(port, post)).toContain('POST /x 5;');
    expect(await talk(port, [...post])).toContain('POST /x 5;');
    const chunked =
      'POST /y HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n';
    expect(await talk(port, [`${chunked}3\r\nab`, 'c\r\n', '0\r\n\r\n'])).toContain('POST /y 3;');
  });

  test('requests that are pipelined, in order', async () => {
    const { port } = await start();
    const paths = Array.from({ length: 20 }, (_, i) => `/${i}`);
    const requests = paths.map((path) => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`).join('');
    const text = await talk(port, requests, has('GET /19 0;'));
    expect([...text.matchAll(/GET (\S+) 0;/g)].map(([, path]) => path)).toEqual(paths);
  });

  test('HTTP/1.0, a peer that ends its side, and Expect: 100-continue', async () => {
    const { port } = await start();
    expect(await talk(port, 'GET /old HTTP/1.0\r\n\r\n')).toContain('GET /old 0;');

    const half = await rawConnect(port);
    half.socket.end('GET /half HTTP/1.0\r\n\r\n');
    await half.when(({ hasClosed }) => hasClosed);
    expect(half.text).toContain('GET /half 0;');

    const peer = await rawConnect(port);
    peer.write('PUT /big HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n');
    await peer.when(has('100 Continue'));
    peer.write('abc');
    await peer.when(has('PUT /big 3;'));
  });

  test('what is no request, by a 400 of its own', async () => {
    const { port } = await start();
    expect(await talk(port, 'GET / HTTP/1.1\r\nno header\r\n\r\n')).toMatch(/^HTTP\/1.1 400 /);
  });

  test('several requests of a connection, the last of which may be an upgrade', async () => {
    const { wss, port } = await start();
    const peer = await rawConnect(port);
    peer.write('GET /1 HTTP/1.1\r\nHost: a\r\n\r\n');
    await peer.when(has('GET /1 0;'));
    peer.write('GET /2 HTTP/1.1\r\nHost: a\r\n\r\n');
    await peer.when(has('GET /2 0;'));
    peer.head = null;
    peer.text = '';
    const [connected] = await Promise.all([
      once(wss, 'connection'),
      peer.write(
        Buffer.concat([
          Buffer.from(upgradeRequest()),
          frames.frame(frames.TEXT, 'behind', { mask: true }),
        ]),
      ),
    ]);
    expect(wss.clients.size).toBe(1);
    expect(await peer.nextFrame()).toMatchObject({ payload: Buffer.from('echo behind') });
    const closed = closing(connected[0]);
    peer.close(1000);
    expect(await closed).toEqual({ code: 1000, reason: '' });
    await peer.when(({ hasEnded }) => hasEnded);
  });

  test('on connections that are no handshakes any more', async () => {
    const { wss, port, url } = await start({ maxPendingHandshakes: 1 });
    for (let i = 0; i < 3; i++) {
      const peer = await rawConnect(port);
      peer.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
      await peer.when(has('GET / 0;'));
      expect(wss.stats().pendingHandshakes).toBe(0);
    }
    await open(url);
  });

  test('with a limit of connections, an upgrade that needs no second place', async () => {
    const { wss, port, url } = await start({ maxConnections: 1, maxConnectionsPerAddress: 1 });
    for (let i = 0; i < 2; i++) {
      const peer = await rawConnect(port);
      peer.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
      await peer.when(has('GET / 0;'));
      peer.head = null;
      peer.text = '';
      peer.write(upgradeRequest());
      await peer.when(({ head }) => head !== null);
      expect(peer.status).toBe(101);
      const [error] = await once(dial(url), 'error');
      expect(error.message).toBe('Unexpected server response: 503');
      const [ws] = wss.clients;
      const closed = closing(ws);
      await peer.destroy();
      await closed;
    }
  });

  test('nothing of what concerns WebSockets, or the limits of a head', async () => {
    const { port } = await start({ handshakeTimeout: 500 });
    const bad = upgradeRequest().replace('Version: 13', 'Version: 7');
    expect(await talk(port, bad)).toMatch(/^HTTP\/1.1 400 [^]*Sec-WebSocket-Version: 13, 8/);
    expect(await talk(port, `GET / HTTP/1.1\r\nX: ${'x'.repeat(17_000)}`)).toMatch(/ 431 /);
    expect(await talk(port, 'GET / HTTP/1.1\r\n')).toMatch(/ 408 /);
  });

  test('as long as the server runs: close() leaves the port', async () => {
    const { wss, port } = await start();
    await talk(port, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n', has('GET / 0;'));
    await new Promise((resolve) => wss.close(resolve));
    await expect(fetch(`http://127.0.0.1:${port}/`)).rejects.toThrow('fetch failed');
  });
});

test('without the option, other requests get 426', async () => {
  const { port } = await serve();
  expect(await talk(port, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n')).toMatch(/^HTTP\/1.1 426 /);
});

test('a request shows where it comes from, and its socket is one of Node’s', async () => {
  let seen;
  const { port } = await serve({
    http: ({ socket }, response) => {
      seen = [socket.constructor.name, socket.remoteAddress, socket.remotePort, socket.localPort];
      response.end();
    },
  });
  const peer = await rawConnect(port);
  peer.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  await peer.when(({ head }) => head !== null);
  expect(seen).toEqual(['Socket', '127.0.0.1', peer.socket.localPort, port]);
});

test('a peer that resets the connection behind its request harms nobody', async () => {
  const { port } = await serve({ http: answer });
  for (let i = 0; i < 20; i++) {
    const peer = await rawConnect(port);
    peer.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhel');
    if (i % 2 === 0) await delay(3);
    peer.socket.resetAndDestroy();
    await peer.when(({ hasClosed }) => hasClosed);
  }
  expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toBe('GET / 0;');
});

test('a server of the user is told of its connections, and watches over them', async () => {
  const server = makeServer();
  const sockets = [];
  server.on('connection', (socket) => sockets.push(socket));
  const { wss, port } = await serve({ http: server });
  const peer = await rawConnect(port);
  peer.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  await peer.when(has('GET / 0;'));
  expect(sockets).toHaveLength(1);
  await new Promise((resolve) => wss.close(resolve));
  // They are its own.
  peer.write('GET /again HTTP/1.1\r\nHost: a\r\n\r\n');
  await peer.when(has('GET /again 0;'));
  expect(server.listenerCount('upgrade')).toBe(0);
  server.closeIdleConnections();
  await peer.when(({ hasClosed }) => hasClosed);
});

test('a server of the user may be beside several ports, and listen itself', async () => {
  const server = makeServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  let listening = 0;
  server.on('listening', () => listening++);
  const [one, two] = [await serve({ http: server }), await serve({ http: server })];
  expect(listening).toBe(0);
  for (const { port } of [one, two, server.address().port]) {
    const own = port ?? server.address().port;
    expect(await (await fetch(`http://127.0.0.1:${own}/`)).text()).toBe('GET / 0;');
  }
  // An upgrade goes to the WebSocketServer of the port.
  const peer = await rawConnect(two.port);
  peer.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  await peer.when(has('GET / 0;'));
  const connected = once(two.wss, 'connection');
  peer.head = null;
  peer.text = '';
  peer.write(upgradeRequest());
  await connected;
  expect([one.wss.clients.size, two.wss.clients.size]).toEqual([0, 1]);
  await peer.when(({ status }) => status === 101);
});

test('close() waits for what was upgraded on a connection of the user’s server', async () => {
  for (const clientTracking of [true, false]) {
    const { wss, port } = await serve({ http: makeServer(), clientTracking });
    const peer = await rawConnect(port);
    peer.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    await peer.when(has('GET / 0;'));
    const connected = once(wss, 'connection');
    peer.write(upgradeRequest());
    const [ws] = await connected;
    const events = [];
    ws.on('close', () => events.push('connection'));
    const closed = once(wss, 'close').then(() => events.push('server'));
    wss.close();
    await delay(20);
    expect(events).toEqual([]);
    await peer.destroy();
    await closed;
    expect(events).toEqual(['connection', 'server']);
  }
});

test('close() waits for the answer to a request that a handler is at, and drops who is idle', async () => {
  let finish;
  const { wss, port } = await serve({
    http: (request, response) => {
      if (request.url === '/slow') finish = () => response.end('at last');
      else response.end('at once');
    },
  });
  const [idle, busy] = [await rawConnect(port), await rawConnect(port)];
  idle.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  await idle.when(has('at once'));
  busy.write('GET /slow HTTP/1.1\r\nHost: a\r\n\r\n');
  await until(() => finish !== undefined);
  let isClosed = false;
  wss.close(() => (isClosed = true));
  await idle.when(({ hasClosed }) => hasClosed);
  expect(isClosed).toBe(false);
  finish();
  await busy.when(has('at last'));
  await busy.when(({ hasClosed }) => hasClosed);
  await until(() => isClosed);
});

test('a context that closes lets a handler finish, until its timeout', async () => {
  for (const timeout of [10_000, 200]) {
    const context = new Context();
    let response;
    const wss = new WebSocketServer({
      port: 0,
      host: '127.0.0.1',
      context,
      http: (_request, given) => (response = given),
    });
    await once(wss, 'listening');
    const peer = await rawConnect(wss.address().port);
    peer.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    await until(() => response !== undefined);
    const ended = context.close({ timeout });
    if (timeout > 1000) response.end('done');
    await ended;
    await peer.when(({ hasClosed }) => hasClosed);
    expect(peer.text.includes('done')).toBe(timeout > 1000);
    expect(context.stats().handles).toBe(0);
  }
});

test('a request that comes while the server closes gets 503', async () => {
  const { wss, port } = await serve({ http: answer });
  const client = await rawClient(port);
  const [server] = wss.clients;
  // Both are delivered in one turn, one behind the other.
  const peer = await rawConnect(port);
  server.on('message', () => wss.close());
  client.send(frames.TEXT, 'close');
  peer.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  await peer.when(({ head, hasClosed }) => head !== null || hasClosed);
  expect(peer.text).toMatch(/^HTTP\/1.1 503 /);
  server.terminate();
});

test('servers that share a port have handlers of their own', async () => {
  const context = new Context();
  const common = { host: '127.0.0.1', context };
  const say = (text) => (_request, response) => response.end(text);
  const one = new WebSocketServer({ ...common, port: 0, hostname: 'one.test', http: say('one') });
  await once(one, 'listening');
  const { port } = one.address();
  const two = new WebSocketServer({ ...common, port, hostname: 'two.test', strictHost: true });
  const rest = new WebSocketServer({ ...common, port, http: say('rest') });
  await Promise.all([once(two, 'listening'), once(rest, 'listening')]);
  const ask = (host) => talk(port, `GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
  expect(await ask('one.test')).toMatch(/one$/);
  expect(await ask('two.test')).toMatch(/^HTTP\/1.1 426 /);
  expect(await ask('three.test')).toMatch(/rest$/);
  await context.destroy();
});

test('a connection that is kept alive may ask several servers of the port, as that of a proxy', async () => {
  const context = new Context();
  defer(() => context.destroy());
  const common = { host: '127.0.0.1', context, strictHost: true };
  const say = (text) => (_request, response) => response.end(`${text};`);
  const options = [
    { port: 0, hostname: 'one.test', http: say('one') },
    { hostname: 'two.test', http: makeServer(say('two')) },
    { hostname: 'three.test' },
  ];
  let port;
  for (const each of options) {
    const wss = new WebSocketServer({ port, ...common, ...each });
    await once(wss, 'listening');
    ({ port } = wss.address());
    wss.on('connection', (ws) => ws.send(each.hostname));
  }
  const request = (host, target = '/') => `GET ${target} HTTP/1.1\r\nHost: ${host}\r\n\r\n`;
  const begin = async () => {
    const peer = await rawConnect(port);
    peer.write(request('one.test'));
    await peer.when(has('one;'));
    peer.write(request('two.test'));
    await peer.when(has('two;'));
    peer.write(request('two.test', 'http://ONE.test:80/'));
    await peer.when(({ text }) => text.split('one;').length === 3);
    peer.head = null;
    peer.text = '';
    return peer;
  };
  for (const [host, status] of [
    ['three.test', 426],
    ['four.test', 421],
  ]) {
    const peer = await begin();
    peer.write(request(host));
    await peer.when(({ hasEnded }) => hasEnded);
    expect(peer.status).toBe(status);
  }
  for (const { hostname } of options) {
    const peer = await begin();
    peer.write(upgradeRequest({ host: hostname }));
    await peer.when(({ head }) => head !== null);
    expect(peer.status).toBe(101);
    expect(String((await peer.nextFrame()).payload)).toBe(hostname);
    await peer.destroy();
  }
  const peer = await begin();
  peer.write(upgradeRequest({ host: 'four.test' }));
  await peer.when(({ hasEnded }) => hasEnded);
  expect(peer.status).toBe(421);
});

test.each(['set', 'uv'])(
  'nothing is left of hundreds of connections, ended in the middle (%s)',
  async (transport) => {
    await inChild(
      async ({ uvws, net, once, until, delay }) => {
        for (let round = 0; round < 3; round++) {
          const context = new uvws.Context();
          const wss = new uvws.WebSocketServer({
            port: 0,
            host: '127.0.0.1',
            context,
            // Some are answered, some wait for ever.
            http: ({ url }, response) => url === '/' && response.end('done'),
          });
          await once(wss, 'listening');
          const sockets = Array.from({ length: 100 }, (_, i) => {
            const socket = net.connect(wss.address().port, '127.0.0.1');
            socket.on('error', () => {});
            socket.resume();
            socket.write(`GET /${i % 2 ? '' : 'x'} HTTP/1.1\r\nHost: a\r\n\r\n`);
            if (i % 3 === 0) socket.end();
            return socket;
          });
          if (round > 0) await delay(20 * round);
          if (round < 2) await context.destroy();
          else await context.close({ timeout: 50 });
          await until(() => sockets.every(({ closed }) => closed), 'the ends');
        }
      },
      { env: transport === 'uv' ? { UVWS_TRANSPORT: 'uv' } : {} },
    );
  },
);

test('a worker that is terminated takes its connections along', async () => {
  await inChild(async ({ net, once, startWorker }) => {
    const worker = startWorker(async ({ uvws, once: onceOf }) => {
      const { parentPort } = require('worker_threads');
      const http = (_request, response) => response.write('begun');
      const wss = new uvws.WebSocketServer({ port: 0, host: '127.0.0.1', http });
      await onceOf(wss, 'listening');
      parentPort.postMessage(wss.address().port);
      await new Promise(() => {});
    });
    const [port] = await once(worker, 'message');
    const socket = net.connect(port, '127.0.0.1');
    socket.on('error', () => {});
    const closed = once(socket, 'close');
    socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    await once(socket, 'data');
    await worker.terminate();
    await closed;
  });
});

test.each([
  [{ port: 0, http: true }, '"options.http" must be a function or an http.Server, received true'],
  [{ port: 0, http: {} }, '"options.http" must be a function or an http.Server, received {}'],
  [
    { port: 0, tls: {}, http: answer },
    '"options.http" cannot go with "options.tls": use "options.server"',
  ],
  [{ noServer: true, http: answer }, '"options.http" needs "options.port"'],
])('%p is refused at once', (options, message) => {
  expect(() => new WebSocketServer(options)).toThrow(new TypeError(message));
});

test('a server of HTTPS is refused: there is no TLS on the port', () => {
  expect(() => new WebSocketServer({ port: 0, http: https.createServer() })).toThrow(TypeError);
});
