// Attacks on real servers and clients that have broken other WebSocket code. docs/vulnerabilities.md
// says which, and names the tests of the others.

const { once } = require('node:events');
const http = require('node:http');
const https = require('node:https');
const v8 = require('node:v8');
const vm = require('node:vm');

const {
  collect,
  defer,
  dial,
  failure,
  open,
  pair,
  rawClient,
  rawConnect,
  rawPairOfClient,
  rawServer,
  serve,
  testOurs,
  thrownBy,
} = require('./support/fixtures.js');
const { makeCertificate } = require('./support/certificate.js');
const frames = require('./support/frames.js');
const { upgradeRequest, upgradeResponse } = require('./support/peers.js');
const { until } = require('./support/tools.js');
const { WebSocket, WebSocketServer } = require('./support/uvws.js');

const PROTOTYPE_NAMES = ['constructor', '__proto__', 'toString', 'hasOwnProperty', 'valueOf'];

/** Sends a request with these lines and returns the status of the answer. */
const statusOf = (port, lines) => statusOfRequest(port, upgradeRequest({ lines }));

async function statusOfRequest(port, request) {
  const peer = await rawConnect(port);
  peer.write(Buffer.from(request, 'latin1'));
  await peer.when(({ head, hasClosed }) => head !== null || hasClosed);
  const { status } = peer;
  await peer.destroy();
  return status;
}

/** Starts a server behind one of Node's. */
async function serveBehind(server, options) {
  const wss = new WebSocketServer({ server, ...options });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  defer(async () => {
    const closed = [...wss.clients].map((socket) => once(socket, 'close'));
    for (const socket of wss.clients) socket.terminate();
    await Promise.all(closed);
    wss.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return { wss, server, port: server.address().port };
}

const SERVERS = {
  'a server': (options) => serve(options),
  'a server behind Node’s': (options) => serveBehind(http.createServer(), options),
};

describe.each(Object.keys(SERVERS))('%s', (kind) => {
  let port;

  beforeEach(async () => {
    ({ port } = await SERVERS[kind]({ perMessageDeflate: true }));
  });

  afterEach(async () => {
    // It is still there, for everybody else.
    await open(`ws://127.0.0.1:${port}`);
  });

  test('takes names of Object.prototype as names like others', async () => {
    for (const name of PROTOTYPE_NAMES) {
      for (const [line, status] of [
        [`Sec-WebSocket-Extensions: ${name}`, 101],
        [`Sec-WebSocket-Extensions: ,;${name}`, 400],
        [`Sec-WebSocket-Extensions: permessage-deflate; ${name}`, 400],
        [`Sec-WebSocket-Extensions: permessage-deflate; ${name}=${name}`, 400],
        [`Sec-WebSocket-Protocol: ${name}`, 101],
        [`${name}: ${name}`, 101],
      ]) {
        expect([line, await statusOf(port, [line])]).toEqual([line, status]);
      }
    }
    expect({}).toEqual({});
  });

  test('refuses headers that made regular expressions run for minutes', async () => {
    for (const line of [
      `Sec-WebSocket-Extensions: a; b="${'\\c'.repeat(7_000)}`,
      `Sec-WebSocket-Protocol: b${' '.repeat(15_000)}x`,
      `Sec-WebSocket-Protocol: ${','.repeat(15_000)}`,
      `Sec-WebSocket-Extensions: ${'a;'.repeat(7_000)}`,
    ]) {
      expect(await statusOf(port, [line])).toBe(400);
    }
  });

  test('answers blanks within Connection and Upgrade', async () => {
    const blanks = ' '.repeat(7_000);
    for (const [name, value, status] of [
      ['Connection', `keep-alive,${blanks}Upgrade`, 101],
      ['Connection', `${blanks}Upgrade${blanks}`, 101],
      ['Connection', `keep${blanks}alive, Upgrade`, 101],
      ['Upgrade', `${blanks}websocket${blanks}`, 101],
      ['Upgrade', `web${blanks}socket`, 400],
    ]) {
      const request = upgradeRequest().replace(RegExp(`${name}: .*`), `${name}: ${value}`);
      expect([name, await statusOfRequest(port, request)]).toEqual([name, status]);
    }
  });

  test('answers every byte from 0x80 to 0xff in each of its headers', async () => {
    for (const name of [
      'Sec-WebSocket-Protocol',
      'Sec-WebSocket-Extensions',
      'Sec-WebSocket-Version',
      'Sec-WebSocket-Key',
      'Origin',
      'Cookie',
    ]) {
      for (let byte = 0x80; byte <= 0xff; byte++) {
        const status = await statusOf(port, [`${name}: ${String.fromCharCode(byte)}`]);
        const isFree = name === 'Origin' || name === 'Cookie';
        expect([name, byte, status]).toEqual([name, byte, isFree ? 101 : 400]);
      }
    }
  });

  test('refuses parameters of compression that would make zlib throw', async () => {
    for (const bits of ['7', '16', '0', '-1', '999999999999999999999', '1e3', '', '8a']) {
      for (const parameter of ['server_max_window_bits', 'client_max_window_bits']) {
        const line = `Sec-WebSocket-Extensions: permessage-deflate; ${parameter}=${bits}`;
        expect([line, await statusOf(port, [line])]).toEqual([line, 400]);
      }
    }
  });
});

test('a request with more headers than Node keeps is refused', async () => {
  const { server, port } = await SERVERS['a server behind Node’s']();
  for (const limit of [1, 5, 2000]) {
    server.maxHeadersCount = limit;
    const many = Array.from({ length: limit }, (_, i) => `a${i}: b`);
    const head = ['GET / HTTP/1.1', 'Host: localhost', ...many, 'Upgrade: websocket'];
    head.push('Connection: Upgrade', '', '');
    const peer = await rawConnect(port);
    peer.write(head.join('\r\n'));
    await peer.when(({ hasEnded, hasClosed }) => hasEnded || hasClosed);
    expect(peer.status).toBeGreaterThanOrEqual(400);
    await peer.destroy();
  }
  server.maxHeadersCount = null;
  await open(`ws://127.0.0.1:${port}`);
});

describe('a client', () => {
  /** Connects to a server that answers with these lines; resolves with the error. */
  async function errorFor(lines, options) {
    const server = await rawServer({
      respond: (peer) => peer.write(Buffer.from(upgradeResponse(peer.head, lines), 'latin1')),
    });
    const client = dial(server.url, options);
    const { error, code } = await failure(client);
    expect(code).toBe(1006);
    return error.message;
  }

  test('refuses parameters of compression that would make zlib throw', async () => {
    for (const bits of ['=7', '=16', '=0', '=-1', '=999999999999999999999', '', '=8a', '=']) {
      for (const parameter of ['server_max_window_bits', 'client_max_window_bits']) {
        const line = `Sec-WebSocket-Extensions: permessage-deflate; ${parameter}${bits}`;
        expect(await errorFor([line])).toBe('Invalid Sec-WebSocket-Extensions header');
      }
    }
  });

  test('refuses extensions and subprotocols of bytes from 0x80 to 0xff', async () => {
    for (let byte = 0x80; byte <= 0xff; byte++) {
      const char = String.fromCharCode(byte);
      expect(await errorFor([`Sec-WebSocket-Extensions: ${char}`])).toMatch(
        /Sec-WebSocket-Extensions header|extension/,
      );
      const line = `Sec-WebSocket-Protocol: chat${char}`;
      expect(await errorFor([line])).toMatch(/subprotocol/);
    }
  });

  test('refuses names of Object.prototype that it did not ask for', async () => {
    for (const name of PROTOTYPE_NAMES) {
      expect(await errorFor([`Sec-WebSocket-Extensions: ${name}`])).toMatch(/extension/i);
      expect(await errorFor([`Sec-WebSocket-Protocol: ${name}`])).toMatch(/subprotocol/);
    }
  });

  test.each([2n ** 53n, 2n ** 62n, 2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n])(
    'fails on a frame of %s bytes, and survives',
    async (length) => {
      const { peer, client } = await rawPairOfClient();
      const failed = failure(client);
      peer.write(frames.frame(frames.BINARY, '', { mask: false, length }));
      expect(await failed).toMatchObject({
        code: 1006,
        error: { code: 'WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH' },
      });
    },
  );

  test('does not take the certificate of another host', async () => {
    const certificate = makeCertificate();
    const { port } = await serveBehind(https.createServer(certificate));
    const url = `wss://127.0.0.1:${port}`;
    const options = { ca: certificate.cert };
    const client = dial(url, { ...options, servername: 'other.example' });
    expect((await failure(client)).error.code).toBe('ERR_TLS_CERT_ALTNAME_INVALID');
    await open(url, options);
  });

  test('sends no header that would be two', async () => {
    const server = await rawServer();
    const bad = 'a\r\nInjected: yes';
    for (const make of [
      () => new WebSocket(server.url, bad),
      () => new WebSocket(server.url, { headers: { 'X-A': bad } }),
      () => new WebSocket(server.url, { headers: { [bad]: 'x' } }),
      () => new WebSocket(server.url, { origin: bad }),
    ]) {
      expect(thrownBy(make).name).toMatch(/Error$/);
    }
    expect(server.peers).toHaveLength(0);
  });
});

// ---- what a program hands over

/** Memory that cannot be read any more, grows, or is shared. */
function views() {
  const detached = new Uint8Array(8);
  structuredClone(detached.buffer, { transfer: [detached.buffer] });
  const shared = new Uint8Array(new SharedArrayBuffer(4)).fill(7);
  const resizable = new ArrayBuffer(4, { maxByteLength: 16 });
  const tracking = new Uint8Array(resizable);
  resizable.resize(2);
  tracking.fill(9);
  const foreign = vm.runInNewContext('Float64Array.of(1.1)');
  const wide = new Float32Array(20).fill(1.1);
  const bytes = Uint8Array.from([1, 2, 3, 4, 5, 6, 7, 8, 9]);
  return {
    detached: [detached, Buffer.alloc(0)],
    shared: [shared, Buffer.alloc(4, 7)],
    resizable: [tracking, Buffer.alloc(2, 9)],
    'of another realm': [foreign, Buffer.from(foreign.buffer)],
    'of wide elements': [wide, Buffer.from(wide.buffer)],
    'a DataView': [new DataView(bytes.buffer, 3), Buffer.from(bytes.subarray(3))],
  };
}

describe.each(Object.keys(views()))('memory that is %s', (name) => {
  test('is sent as it is by send(), ping() and pong(), or refused', async () => {
    const [data, expected] = views()[name];
    const { client, server } = await pair();
    const seen = [];
    const sent = [];
    for (const [method, event] of [
      ['send', 'message'],
      ['ping', 'ping'],
      ['pong', 'pong'],
    ]) {
      server.on(event, (bytes) => seen.push([event, Buffer.from(bytes)]));
      try {
        client[method](data);
        sent.push([event, expected]);
      } catch (error) {
        expect(error.name).toMatch(/Error$/);
      }
    }
    client.ping('last');
    await until(() => seen.length > sent.length);
    expect(seen).toEqual([...sent, ['ping', Buffer.from('last')]]);
  });

  testOurs('is published as it is, or refused', async () => {
    const [data, expected] = views()[name];
    const { wss, client, server } = await pair();
    const messages = collect(client);
    server.subscribe('topic');
    const sent = [];
    for (const publish of [
      (bytes) => wss.publish('topic', bytes),
      (bytes) => wss.broadcast(bytes),
    ]) {
      try {
        publish(data);
        sent.push(expected);
      } catch (error) {
        expect(error.name).toMatch(/Error$/);
      }
    }
    wss.broadcast('last');
    await until(() => messages.length > sent.length);
    expect(messages).toEqual([...sent, 'last']);
  });

  testOurs('is the reason that close() sends, or is refused', async () => {
    const [data, expected] = views()[name];
    const { client, server } = await pair(
      { skipUTF8Validation: true },
      { skipUTF8Validation: true },
    );
    const closed = new Promise((resolve) => server.on('close', (_code, reason) => resolve(reason)));
    try {
      client.close(1000, data);
    } catch (error) {
      expect(error.name).toMatch(/Error$/);
      client.close(1000, expected);
    }
    expect(await closed).toEqual(expected);
  });
});

test('a number given to ping() is its digits, and not so many bytes of memory', async () => {
  const { client, server } = await pair();
  const pinged = once(server, 'ping');
  client.ping(50);
  expect(String((await pinged)[0])).toBe('50');
});

test('a getter or proxy that throws is the caller’s error, and the connection is unharmed', async () => {
  const { client, server } = await pair();
  const messages = collect(server);
  const hostile = new Proxy(
    {},
    {
      get() {
        throw new Error('from the proxy');
      },
    },
  );
  for (const method of ['send', 'ping', 'pong']) {
    expect(thrownBy(() => client[method](hostile)).name).toMatch(/Error$/);
  }
  expect(thrownBy(() => client.close(1000, hostile)).name).toMatch(/Error$/);
  const options = {
    get binary() {
      throw new Error('from the getter');
    },
  };
  expect(thrownBy(() => client.send('x', options)).message).toBe('from the getter');
  client.send('unharmed');
  await until(() => messages.length === 1);
  expect(messages).toEqual(['unharmed']);
});

// ---- memory for nothing

testOurs('16,000 fragments of one byte on 20 connections hold some bytes each', async () => {
  const { port } = await serve();
  const first = frames.frame(frames.BINARY, 'x', { fin: false });
  const next = frames.frame(frames.CONTINUATION, 'x', { fin: false });
  const bytes = Buffer.concat([first, ...Array(15_999).fill(next)]);
  const peers = [];
  for (let i = 0; i < 20; i++) peers.push(await rawClient(port));
  v8.setFlagsFromString('--expose-gc');
  const collectGarbage = vm.runInNewContext('gc');
  collectGarbage();
  const heap = process.memoryUsage().heapUsed;
  for (const peer of peers) {
    peer.write(bytes);
    // The answer to a PING comes when all before it has been read.
    peer.send(frames.PING, 'read');
  }
  await Promise.all(peers.map((peer) => peer.when(({ frames: list }) => list.length > 0)));
  collectGarbage();
  // An object for each fragment would be some 30 MB.
  expect(process.memoryUsage().heapUsed - heap).toBeLessThan(12 * 1024 * 1024);
});

/** A connection whose server takes a thousand bytes inflated, and what it comes to. */
async function bombed() {
  const { wss, port } = await serve({ maxPayload: 1000, perMessageDeflate: true });
  const connected = once(wss, 'connection');
  const peer = await rawClient(port, { lines: ['Sec-WebSocket-Extensions: permessage-deflate'] });
  const [server] = await connected;
  return { peer, messages: collect(server), failed: failure(server) };
}

test('100 frames behind a decompression bomb are inflated by nobody', async () => {
  const { peer, messages, failed } = await bombed();
  const compressed = (text) => frames.compressed(text, frames.TEXT);
  peer.write(
    Buffer.concat([
      compressed('before'),
      compressed('x'.repeat(1_000_000)),
      ...Array(100).fill(compressed('behind')),
    ]),
  );
  expect((await failed).error.code).toBe('WS_ERR_UNSUPPORTED_MESSAGE_LENGTH');
  expect(messages).toEqual(['before']);
});

test('garbage behind a decompression bomb is no second error', async () => {
  const { peer, messages, failed } = await bombed();
  const bomb = Buffer.concat([frames.deflated(Buffer.alloc(100_000)), frames.TAIL]);
  // A block of the type that is reserved, in the same frame and in the next one.
  const garbage = Buffer.alloc(1000, 0x07);
  peer.send(frames.BINARY, Buffer.concat([bomb, garbage]), { rsv: 4, fin: false });
  peer.send(frames.CONTINUATION, garbage);
  const { error, count, code } = await failed;
  expect([error.code, count, code]).toEqual(['WS_ERR_UNSUPPORTED_MESSAGE_LENGTH', 1, 1006]);
  expect((await peer.closing()).code).toBe(1009);
  expect(messages).toEqual([]);
});
