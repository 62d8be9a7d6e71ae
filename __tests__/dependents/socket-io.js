'use strict';

// socket.io and its client over nothing but WebSocket: events with acknowledgements, binary ones,
// rooms, and a broadcast, which frames once for all.

const assert = require('node:assert');
const { once } = require('node:events');
const http = require('node:http');
const { test } = require('node:test');

const { Server } = require('socket.io');
const { io } = require('socket.io-client');

async function start(t, options = {}) {
  const server = http.createServer();
  const sockets = new Server(server, options);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const clients = [];
  t.after(async () => {
    for (const client of clients) client.close();
    await sockets.close();
  });
  async function connect(settings = {}) {
    const url = `http://127.0.0.1:${server.address().port}`;
    const client = io(url, { transports: ['websocket'], forceNew: true, ...settings });
    clients.push(client);
    await once(client, 'connect');
    return client;
  }
  return { sockets, connect };
}

test('events of text and of bytes, both ways, with acknowledgements', async (t) => {
  const { sockets, connect } = await start(t);
  sockets.on('connection', (socket) => {
    socket.on('text', (text, answer) => answer(text.toUpperCase()));
    socket.on('bytes', (bytes) => socket.emit('bytes', bytes, { again: bytes }));
  });
  const client = await connect();
  assert.strictEqual(client.io.engine.transport.name, 'websocket');
  assert.strictEqual(await client.emitWithAck('text', 'grüße'), 'GRÜSSE');
  const bytes = Buffer.from([1, 2, 3]);
  client.emit('bytes', bytes);
  const [first, second] = await once(client, 'bytes');
  assert.deepStrictEqual(first, bytes);
  assert.deepStrictEqual(second.again, bytes);
});

for (const perMessageDeflate of [false, true]) {
  test(`rooms and broadcasts, ${perMessageDeflate ? 'compressed' : 'plain'}`, async (t) => {
    const { sockets, connect } = await start(t, { perMessageDeflate });
    sockets.on('connection', (socket) => {
      socket.on('join', (room, answer) => {
        socket.join(room);
        answer();
      });
    });
    const [first, second, third] = await Promise.all([connect(), connect(), connect()]);
    await first.emitWithAck('join', 'a');
    await second.emitWithAck('join', 'a');
    const seen = { third: 0 };
    third.on('news', () => seen.third++);
    const received = Promise.all([once(first, 'news'), once(second, 'news')]);
    const text = 'x'.repeat(5000);
    sockets.to('a').emit('news', text);
    for (const [value] of await received) assert.strictEqual(value, text);

    const all = Promise.all([first, second, third].map((client) => once(client, 'all')));
    sockets.emit('all', Buffer.from('to all'));
    for (const [value] of await all) assert.strictEqual(String(value), 'to all');
    assert.strictEqual(seen.third, 0);
  });
}

test('an upgrade from polling', async (t) => {
  const { sockets, connect } = await start(t);
  sockets.on('connection', (socket) => socket.on('echo', (text, answer) => answer(text)));
  const client = await connect({ transports: ['polling', 'websocket'] });
  if (client.io.engine.transport.name !== 'websocket') await once(client.io.engine, 'upgrade');
  assert.strictEqual(client.io.engine.transport.name, 'websocket');
  assert.strictEqual(await client.emitWithAck('echo', 'after'), 'after');
});
