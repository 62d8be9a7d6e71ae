// What programs written for ws do below the public API of a server with a port of its own: methods
// that they replace, the lines of the response, and `_server`.

const { once } = require('node:events');

const {
  closeServer,
  collect,
  defer,
  dial,
  failure,
  open,
  rawClient,
  rawConnect,
  serve,
} = require('./support/fixtures.js');
const { upgradeRequest } = require('./support/peers.js');
const { until } = require('./support/tools.js');
const { WebSocketServer } = require('./support/uvws.js');

/** A server of a subclass, which listens. */
async function serveWith(Server, options) {
  const wss = new Server({ port: 0, host: '127.0.0.1', ...options });
  defer(() => closeServer(wss));
  await once(wss, 'listening');
  return { wss, url: `ws://127.0.0.1:${wss.address().port}` };
}

describe('a server with a port calls', () => {
  test('handleUpgrade() of a subclass, which may go on or answer by hand', async () => {
    const seen = [];
    class Server extends WebSocketServer {
      handleUpgrade(request, socket, head, callback) {
        seen.push([request.url, socket.remoteAddress, Buffer.isBuffer(head)]);
        if (request.url === '/no') {
          socket.end('HTTP/1.1 402 Payment Required\r\nConnection: close\r\n\r\n');
        } else {
          super.handleUpgrade(request, socket, head, callback);
        }
      }
    }
    const { wss, url } = await serveWith(Server);
    wss.on('connection', (ws, request) => ws.on('message', () => ws.send(request.url)));
    const client = await open(`${url}/yes`);
    const messages = collect(client);
    client.send('where');
    await until(() => messages.length === 1);
    expect(messages).toEqual(['/yes']);
    const { error } = await failure(dial(`${url}/no`));
    expect(error.message).toBe('Unexpected server response: 402');
    expect(seen).toEqual([
      ['/yes', '127.0.0.1', true],
      ['/no', '127.0.0.1', true],
    ]);
    expect(wss.clients.size).toBe(1);
  });

  test('completeUpgrade() and shouldHandle() that were assigned', async () => {
    const { wss, url } = await serveWith(WebSocketServer);
    const calls = [];
    const { completeUpgrade } = WebSocketServer.prototype;
    wss.shouldHandle = (request) => {
      calls.push('shouldHandle');
      return request.url === '/yes';
    };
    wss.completeUpgrade = function (...args) {
      calls.push('completeUpgrade');
      return completeUpgrade.apply(this, args);
    };
    await open(`${url}/yes`, ['one', 'two']);
    const { error } = await failure(dial(`${url}/no`));
    expect(error.message).toBe('Unexpected server response: 400');
    expect(calls).toEqual(['shouldHandle', 'completeUpgrade', 'shouldHandle']);
  });

  test('handleUpgrade() that hands the connection to another server', async () => {
    const other = new WebSocketServer({ noServer: true, perMessageDeflate: true });
    defer(() => closeServer(other));
    const { wss, url } = await serveWith(WebSocketServer);
    wss.handleUpgrade = (request, socket, head) => {
      other.handleUpgrade(request, socket, head, (ws) => ws.send(`at ${request.url}`));
    };
    const client = dial(`${url}/other`);
    const [data] = await once(client, 'message');
    expect(String(data)).toBe('at /other');
    expect([wss.clients.size, other.clients.size]).toEqual([0, 1]);
    expect(client.extensions).toBe('permessage-deflate');
  });
});

test('a headers listener of a server with a port may remove and replace lines', async () => {
  const { wss, port } = await serve();
  wss.on('headers', (lines) => {
    lines[1] = 'Upgrade: WebSocket';
    lines.splice(2, 1, 'connection: upgrade', 'X-Added: yes');
  });
  const { head } = await rawClient(port);
  const lines = head.toString().trim().split('\r\n');
  expect(lines.slice(0, 4)).toEqual([
    'HTTP/1.1 101 Switching Protocols',
    'Upgrade: WebSocket',
    'connection: upgrade',
    'X-Added: yes',
  ]);
  expect(lines).toHaveLength(5);
});

test('a wsClientError listener of a server with a port answers by hand', async () => {
  const { wss, port } = await serve();
  const seen = [];
  wss.on('wsClientError', (error, socket, request) => {
    seen.push([error.message, request.method]);
    socket.write('HTTP/1.1 418 Teapot\r\nConnection: close\r\n');
    socket.end('\r\nno');
  });
  const peer = await rawConnect(port);
  peer.write(upgradeRequest({}).replace('GET', 'POST'));
  await peer.when(({ hasClosed }) => hasClosed);
  expect(peer.text).toBe('HTTP/1.1 418 Teapot\r\nConnection: close\r\n\r\nno');
  expect(seen).toEqual([['Invalid HTTP method', 'POST']]);
});

test('what is no HTTP is refused without asking a wsClientError listener, or handleUpgrade()', async () => {
  class Server extends WebSocketServer {
    handleUpgrade(request, ...rest) {
      seen.push(request.method);
      super.handleUpgrade(request, ...rest);
    }
  }
  const seen = [];
  const { wss } = await serveWith(Server);
  wss.on('wsClientError', (error) => seen.push(error.message));
  const tooMany = upgradeRequest({}).replace('\r\n', `\r\n${'X: y\r\n'.repeat(2000)}`);
  for (const [head, status] of [
    ['JUNK\r\n\r\n', 400],
    ['GET\r\n\r\n', 400],
    ['GET /\r\n\r\n', 400],
    [upgradeRequest({}).replace('HTTP/1.1', 'HTTP/1.0'), 400],
    [upgradeRequest({}).replace('Upgrade:', 'Upgrade :'), 400],
    [tooMany, 431],
  ]) {
    const peer = await rawConnect(wss.address().port);
    peer.write(head);
    await peer.when(({ hasEnded }) => hasEnded);
    expect([head.slice(0, 40), peer.status]).toEqual([head.slice(0, 40), status]);
  }
  expect(seen).toEqual([]);
  expect(wss.stats().limits.maxHeadersCount).toBe(1);
});

describe('_server of a server with a port', () => {
  test('emits connections before their requests, and close', async () => {
    const { wss, port, url } = await serve();
    expect(wss._server.address()).toEqual(wss.address());
    expect(wss._server.listening).toBe(true);
    const sockets = [];
    wss._server.on('connection', (socket) => sockets.push(socket));
    const peer = await rawConnect(port);
    await until(() => sockets.length === 1);
    expect(sockets[0].remotePort).toBe(peer.socket.localPort);
    sockets[0].end();
    await peer.when(({ hasClosed }) => hasClosed);

    const connected = once(wss, 'connection');
    await open(url);
    const [ws, request] = await connected;
    expect(sockets).toHaveLength(2);
    expect(request.socket).toBe(sockets[1]);
    expect(ws._socket).toBe(sockets[1]);

    const events = [];
    wss._server.on('close', () => events.push('_server'));
    const closed = once(wss, 'close').then(() => events.push('server'));
    wss.close();
    ws.terminate();
    await closed;
    expect(events).toEqual(['_server', 'server']);
  });

  test('tells when a connection without a request has gone', async () => {
    const { wss, port } = await serve();
    const accepted = once(wss._server, 'connection');
    const peer = await rawConnect(port);
    const [socket] = await accepted;
    const closed = once(socket, 'close');
    peer.destroy();
    await closed;
    expect(socket.destroyed).toBe(true);
  });

  test('closes on its own, and leaves the server to be closed', async () => {
    const { wss, url } = await serve();
    let hasClosed = false;
    wss.on('close', () => {
      hasClosed = true;
    });
    await new Promise((resolve) => wss._server.close(resolve));
    const { error } = await failure(dial(url));
    expect(error.code).toBe('ECONNREFUSED');
    expect(hasClosed).toBe(false);
    await new Promise((resolve) => wss.close(resolve));
    expect(hasClosed).toBe(true);
  });
});
