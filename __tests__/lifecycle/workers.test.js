// The end of a worker with everything in it. A loop that is closed with a handle on it aborts the
// whole process, so it is the status of the child that tells.

const { inChild, runChild } = require('../support/child.js');

/** What a worker is doing when it is ended. Each posts a message when it has got there. */
const SITUATIONS = {
  idle: async ({ uvws, once }) => {
    const context = new uvws.Context();
    const wss = new uvws.WebSocketServer({ port: 0, host: '127.0.0.1', context });
    await once(wss, 'listening');
    const ws = new uvws.WebSocket(`ws://127.0.0.1:${wss.address().port}`, { context });
    await once(ws, 'open');
    require('worker_threads').parentPort.postMessage('ready');
  },
  'under traffic': async ({ uvws, once }) => {
    const wss = new uvws.WebSocketServer({ port: 0, host: '127.0.0.1' });
    await once(wss, 'listening');
    wss.on('connection', (ws) => ws.on('message', (data) => ws.send(data)));
    const payload = Buffer.alloc(2000);
    let echoes = 0;
    for (let i = 0; i < 4; i++) {
      const ws = new uvws.WebSocket(`ws://127.0.0.1:${wss.address().port}`);
      ws.on('open', () => {
        for (let j = 0; j < 32; j++) ws.send(payload);
      });
      ws.on('message', (data) => {
        if (++echoes === 50) require('worker_threads').parentPort.postMessage('ready');
        ws.send(data);
      });
    }
  },
  'inside a handler': async ({ uvws, once }) => {
    const wss = new uvws.WebSocketServer({ port: 0, host: '127.0.0.1' });
    await once(wss, 'listening');
    wss.on('connection', (ws) => {
      ws.on('message', () => {
        require('worker_threads').parentPort.postMessage('ready');
        for (;;);
      });
    });
    const ws = new uvws.WebSocket(`ws://127.0.0.1:${wss.address().port}`);
    await once(ws, 'open');
    for (let i = 0; i < 10; i++) ws.send('x');
  },
  'during close()': async ({ uvws, once, rawClient }) => {
    const context = new uvws.Context();
    const wss = new uvws.WebSocketServer({ port: 0, host: '127.0.0.1', context });
    await once(wss, 'listening');
    await rawClient(wss.address().port);
    context.close({ timeout: 60_000 });
    require('worker_threads').parentPort.postMessage('ready');
  },
  'during DNS': ({ uvws }) => {
    for (let i = 0; i < 8; i++) {
      const ws = new uvws.WebSocket(`ws://host-${i}.does-not-exist.invalid`);
      ws.on('error', () => {});
    }
    setInterval(() => {}, 1000); // the worker lives on when the names have been looked up
    require('worker_threads').parentPort.postMessage('ready');
  },
};

/** The sources of the pieces: the addon is loaded in the workers, and not in the main thread. */
const sources = Object.fromEntries(
  Object.entries(SITUATIONS).map(([name, body]) => [name, String(body)]),
);

test(
  '200 workers are terminated while they are idle, under traffic, inside a handler, during close() and during DNS',
  () =>
    inChild(
      async ({ assert, startWorker, once, census, input, within }) => {
        const names = Object.keys(input);
        const total = () => Object.values(census.descriptors()).reduce((sum, n) => sum + n, 0);
        let started = 0;
        const endOne = async () => {
          const name = names[started++ % names.length];
          const worker = startWorker(input[name]);
          const failure = new Promise((_, reject) => worker.once('error', reject));
          await within(Promise.race([once(worker, 'message'), failure]), name);
          assert.equal(await within(worker.terminate(), `terminate() ${name}`), 1);
        };
        for (let i = 0; i < 10; i++) await endOne();
        const before = total();
        const lane = async () => {
          while (started < 200) await endOne();
        };
        await Promise.all([lane(), lane(), lane()]);
        assert.ok(total() <= before + 2, `${before} descriptors after 10, ${total()} after 200`);
      },
      { input: sources, timeout: 100_000 },
    ),
  110_000,
);

test(
  'workers are terminated while they start, load the addon and make contexts',
  () =>
    inChild(
      async ({ startWorker, delay, generator }) => {
        const random = generator(5);
        for (let i = 0; i < 20; i++) {
          const worker = startWorker(async ({ uvws, once }) => {
            for (;;) {
              const context = new uvws.Context();
              const wss = new uvws.WebSocketServer({ port: 0, host: '127.0.0.1', context });
              await once(wss, 'listening');
              context.destroy();
            }
          });
          worker.on('error', () => {});
          await delay(20 + random() * 60);
          await worker.terminate();
        }
      },
      { timeout: 50_000 },
    ),
  60_000,
);

/** Ways in which a worker ends that has a server and a client. */
const ENDS = {
  'process.exit()': { code: 3, body: ({ open }) => open().then(() => process.exit(3)) },
  'process.exit() inside a handler': {
    code: 4,
    body: ({ open }) => open().then(({ ws }) => ws.on('pong', () => process.exit(4)).ping()),
  },
  'an exception': {
    code: 1,
    error: 'thrown in a worker',
    body: async ({ open }) => {
      await open();
      setImmediate(() => {
        throw new Error('thrown in a worker');
      });
    },
  },
  'an exception inside a handler': {
    code: 1,
    error: 'thrown in a handler',
    body: async ({ open }) => {
      const { ws } = await open();
      ws.on('pong', () => {
        throw new Error('thrown in a handler');
      });
      ws.ping();
    },
  },
  'unref() of everything': {
    code: 0,
    body: ({ open }) => open().then(({ context }) => void context.unref()),
  },
  'its loop running dry during destroy()': {
    code: 0,
    body: ({ open }) => open().then(({ context }) => void context.destroy()),
  },
};

test.each(Object.keys(ENDS))('a worker that ends by %s leaves nothing behind', (name) =>
  inChild(
    async ({ assert, startWorker, input, within }) => {
      for (let i = 0; i < 3; i++) {
        const worker = startWorker(async (tools) => {
          const { uvws, once, input } = tools;
          const open = async () => {
            const context = new uvws.Context();
            const wss = new uvws.WebSocketServer({ port: 0, host: '127.0.0.1', context });
            await once(wss, 'listening');
            const ws = new uvws.WebSocket(`ws://127.0.0.1:${wss.address().port}`, { context });
            await once(ws, 'open');
            return { context, wss, ws };
          };
          await require('vm').runInThisContext(`(${input})`)({ ...tools, open });
        }, input.body);
        const errors = [];
        worker.on('error', (error) => errors.push(error.message));
        const exited = new Promise((resolve) => worker.on('exit', resolve));
        const code = await within(exited, 'the end of the worker');
        assert.equal(code, input.code);
        assert.deepEqual(errors, input.error ? [input.error] : []);
      }
    },
    { input: { ...ENDS[name], body: String(ENDS[name].body) } },
  ),
);

test.each(Object.keys(SITUATIONS))(
  'the end of the main thread ends a worker that is %s',
  async (name) => {
    for (const end of ['the loop runs dry', 'process.exit()']) {
      const outcome = await runChild(
        async ({ uvws, startWorker, once, input }) => {
          const context = new uvws.Context();
          const wss = new uvws.WebSocketServer({ port: 0, host: '127.0.0.1', context });
          await once(wss, 'listening');
          const worker = startWorker(input.body);
          await once(worker, 'message');
          process.stdout.write('ready');
          if (input.end === 'process.exit()') process.exit(0);
          worker.unref();
          context.unref();
          return new Promise(() => {});
        },
        { input: { body: sources[name], end }, timeout: 25_000 },
      );
      expect({ end, ...outcome }).toMatchObject({ code: 0, signal: null, stdout: 'ready' });
    }
  },
);

test('each worker has a default context of its own', () =>
  inChild(async ({ uvws, assert, startWorker, once }) => {
    const wss = new uvws.WebSocketServer({ port: 0, host: '127.0.0.1' });
    await once(wss, 'listening');
    const connected = once(wss, 'connection');
    const worker = startWorker(async ({ uvws, once, input }) => {
      const ws = new uvws.WebSocket(`ws://127.0.0.1:${input}`);
      await once(ws, 'open');
      ws.send('from a worker');
      await once(ws, 'close');
    }, wss.address().port);
    const [ws] = await connected;
    const [data] = await once(ws, 'message');
    assert.equal(String(data), 'from a worker');
    ws.close();
    const [code] = await once(worker, 'exit');
    assert.equal(code, 0);
    wss.close();
    await once(wss, 'close');
    await uvws.Context.default.destroy();
  }));

test('a message that was moved to another thread outlives its worker, where messages are copies', async () => {
  const outcome = await inChild(
    async ({ startWorker, once }) => {
      const worker = startWorker(async ({ uvws, once }) => {
        const { parentPort } = require('worker_threads');
        const wss = new uvws.WebSocketServer({ port: 0, host: '127.0.0.1' });
        wss.on('connection', (ws) => {
          ws.on('message', async (data) => {
            // A stream of bytes moves what it is given, to an ArrayBuffer that can be transferred.
            const start = (controller) => controller.enqueue(data);
            const { value } = await new ReadableStream({ type: 'bytes', start }).getReader().read();
            parentPort.postMessage(value, [value.buffer]);
          });
        });
        await once(wss, 'listening');
        const client = new uvws.WebSocket(`ws://127.0.0.1:${wss.address().port}`);
        client.on('open', () => client.send(Buffer.alloc(100_000, 7)));
      });
      const [bytes] = await once(worker, 'message');
      await worker.terminate();
      return [bytes.length, bytes.every((byte) => byte === 7)];
    },
    // The allocator is to fill what is freed.
    { env: { UVWS_COPY_BUFFERS: '1', MALLOC_PERTURB_: '165' } },
  );
  expect(outcome).toEqual([100_000, true]);
});
