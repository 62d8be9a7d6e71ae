// The package as npm would publish it: what is in it, and that it works without the checkout.

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const ROOT = path.join(__dirname, '..');

let folder;

beforeAll(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'uvws-pack-'));
});

afterAll(() => fs.rmSync(folder, { recursive: true, force: true }));

test('the package has what it needs and nothing else, and its addon is found in prebuilds', () => {
  // Without scripts: `prepack` builds, and the addon that is tested is there already.
  const output = execFileSync(
    'npm',
    ['pack', '--ignore-scripts', '--json', '--pack-destination', folder],
    { cwd: ROOT, encoding: 'utf8', shell: process.platform === 'win32' },
  );
  // Newer versions of npm give an object by names, older ones a list.
  const [{ filename, files }] = Object.values(JSON.parse(output));
  const names = files.map(({ path: name }) => name);
  for (const name of [
    'index.js',
    'index.mjs',
    'index.d.ts',
    'package.json',
    'README.md',
    'LICENSE',
  ]) {
    expect(names).toContain(name);
  }
  const lib = fs
    .readdirSync(path.join(ROOT, 'lib'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ name, parentPath, path: folder }) => {
      // Node 20.11 and older have another name for it.
      const file = path.join(parentPath ?? folder, name);
      return path.relative(ROOT, file).split(path.sep).join('/');
    });
  expect(names).toEqual(expect.arrayContaining(lib));
  const rest = names.filter(
    (name) => !/^(index\.|lib\/|prebuilds\/|package\.json$|[A-Z]+(\.md)?$)/.test(name),
  );
  expect(rest).toEqual([]);

  execFileSync('tar', ['-xzf', path.join(folder, filename)], { cwd: folder });
  const target = path.join(folder, 'package', 'prebuilds', `${process.platform}-${process.arch}`);
  fs.mkdirSync(target, { recursive: true });
  fs.copyFileSync(path.join(ROOT, 'uvws.node'), path.join(target, 'uvws.node'));
  const source = `
    const { Context, WebSocketServer, WebSocket } = require('./package');
    const context = new Context();
    const wss = new WebSocketServer({ port: 0, host: '127.0.0.1', context });
    wss.on('connection', (ws) => ws.send('works'));
    wss.on('listening', () => {
      const ws = new WebSocket('ws://127.0.0.1:' + wss.address().port, { context });
      ws.on('message', (data) => {
        console.log(String(data));
        context.close();
      });
    });
  `;
  const options = { cwd: folder, encoding: 'utf8', env: { ...process.env, NODE_OPTIONS: '' } };
  expect(execFileSync(process.execPath, ['-e', source], options)).toBe('works\n');
});
