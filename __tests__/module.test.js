// What `require` and `import` of the package give.

const fs = require('node:fs');
const path = require('node:path');
const { execFileSync, spawnSync } = require('node:child_process');

const uvws = require('..');

const ROOT = path.join(__dirname, '..');

/** Runs a module of ES in Node, at the root of the package, and returns what it prints as JSON. */
function runModule(source) {
  const text = execFileSync(process.execPath, ['--input-type=module', '-e', source], {
    cwd: ROOT,
    encoding: 'utf8',
    env: { ...process.env, NODE_OPTIONS: '' },
  });
  return JSON.parse(text);
}

test('require gives the class WebSocket with everything as properties of it', () => {
  expect(typeof uvws).toBe('function');
  expect(uvws.name).toBe('WebSocket');
  expect(uvws.WebSocket).toBe(uvws);
  expect(uvws.Server).toBe(uvws.WebSocketServer);
  for (const name of [
    'closeOnSignals',
    'Context',
    'createWebSocketStream',
    'metrics',
    'PerMessageDeflate',
    'Receiver',
    'Sender',
    'wake',
  ]) {
    expect([name, typeof uvws[name]]).toEqual([name, 'function']);
  }
  expect(uvws.__esModule).toBeUndefined();
});

test('import gives the same, by names and as the default', () => {
  const names = runModule(`
    import uvws, * as all from 'uvws';
    import { createRequire } from 'node:module';
    const required = createRequire(import.meta.url)('uvws');
    if (required !== uvws) throw new Error('import and require differ');
    for (const name of Object.keys(all)) {
      if (name !== 'default' && all[name] !== uvws[name]) throw new Error(name);
    }
    console.log(JSON.stringify(Object.keys(all).sort()));
  `);
  expect(names).toEqual(
    [
      'Context',
      'PerMessageDeflate',
      'Receiver',
      'Sender',
      'Server',
      'WebSocket',
      'WebSocketServer',
      'closeOnSignals',
      'createWebSocketStream',
      'default',
      'extension',
      'metrics',
      'subprotocol',
      'wake',
    ].sort(),
  );
});

test('an ES module can serve and connect, and ends by itself', () => {
  const result = runModule(`
    import { once } from 'node:events';
    import { Context, WebSocket, WebSocketServer } from 'uvws';
    const context = new Context();
    const wss = new WebSocketServer({ port: 0, host: '127.0.0.1', context });
    wss.on('connection', (ws) => ws.on('message', (data) => ws.send(data)));
    await once(wss, 'listening');
    const ws = new WebSocket('ws://127.0.0.1:' + wss.address().port, { context });
    await once(ws, 'open');
    ws.send('hello');
    const [data] = await once(ws, 'message');
    await context.close();
    console.log(JSON.stringify([String(data), context.state]));
  `);
  expect(result).toEqual(['hello', 'destroyed']);
});

test('only the package itself and its package.json can be required', () => {
  // In Node itself: jest resolves modules in its own way.
  const result = runModule(`
    import { createRequire } from 'node:module';
    const { resolve } = createRequire(import.meta.url);
    const attempt = (name) => {
      try {
        return resolve(name);
      } catch (error) {
        return error.code;
      }
    };
    const names = ['uvws', 'uvws/package.json', 'uvws/lib/context.js', 'uvws/lib/context'];
    console.log(JSON.stringify(names.map(attempt)));
  `);
  expect(result).toEqual([
    path.join(ROOT, 'index.js'),
    path.join(ROOT, 'package.json'),
    'ERR_PACKAGE_PATH_NOT_EXPORTED',
    'ERR_PACKAGE_PATH_NOT_EXPORTED',
  ]);
});

test('every error code in the sources is documented', () => {
  const declared = fs.readFileSync(path.join(ROOT, 'index.d.ts'), 'utf8');
  const sources = [];
  const read = (folder) => {
    for (const entry of fs.readdirSync(folder, { withFileTypes: true })) {
      const name = path.join(folder, entry.name);
      if (entry.isDirectory()) read(name);
      else if (/\.(js|rs)$/.test(entry.name)) sources.push(fs.readFileSync(name, 'utf8'));
    }
  };
  read(path.join(ROOT, 'lib'));
  read(path.join(ROOT, 'src'));
  const codes = new Set(
    sources.flatMap((text) => text.match(/\b(?:WS_ERR|ERR_UVWS|HPE)_[A-Z0-9_]+\b/g) ?? []),
  );
  expect(codes.size).toBeGreaterThan(10);
  const missing = [...codes].filter((code) => !declared.includes(`'${code}'`));
  expect(missing).toEqual([]);
});

test('a missing or broken binary is told by one clear error', () => {
  const copy = fs.mkdtempSync(path.join(require('node:os').tmpdir(), 'uvws-broken-'));
  try {
    for (const file of ['index.js', 'lib', 'package.json']) {
      fs.cpSync(path.join(ROOT, file), path.join(copy, file), { recursive: true });
    }
    const run = () =>
      spawnSync(
        process.execPath,
        [
          '-e',
          `try { require(${JSON.stringify(copy)}) } catch (e) { console.log(e.code, e.message) }`,
        ],
        { encoding: 'utf8', env: { ...process.env, NODE_OPTIONS: '' } },
      ).stdout.trim();
    const missing = run();
    expect(missing).toMatch(/^ERR_UVWS_ADDON uvws: there is no binary for /);
    expect(missing.split('\n')).toHaveLength(1);
    fs.writeFileSync(path.join(copy, 'uvws.node'), 'this is no library');
    const broken = run();
    expect(broken).toMatch(/^ERR_UVWS_ADDON uvws: cannot load /);
    expect(broken.split('\n')).toHaveLength(1);
  } finally {
    fs.rmSync(copy, { recursive: true });
  }
});
