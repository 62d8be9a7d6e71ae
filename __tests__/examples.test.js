// Each example does what it says. The demo's page is looked at in interop/browser.test.js.

const { execFile, spawn } = require('node:child_process');
const { once } = require('node:events');
const path = require('node:path');

const { rawClient } = require('./support/peers.js');
const { until } = require('./support/tools.js');

const ROOT = path.join(__dirname, '..');
const env = { ...process.env, HOST: '127.0.0.1', NODE_OPTIONS: '' };

/** Runs an example to its end. */
function run(...args) {
  return new Promise((resolve) => {
    const options = { cwd: ROOT, env, timeout: 50_000 };
    execFile(process.execPath, args, options, (error, stdout, stderr) => {
      resolve({ status: error ? (error.code ?? error.signal) : 0, stdout, stderr });
    });
  });
}

test.each([
  [[]],
  [['--graceful']],
  [['--cycles', '20']],
  [['--graceful', '--cycles', '20']],
  [['--worker']],
  [['--worker', '--graceful', '--cycles', '5']],
  [['--sigint']],
  [['--help']],
])(
  'examples/foreign-loop %j finds everything in order',
  async (args) => {
    // Timers are late on a busy machine, whoever else is on the loop; foreign-timers.test.js judges that.
    const { status, stderr } = await run('examples/foreign-loop', '--late', '5000', ...args);
    expect([status, stderr]).toEqual([0, '']);
  },
  60_000,
);

test('the demo answers in one line when its port is taken', async () => {
  const first = spawn(process.execPath, ['examples/demo/server.js', '0'], { cwd: ROOT, env });
  let output = '';
  first.stdout.setEncoding('utf8').on('data', (text) => (output += text));
  await until(() => /http:\S+/.test(output), 'the demo');
  const { port } = new URL(/http:\S+/.exec(output)[0]);

  const second = await run('examples/demo/server.js', port);
  expect(second.status).toBe(1);
  expect(second.stderr).toMatch(/^Port \d+ is in use\. .*\n$/);

  const response = await fetch(`http://127.0.0.1:${port}/`);
  expect(response.status).toBe(200);
  expect((await fetch(`http://127.0.0.1:${port}/nothing`)).status).toBe(404);

  // A page of another origin is refused, a program without one is not.
  const foreign = await rawClient(port, {
    path: '/echo',
    lines: ['Origin: http://elsewhere.example'],
    wait: false,
  });
  await foreign.when(({ head }) => head !== null);
  expect(foreign.status).toBe(401);
  const peer = await rawClient(port, { path: '/echo' });
  first.kill('SIGINT');
  expect(await peer.closing()).toMatchObject({ code: 1001 });
  peer.close(1001);
  expect((await once(first, 'close'))[1]).toBe('SIGINT');
  await Promise.all([peer.destroy(), foreign.destroy()]);
});

test('the demo explains itself', async () => {
  expect(await run('examples/demo/server.js', '--help')).toMatchObject({ status: 0, stderr: '' });
  expect(await run('examples/demo/server.js', 'many')).toMatchObject({ status: 2, stdout: '' });
});

test('the echo echoes, and ends by itself', async () => {
  expect(await run('examples/echo.js')).toEqual({
    status: 0,
    stdout: 'echoed: hello\n',
    stderr: '',
  });
});
