// A client of a `wss:` URL: natively where it can be, by Node's TLS where it cannot. What a program is
// told is what it is told by ws.

const { X509Certificate } = require('node:crypto');
const { once } = require('node:events');
const https = require('node:https');
const net = require('node:net');
const tls = require('node:tls');

const WS = require('ws');

const { Context, WebSocket, WebSocketServer } = require('..');
const { Workshop } = require('./support/authority.js');
const { inChild } = require('./support/child.js');
const { defer } = require('./support/fixtures.js');
const { until } = require('./support/tools.js');

const workshop = new Workshop();
const root = workshop.authority();
const intermediate = workshop.authority('An intermediate authority', root);
const leaf = workshop.make({ issuer: intermediate });
const chainOf = (...certificates) => Buffer.concat(certificates.map(({ cert }) => cert));
const good = { key: leaf.key, cert: chainOf(leaf, intermediate) };

afterAll(() => workshop.remove());

/** Serves an echo by ws on Node's https. */
async function serve(options) {
  const server = https.createServer(options);
  const wss = new WS.WebSocketServer({ server });
  const sockets = new Set();
  server.on('connection', (socket) => sockets.add(socket)).on('tlsClientError', () => {});
  wss.on('connection', (ws) => {
    ws.on('message', (data, isBinary) => ws.send(data, { binary: isBinary }));
  });
  defer(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { port: server.address().port, server, sockets, wss };
}

/** Serves bare TCP; resolves with the port. */
async function listen(behave) {
  const sockets = [];
  const server = net.createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => {});
    behave(socket);
  });
  defer(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  server.listen(0);
  await once(server, 'listening');
  return server.address().port;
}

/** Connects; resolves when it is open, or with the error, and what it has come to. */
async function attempt(Class, port, options) {
  const ws = new Class(`wss://localhost:${port}/`, options);
  defer(() => ws.terminate());
  const gone = new Promise((resolve) => ws.once('close', resolve));
  const [name, value] = await new Promise((resolve) => {
    for (const each of ['open', 'error']) ws.once(each, (argument) => resolve([each, argument]));
  });
  if (name === 'error') {
    return { error: { code: value.code, message: value.message }, closed: await gone };
  }
  const { authorized, authorizationError } = ws._socket;
  return { ws, isNative: !(ws._socket instanceof tls.TLSSocket), authorized, authorizationError };
}

async function echo(ws, data) {
  ws.send(data);
  const [reply] = await once(ws, 'message');
  return reply;
}

describe('a client of TLS', () => {
  test.each([
    ['TLS 1.3', 'TLSv1.3'],
    ['TLS 1.2', 'TLSv1.2'],
  ])('is native over %s', async (_name, version) => {
    const { port } = await serve({ ...good, maxVersion: version });
    const { ws, isNative } = await attempt(WebSocket, port, { ca: root.cert });
    expect(isNative).toBe(true);
    const { _socket: socket, timings } = ws;
    expect([socket.encrypted, socket.authorized, socket.getProtocol()]).toEqual([
      true,
      true,
      version,
    ]);
    expect(socket.getPeerCertificate().raw.equals(new X509Certificate(leaf.cert).raw)).toBe(true);
    expect(timings.tls).toBeGreaterThanOrEqual(timings.connect);
    expect(timings.upgrade).toBeGreaterThanOrEqual(timings.tls);
    for (const size of [0, 1, 126, 16_383, 16_384, 16_385, 65_536, 3_000_000]) {
      const data = Buffer.alloc(size, size % 251);
      expect(data.equals(await echo(ws, data))).toBe(true);
    }
    ws.close(4000, 'enough');
    const [code, reason] = await once(ws, 'close');
    expect([code, String(reason)]).toEqual([4000, 'enough']);
  });

  test('sends what waits in order, however slowly the server reads', async () => {
    const { port, wss } = await serve(good);
    const accepted = once(wss, 'connection');
    const { ws } = await attempt(WebSocket, port, { ca: root.cert });
    const [theirs] = await accepted;
    theirs._socket.pause();
    const sizes = Array.from({ length: 200 }, (_, i) => (i * 7919) % 200_000);
    for (const size of sizes) ws.send(Buffer.alloc(size, size % 251));
    await until(() => ws.bufferedAmount > 1_000_000);
    const replies = [];
    ws.on('message', (data) => replies.push(data));
    theirs._socket.resume();
    await until(() => replies.length === sizes.length, 'all replies');
    sizes.forEach((size, i) =>
      expect(replies[i].equals(Buffer.alloc(size, size % 251))).toBe(true),
    );
    expect(ws.bufferedAmount).toBe(0);
  });

  test('shows a certificate, also one whose key is encrypted', async () => {
    const client = workshop.make({ name: 'a client', issuer: root });
    const { createPrivateKey } = require('node:crypto');
    const key = createPrivateKey(client.key).export({
      ...{ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'secret' },
    });
    const { port, server } = await serve({ ...good, ca: root.cert, requestCert: true });
    const secured = once(server, 'secureConnection');
    const options = { ca: [root.cert], cert: String(client.cert), key, passphrase: 'secret' };
    const { isNative } = await attempt(WebSocket, port, options);
    const [socket] = await secured;
    expect([isNative, socket.getPeerCertificate().subject.CN]).toEqual([true, 'a client']);
  });

  test('resumes sessions', async () => {
    const { port, server, sockets } = await serve(good);
    const reused = [];
    server.on('secureConnection', (socket) => reused.push(socket.isSessionReused()));
    const context = new Context();
    const options = { ca: root.cert, context, reconnect: { delays: [1] } };
    const { ws } = await attempt(WebSocket, port, options);
    await echo(ws, 'x');
    for (const socket of sockets) socket.destroy();
    await once(ws, 'reconnected');
    expect(reused).toEqual([false, true]);
    await context.destroy();
  });

  test('speaks to a server of ours', async () => {
    const wss = new WebSocketServer({ port: 0, host: '127.0.0.1', tls: good });
    wss.on('connection', (ws) => ws.on('message', (data) => ws.send(data)));
    await once(wss, 'listening');
    const { ws, isNative } = await attempt(WebSocket, wss.address().port, { ca: root.cert });
    expect(isNative).toBe(true);
    const data = Buffer.alloc(5_000_000, 3);
    expect(data.equals(await echo(ws, data))).toBe(true);
    ws.close();
    await once(ws, 'close');
    await new Promise((resolve) => wss.close(resolve));
  });

  test('is native again after Node has been needed for another server', async () => {
    const { port } = await serve(good);
    expect((await attempt(WebSocket, port, {})).error.code).toBe(
      'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
    );
    expect((await attempt(WebSocket, port, { ca: root.cert })).isNative).toBe(true);
  });
});

describe('what a client is told is what ws tells, of', () => {
  const expired = workshop.make({ issuer: root, days: -1 });
  const elsewhere = workshop.make({ name: 'elsewhere', altNames: 'DNS:elsewhere', issuer: root });
  const nameless = workshop.make({ altNames: '', issuer: root });
  const selfSigned = workshop.make();
  const selfSignedAuthority = workshop.make({ isAuthority: true });
  const trusting = { ca: root.cert };

  test.each([
    ['a certificate that has expired', expired, trusting, 'CERT_HAS_EXPIRED'],
    ['one for another host', elsewhere, trusting, 'ERR_TLS_CERT_ALTNAME_INVALID'],
    ['one that signs itself', selfSigned, trusting, 'DEPTH_ZERO_SELF_SIGNED_CERT'],
    ['an authority that is not known', good, {}, 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY'],
    ['one that is not known, without its chain', leaf, trusting, 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'],
    [
      'one that is not known and shows itself',
      { key: leaf.key, cert: chainOf(leaf, intermediate, root) },
      {},
      'SELF_SIGNED_CERT_IN_CHAIN',
    ],
    [
      'a server that expects another name',
      good,
      { ...trusting, servername: 'x' },
      'ERR_TLS_CERT_ALTNAME_INVALID',
    ],
    ['a good one', good, trusting, null],
    [
      'a chain in disorder',
      { key: leaf.key, cert: chainOf(leaf, root, intermediate) },
      trusting,
      null,
    ],
    ['one that signs itself and is trusted', selfSigned, { ca: selfSigned.cert }, null],
    [
      'an authority that serves itself and is trusted',
      selfSignedAuthority,
      { ca: selfSignedAuthority.cert },
      null,
    ],
    ['one with a common name only', nameless, trusting, null],
    [
      'a server that only speaks TLS 1.1',
      { ...good, maxVersion: 'TLSv1.1', minVersion: 'TLSv1', ciphers: 'DEFAULT@SECLEVEL=0' },
      trusting,
      'any',
    ],
    [
      'a server that wants a certificate',
      { ...good, ca: root.cert, requestCert: true, maxVersion: 'TLSv1.2' },
      trusting,
      'any',
    ],
    ['any of it, if it does not matter', expired, { rejectUnauthorized: false }, null],
  ])('%s', async (_name, { key, cert, ...more }, options, code) => {
    const { port } = await serve({ key, cert, ...more });
    const [ours, theirs] = [
      await attempt(WebSocket, port, options),
      await attempt(WS, port, options),
    ];
    expect({ ...ours, ws: 0, isNative: 0 }).toEqual({ ...theirs, ws: 0, isNative: 0 });
    if (code !== 'any') expect(ours.error?.code ?? null).toBe(code);
    if (ours.ws) expect(String(await echo(ours.ws, 'hello'))).toBe('hello');
  });

  test('a server that goes away, and one that speaks no TLS', async () => {
    for (const behave of [
      (socket) => socket.end(),
      (socket) => socket.on('data', () => socket.end()),
      (socket) => socket.on('data', () => socket.resetAndDestroy()),
      (socket) => socket.write('SSH-2.0-what\r\n'),
    ]) {
      const port = await listen(behave);
      const { error, closed } = await attempt(WebSocket, port, {});
      const theirs = await attempt(WS, port, {});
      expect([error.code, closed]).toEqual([theirs.error.code, 1006]);
    }
  });
});

describe('Node is left the handshake', () => {
  test.each([
    ['where the host is checked by a function', { checkServerIdentity: () => undefined }],
    ['where ciphers are named', { ciphers: 'ECDHE+AESGCM' }],
    ['where there is a secure context', { secureContext: true }],
    ['where there is an agent', { agent: true }],
    ['where an old version is wanted', { minVersion: 'TLSv1' }],
  ])('%s', async (_name, given) => {
    const { port } = await serve(good);
    const options = { ca: root.cert, ...given };
    if (given.secureContext) options.secureContext = tls.createSecureContext({ ca: root.cert });
    if (given.agent) options.agent = new https.Agent();
    const { isNative, ws } = await attempt(WebSocket, port, options);
    expect(isNative).toBe(false);
    expect(String(await echo(ws, 'hello'))).toBe('hello');
  });

  test('where somebody listens to its response', async () => {
    const { port } = await serve(good);
    const ws = new WebSocket(`wss://localhost:${port}/`, { ca: root.cert });
    defer(() => ws.terminate());
    const [response] = await once(ws, 'upgrade');
    expect(response.socket).toBeInstanceOf(tls.TLSSocket);
  });
});

test('the time limit holds for a handshake of TLS that does not go on', async () => {
  const port = await listen(() => {});
  const { error } = await attempt(WebSocket, port, { handshakeTimeout: 100 });
  expect(error.message).toBe('Opening handshake has timed out');
});

describe('the environment says', () => {
  const body = async ({ uvws, input, once: wait }) => {
    const ws = new uvws.WebSocket(input.url);
    const gone = new Promise((resolve) => ws.on('close', resolve));
    const outcome = await wait(ws, 'open').then(
      () => 'open',
      (error) => error.code,
    );
    const { TLSSocket } = require('node:tls');
    const how = outcome === 'open' ? ws._socket instanceof TLSSocket : null;
    ws.terminate();
    await gone;
    await uvws.Context.default.destroy();
    return [outcome, how];
  };

  test.each([
    ['nothing', {}, ['UNABLE_TO_GET_ISSUER_CERT_LOCALLY', null]],
    ['whom to trust, too', { NODE_EXTRA_CA_CERTS: root.certFile }, ['open', false]],
    ['to trust everybody', { NODE_TLS_REJECT_UNAUTHORIZED: '0' }, ['open', true]],
  ])('%s', async (_name, env, expected) => {
    const { port } = await serve(good);
    const url = `wss://localhost:${port}/`;
    expect(await inChild(body, { input: { url }, env })).toEqual(expected);
  });
});
