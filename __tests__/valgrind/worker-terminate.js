// Starts workers with contexts in them and terminates them wherever they are, for a memory checker
// to watch (scripts/valgrind.js). The main thread does not load the addon, so each worker loads it
// afresh and Node unloads it again. Exits with 0 and prints one line if all came to an end.

const { once } = require('node:events');
const net = require('node:net');
const { Worker, isMainThread, parentPort, workerData } = require('node:worker_threads');

const { Workshop } = require('../support/authority');

/** Under valgrind each takes a second or two of the processor. */
const WORKERS = process.env.UVWS_VALGRIND ? 54 : 200;

/** Messages under way: under valgrind each takes some thirty times as long. */
const IN_FLIGHT = process.env.UVWS_VALGRIND ? 2 : 16;

/** Large enough for the thread pool. */
const LARGE = Buffer.alloc(100_000, 'large');

const SITUATIONS = [
  'idle',
  'traffic',
  'handler',
  'closing',
  'lookup',
  'compressing',
  'bare',
  'secure',
  'greeting',
];

async function work({ situation, tls, ca }) {
  const { Context, WebSocket, WebSocketServer } = require('../..');
  const ready = () => parentPort.postMessage('ready');
  const context = new Context();
  if (situation === 'bare') {
    setInterval(() => {}, 1000);
    return ready();
  }
  if (situation === 'lookup') {
    setInterval(() => {}, 1000);
    for (let i = 0; i < 4; i++) {
      new WebSocket(`ws://host-${i}.does-not-exist.invalid`, { context }).on('error', () => {});
    }
    return ready();
  }
  const options = { port: 0, host: '127.0.0.1', context };
  const isSecure = situation === 'secure' || situation === 'greeting';
  if (isSecure) options.tls = tls;
  if (situation === 'compressing') options.perMessageDeflate = true;
  const wss = new WebSocketServer(options);
  await once(wss, 'listening');
  if (situation === 'greeting') {
    // Both sides wait for the other's part of a TLS handshake.
    const silent = net.createServer().listen(0, '127.0.0.1');
    await once(silent, 'listening');
    new WebSocket(`wss://127.0.0.1:${silent.address().port}`, { context, ca });
    const [socket] = await once(silent, 'connection');
    const [hello] = await once(socket, 'data');
    const client = net.connect(wss.address().port, '127.0.0.1');
    client.write(hello);
    await once(client, 'data');
    return ready();
  }
  const scheme = isSecure ? 'wss' : 'ws';
  const ws = new WebSocket(`${scheme}://127.0.0.1:${wss.address().port}`, { context, ca });
  if (situation === 'closing') {
    // Neither side reads any more, so the closing handshake does not come to its end.
    await Promise.all([once(ws, 'open'), once(wss, 'connection')]);
    ws.pause();
    for (const connection of wss.clients) connection.pause();
    context.close({ timeout: 60_000 });
    return ready();
  }
  if (situation === 'compressing') {
    // On the thread pool, and in the queue for it.
    await Promise.all([once(ws, 'open'), once(wss, 'connection')]);
    for (const each of [ws, ...wss.clients]) {
      each.send(LARGE);
      each.send(LARGE);
    }
    return ready();
  }
  let echoes = 0;
  wss.on('connection', (connection) => {
    connection.on('message', (data) => {
      connection.send(data);
      echoes += 1;
      if (echoes !== 3) return;
      ready();
      // An endless handler: only termination ends it.
      while (situation === 'handler');
    });
  });
  ws.on('message', (data) => ws.send(data));
  await once(ws, 'open');
  if (situation === 'idle') return ready();
  for (let i = 0; i < IN_FLIGHT; i++) ws.send('x'.repeat(100));
  return undefined;
}

async function main() {
  const workshop = new Workshop();
  const authority = workshop.authority();
  const { key, cert } = workshop.make({ issuer: authority });
  workshop.remove();
  const tls = { key: key.toString(), cert: cert.toString() };
  const ca = authority.cert.toString();
  let count = 0;
  const lane = async () => {
    while (count < WORKERS) {
      const worker = new Worker(__filename, {
        workerData: { situation: SITUATIONS[count++ % SITUATIONS.length], tls, ca },
      });
      await once(worker, 'message');
      await worker.terminate();
    }
  };
  await Promise.all([lane(), lane()]);
  console.log(`${WORKERS} workers terminated`);
}

if (isMainThread) main();
else work(workerData);
