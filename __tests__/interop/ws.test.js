// Against ws itself, in both roles: its client with our server, and our client with its server.

const { once } = require('node:events');

const uvws = require('../..');
const ws = require('ws');
const { until } = require('../support/tools.js');

const SIZES = [0, 1, 125, 126, 127, 4095, 65_535, 65_536, 65_537, 1_000_000, 16 * 1024 * 1024];

/** Bytes that differ from place to place. */
function pattern(size) {
  const bytes = Buffer.allocUnsafe(size);
  for (let i = 0; i < size; i++) bytes[i] = (i ^ (i >> 8)) & 255;
  return bytes;
}

/** Text of so many bytes in UTF-8, with characters of one to four bytes. */
function text(size) {
  const sample = 'aé世\u{1f600}';
  const bytes = Buffer.byteLength(sample);
  const whole = sample.repeat(Math.floor(size / bytes));
  return whole + 'x'.repeat(size - Buffer.byteLength(whole));
}

const ROLES = [
  ['the client of ws and our server', ws, uvws],
  ['our client and the server of ws', uvws, ws],
  ['our client and our server', uvws, uvws],
];

describe.each(ROLES)('%s', (_name, client, server) => {
  let wss;
  let url;
  let connections;

  beforeEach(async () => {
    wss = new server.WebSocketServer({ port: 0, host: '127.0.0.1' });
    await once(wss, 'listening');
    url = `ws://127.0.0.1:${wss.address().port}`;
    connections = [];
    wss.on('connection', (connection) => connections.push(connection));
  });

  afterEach(async () => {
    for (const connection of wss.clients) connection.terminate();
    await new Promise((resolve) => wss.close(resolve));
    await uvws.Context.default.destroy();
  });

  function echo() {
    wss.on('connection', (connection) => {
      connection.on('message', (data, binary) => connection.send(data, { binary }));
    });
  }

  async function open(...rest) {
    const socket = new client.WebSocket(url, ...rest);
    await once(socket, 'open');
    return socket;
  }

  test.each(SIZES)('echo binary messages and text of %i bytes', async (size) => {
    echo();
    const socket = await open();
    const bytes = pattern(size);
    socket.send(bytes);
    const [binary, isBinary] = await once(socket, 'message');
    expect(isBinary).toBe(true);
    expect(binary.equals(bytes)).toBe(true);
    const characters = text(size);
    socket.send(characters);
    const [data, isBinaryText] = await once(socket, 'message');
    expect(isBinaryText).toBe(false);
    expect(data.toString() === characters).toBe(true);
  });

  test('exchange fragments with control frames between them', async () => {
    echo();
    const socket = await open();
    const pongs = [];
    socket.on('pong', (data) => pongs.push(String(data)));
    for (let i = 0; i < 100; i++) {
      socket.send(`fragment ${i};`, { fin: i === 99 });
      if (i % 10 === 0) socket.ping(String(i));
    }
    const [data, isBinary] = await once(socket, 'message');
    expect(isBinary).toBe(false);
    expect(String(data)).toBe(Array.from({ length: 100 }, (_, i) => `fragment ${i};`).join(''));
    await until(() => pongs.length === 10);
    expect(pongs).toEqual(['0', '10', '20', '30', '40', '50', '60', '70', '80', '90']);
  });

  test('exchange pings both ways', async () => {
    const socket = await open();
    await until(() => connections.length === 1);
    const seen = [];
    socket.on('ping', (data) => seen.push(`client ping ${data}`));
    socket.on('pong', (data) => seen.push(`client pong ${data}`));
    connections[0].on('ping', (data) => seen.push(`server ping ${data}`));
    connections[0].on('pong', (data) => seen.push(`server pong ${data}`));
    socket.ping('a');
    connections[0].ping(Buffer.alloc(125, 'b'));
    await until(() => seen.length === 4);
    expect(seen.sort()).toEqual([
      `client ping ${'b'.repeat(125)}`,
      'client pong a',
      'server ping a',
      `server pong ${'b'.repeat(125)}`,
    ]);
  });

  test.each([
    [undefined, undefined, 1005, ''],
    [1000, '', 1000, ''],
    [1001, 'going away', 1001, 'going away'],
    [3000, 'x'.repeat(123), 3000, 'x'.repeat(123)],
    [4999, 'ü', 4999, 'ü'],
  ])('close with %p and %p from either side', async (code, reason, seenCode, seenReason) => {
    for (const side of ['client', 'server']) {
      const connected = once(wss, 'connection');
      const socket = await open();
      const [connection] = await connected;
      const ends = Promise.all([once(socket, 'close'), once(connection, 'close')]);
      (side === 'client' ? socket : connection).close(code, reason);
      for (const [closeCode, closeReason] of await ends) {
        expect([closeCode, String(closeReason)]).toEqual([seenCode, seenReason]);
      }
    }
  });

  test('agree on a subprotocol', async () => {
    wss.options.handleProtocols = (protocols) => [...protocols][1];
    const socket = await open(['one', 'two', 'three']);
    await until(() => connections.length === 1);
    expect([socket.protocol, connections[0].protocol]).toEqual(['two', 'two']);
  });

  test('drop each other', async () => {
    for (const side of ['client', 'server']) {
      const connected = once(wss, 'connection');
      const socket = await open();
      const [connection] = await connected;
      const ends = Promise.all([once(socket, 'close'), once(connection, 'close')]);
      (side === 'client' ? socket : connection).terminate();
      expect((await ends).map(([code]) => code)).toEqual([1006, 1006]);
    }
  });

  test('refuse what is too large with 1009', async () => {
    await new Promise((resolve) => wss.close(resolve));
    wss = new server.WebSocketServer({ port: 0, host: '127.0.0.1', maxPayload: 1000 });
    await once(wss, 'listening');
    url = `ws://127.0.0.1:${wss.address().port}`;
    const connected = once(wss, 'connection');
    const socket = await open();
    const [connection] = await connected;
    const failed = once(connection, 'error');
    const ends = Promise.all([
      once(socket, 'close'),
      new Promise((resolve) => connection.on('close', (...args) => resolve(args))),
    ]);
    socket.on('error', () => {});
    socket.send(Buffer.alloc(1001));
    const [error] = await failed;
    expect(error.code).toBe('WS_ERR_UNSUPPORTED_MESSAGE_LENGTH');
    const [[clientCode], [serverCode]] = await ends;
    expect([clientCode, serverCode]).toEqual([1009, 1006]);
  });

  test('keep the order of 20,000 messages of changing sizes', async () => {
    echo();
    const socket = await open();
    const faults = [];
    let received = 0;
    socket.on('message', (data) => {
      const expected = received++;
      if (Number(data.toString('latin1', 0, 8)) !== expected) faults.push(expected);
    });
    for (let i = 0; i < 20_000; i++) {
      socket.send(String(i).padStart(8, '0') + 'x'.repeat((i * 37) % 300));
      if (i % 2000 === 0) await new Promise(setImmediate);
    }
    await until(() => received === 20_000, 'all messages');
    expect(faults).toEqual([]);
  });

  test('connect 200 times at once', async () => {
    echo();
    const sockets = await Promise.all(Array.from({ length: 200 }, () => open()));
    const echoes = sockets.map((socket, i) => {
      socket.send(String(i));
      return once(socket, 'message');
    });
    expect((await Promise.all(echoes)).map(([data]) => Number(data))).toEqual(
      sockets.map((_, i) => i),
    );
    const closed = sockets.map((socket) => once(socket, 'close'));
    for (const socket of sockets) socket.close(1000);
    expect((await Promise.all(closed)).every(([code]) => code === 1000)).toBe(true);
  });
});

test('a client of ws that asks for compression gets a working connection', async () => {
  const wss = new uvws.WebSocketServer({ port: 0, host: '127.0.0.1' });
  await once(wss, 'listening');
  wss.on('connection', (connection) => {
    connection.on('message', (data, binary) => connection.send(data, { binary }));
  });
  const socket = new ws.WebSocket(`ws://127.0.0.1:${wss.address().port}`, {
    perMessageDeflate: { threshold: 0 },
  });
  await once(socket, 'open');
  expect(socket.extensions).toBe('');
  const data = 'compressible '.repeat(1000);
  socket.send(data);
  expect(String((await once(socket, 'message'))[0]) === data).toBe(true);
  const closed = once(socket, 'close');
  socket.close();
  await closed;
  await new Promise((resolve) => wss.close(resolve));
  await uvws.Context.default.destroy();
});
