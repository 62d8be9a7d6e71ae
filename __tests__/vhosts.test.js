// Servers of one context that share a port, and servers of one HTTP server, told apart by the host
// that a request is for.

const { execFile } = require('node:child_process');
const { once } = require('node:events');
const http = require('node:http');
const http2 = require('node:http2');
const path = require('node:path');
const { promisify } = require('node:util');

const {
  closeServer,
  closing,
  defer,
  dial,
  open,
  rawClient,
  rawConnect,
  serve,
  thrownBy,
} = require('./support/fixtures.js');
const { inChild, runChild } = require('./support/child.js');
const { until } = require('./support/tools.js');
const { Context, WebSocket, WebSocketServer } = require('./support/uvws.js');

/** Starts servers on one port, by their names; each sends its name to who connects. */
async function share(...optionsOfServers) {
  const [first, ...others] = optionsOfServers;
  const { wss, port } = await serve(first);
  const servers = [wss];
  for (const options of others) servers.push((await serve({ port, ...options })).wss);
  servers.forEach((server, index) => greet(server, optionsOfServers[index].hostname ?? 'default'));
  return { port, servers };
}

function greet(server, name) {
  server.on('connection', (ws) => {
    ws.on('error', () => {});
    ws.send(name);
  });
}

/** Resolves with the name of the server that a host leads to, or the status of the refusal. */
async function ask(port, host) {
  const ws = dial(`ws://127.0.0.1:${port}`, { headers: { Host: host } });
  return new Promise((resolve) => {
    ws.on('message', (data) => resolve(String(data)));
    ws.on('error', ({ message }) => resolve(Number(/\d+$/.exec(message))));
  });
}

/** Sends a head and resolves with the status of the answer. */
async function statusOf(port, head) {
  const peer = await rawConnect(port);
  peer.write(head);
  await peer.when(({ status }) => status !== undefined);
  return peer.status;
}

describe('servers of one context with one port', () => {
  test('are told apart by the host of a request: its name, the longest wildcard, the default', async () => {
    const { port, servers } = await share(
      { hostname: 'a.example.org' },
      { hostname: '*.example.org' },
      { hostname: '*.deep.example.org' },
      {},
      { hostname: '[::1]' },
    );
    for (const server of servers) expect(server.address().port).toBe(port);
    for (const [host, name] of [
      ['a.example.org', 'a.example.org'],
      ['A.EXAMPLE.org.:8080', 'a.example.org'],
      ['b.example.org', '*.example.org'],
      ['b.a.example.org', '*.example.org'],
      ['x.deep.example.org', '*.deep.example.org'],
      ['deep.example.org', '*.example.org'],
      ['example.org', 'default'],
      ['[0:0::1]:80', '[::1]'],
      ['%5B::1%5D', 'default'],
      ['a.example.org.evil', 'default'],
    ]) {
      expect([host, await ask(port, host)]).toEqual([host, name]);
    }
  });

  test('take the host of an absolute request target before that of the header', async () => {
    const { port, servers } = await share({ hostname: 'a.example' }, { hostname: 'b.example' });
    const connected = once(servers[1], 'connection');
    const peer = await rawClient(port, { path: 'ws://B.example:80/path' });
    const [, request] = await connected;
    expect(request.url).toBe('ws://B.example:80/path');
    peer.destroy();
  });

  test('lead an unknown host to the first one if none is without a name', async () => {
    const { port, servers } = await share({ hostname: 'a.example' }, { hostname: 'b.example' });
    expect(await ask(port, 'unknown')).toBe('a.example');
    await closeServer(servers[0]);
    expect(await ask(port, 'unknown')).toBe('b.example');
  });

  test('answer an unknown host with 421 if all of them are strict', async () => {
    const { port } = await share(
      { hostname: 'a.example', strictHost: true },
      { hostname: 'b.example', strictHost: true },
    );
    expect(await ask(port, 'b.example')).toBe('b.example');
    expect(await ask(port, 'unknown')).toBe(421);
    const wrong = 'GET / HTTP/1.1\r\nHost: unknown\r\n\r\n';
    expect(await statusOf(port, wrong)).toBe(421);
    expect(await statusOf(port, wrong.replace('unknown', 'a.example'))).toBe(426);
  });

  test('lead an unknown host past strict ones', async () => {
    const { port } = await share({ hostname: 'a.example', strictHost: true }, { hostname: 'b' });
    expect(await ask(port, 'unknown')).toBe('b');
  });

  test('go on when the one that has opened the port closes, and come and go', async () => {
    const { port, servers } = await share({ hostname: 'a.example' }, { hostname: 'b.example' });
    const [first, second] = servers;
    const survivor = await open(`ws://127.0.0.1:${port}`, { headers: { Host: 'a.example' } });
    const closed = once(first, 'close');
    first.close();
    expect(first.address()).toBeNull();
    expect(await ask(port, 'a.example')).toBe('b.example');

    const { wss: heir } = await serve({ port, hostname: 'a.example' });
    greet(heir, 'heir');
    expect(await ask(port, 'a.example')).toBe('heir');
    // Its connection stays, as in ws, and its end is not told before.
    expect(survivor.readyState).toBe(WebSocket.OPEN);
    survivor.close();
    await closed;
    await closeServer(second);
    expect(await ask(port, 'b.example')).toBe('heir');
    await closeServer(heir);
    const ws = dial(`ws://127.0.0.1:${port}`);
    const [error] = await once(ws, 'error');
    expect(error.code).toBe('ECONNREFUSED');
  });

  test('free the port with the last one that closes', async () => {
    const { port, servers } = await share({ hostname: 'a.example' }, {});
    await Promise.all(servers.map(closeServer));
    const server = http.createServer().listen(port, '127.0.0.1');
    await once(server, 'listening');
    await new Promise((resolve) => server.close(resolve));
  });

  test('fail with EADDRINUSE if they have the same name, or none', async () => {
    const { port } = await share({ hostname: 'a.example' }, {});
    for (const hostname of ['A.example.', undefined]) {
      const rival = new WebSocketServer({ port, host: '127.0.0.1', hostname });
      const [error] = await once(rival, 'error');
      expect(error.message).toBe(`listen EADDRINUSE: address already in use 127.0.0.1:${port}`);
    }
    expect(await ask(port, 'a.example')).toBe('a.example');
  });

  test('of different contexts do not share', async () => {
    const { port } = await share({ hostname: 'a.example' });
    const context = new Context();
    const rival = new WebSocketServer({ port, host: '127.0.0.1', hostname: 'b', context });
    const [error] = await once(rival, 'error');
    expect(error.code).toBe('EADDRINUSE');
    await context.destroy();
  });

  test('have limits, options, data, statistics of clients and compression of their own', async () => {
    const { port, servers } = await share(
      { hostname: 'a.example', maxPayload: 10, data: { name: 'a' }, path: '/a' },
      { hostname: 'b.example', maxPayload: 20, data: { name: 'b' }, perMessageDeflate: true },
    );
    expect(servers.map(({ data }) => data.name)).toEqual(['a', 'b']);
    const url = `ws://127.0.0.1:${port}`;
    const a = await open(`${url}/a`, { headers: { Host: 'a.example' } });
    const b = await open(url, { headers: { Host: 'b.example' } });
    expect(await ask(port, 'a.example')).toBe(400);
    await until(() => servers[0].clients.size === 1 && servers[1].clients.size === 1);
    expect([a.extensions, b.extensions]).toEqual(['', 'permessage-deflate']);
    const [endOfA, endOfB] = [closing(a), closing(b)];
    b.send('x'.repeat(15));
    a.send('x'.repeat(15));
    expect((await endOfA).code).toBe(1009);
    expect(b.readyState).toBe(WebSocket.OPEN);
    b.send('x'.repeat(21));
    expect((await endOfB).code).toBe(1009);
  });

  test('send to their own clients and subscribers only', async () => {
    const { port, servers } = await share({ hostname: 'a.example' }, { hostname: 'b.example' });
    const messages = [];
    for (const [index, server] of servers.entries()) {
      server.on('connection', (ws) => ws.subscribe('news'));
      const headers = { Host: server.options.hostname };
      const ws = await open(`ws://127.0.0.1:${port}`, { headers });
      ws.on('message', (data) => messages.push(`${index}: ${data}`));
    }
    await until(() => servers.every((server) => server.numSubscribers('news') === 1));
    expect(servers[0].publish('news', 'published')).toBe(1);
    expect(servers[1].broadcast('broadcast')).toBe(1);
    await until(() => messages.length >= 4);
    expect(messages.sort()).toEqual([
      '0: a.example',
      '0: published',
      '1: b.example',
      '1: broadcast',
    ]);
  });

  test('report what they refuse to their own listeners for wsClientError', async () => {
    const { port, servers } = await share({ hostname: 'a.example' }, { hostname: 'b.example' });
    const errors = [];
    servers[1].on('wsClientError', (error, socket) => {
      errors.push(error.message);
      socket.end('HTTP/1.1 499 Seen\r\n\r\n');
    });
    const head = (host) =>
      `POST / HTTP/1.1\r\nHost: ${host}\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n`;
    expect(await statusOf(port, head('a.example'))).toBe(405);
    expect(await statusOf(port, head('b.example'))).toBe(499);
    expect(errors).toEqual(['Invalid HTTP method']);
  });

  test('emit in the async context that they were made in', async () => {
    const { AsyncLocalStorage } = require('node:async_hooks');
    const storage = new AsyncLocalStorage();
    const { wss, port } = await storage.run('first', () => serve({ hostname: 'a.example' }));
    const { wss: other } = await storage.run('second', () => serve({ port, hostname: 'b' }));
    const seen = [];
    for (const server of [wss, other]) {
      server.on('connection', () => seen.push(storage.getStore()));
    }
    await open(`ws://127.0.0.1:${port}`, { headers: { Host: 'b' } });
    await open(`ws://127.0.0.1:${port}`, { headers: { Host: 'a.example' } });
    await until(() => seen.length === 2);
    expect(seen).toEqual(['second', 'first']);
  });

  test('close without waiting for peers that have not sent their request, while others stay', async () => {
    const { port, servers } = await share({ hostname: 'a.example' }, { hostname: 'b.example' });
    const peer = await rawConnect(port);
    peer.write('GET / HTTP/1.1\r\n');
    await until(() => Context.default.stats().pendingHandshakes === 1);
    await new Promise((resolve) => servers[0].close(resolve));
    const connected = once(servers[1], 'connection');
    peer.write(
      'Host: a.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
        'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n',
    );
    await connected;
    expect(peer.status === 101 || (await peer.when(({ status }) => status === 101))).toBeTruthy();
  });

  test('answer who is being decided on with 503 when they have closed', async () => {
    const answers = [];
    const verifyClient = (_info, answer) => answers.push(answer);
    const { port, servers } = await share({ hostname: 'a.example', verifyClient }, {});
    const answered = ask(port, 'a.example');
    await until(() => answers.length === 1);
    const closed = new Promise((resolve) => servers[0].close(resolve));
    answers[0](true);
    expect(await answered).toBe(503);
    await closed;
    expect(await ask(port, 'a.example')).toBe('default');
  });

  test.each([
    ['keep the process alive as long as one of them is to', false],
    ['let the process end when the last one that kept it alive has closed', true],
  ])('%s', async (_name, closes) => {
    const outcome = await runChild(
      async ({ uvws, once, input }) => {
        const first = new uvws.WebSocketServer({ port: 0, host: '127.0.0.1' });
        await once(first, 'listening');
        const { port } = first.address();
        const second = new uvws.WebSocketServer({ port, host: '127.0.0.1', hostname: 'b' });
        first._server.unref();
        await once(second, 'listening');
        if (input.closes) second.close();
        return new Promise(() => {});
      },
      { input: { closes }, timeout: closes ? undefined : 700 },
    );
    expect(outcome.isLate).toBe(!closes);
  });

  test('may be added and closed by handlers, and end with their context in the middle of it', () =>
    inChild(async ({ uvws, assert, once }) => {
      const context = new uvws.Context();
      const main = new uvws.WebSocketServer({ port: 0, host: '127.0.0.1', context });
      await once(main, 'listening');
      const { port } = main.address();
      const closed = [];
      const add = (hostname) => {
        const server = new uvws.WebSocketServer({ port, host: '127.0.0.1', hostname, context });
        server.on('error', () => {});
        server.on('close', () => closed.push(hostname));
        server.on('connection', (ws) => {
          ws.on('close', () => closed.push(`${hostname} connection`));
          if (hostname.length < 20) add(`x${hostname}`);
          server.close();
          if (hostname.length === 20) context.destroy();
        });
        return server;
      };
      add('x.example');
      for (let length = 9; length <= 20; length++) {
        const host = `x.example`.padStart(length, 'x');
        const headers = { Host: host };
        const ws = new uvws.WebSocket(`ws://127.0.0.1:${port}`, { headers, context });
        ws.on('error', () => {});
        await new Promise((resolve) => ws.on('open', resolve).on('close', resolve));
      }
      await context.closed;
      assert.equal(closed.length, 24);
      for (let length = 9; length <= 20; length++) {
        const host = `x.example`.padStart(length, 'x');
        assert.ok(closed.indexOf(`${host} connection`) < closed.indexOf(host), host);
      }
      assert.equal(context.stats().handles, 0);
    }));

  test('work in workers, and end with them', () =>
    inChild(async ({ assert, once, startWorker, rawClient }) => {
      for (let round = 0; round < 3; round++) {
        const worker = startWorker(async ({ uvws, once: whenever }) => {
          const first = new uvws.WebSocketServer({ port: 0, host: '127.0.0.1' });
          await whenever(first, 'listening');
          const { port } = first.address();
          const options = { port, host: '127.0.0.1', hostname: 'localhost' };
          const second = new uvws.WebSocketServer(options);
          await whenever(second, 'listening');
          second.on('connection', (ws) => ws.send('second'));
          first.close();
          require('worker_threads').parentPort.postMessage(port);
        });
        const [port] = await once(worker, 'message');
        const peer = await rawClient(port);
        const frame = await peer.nextFrame();
        assert.equal(String(frame.payload), 'second');
        await worker.terminate();
        await peer.when(({ hasClosed, hasEnded }) => hasClosed || hasEnded);
        peer.destroy();
      }
    }));

  test('listen together when the name of their address has been looked up, or fail together', async () => {
    const { wss, port } = await serve({ host: 'localhost' });
    const { wss: other } = await serve({ host: 'localhost', port, hostname: 'b.example' });
    await Promise.all([wss, other].map(closeServer));

    const events = [];
    const options = { port, host: 'does-not-exist.invalid' };
    const servers = ['a', 'b'].map((hostname) => new WebSocketServer({ ...options, hostname }));
    for (const server of servers) {
      server.on('listening', () => events.push('listening'));
      server.on('error', ({ syscall }) => events.push(syscall));
    }
    await until(() => events.length === 2);
    expect(events).toEqual(['getaddrinfo', 'getaddrinfo']);
  });
});

test('virtual hosts that come and go cost the others no connection', async () => {
  // The run that shows that memory stays flat takes minutes: see the script.
  const script = path.join(__dirname, '..', 'scripts', 'vhost-churn.js');
  const args = [script, '--seconds', '3'];
  const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 50_000 });
  const { added, brief, errors, pairs } = JSON.parse(stdout);
  expect(errors).toEqual([]);
  expect(Math.min(added, brief)).toBeGreaterThan(10);
  expect(pairs.destroy).toBe(pairs.init);
});

describe('the options of servers that share a port', () => {
  test.each([
    [{ hostname: 'a:80' }, /"options.hostname" must be a host name .* received 'a:80'/],
    [{ hostname: '' }, /"options.hostname" must be a host name/],
    [{ hostname: '*' }, /"options.hostname" must be a host name/],
    [{ hostname: 'http://a' }, /"options.hostname" must be a host name/],
    [{ hostname: ['a'] }, /"options.hostname" must be a string/],
    [{ strictHost: true }, /"options.strictHost" needs "options.hostname"/],
    [{ hostname: 'a', strictHost: 1 }, /"options.strictHost" must be a boolean/],
    [{ hostname: 'a', port: undefined, noServer: true }, /has no meaning with "noServer"/],
  ])('are checked: %j', (options, message) => {
    const error = thrownBy(() => new WebSocketServer({ port: 0, ...options }));
    expect(error).toBeInstanceOf(TypeError);
    expect(error.message).toMatch(message);
  });

  test('may name a host in another script', async () => {
    const { port } = await share({ hostname: 'bücher.example' }, {});
    expect(await ask(port, 'xn--bcher-kva.example')).toBe('bücher.example');
  });

  test('have to agree on the backlog', async () => {
    const { port } = await share({ hostname: 'a', backlog: 100 }, { hostname: 'b', backlog: 100 });
    const { port: same } = await share({ port, hostname: 'c' });
    expect(same).toBe(port);
    const options = { port, host: '127.0.0.1', hostname: 'd', backlog: 200 };
    const error = thrownBy(() => new WebSocketServer(options));
    expect(error.name).toBe('RangeError');
    expect(error.message).toBe(
      '"options.backlog" must be 100, that of the server whose port is shared, received 200',
    );
    // As for net.Server, 0 is the default.
    await share({ hostname: 'a', backlog: 0 }, { hostname: 'b', backlog: 511 });
  });
});

describe('servers of one HTTP server', () => {
  async function listen(server) {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    defer(() => new Promise((resolve) => server.close(resolve)));
    return server.address().port;
  }

  function attach(server, options, name = options.hostname ?? 'default') {
    const wss = new WebSocketServer({ server, ...options });
    defer(() => closeServer(wss));
    greet(wss, name);
    return wss;
  }

  test('are told apart by the host of a request', async () => {
    const server = http.createServer();
    const port = await listen(server);
    attach(server, { hostname: 'a.example' });
    attach(server, {});
    const wild = attach(server, { hostname: '*.example' });
    expect(await ask(port, 'A.example:80')).toBe('a.example');
    expect(await ask(port, 'b.example')).toBe('*.example');
    expect(await ask(port, 'unknown')).toBe('default');
    wild.close();
    expect(await ask(port, 'b.example')).toBe('default');
  });

  test('lead an unknown host to the first one, or answer it with 421', async () => {
    const server = http.createServer();
    const port = await listen(server);
    const first = attach(server, { hostname: 'a.example' });
    attach(server, { hostname: 'b.example', strictHost: true });
    expect(await ask(port, 'unknown')).toBe('a.example');
    first.close();
    expect(await ask(port, 'unknown')).toBe(421);
    expect(await ask(port, 'b.example')).toBe('b.example');
  });

  test('leave an unknown host to other listeners for upgrades', async () => {
    const server = http.createServer();
    const port = await listen(server);
    attach(server, { hostname: 'a.example' });
    attach(server, { hostname: 'b.example', strictHost: true });
    const other = new WebSocketServer({ noServer: true });
    defer(() => closeServer(other));
    server.on('upgrade', (request, socket, head) => {
      if (request.headers.host !== 'other.example') return;
      other.handleUpgrade(request, socket, head, (ws) => ws.send('other'));
    });
    expect(await ask(port, 'other.example')).toBe('other');
    expect(await ask(port, 'b.example')).toBe('b.example');
  });

  test('do not have the same name', async () => {
    const server = http.createServer();
    await listen(server);
    attach(server, { hostname: 'a.example' });
    const error = thrownBy(() => new WebSocketServer({ server, hostname: 'A.example' }));
    expect(error.code).toBe('EADDRINUSE');
    expect(error.message).toMatch('has the hostname a.example');
  });

  test('are told apart over HTTP/2, too', async () => {
    const server = http2.createServer();
    const port = await listen(server);
    attach(server, { hostname: 'a.example', strictHost: true });
    attach(server, { hostname: 'b.example', strictHost: true });
    const session = http2.connect(`http://127.0.0.1:${port}`);
    defer(() => new Promise((resolve) => session.close(resolve)));
    await once(session, 'remoteSettings');
    const statuses = [];
    // The Host header is of no account beside it (RFC 9113 section 8.3.1).
    for (const [authority, host] of [
      ['b.example', 'a.example'],
      ['unknown', 'a.example'],
    ]) {
      const stream = session.request({
        ':method': 'CONNECT',
        ':protocol': 'websocket',
        ':path': '/',
        ':authority': authority,
        host,
        'sec-websocket-version': '13',
      });
      stream.on('error', () => {});
      const [headers] = await once(stream, 'response');
      statuses.push(headers[':status']);
      if (headers[':status'] === 200) {
        const [chunk] = await once(stream, 'data');
        expect(chunk.subarray(2).toString()).toBe('b.example');
      }
      stream.destroy();
    }
    expect(statuses).toEqual([200, 421]);
  });
});
