// The listener of a WebSocketServer with the option `tls`.

const { X509Certificate } = require('node:crypto');
const { once } = require('node:events');
const http2 = require('node:http2');
const https = require('node:https');
const tls = require('node:tls');

const WS = require('ws');

const { WebSocket, WebSocketServer } = require('..');
const { Workshop } = require('./support/authority.js');
const { closeServer, defer } = require('./support/fixtures.js');
const { upgradeRequest } = require('./support/peers.js');
const { until } = require('./support/tools.js');

const workshop = new Workshop();
const root = workshop.authority();
const intermediate = workshop.authority('An intermediate authority', root);
const leaf = workshop.make({ issuer: intermediate });
const chain = Buffer.concat([leaf.cert, intermediate.cert]);
const own = { key: leaf.key, cert: chain };

afterAll(() => workshop.remove());

/** Starts an echo server; resolves with it, its port, and what it has reported. */
async function serve(options, more = {}) {
  const faults = [];
  const connections = [];
  const wss = new WebSocketServer({ port: 0, host: '127.0.0.1', tls: options, ...more });
  defer(() => closeServer(wss));
  wss.on('tlsClientError', (error) => faults.push(error));
  wss.on('connection', (ws, request) => {
    connections.push({ ws, request, socket: ws._socket });
    ws.on('message', (data, isBinary) => ws.send(data, { binary: isBinary }));
  });
  await once(wss, 'listening');
  return { wss, port: wss.address().port, faults, connections };
}

/** Connects with ws; resolves when it is open. */
async function connect(port, options = {}) {
  const ws = new WS(`wss://localhost:${port}/`, { ca: root.cert, ...options });
  defer(() => ws.terminate());
  await once(ws, 'open');
  return ws;
}

/** Resolves with the error of a client that cannot connect. */
async function refusal(port, options) {
  const ws = new WS(`wss://localhost:${port}/`, { ca: root.cert, ...options });
  const [error] = await once(ws, 'error');
  return error;
}

/** Sends a message and resolves with its echo. */
async function echo(ws, data) {
  ws.send(data);
  const [reply] = await once(ws, 'message');
  return reply;
}

describe('a server with certificates of its own', () => {
  test.each([
    ['TLS 1.3', 'TLSv1.3'],
    ['TLS 1.2', 'TLSv1.2'],
  ])('speaks %s', async (_name, version) => {
    const { port, connections } = await serve(own);
    const ws = await connect(port, { minVersion: version, maxVersion: version });
    expect(ws._socket.getProtocol()).toBe(version);
    const [{ socket, request }] = connections;
    expect(request.socket.encrypted).toBe(true);
    expect(socket.getProtocol()).toBe(version);
    const { name, standardName } = ws._socket.getCipher();
    expect(socket.getCipher()).toEqual({ name, standardName, version });
    expect(socket.authorized).toBe(false);
    expect(socket.getPeerCertificate()).toEqual({});
    expect(socket.servername).toBe('localhost');
    for (const size of [0, 1, 125, 126, 16_383, 16_384, 16_385, 65_536, 1_000_000]) {
      const data = Buffer.alloc(size, size % 251);
      expect(data.equals(await echo(ws, data))).toBe(true);
    }
    ws.close(4000, 'enough');
    const [code, reason] = await once(ws, 'close');
    expect([code, String(reason)]).toEqual([4000, 'enough']);
  });

  test('delivers many messages in order, whatever their sizes', async () => {
    const { port } = await serve(own);
    const ws = await connect(port);
    const sizes = Array.from({ length: 300 }, (_, i) => (i * 7919) % 40_000);
    const replies = [];
    ws.on('message', (data) => replies.push(data));
    for (const size of sizes) ws.send(Buffer.alloc(size, size % 251));
    await until(() => replies.length === sizes.length);
    sizes.forEach((size, i) => {
      expect(replies[i].equals(Buffer.alloc(size, size % 251))).toBe(true);
    });
  });

  test('counts what a peer does not read, and goes on when it does', async () => {
    const { port, connections } = await serve(own);
    const ws = await connect(port);
    ws._socket.pause();
    const [{ ws: ours }] = connections;
    const block = Buffer.alloc(1_000_000, 1);
    let isSent = false;
    for (let i = 0; i < 39; i++) ours.send(block);
    ours.send(block, () => (isSent = true));
    await until(() => ours.bufferedAmount > 5_000_000);
    expect(isSent).toBe(false);
    let received = 0;
    ws.on('message', (data) => (received += data.length));
    ws._socket.resume();
    await until(() => received === 40_000_000 && isSent, 'everything');
    expect(ours.bufferedAmount).toBe(0);
  });

  test('delivers what was sent before the Close frame of a slow peer', async () => {
    const { port, connections } = await serve(own);
    const ws = await connect(port);
    ws._socket.pause();
    const [{ ws: ours }] = connections;
    for (let i = 0; i < 20; i++) ours.send(Buffer.alloc(1_000_000, 1));
    ours.close(4001);
    let received = 0;
    ws.on('message', (data) => (received += data.length));
    ws._socket.resume();
    const [code] = await once(ws, 'close');
    expect([code, received]).toEqual([4001, 20_000_000]);
  });

  test('ends its side with a close_notify', async () => {
    const { port, connections } = await serve(own);
    const socket = tls.connect({ port, ca: root.cert, servername: 'localhost' });
    defer(() => socket.destroy());
    socket.write(upgradeRequest());
    await until(() => connections.length === 1);
    let hasEnded = false;
    socket.on('end', () => (hasEnded = true)).resume();
    connections[0].socket.end();
    await until(() => hasEnded);
  });

  test('publishes to connections of TLS', async () => {
    const { wss, port, connections } = await serve(own);
    const clients = await Promise.all([connect(port), connect(port), connect(port)]);
    const sizes = [10, 20_000, 500_000];
    const received = clients.map((ws) => {
      const list = [];
      ws.on('message', (data) => list.push(data.length));
      return list;
    });
    for (const { ws } of connections) ws.subscribe('news');
    for (const size of sizes) expect(wss.publish('news', Buffer.alloc(size))).toBe(3);
    await until(() => received.every((list) => list.length === sizes.length));
    expect(received).toEqual([sizes, sizes, sizes]);
  });

  test('compresses', async () => {
    const { port } = await serve(own, { perMessageDeflate: true });
    const ws = await connect(port);
    expect(ws.extensions).toBe('permessage-deflate');
    const text = 'the same again; '.repeat(50_000);
    expect(String(await echo(ws, text))).toBe(text);
  });

  test('resumes sessions unless it is told not to', async () => {
    const resumed = async (options, maxVersion) => {
      const { port, connections } = await serve({ ...own, ...options });
      const visit = async (session) => {
        const socket = tls.connect({
          port,
          ca: root.cert,
          servername: 'localhost',
          session,
          maxVersion,
        });
        defer(() => socket.destroy());
        let ticket;
        socket.on('session', (each) => (ticket = each)).write(upgradeRequest());
        await once(socket, 'data');
        return { ticket, isReused: socket.isSessionReused() };
      };
      const { ticket } = await visit();
      const { isReused } = await visit(ticket);
      expect(connections.map(({ socket }) => socket.servername)).toEqual([
        'localhost',
        'localhost',
      ]);
      return isReused;
    };
    for (const version of ['TLSv1.2', 'TLSv1.3']) {
      expect(await resumed({}, version)).toBe(true);
      expect(await resumed({ sessionTickets: false }, version)).toBe(false);
    }
  });

  test('negotiates http/1.1, or what it is told to', async () => {
    const { port, faults } = await serve(own);
    const ws = await connect(port, { ALPNProtocols: ['h2', 'http/1.1'] });
    expect(ws._socket.alpnProtocol).toBe('http/1.1');
    await refusal(port, { ALPNProtocols: ['h2'] });
    await until(() => faults.length === 1);
    expect(faults[0].code).toBe('ERR_SSL_NO_APPLICATION_PROTOCOL');
    const other = await serve({ ...own, ALPNProtocols: ['chat'] });
    const speaker = await connect(other.port, { ALPNProtocols: ['chat'] });
    expect(speaker._socket.alpnProtocol).toBe('chat');
    expect(other.connections[0].socket.alpnProtocol).toBe('chat');
  });

  test('takes keys of any kind, encrypted ones, strings, and several at once', async () => {
    const rsa = workshop.make({ issuer: root, newKey: ['rsa:2048'] });
    const { createPrivateKey } = require('node:crypto');
    const encrypted = createPrivateKey(leaf.key).export({
      ...{ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'secret' },
    });
    const one = await serve({ cert: String(chain), key: encrypted, passphrase: 'secret' });
    expect(String(await echo(await connect(one.port), 'hello'))).toBe('hello');
    const two = await serve({
      cert: [rsa.cert, chain],
      key: [{ pem: encrypted, passphrase: 'secret' }, rsa.key],
    });
    for (const [sigalgs, certificate] of [
      ['RSA-PSS+SHA256:RSA+SHA256', rsa],
      ['ECDSA+SHA256', leaf],
    ]) {
      const ws = await connect(two.port, { sigalgs });
      const { raw } = ws._socket.getPeerCertificate();
      expect(raw.equals(new X509Certificate(certificate.cert).raw)).toBe(true);
    }
  });
});

describe('certificates by name', () => {
  test('are those that addContext() has given to a name, and the others for the rest', async () => {
    const { wss, port } = await serve(own);
    const make = (name) => workshop.make({ name, altNames: `DNS:${name}`, issuer: root });
    const [exact, wild] = [make('exact.example'), make('*.wild.example')];
    wss.addContext('Exact.example', { cert: exact.cert, key: exact.key });
    wss.addContext('*.Wild.example.', { cert: wild.cert, key: wild.key });
    const shown = async (servername) => {
      const ws = await connect(port, { servername, checkServerIdentity: () => undefined });
      return ws._socket.getPeerCertificate().subject.CN;
    };
    expect(await shown('exact.example')).toBe('exact.example');
    expect(await shown('a.wild.example')).toBe('*.wild.example');
    expect(await shown('a.b.wild.example')).toBe('*.wild.example');
    expect(await shown('other.example')).toBe('localhost');
    wss.setSecureContext(own);
    expect(await shown('exact.example')).toBe('exact.example');
  });

  test.each([['a b'], ['https://a.example'], ['a.example:443'], ['*'], ['a..b'], [''], [7]])(
    'are not given to %p, which no client asks for',
    async (name) => {
      for (const options of [own, { ...own, ciphers: tls.DEFAULT_CIPHERS }]) {
        const { wss } = await serve(options);
        expect(() => wss.addContext(name, own)).toThrow(/^"hostname" must be a host name without/);
      }
    },
  );

  test('do not save a client that asks for a name that there is none of', async () => {
    const { port, faults } = await serve(own);
    const error = await refusal(port, { servername: 'other.example' });
    expect(error.code).toBe('ERR_TLS_CERT_ALTNAME_INVALID');
    await until(() => faults.length === 1);
  });
});

describe('servers that share a port', () => {
  const make = (name) => workshop.make({ name, altNames: `DNS:${name}`, issuer: root });
  const [a, b, later] = [make('a.example'), make('*.b.example'), make('later')];
  const identity = ({ cert, key }) => ({ cert, key });

  /** Joins the port of a server; resolves when it listens. */
  const join = async ({ wss, port }, hostname, options) => {
    const { context } = wss;
    const other = new WebSocketServer({
      ...{ port, host: '127.0.0.1', context, hostname, tls: options },
    });
    defer(() => closeServer(other));
    await once(other, 'listening');
    return other;
  };

  test('each show their certificate to whom asks for their host', async () => {
    const first = await serve(own);
    const second = await join(first, 'a.example', identity(a));
    const third = await join(first, '*.b.example', identity(b));
    const visit = async (servername) => {
      const ws = await connect(first.port, {
        ...{ servername, headers: { host: servername }, checkServerIdentity: () => undefined },
      });
      const taken = [first.wss, second, third].findIndex(({ clients }) => clients.size > 0);
      const { CN } = ws._socket.getPeerCertificate().subject;
      ws.terminate();
      await until(() => [first.wss, second, third].every(({ clients }) => clients.size === 0));
      return [taken, CN];
    };
    expect(await visit('a.example')).toEqual([1, 'a.example']);
    expect(await visit('x.y.b.example')).toEqual([2, '*.b.example']);
    expect(await visit('other.example')).toEqual([0, 'localhost']);
    second.setSecureContext(identity(later));
    expect(await visit('a.example')).toEqual([1, 'later']);
    first.wss.setSecureContext(own);
    expect(await visit('a.example')).toEqual([1, 'later']);
    expect(await visit('other.example')).toEqual([0, 'localhost']);
    await closeServer(second);
    expect(await visit('a.example')).toEqual([0, 'localhost']);
  });

  test('are all of TLS, as the first one says', async () => {
    const first = await serve({ ...own, requestCert: true, ca: root.cert });
    const { context } = first.wss;
    const common = { port: first.port, host: '127.0.0.1', context, hostname: 'a.example' };
    expect(() => new WebSocketServer(common)).toThrow(
      '"options.tls" must be given to all servers of a port, or to none',
    );
    const lax = { ...identity(a), requestCert: false };
    expect(() => new WebSocketServer({ ...common, tls: lax })).toThrow(
      '"options.tls" may only have "cert", "key" and "passphrase" where a port is shared',
    );
    const second = await join(first, 'a.example', identity(a));
    expect(() => second.setSecureContext(lax)).toThrow(/where a port is shared/);
    const error = await refusal(first.port, { servername: 'a.example' });
    expect(error.code).toBe('ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED');
  });
});

describe('a server that is not to be reached without a certificate', () => {
  const authorities = ['a', 'b'].map((name) => workshop.authority(`The authority of ${name}`));
  const [certificateA, certificateB] = authorities.map((issuer, index) => {
    const { cert, key } = workshop.make({ name: 'ab'[index], altNames: '', issuer });
    return { cert, key };
  });

  /** Asks for one name in TLS and for another one in HTTP; resolves with the answer and the session. */
  async function ask(port, servername, host, options) {
    const peer = tls.connect({ port, servername, rejectUnauthorized: false, ...options });
    defer(() => peer.destroy());
    let session;
    peer.on('session', (given) => (session = given));
    peer.write(upgradeRequest({ host }));
    const answer = await new Promise((resolve) => {
      let text = '';
      peer.on('error', ({ message }) => resolve(/certificate required/.exec(message)?.[0]));
      peer.on('data', (data) => {
        text += data.latin1Slice();
        const [, status, frame] = /^HTTP\/1.1 (\d+) [^]*?\r\n\r\n([^]*)/.exec(text) ?? [];
        if (status === '421') resolve(421);
        // A frame's header, and the name of the server that has taken it.
        else if (status === '101' && frame.length > 2) resolve(frame.slice(2));
      });
    });
    return { answer, session };
  }

  const greet = (wss, name) => {
    defer(() => closeServer(wss));
    wss.on('connection', (ws) => ws.send(name));
    return wss;
  };

  test.each(['TLSv1.2', 'TLSv1.3'])(
    'is not by another name, nor by its tickets (%s)',
    async (v) => {
      const versions = { minVersion: v, maxVersion: v };
      const trust = { ca: authorities[0].cert, requestCert: true, ...versions };
      const { wss, port } = await serve({ ...own, ...trust }, { hostname: 'a.example' });
      const other = greet(
        new WebSocketServer({
          ...{ port, host: '127.0.0.1', context: wss.context, hostname: 'b.example', tls: own },
        }),
        'b',
      );
      await once(other, 'listening');
      wss.on('connection', (ws) => ws.send('a'));
      let session;
      for (const servername of ['a.example', 'b.example', 'c.example', '']) {
        for (const [host, name] of [
          ['a.example', 'a'],
          ['b.example', 'b'],
        ]) {
          const trusted = await ask(port, servername, host, { ...certificateA, session });
          expect(trusted.answer).toBe(name);
          session = trusted.session ?? session;
          expect((await ask(port, servername, host)).answer).toBe('certificate required');
        }
        // A ticket of one name is none of another one: the certificate is asked for again.
        const next = { '': 'a.example' }[servername] ?? 'z.example';
        const resumed = await ask(port, next, 'a.example', { session });
        expect(resumed.answer).toBe('certificate required');
      }
    },
  );

  test('is not when the server that opened the port is closed and asks for none', async () => {
    const trust = { ca: authorities[0].cert, requestCert: true };
    const { wss, port } = await serve({ ...own, ...trust }, { hostname: 'a.example' });
    const other = greet(
      new WebSocketServer({ port, host: '127.0.0.1', context: wss.context, tls: own }),
      'rest',
    );
    await once(other, 'listening');
    await connect(port, {
      ...{ ...certificateA, servername: 'a.example', headers: { host: 'a.example' } },
      checkServerIdentity: () => undefined,
    });
    expect(wss.clients.size).toBe(1);
    wss.close();
    wss.setSecureContext(own);
    expect((await ask(port, 'a.example', 'localhost')).answer).toBe('certificate required');
    expect((await ask(port, 'a.example', 'localhost', certificateA)).answer).toBe('rest');
  });

  /** Behind a server of Node's, where the authorities differ by name. */
  const differing = (create) => {
    const ca = authorities.map(({ cert }) => cert);
    const server = create({ ...own, requestCert: true, ca, allowHTTP1: true });
    server.addContext('a.example', { ...own, ca: ca[0] });
    server.addContext('b.example', { ...own, ca: ca[1] });
    greet(new WebSocketServer({ server, hostname: 'a.example' }), 'a');
    greet(new WebSocketServer({ server, hostname: '*.example' }), 'b');
    greet(new WebSocketServer({ server }), 'rest');
    defer(() => new Promise((resolve) => server.close(resolve)));
    return new Promise((resolve) => {
      server.listen(0, '127.0.0.1', () => resolve(server.address().port));
    });
  };
  const MISDIRECTED = 421;

  test.each([
    ['https', https.createServer],
    ['http2', http2.createSecureServer],
  ])('is not by the certificate of another name (%s)', async (_name, create) => {
    const port = await differing(create);
    for (const [servername, host, certificate, expected] of [
      ['a.example', 'a.example', certificateA, 'a'],
      ['b.example', 'B.example:443', certificateB, 'b'],
      ['b.example', 'c.example', certificateB, 'b'],
      ['other.test', 'localhost', certificateB, 'rest'],
      ['', 'localhost', certificateB, 'rest'],
      ['b.example', 'a.example', certificateB, MISDIRECTED],
      ['b.example', 'localhost', certificateB, MISDIRECTED],
      ['other.test', 'a.example', certificateB, MISDIRECTED],
      ['', 'a.example', certificateB, MISDIRECTED],
      ['a.example', 'b.example', certificateA, MISDIRECTED],
    ]) {
      expect((await ask(port, servername, host, certificate)).answer).toBe(expected);
    }
  });

  test('is not by the certificate of another name over HTTP/2', async () => {
    const port = await differing(http2.createSecureServer);
    const session = http2.connect(`https://localhost:${port}`, {
      ...{ ...certificateB, servername: 'b.example', rejectUnauthorized: false },
    });
    defer(() => session.destroy());
    await once(session, 'remoteSettings');
    for (const [authority, status] of [
      ['a.example', 421],
      ['b.example', 200],
    ]) {
      const stream = session.request({
        ':method': 'CONNECT',
        ':protocol': 'websocket',
        ':path': '/',
        ':authority': authority,
        'sec-websocket-version': '13',
      });
      stream.on('error', () => {});
      const [headers] = await once(stream, 'response');
      expect(headers[':status']).toBe(status);
      stream.destroy();
    }
  });
});

test('setSecureContext() replaces the certificate for new connections', async () => {
  const { wss, port } = await serve(own);
  const before = await connect(port);
  const renewed = workshop.make({ name: 'renewed', issuer: root });
  wss.setSecureContext({ cert: renewed.cert, key: renewed.key });
  const after = await connect(port);
  expect(before._socket.getPeerCertificate().subject.CN).toBe('localhost');
  expect(after._socket.getPeerCertificate().subject.CN).toBe('renewed');
  expect(String(await echo(before, 'still here'))).toBe('still here');
  expect(() => wss.setSecureContext({ cert: renewed.cert, key: leaf.key })).toThrow(
    expect.objectContaining({ code: 'ERR_OSSL_X509_KEY_VALUES_MISMATCH' }),
  );
  expect((await connect(port))._socket.getPeerCertificate().subject.CN).toBe('renewed');
});

test('setSecureContext() of a server that is Node’s replaces what Node replaces, and throws at all else', async () => {
  const options = { ...own, ciphers: tls.DEFAULT_CIPHERS, sessionTickets: false };
  const { wss, port } = await serve(options);
  const resume = async () => {
    const sessions = [];
    const peer = tls.connect({
      port,
      ca: root.cert,
      servername: 'localhost',
      maxVersion: 'TLSv1.2',
    });
    peer.on('session', (session) => sessions.push(session));
    await once(peer, 'secureConnect');
    const ticket = peer.getTLSTicket();
    peer.destroy();
    return ticket;
  };
  expect(await resume()).toBeUndefined();
  const renewed = workshop.make({ name: 'renewed', issuer: root });
  wss.setSecureContext({ ...options, cert: renewed.cert, key: renewed.key });
  expect((await connect(port))._socket.getPeerCertificate().subject.CN).toBe('renewed');
  expect(await resume()).toBeUndefined();
  for (const [name, value] of [
    ['requestCert', true],
    ['rejectUnauthorized', false],
    ['ALPNProtocols', ['other']],
    ['SNICallback', () => {}],
  ]) {
    expect(() => wss.setSecureContext({ ...options, [name]: value })).toThrow(
      new TypeError(`"${name}" cannot be replaced where Node does the TLS`),
    );
  }
  expect((await connect(port))._socket.getPeerCertificate().subject.CN).toBe('renewed');
});

describe('a server that asks for certificates', () => {
  const client = workshop.make({ name: 'a client', altNames: '', issuer: intermediate });
  const identity = { cert: Buffer.concat([client.cert, intermediate.cert]), key: client.key };
  const stranger = workshop.make({ name: 'a stranger', altNames: '' });
  const expired = workshop.make({ name: 'too late', altNames: '', issuer: root, days: -1 });

  test.each([true, false])(
    'reads none of what a client sends behind it that is no certificate (%p)',
    async (rejectUnauthorized) => {
      const trust = { ca: root.cert, requestCert: true, rejectUnauthorized };
      const { port, connections } = await serve({ ...own, ...trust });
      const garbage = Buffer.alloc(60, 7).toString('base64');
      const what = `-----BEGIN CERTIFICATE-----\n${garbage}\n-----END CERTIFICATE-----\n`;
      const ws = new WebSocket(`wss://localhost:${port}/`, {
        ...{ ca: root.cert, cert: Buffer.concat([identity.cert, Buffer.from(what)]) },
        key: identity.key,
      });
      defer(() => ws.terminate());
      await once(ws, 'open');
      const [{ socket }] = connections;
      expect([socket.authorized, socket.authorizationError]).toEqual([true, null]);
      expect(socket.getPeerX509Certificate().subject).toBe('CN=a client');
      const { subject, issuerCertificate } = socket.getPeerCertificate(true);
      expect([subject.CN, issuerCertificate.subject.CN]).toEqual([
        'a client',
        'An intermediate authority',
      ]);
    },
  );

  test('shows those that it trusts', async () => {
    const { port, connections } = await serve({ ...own, ca: root.cert, requestCert: true });
    const ws = await connect(port, identity);
    const [{ socket, request }] = connections;
    expect([socket.authorized, socket.authorizationError]).toEqual([true, null]);
    const shown = request.socket.getPeerCertificate(true);
    expect(shown).toMatchObject({
      subject: { CN: 'a client' },
      issuer: { CN: 'An intermediate authority' },
      issuerCertificate: { subject: { CN: 'An intermediate authority' } },
    });
    const { raw, fingerprint256 } = new X509Certificate(client.cert).toLegacyObject();
    expect(shown.fingerprint256).toBe(fingerprint256);
    expect(shown.raw.equals(raw)).toBe(true);
    expect(socket.getPeerX509Certificate().subject).toBe('CN=a client');
    expect(String(await echo(ws, 'hello'))).toBe('hello');
  });

  test.each([
    ['without one', {}, 'ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE'],
    ['with one of somebody else', stranger, 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY'],
    ['with one that has expired', expired, 'CERT_HAS_EXPIRED'],
  ])('turns away clients %s', async (_name, { cert, key }, code) => {
    for (const maxVersion of ['TLSv1.2', 'TLSv1.3']) {
      const { port, faults, connections } = await serve({
        ...{ ...own, ca: [root.cert], requestCert: true },
      });
      await refusal(port, { cert, key, maxVersion });
      await until(() => faults.length === 1);
      expect(faults[0]).toMatchObject({ code, remoteAddress: '127.0.0.1' });
      expect(connections).toEqual([]);
    }
  });

  test.each([
    ['none', {}, null],
    ['one of somebody else', stranger, 'DEPTH_ZERO_SELF_SIGNED_CERT'],
    ['one that has expired', expired, 'CERT_HAS_EXPIRED'],
  ])('says so where it takes %s, if it is to', async (_name, { cert, key }, code) => {
    const { port, connections } = await serve({
      ...{ ...own, ca: root.cert, requestCert: true, rejectUnauthorized: false },
    });
    await connect(port, { cert, key });
    const [{ socket }] = connections;
    expect([socket.authorized, socket.authorizationError]).toEqual([false, code]);
  });
});

describe('options', () => {
  test.each([
    ['no object', 'yes', /"options.tls" must be an object/],
    ['no certificate', {}, /"options.tls" must have a "cert" and a "key"/],
    ['no key', { cert: leaf.cert }, /"options.tls.key" must be given with "cert"/],
    ['the key of another certificate', { cert: leaf.cert, key: root.key }, /key values mismatch/],
    ['what is no certificate', { cert: 'none', key: leaf.key }, /no start line/],
  ])('throw if they have %s', (_name, options, expected) => {
    expect(() => new WebSocketServer({ port: 0, tls: options })).toThrow(expected);
  });

  test('throw without a port', () => {
    expect(() => new WebSocketServer({ noServer: true, tls: own })).toThrow(
      new TypeError('"options.tls" is for the option "port": another server has its own'),
    );
  });

  test('of TLS do not come later', async () => {
    const wss = new WebSocketServer({ port: 0 });
    defer(() => closeServer(wss));
    await once(wss, 'listening');
    for (const change of [() => wss.setSecureContext(own), () => wss.addContext('a', own)]) {
      expect(change).toThrow(new Error('The server was made without the option "tls"'));
    }
  });

  test('are left to a server of Node’s that fails when it is closed already', async () => {
    // Without a host to look up it fails at once.
    const { port } = await serve(own, { host: undefined });
    const wss = new WebSocketServer({ port, tls: { ...own, ciphers: tls.DEFAULT_CIPHERS } });
    const failed = jest.fn();
    wss.on('error', failed);
    await new Promise((resolve) => wss.close(resolve));
    // What it throws would be an uncaught exception.
    await new Promise(setImmediate);
    expect(failed).not.toHaveBeenCalled();
  });

  test('are left to a server of Node’s, which ends behind its connections', async () => {
    const events = [];
    const chat = {
      open: (ws) => ws.on('close', () => events.push('connection')),
      destroy: () => events.push('protocol'),
    };
    const { wss, port } = await serve(
      { ...own, ciphers: tls.DEFAULT_CIPHERS },
      { protocols: { chat }, defaultProtocol: 'chat' },
    );
    const early = tls.connect({ port, ca: root.cert, servername: 'localhost' });
    defer(() => early.destroy());
    await once(early, 'secureConnect');
    const ws = await connect(port);
    const closed = once(wss, 'close').then(() => events.push('server'));
    wss.close();
    early.write(upgradeRequest());
    const [answer] = await once(early, 'data');
    expect(String(answer)).toMatch(/^HTTP\/1.1 503 /);
    expect(events).toEqual([]);
    ws.terminate();
    await closed;
    expect(events).toEqual(['connection', 'protocol', 'server']);
  });

  test.each([
    ['ciphers', { ...own, ciphers: 'ECDHE+AES128' }],
    ['an old version', { ...own, minVersion: 'TLSv1' }],
    ['a callback', { SNICallback: (_name, done) => done(null, tls.createSecureContext(own)) }],
    ['a curve that the native half does not know', 'P-521'],
  ])('are left to Node where they ask for %s', async (_name, given) => {
    let options = given;
    if (given === 'P-521') {
      const newKey = ['ec', '-pkeyopt', 'ec_paramgen_curve:secp521r1'];
      options = workshop.make({ issuer: root, newKey });
      options = { cert: options.cert, key: options.key };
    }
    const { wss, port, connections, faults } = await serve(options);
    const ws = await connect(port);
    expect(connections[0].socket).toBeInstanceOf(tls.TLSSocket);
    expect(String(await echo(ws, 'hello'))).toBe('hello');
    await refusal(port, { ca: undefined });
    await until(() => faults.length === 1);
    ws.close();
    const isClosed = once(wss, 'close');
    wss.close();
    await isClosed;
  });
});
