// Against websockets, the library that most of Python uses, in both roles.

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const path = require('node:path');

const { Context, WebSocket, WebSocketServer } = require('../..');
const { until } = require('../support/tools.js');

const PYTHON = path.join(__dirname, '..', '..', 'build', 'python', 'bin', 'python');

beforeAll(() => {
  if (!fs.existsSync(PYTHON)) {
    throw new Error(
      'build/python is missing: python3 -m venv build/python && build/python/bin/pip install "websockets==15.*"',
    );
  }
});

/** Starts peer.py; its output is read until it ends. */
function start(...args) {
  const child = spawn(PYTHON, [path.join(__dirname, 'peer.py'), ...args]);
  const peer = { child, stdout: '', stderr: '', ended: once(child, 'close') };
  child.stdout.setEncoding('utf8').on('data', (text) => (peer.stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text) => (peer.stderr += text));
  return peer;
}

test('a client of Python and our server understand each other', async () => {
  const context = new Context();
  const wss = new WebSocketServer({
    port: 0,
    host: '127.0.0.1',
    context,
    handleProtocols: (protocols) => [...protocols].at(-1),
  });
  await once(wss, 'listening');
  const closes = [];
  let pings = 0;
  wss.on('connection', (ws) => {
    ws.on('ping', () => pings++);
    ws.on('message', (data, binary) => {
      if (!binary && String(data) === 'close me') ws.close(4002, 'from Node');
      else ws.send(data, { binary });
    });
    ws.on('close', (code, reason) => closes.push([code, String(reason)]));
  });
  const peer = start('call', `ws://127.0.0.1:${wss.address().port}`);
  const [status] = await peer.ended;
  expect([status, peer.stderr]).toEqual([0, '']);
  expect(JSON.parse(peer.stdout)).toMatchObject({
    faults: [],
    subprotocol: 'two',
    close: [4001, 'from Python'],
    closed: [4002, 'from Node'],
  });
  expect(pings).toBe(1);
  await until(() => closes.length === 2);
  expect(closes).toEqual([
    [4001, 'from Python'],
    [4002, 'from Node'],
  ]);
  await context.close({ timeout: 1000 });
});

test('our client and a server of Python understand each other', async () => {
  const peer = start('serve');
  const context = new Context();
  try {
    await until(() => peer.stdout.includes('\n') || peer.child.exitCode !== null, 'the port');
    expect(peer.stderr).toBe('');
    const url = `ws://127.0.0.1:${peer.stdout.trim()}`;
    const ws = new WebSocket(url, ['one', 'two'], { context });
    await once(ws, 'open');
    expect(ws.protocol).toBe('two');
    for (const size of [0, 1, 125, 126, 127, 65_535, 65_536, 65_537, 1_000_000, 4 * 1024 * 1024]) {
      const bytes = Buffer.alloc(size, 'abcdefghi');
      ws.send(bytes);
      const [binary, isBinary] = await once(ws, 'message');
      expect([size, isBinary, binary.equals(bytes)]).toEqual([size, true, true]);
      const text = 'aé世\u{1f600}'.repeat(size / 10);
      ws.send(text);
      const [data, isBinaryText] = await once(ws, 'message');
      expect([size, isBinaryText, String(data) === text]).toEqual([size, false, true]);
    }
    for (let i = 0; i < 50; i++) ws.send(`fragment ${i};`, { fin: i === 49 });
    const [joined] = await once(ws, 'message');
    expect(String(joined)).toBe(Array.from({ length: 50 }, (_, i) => `fragment ${i};`).join(''));
    const ponged = once(ws, 'pong');
    ws.ping('from Node');
    expect(String((await ponged)[0])).toBe('from Node');

    // A fragment that breaks off inside a character: the server fails the connection with 1007.
    const broken = new WebSocket(url, 'two', { context });
    broken.on('error', () => {});
    await once(broken, 'open');
    broken.send(Buffer.from([0xc3]), { binary: false });
    expect((await once(broken, 'close'))[0]).toBe(1007);

    const closed = once(ws, 'close');
    ws.close(4003, 'done');
    const [code, reason] = await closed;
    expect([code, String(reason)]).toEqual([4003, 'done']);
  } finally {
    await context.destroy();
    peer.child.stdin.end();
    await peer.ended;
  }
  expect([peer.child.exitCode, peer.stderr]).toEqual([0, '']);
});
