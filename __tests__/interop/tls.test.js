// TLS with programs that people use: OpenSSL, curl, Python's websockets and Chromium.

const { spawn } = require('node:child_process');
const { createHash, X509Certificate } = require('node:crypto');
const { once } = require('node:events');
const fs = require('node:fs');
const path = require('node:path');

const { chromium } = require('playwright-core');

const { WebSocketServer } = require('../..');
const { Workshop } = require('../support/authority.js');
const { findBrowser } = require('../support/browser.js');
const { upgradeRequest } = require('../support/peers.js');
const { until } = require('../support/tools.js');

const PYTHON = path.join(__dirname, '..', '..', 'build', 'python', 'bin', 'python');

const workshop = new Workshop();
const root = workshop.authority();
const intermediate = workshop.authority('An intermediate authority', root);
const leaf = workshop.make({ issuer: intermediate });
const own = { key: leaf.key, cert: Buffer.concat([leaf.cert, intermediate.cert]) };

let wss;
let port;
let closes;

beforeAll(async () => {
  wss = new WebSocketServer({
    ...{ port: 0, host: '127.0.0.1', tls: own },
    handleProtocols: (protocols) => [...protocols].at(-1),
  });
  wss.on('connection', (ws) => {
    ws.on('message', (data, isBinary) => {
      if (String(data.subarray(0, 10)) === 'close me') ws.close(4002, 'from Node');
      else ws.send(data, { binary: isBinary });
    });
    ws.on('close', (code) => closes.push(code));
  });
  await once(wss, 'listening');
  ({ port } = wss.address());
});

beforeEach(() => (closes = []));

afterAll(async () => {
  for (const ws of wss.clients) ws.terminate();
  await new Promise((resolve) => wss.close(resolve));
  workshop.remove();
});

/** Runs a program; `input` stays open until it is done with. */
function run(command, args, env = {}) {
  const child = spawn(command, args, { env: { ...process.env, ...env } });
  const program = { child, stdout: '', stderr: '', ended: once(child, 'close') };
  child.stdout.setEncoding('latin1').on('data', (text) => (program.stdout += text));
  child.stderr.setEncoding('latin1').on('data', (text) => (program.stderr += text));
  return program;
}

test.each([['-tls1_2'], ['-tls1_3']])('openssl s_client %s upgrades', async (version) => {
  const args = ['s_client', '-connect', `127.0.0.1:${port}`, '-servername', 'localhost', version];
  const checks = [
    '-CAfile',
    root.certFile,
    '-verify_return_error',
    '-verify_hostname',
    'localhost',
  ];
  const program = run('openssl', [...args, ...checks, '-quiet']);
  program.child.stdin.write(upgradeRequest());
  await until(() => /101 Switching Protocols[^]*\r\n\r\n/.test(program.stdout));
  program.child.kill();
  await program.ended;
  await until(() => closes.length === 1);
  expect(closes).toEqual([1006]);
});

test('openssl s_client cannot speak TLS 1.1', async () => {
  const args = ['s_client', '-connect', `127.0.0.1:${port}`, '-tls1_1'];
  const program = run('openssl', [...args, '-cipher', 'DEFAULT@SECLEVEL=0']);
  const [status] = await program.ended;
  expect(status).not.toBe(0);
  expect(program.stderr).toMatch(/alert handshake failure/);
});

test('curl upgrades, and checks the certificate', async () => {
  const ask = async (...args) => {
    const program = run('curl', [
      ...['-sS', '-i', '--http1.1', '--noproxy', '*', '-H', 'Connection: Upgrade'],
      ...['-H', 'Upgrade: websocket', '-H', 'Sec-WebSocket-Version: 13'],
      ...['-H', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', ...args],
    ]);
    await program.ended;
    return program;
  };
  // It goes on as long as the connection.
  wss.once('connection', (ws) => ws._socket.end());
  const good = await ask('--cacert', root.certFile, `https://localhost:${port}/`);
  expect(good.stdout).toMatch(/^HTTP\/1.1 101 /);
  const unknown = await ask(`https://localhost:${port}/`);
  expect(unknown.stderr).toMatch(/certificate/i);
  expect(unknown.stdout).toBe('');
});

test('websockets of Python sends all kinds of messages', async () => {
  if (!fs.existsSync(PYTHON)) throw new Error('build/python is missing: see python.test.js');
  const program = run(
    PYTHON,
    [path.join(__dirname, 'peer.py'), 'call', `wss://localhost:${port}`],
    { SSL_CERT_FILE: root.certFile },
  );
  const [status] = await program.ended;
  expect([status, program.stderr]).toEqual([0, '']);
  expect(JSON.parse(program.stdout)).toMatchObject({
    faults: [],
    closed: [4002, 'from Node'],
  });
});

test('Chromium opens a wss: connection and gets its messages back', async () => {
  const { publicKey } = new X509Certificate(leaf.cert);
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  const pin = createHash('sha256').update(spki).digest('base64');
  const browser = await chromium.launch({
    executablePath: findBrowser(),
    // The browser has no certificates of ours: it trusts this key alone.
    args: [
      ...['--no-sandbox', '--disable-dev-shm-usage'],
      `--ignore-certificate-errors-spki-list=${pin}`,
    ],
  });
  try {
    const page = await browser.newPage();
    const outcome = await page.evaluate(async (url) => {
      const ws = new WebSocket(url);
      ws.binaryType = 'arraybuffer';
      await new Promise((resolve, reject) => {
        ws.onopen = resolve;
        ws.onerror = () => reject(new Error('no connection'));
      });
      const lengths = [];
      for (const size of [0, 1, 65_536, 3_000_000]) {
        ws.send(new Uint8Array(size).fill(7));
        const { data } = await new Promise((resolve) => (ws.onmessage = resolve));
        lengths.push(data.byteLength);
      }
      ws.close(4000);
      const { code } = await new Promise((resolve) => (ws.onclose = resolve));
      return { lengths, code };
    }, `wss://localhost:${port}/`);
    expect(outcome).toEqual({ lengths: [0, 1, 65_536, 3_000_000], code: 4000 });
  } finally {
    await browser.close();
  }
});
