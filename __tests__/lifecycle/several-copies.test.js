const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const { inChild } = require('../support/child.js');

const ROOT = path.join(__dirname, '..', '..');

/** Requires the package in a fresh module registry, as another test file does. */
function requireAfresh() {
  let uvws;
  jest.isolateModules(() => {
    uvws = require('../../index.js');
  });
  return uvws;
}

test('the addon works when it is required again by another module registry', async () => {
  const first = requireAfresh();
  const second = requireAfresh();
  expect(second).not.toBe(first);
  const context = new first.Context();
  const other = new second.Context();
  const wss = new first.WebSocketServer({ port: 0, host: '127.0.0.1', context });
  wss.on('connection', (ws) => ws.on('message', (data) => ws.send(data)));
  await new Promise((resolve) => wss.on('listening', resolve));
  const ws = new second.WebSocket(`ws://127.0.0.1:${wss.address().port}`, { context: other });
  await new Promise((resolve) => ws.on('open', resolve));
  const echo = new Promise((resolve) => ws.on('message', (data) => resolve(String(data))));
  ws.send('across');
  expect(await echo).toBe('across');

  await context.destroy();
  await new Promise((resolve) => ws.on('close', resolve));
  expect(other.state).toBe('running');
  await other.destroy();
  expect([context.stats().handles, other.stats().handles]).toEqual([0, 0]);

  // A registry that comes when the others have ended.
  const third = requireAfresh();
  const late = new third.Context();
  const woken = new Promise((resolve) => late.on('waitCancelled', resolve));
  expect(second.wake(late.wakeToken)).toBe(true);
  await woken;
  await late.destroy();
});

describe('copies of the package', () => {
  let folder;

  beforeAll(() => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), 'uvws-copies-'));
    for (const name of ['a', 'b']) {
      const copy = path.join(folder, name);
      for (const file of ['index.js', 'lib', 'package.json', 'uvws.node', 'prebuilds']) {
        const from = path.join(ROOT, file);
        if (fs.existsSync(from)) fs.cpSync(from, path.join(copy, file), { recursive: true });
      }
    }
  });

  afterAll(() => fs.rmSync(folder, { recursive: true, force: true }));

  test('work beside each other in one process', () =>
    inChild(
      async ({ uvws, assert, once, input }) => {
        const copies = [uvws, require(`${input}/a`), require(`${input}/b`)];
        assert.equal(new Set(copies).size, 3);
        const contexts = copies.map(({ Context }) => new Context());
        for (const server of copies) {
          const context = contexts[copies.indexOf(server)];
          const wss = new server.WebSocketServer({ port: 0, host: '127.0.0.1', context });
          wss.on('connection', (ws) => ws.on('message', (data) => ws.send(data)));
          await once(wss, 'listening');
          for (const client of copies) {
            const ws = new client.WebSocket(`ws://127.0.0.1:${wss.address().port}`);
            await once(ws, 'open');
            ws.send('x');
            const [data] = await once(ws, 'message');
            assert.equal(String(data), 'x');
            ws.close();
            await once(ws, 'close');
          }
        }
        contexts.push(...copies.map(({ Context }) => Context.default));
        for (const context of contexts) {
          await context.destroy();
          assert.equal(context.stats().handles, 0);
        }
      },
      { input: folder },
    ));

  test('are unloaded with the workers that loaded them, and leave nothing that could still run', () =>
    inChild(
      async ({ assert, startWorker, once, input, delay }) => {
        for (let i = 0; i < 6; i++) {
          const worker = startWorker(
            async ({ once, input }) => {
              const uvws = require(input);
              const wss = new uvws.WebSocketServer({ port: 0, host: '127.0.0.1' });
              await once(wss, 'listening');
              const ws = new uvws.WebSocket(`ws://127.0.0.1:${wss.address().port}`);
              await once(ws, 'open');
              require('worker_threads').parentPort.postMessage('ready');
            },
            `${input}/${i % 2 ? 'a' : 'b'}`,
          );
          await once(worker, 'message');
          assert.equal(await worker.terminate(), 1);
          await delay(20);
        }
      },
      { input: folder },
    ));

  test('refuse a context of another copy with an error, or work with it', () =>
    inChild(
      async ({ uvws, assert, input, once }) => {
        const other = require(`${input}/a`);
        const context = new uvws.Context();
        try {
          const wss = new other.WebSocketServer({ port: 0, host: '127.0.0.1', context });
          await once(wss, 'listening');
          wss.close();
        } catch (error) {
          assert.ok(error instanceof TypeError, error.stack);
        }
        await context.destroy();
      },
      { input: folder },
    ));
});
