const { once } = require('node:events');

const { closing, collect, pair, rawPair, testOurs } = require('./support/fixtures.js');
const frames = require('./support/frames.js');
const { until } = require('./support/tools.js');
const { WebSocket, createWebSocketStream } = require('./support/uvws.js');

const MIB = 1024 * 1024;

describe('bufferedAmount', () => {
  test('is 0 when the system has taken everything at once', async () => {
    const { server } = await pair();
    server.send('small');
    expect(server.bufferedAmount).toBe(0);
  });

  test('is what the system has not taken, frame headers included, and falls to 0', async () => {
    const { peer, server } = await rawPair();
    peer.socket.pause();
    const count = 32;
    for (let i = 0; i < count; i++) server.send(Buffer.alloc(MIB));
    const buffered = server.bufferedAmount;
    expect(buffered).toBeGreaterThan(8 * MIB);
    expect(buffered).toBeLessThanOrEqual(count * (MIB + 10));
    server.send('x'.repeat(1000));
    expect(server.bufferedAmount).toBe(buffered + 1004);
    peer.socket.resume();
    await until(() => server.bufferedAmount === 0, 'an empty queue');
    await peer.when(({ frames }) => frames.length === count + 1);
  });
});

testOurs('drain is emitted once the queue is empty after it was above 1 MiB', async () => {
  const { peer, server } = await rawPair();
  const drained = jest.fn(() => expect(server.bufferedAmount).toBe(0));
  server.on('drain', drained);
  server.send(Buffer.alloc(1000));
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(drained).not.toHaveBeenCalled();

  for (let i = 1; i <= 3; i++) {
    peer.socket.pause();
    for (let j = 0; j < 16; j++) server.send(Buffer.alloc(MIB));
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(drained).toHaveBeenCalledTimes(i - 1);
    peer.socket.resume();
    await until(() => drained.mock.calls.length === i, 'drain');
  }
});

testOurs('a sender that waits for drain keeps its queue short', async () => {
  const { client, server } = await pair();
  let received = 0;
  client.on('message', (data) => (received += data.length));
  let highest = 0;
  let sent = 0;
  const pump = () => {
    while (sent < 64 * MIB && server.bufferedAmount < MIB) {
      server.send(Buffer.alloc(256 * 1024));
      sent += 256 * 1024;
      highest = Math.max(highest, server.bufferedAmount);
    }
  };
  server.on('drain', pump);
  pump();
  const timer = setInterval(pump, 1);
  await until(() => received === 64 * MIB, 'everything');
  clearInterval(timer);
  expect(highest).toBeLessThan(2 * MIB);
});

describe('pause() and resume()', () => {
  test('stop and continue the delivery, and lose nothing', async () => {
    const { client, server } = await pair();
    const messages = collect(server);
    server.pause();
    expect(server.isPaused).toBe(true);
    for (let i = 0; i < 1000; i++) client.send(`message ${i}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
    // What had been read when pause() was called may still come.
    expect(messages.length).toBeLessThan(1000);
    server.resume();
    expect(server.isPaused).toBe(false);
    await until(() => messages.length === 1000);
    expect(messages).toEqual(Array.from({ length: 1000 }, (_, i) => `message ${i}`));
  });

  test('make the peer wait: its queue fills up', async () => {
    const { client, server } = await pair();
    let received = 0;
    server.on('message', (data) => (received += data.length));
    server.pause();
    for (let i = 0; i < 32; i++) client.send(Buffer.alloc(MIB));
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(client.bufferedAmount).toBeGreaterThan(8 * MIB);
    server.resume();
    await until(() => received === 32 * MIB, 'everything');
    expect(client.bufferedAmount).toBe(0);
  });

  test('may be called in a message handler', async () => {
    const { client, server } = await pair();
    const messages = [];
    server.on('message', (data) => {
      messages.push(String(data));
      server.pause();
      setTimeout(() => server.resume(), 1);
    });
    for (let i = 0; i < 20; i++) client.send(`message ${i}`);
    await until(() => messages.length === 20);
    expect(messages).toEqual(Array.from({ length: 20 }, (_, i) => `message ${i}`));
  });

  test('do nothing before and after', async () => {
    const { client, url } = await pair();
    const ws = new WebSocket(url);
    ws.pause();
    expect(ws.isPaused).toBe(false);
    await once(ws, 'open');
    ws.terminate();
    client.pause();
    client.terminate();
    await once(client, 'close');
    expect(client.isPaused).toBe(true);
    client.resume();
    expect(client.isPaused).toBe(true);
  });

  test('hold the close event back as long as messages are', async () => {
    const { peer, server } = await rawPair();
    const events = [];
    server.on('message', (data) => events.push(String(data)));
    server.on('close', (code) => events.push(code));
    server.pause();
    peer.send(frames.TEXT, 'a');
    peer.close(1000);
    peer.socket.end();
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(events.filter((event) => event === 1000)).toEqual([]);
    server.resume();
    await until(() => events.length === 2);
    expect(events).toEqual(['a', 1000]);
  });
});

test('a peer that is much slower than its sender gets everything, in order', async () => {
  const { peer, server } = await rawPair();
  for (let i = 0; i < 2000; i++) server.send(`${i}:${'x'.repeat(i * 5)}`);
  const closed = closing(server);
  server.close(1000);
  for (let i = 0; i < 10; i++) {
    peer.socket.pause();
    await new Promise((resolve) => setTimeout(resolve, 5));
    peer.socket.resume();
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  await peer.closing();
  expect(peer.frames).toHaveLength(2001);
  peer.frames.slice(0, 2000).forEach(({ payload }, i) => {
    expect(payload.length).toBe(String(i).length + 1 + i * 5);
    expect(payload.toString('latin1', 0, 10).startsWith(`${i}:`)).toBe(true);
  });
  peer.close(1000);
  expect(await closed).toEqual({ code: 1000, reason: '' });
});

describe('createWebSocketStream()', () => {
  test('moves data through both ends under backpressure', async () => {
    const { client, server } = await pair();
    const input = createWebSocketStream(client);
    const output = createWebSocketStream(server, { highWaterMark: 64 * 1024 });
    let received = 0;
    let faults = 0;
    output.on('data', (chunk) => {
      for (let i = 0; i < chunk.length; i += 4096) {
        if (chunk[i] !== (((received + i) >> 12) & 255)) faults++;
      }
      received += chunk.length;
    });
    const finished = once(output, 'end');
    for (let i = 0; i < 256; i++) {
      const chunk = Buffer.alloc(64 * 1024);
      for (let j = 0; j < chunk.length; j += 4096) chunk[j] = ((i * 65536 + j) >> 12) & 255;
      if (!input.write(chunk)) await once(input, 'drain');
    }
    input.end();
    await finished;
    expect([received, faults]).toEqual([16 * MIB, 0]);
    output.end();
  });

  test('pauses the connection while nobody reads', async () => {
    const { client, server } = await pair();
    const output = createWebSocketStream(server, { highWaterMark: 1024 });
    for (let i = 0; i < 100; i++) client.send(Buffer.alloc(1024));
    await until(() => server.isPaused);
    let received = 0;
    output.on('data', (chunk) => (received += chunk.length));
    await until(() => received === 100 * 1024);
    client.close();
    await once(output, 'end');
    output.end();
  });

  test('gives text as strings with readableObjectMode', async () => {
    const { client, server } = await pair();
    const stream = createWebSocketStream(server, { readableObjectMode: true });
    client.send('text');
    client.send(Buffer.from('binary'));
    const chunks = [];
    stream.on('data', (chunk) => chunks.push(chunk));
    await until(() => chunks.length === 2);
    expect(chunks).toEqual(['text', Buffer.from('binary')]);
    client.terminate();
    await once(stream, 'end');
    stream.end();
  });

  test('is destroyed with the connection, with its error', async () => {
    const { peer, server } = await rawPair();
    const stream = createWebSocketStream(server);
    const failed = once(stream, 'error');
    peer.write(Buffer.from([0x83, 0x80, 0, 0, 0, 0]));
    const [error] = await failed;
    expect(error.code).toBe('WS_ERR_INVALID_OPCODE');
    expect(stream.destroyed).toBe(true);
  });
});
