// nginx and HAProxy in front of the server, as where it is deployed: what goes through them, and what
// their reloads, restarts and time limits do to both ends.

const { once } = require('node:events');

const census = require('../support/census.js');
const { makeCertificate } = require('../support/certificate.js');
const { defer, dial, failure, open, serve } = require('../support/fixtures.js');
const { IMPATIENCE, KINDS, reverseProxy } = require('../support/reverse-proxies.js');
const { delay, until } = require('../support/tools.js');

const CLIENTS = 50;
const SECOND = 1000;

let certificate;
beforeAll(() => (certificate = makeCertificate()));

/** An echo with a proxy in front; remembers what became of each of its connections. */
async function deploy(kind, options) {
  const { wss, port } = await serve(options);
  const closes = [];
  const faults = [];
  wss.on('connection', (ws, request) => {
    const own = { path: request.url, headers: request.headers, codes: [] };
    closes.push(own);
    ws.on('message', (data, binary) => {
      if (String(data) === 'bye') ws.close(4001, 'as you wish');
      else ws.send(data, { binary });
    });
    ws.on('error', (error) => faults.push(error));
    ws.on('close', (code) => own.codes.push(code));
  });
  const proxy = await reverseProxy(kind, port, certificate);
  defer(() => proxy.close());
  const url = `ws://127.0.0.1:${proxy.port}`;
  return { wss, proxy, url, closes, faults };
}

async function echo(client, message) {
  const received = once(client, 'message');
  client.send(message);
  return (await received)[0];
}

/** Makes clients that come back, and counts how often they did. */
async function returning(url, count) {
  const clients = Array.from({ length: count }, () =>
    dial(url, { reconnect: { delays: [20], jitter: 100 } }),
  );
  for (const client of clients) {
    client.losses = 0;
    client.returns = 0;
    client.on('reconnecting', () => client.losses++);
    client.on('reconnected', () => client.returns++);
  }
  await Promise.all(clients.map((client) => once(client, 'open')));
  return clients;
}

describe.each(Object.keys(KINDS))('%s', (kind) => {
  test('messages, pings, compression and closes go through, in plain and over TLS', async () => {
    const { url, proxy, closes, faults } = await deploy(kind, {
      perMessageDeflate: { threshold: 0 },
      handleProtocols: () => 'echo',
    });
    const secure = `wss://127.0.0.1:${proxy.securePort}`;
    for (const [address, options] of [
      [url, {}],
      [url, { perMessageDeflate: true }],
      [secure, { ca: certificate.cert }],
    ]) {
      const client = await open(`${address}/some?query=1`, ['echo', 'other'], options);
      expect(client.protocol).toBe('echo');
      expect(String(await echo(client, 'text'))).toBe('text');
      const big = Buffer.alloc(1_000_000, 'some bytes ');
      expect(big.equals(await echo(client, big))).toBe(true);
      const pong = once(client, 'pong');
      client.ping('a ping');
      expect(String((await pong)[0])).toBe('a ping');
      const closed = once(client, 'close');
      client.send('bye');
      const [code, reason] = await closed;
      expect([code, String(reason)]).toEqual([4001, 'as you wish']);
    }
    await until(() => closes.every(({ codes }) => codes.length === 1));
    expect(closes.map(({ codes }) => codes)).toEqual([[4001], [4001], [4001]]);
    expect(closes[0].path).toBe('/some?query=1');
    expect(closes[0].headers['x-forwarded-for']).toBe('127.0.0.1');
    expect(faults).toEqual([]);
  });

  test('a reload leaves connections alone, and new ones get through', async () => {
    const { url, proxy, closes } = await deploy(kind);
    const old = await open(url);
    proxy.reload();
    // The old processes stop accepting some time later: until then either serves.
    const limit = performance.now() + SECOND;
    while (performance.now() < limit) {
      const client = await open(url);
      expect(String(await echo(client, 'new'))).toBe('new');
      client.close();
      await once(client, 'close');
      await delay(20);
    }
    expect(String(await echo(old, 'old'))).toBe('old');
    expect(closes[0].codes).toEqual([]);
    old.close();
    await once(old, 'close');
    await until(() => closes.every(({ codes }) => codes.length === 1));
  });

  test('a restart ends each connection once, and clients come back', async () => {
    const { wss, url, proxy, closes, faults } = await deploy(kind);
    await (await open(url)).terminate();
    await until(() => wss.clients.size === 0);
    const before = census.take();
    const clients = await returning(url, CLIENTS);
    for (let round = 1; round <= 3; round++) {
      await proxy.restart();
      await until(() => clients.every((client) => client.returns === round), 'returns');
      const answers = await Promise.all(clients.map((client) => echo(client, `round ${round}`)));
      expect(answers.every((answer) => String(answer) === `round ${round}`)).toBe(true);
      await until(() => wss.clients.size === CLIENTS, 'the old ones to be gone');
    }
    expect(clients.every((client) => client.losses >= 3)).toBe(true);
    for (const client of clients) client.close();
    await until(() => wss.clients.size === 0);
    expect(closes.every(({ codes }) => codes.length === 1)).toBe(true);
    expect(closes.filter(({ codes }) => codes[0] === 1006)).toHaveLength(1 + 3 * CLIENTS);
    expect(closes.filter(({ codes }) => codes[0] === 1005)).toHaveLength(CLIENTS);
    // A peer that is killed resets some of its connections, and ends others.
    expect(faults.filter(({ code }) => code !== 'ECONNRESET' && code !== 'EPIPE')).toEqual([]);
    await census.settled(before);
  });

  test('a server that is gone is an error of 502 or 503, and a server of its port serves again', async () => {
    const { wss, url } = await deploy(kind);
    const { port } = wss.address();
    await new Promise((resolve) => wss.close(resolve));
    const { error } = await failure(dial(url));
    expect(error.message).toMatch(/^Unexpected server response: 50[23]$/);
    const [client] = [dial(url, { reconnect: { delays: [50], jitter: 0 } })];
    await once(client, 'reconnecting');
    const { wss: next } = await serve({ port });
    next.on('connection', (ws) => ws.on('message', (data) => ws.send(data)));
    await once(client, 'open');
    expect(String(await echo(client, 'again'))).toBe('again');
  });

  test('a heartbeat keeps a connection that the proxy would cut for silence', async () => {
    const impatience = IMPATIENCE * SECOND;
    // From one PING to the next it is the sum of both, at most: a machine may be busy.
    const heartbeat = { interval: impatience / 10, timeout: impatience / 2 };
    const { url, closes } = await deploy(kind, { heartbeat });
    const kept = await open(`${url}/impatient`);
    await delay(1.5 * impatience);
    expect(String(await echo(kept, 'still here'))).toBe('still here');
    expect(closes[0].codes).toEqual([]);

    const silent = await deploy(kind);
    const cut = await open(`${silent.url}/impatient`);
    const [code] = await once(cut, 'close');
    expect(code).toBe(1006);
    await until(() => silent.closes[0].codes.length > 0);
    expect(silent.closes[0].codes).toEqual([1006]);
  });
});
