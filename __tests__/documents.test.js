// Every block of code in README.md and docs/ is run, or says here why it is not.

const { once } = require('node:events');
const diagnostics = require('node:diagnostics_channel');
const fs = require('node:fs');
const path = require('node:path');
const { Worker } = require('node:worker_threads');

const { runChild } = require('./support/child.js');
const { blocksOf, documents, Stage } = require('./support/documents.js');
const { Workshop } = require('./support/authority.js');
const { rawClient } = require('./support/peers.js');
const { until } = require('./support/tools.js');
const uvws = require('./support/uvws.js');

const { WebSocket, WebSocketServer } = uvws;
const ROOT = path.join(__dirname, '..');
const PACKAGE = require('../package.json');

const workshop = new Workshop();
const authority = workshop.authority();
const { cert, key } = workshop.make({ issuer: authority });
const ca = authority.cert;
afterAll(() => workshop.remove());

/** Ends what a case has made. */
let ends = [];
afterEach(async () => {
  for (const end of ends.reverse()) await end();
  ends = [];
});

async function createStage(...args) {
  const stage = await Stage.create(uvws, ...args);
  ends.push(() => stage.end());
  return stage;
}

/** A server on the port that stands for `port`. */
async function serve(stage, port, options) {
  const wss = new WebSocketServer({ port: stage.port(port), host: '127.0.0.1', ...options });
  ends.push(async () => {
    for (const client of wss.clients) client.terminate();
    await new Promise((resolve) => wss.close(resolve));
  });
  await once(wss, 'listening');
  return wss;
}

/** A client of what listens on the port that stands for `port`. */
async function connect(stage, port, { path: target = '', protocols = [], ...options } = {}) {
  const scheme = options.ca ? 'wss' : 'ws';
  const url = `${scheme}://127.0.0.1:${stage.port(port)}${target}`;
  const client = new WebSocket(url, protocols, options);
  client.received = [];
  client.on('message', (data) => client.received.push(String(data)));
  ends.push(() => client.terminate());
  await once(client, 'open');
  return client;
}

async function pageOf(stage, port, target = '/') {
  const response = await fetch(`http://127.0.0.1:${stage.port(port)}${target}`);
  return response.text();
}

async function echoes(client) {
  client.send('hello');
  await until(() => client.received.includes('hello'));
}

/** Servers that the examples have made listen. */
async function allListen(stage) {
  await until(() => stage.servers.every((server) => server.address() !== null));
}

/** Why blocks of a language are not run, where a case does not say otherwise. */
const NOT_RUN = {
  '': 'they are drawings',
  sh: 'they install, or take minutes; what they name is looked for',
};

/** Why some blocks are run elsewhere. */
const ELSEWHERE = [
  {
    reason: 'run by __tests__/dependents/express.js, with the real Express',
    includes: "require('express')",
  },
];

/** What becomes of the others: `includes` tells which one it is. */
const CASES = [
  {
    file: 'README.md',
    includes: "ws.on('message', (data, isBinary) => ws.send(data, { binary: isBinary }));",
    async run(source) {
      const stage = await createStage([8080]);
      await stage.run(source);
      await allListen(stage);
      await echoes(await connect(stage, 8080));
    },
  },
  {
    file: 'README.md',
    includes: "import { WebSocket } from 'uvws';",
    async run(source) {
      const stage = await createStage([8080]);
      const wss = await serve(stage, 8080);
      wss.on('connection', (ws) => ws.on('message', (data) => ws.send(String(data))));
      await stage.run(source);
      expect((await once(stage.clients[0], 'close'))[0]).toBe(1000);
      expect(stage.printed).toEqual([['hello']]);
    },
  },
  {
    file: 'README.md',
    includes: "path: '/socket'",
    async run(source) {
      const stage = await createStage([8080]);
      await stage.run(source);
      await allListen(stage);
      expect(await pageOf(stage, 8080)).toBe('a page');
      await connect(stage, 8080, { path: '/socket' });
    },
  },
  {
    file: 'README.md',
    includes: "http: (request, response) => response.end('a page')",
    async run(source) {
      const stage = await createStage([8080]);
      await stage.run(source);
      await allListen(stage);
      expect(await pageOf(stage, 8080)).toBe('a page');
      await connect(stage, 8080);
    },
  },
  {
    file: 'README.md',
    includes: '"overrides"',
    run(source) {
      // What npm makes of it is seen by scripts/dependents.js.
      const { dependencies, overrides } = JSON.parse(source);
      const [major, minor] = PACKAGE.version.split('.');
      expect(dependencies.ws).toBe(`npm:${PACKAGE.name}@^${major}.${minor}.0`);
      expect(overrides).toEqual({ ws: '$ws' });
    },
  },
  {
    file: 'README.md',
    includes: "wss.broadcast('to all'",
    async run(source) {
      const stage = await createStage([8080]);
      const wss = await serve(stage, 8080);
      const publish = jest.spyOn(wss, 'publish');
      await stage.run(source, { wss });
      expect(publish).toHaveBeenCalledTimes(1);
      const [one, other] = [await connect(stage, 8080), await connect(stage, 8080)];
      one.send('from one');
      await until(() => other.received.length === 1);
      expect([one.received, other.received]).toEqual([[], ['from one']]);
    },
  },
  {
    file: 'README.md',
    includes: "context.close({ code: 1001, reason: 'restarting', timeout: 5000 })",
    async run(source) {
      const stage = await createStage([8080, 80]);
      await stage.run(source);
      const [context] = stage.contexts;
      expect([context.state, context.data]).toEqual(['destroyed', { name: 'chat' }]);
      expect(stage.servers[0].context).toBe(context);
      // It was still connecting.
      expect(stage.printed.map(([{ code }]) => code)).toEqual(['ERR_UVWS_CONTEXT_CLOSED']);
    },
  },
  {
    file: 'README.md',
    includes: '// all other hosts',
    async run(source) {
      const stage = await createStage([8080]);
      const context = new uvws.Context();
      ends.push(() => context.destroy());
      const chat = {};
      await stage.run(source, { context, chat });
      await allListen(stage);
      const [first, second, third] = stage.servers;
      expect(first.data).toBe(chat);
      await expectHosts(stage, {
        'chat.example.org': first,
        'a.example.org': second,
        'example.com': third,
      });
    },
  },
  {
    file: 'README.md',
    includes: '// once for each server',
    async run(source) {
      const stage = await createStage([8081]);
      await stage.run(source);
      await allListen(stage);
      const [wss] = stage.servers;
      const connected = once(wss, 'connection');
      const client = await connect(stage, 8081, { path: '/me', protocols: ['chat'] });
      const [ws] = await connected;
      expect([ws.data, ws.state.options]).toEqual([{ name: 'me' }, { limit: 10 }]);
      ws.state.rooms.set('me', ws);
      await echoes(client);
      const { state } = ws;
      await stage.end();
      expect(state.rooms.size).toBe(0);
    },
  },
  {
    file: 'README.md',
    includes: "feed.on('reconnected'",
    async run(source) {
      const stage = await createStage([443], { clientOptions: { ca } });
      const wss = await serve(stage, 443, { tls: { cert, key } });
      await stage.run(source);
      const [first] = await once(wss, 'connection');
      first.terminate();
      const [second] = await once(wss, 'connection');
      expect(String((await once(second, 'message'))[0])).toBe('subscribe');
      expect(stage.printed).toEqual([[1, expect.any(Number), 1006]]);
    },
  },
  {
    file: 'docs/client.md',
    includes: 'ws.timings',
    async run(source) {
      const stage = await createStage([8080]);
      await serve(stage, 8080);
      const ws = new WebSocket(`ws://127.0.0.1:${stage.port(8080)}`);
      ends.push(() => ws.terminate());
      await stage.run(source, { ws });
      await once(ws, 'open');
      const [[timings]] = stage.printed;
      const written = /\/\/ \{ (.*) \}/.exec(source)[1].split(', ');
      expect(Object.keys(timings)).toEqual(written.map((pair) => pair.split(':')[0]));
    },
  },
  {
    file: 'docs/client.md',
    includes: 'socks5h://127.0.0.1:1080',
    // Real proxies are in proxy.test.js; there is none of these names.
    run: (source) => makesClients(source, 4, { ca }),
  },
  {
    file: 'docs/client.md',
    includes: '{ reconnect: true }',
    run: (source) => makesClients(source, 2),
  },
  {
    file: 'docs/lifecycle.md',
    includes: 'new Context({ data, name, signal })',
    async run(source) {
      const stage = await createStage([8080, 9000], { takesErrors: true });
      await serve(stage, 9000);
      const names = { data: {}, name: 'a name', signal: new AbortController().signal };
      await stage.run(source, names);
      await Promise.all([once(stage.clients[0], 'open'), allListen(stage)]);
      const [context] = stage.contexts;
      expect([context.data, context.name]).toEqual([names.data, names.name]);
      expect(context.stats()).toMatchObject({ connections: 1, listeners: 1 });
    },
  },
  {
    file: 'docs/lifecycle.md',
    includes: '// in a worker',
    async run(source) {
      const context = new uvws.Context();
      ends.push(() => context.destroy());
      const token = context.wakeToken;
      const woken = once(context, 'waitCancelled');
      const keepsAlive = setInterval(() => {}, 1000);
      const script = `const token = require('node:worker_threads').workerData;\n${source}`;
      const named = script.replace("require('uvws')", `require(${JSON.stringify(ROOT)})`);
      const worker = new Worker(named, { eval: true, workerData: token });
      const ended = once(worker, 'exit');
      await woken;
      clearInterval(keepsAlive);
      expect(await ended).toEqual([0]);
    },
  },
  {
    file: 'docs/limits.md',
    includes: 'new Context({ memoryBudget: 256 * 1024 * 1024 })',
    async run(source) {
      const stage = await createStage([8080]);
      await stage.run(source);
      await allListen(stage);
      expect(stage.servers[0].context).toBe(stage.contexts[0]);
      expect(stage.printed).toEqual([[{ budget: 2 ** 28, used: 0, peak: 0 }]]);
      const written = /\/\/ \{ (.*) \}/.exec(source)[1].split(', ');
      expect(Object.keys(stage.printed[0][0])).toEqual(written);
    },
  },
  {
    file: 'docs/servers.md',
    includes: "hostname: 'chat.example.org', data: rooms",
    async run(source) {
      const stage = await createStage([8080]);
      const rooms = {};
      await stage.run(source, { rooms });
      await allListen(stage);
      const [chat, tenants, rest] = stage.servers;
      expect(chat.data).toBe(rooms);
      await expectHosts(stage, {
        'chat.example.org': chat,
        'b.example.org': tenants,
        localhost: rest,
      });
    },
  },
  {
    file: 'docs/servers.md',
    includes: 'const counter = {',
    async run(source) {
      const stage = await createStage([8080, 8081]);
      await stage.run(source);
      await allListen(stage);
      for (const [port, start] of [
        [8080, 0],
        [8081, 100],
      ]) {
        const client = await connect(stage, port, { protocols: ['counter'] });
        client.send('next');
        await until(() => client.received.length === 2);
        expect(client.received).toEqual([`${start}`, `${start + 1}`]);
      }
    },
  },
  {
    file: 'docs/tls.md',
    includes: "process.on('SIGHUP'",
    async run(source) {
      const stage = await createStage([443]);
      const files = { '/etc/tls/chain.pem': cert, '/etc/tls/key.pem': key };
      const handlers = {};
      await stage.run(
        source,
        { process: { on: (signal, handler) => (handlers[signal] = handler) } },
        { 'node:fs': { readFileSync: (name) => files[name] } },
      );
      await allListen(stage);
      const serialOf = async () => {
        const client = await connect(stage, 443, { ca });
        return client._socket.getPeerCertificate().serialNumber;
      };
      const before = await serialOf();
      const renewed = workshop.make({ issuer: authority });
      files['/etc/tls/chain.pem'] = renewed.cert;
      files['/etc/tls/key.pem'] = renewed.key;
      expect(await serialOf()).toBe(before);
      handlers.SIGHUP();
      expect(await serialOf()).not.toBe(before);
    },
  },
  {
    file: 'docs/tls.md',
    includes: 'requestCert: true',
    async run(source) {
      const stage = await createStage([443]);
      await stage.run(source, { cert, key, ca });
      await allListen(stage);
      const connected = once(stage.servers[0], 'connection');
      const own = workshop.make({ name: 'a client', altNames: '', issuer: authority });
      await connect(stage, 443, { ca, cert: own.cert, key: own.key });
      const [, request] = await connected;
      expect(request.socket.getPeerCertificate().subject.CN).toBe('a client');
    },
  },
  {
    file: 'docs/observability.md',
    includes: 'console.log({ code, duration, messagesReceived, bytesSent });',
    async run(source) {
      const stage = await createStage([8080]);
      await stage.run(source);
      await allListen(stage);
      const client = await connect(stage, 8080);
      client.send('last words');
      client.close(1000);
      await until(() => stage.printed.length === 1);
      expect(stage.printed[0][0]).toMatchObject({ code: 1000, messagesReceived: 1 });
    },
  },
  {
    file: 'docs/observability.md',
    includes: "subscribe('uvws:close'",
    async run(source) {
      const stage = await createStage([8080]);
      const subscribe = (name, listener) => {
        diagnostics.subscribe(name, listener);
        ends.push(() => diagnostics.unsubscribe(name, listener));
      };
      await stage.run(source, {}, { 'node:diagnostics_channel': { subscribe } });
      const wss = await serve(stage, 8080, { maxPayload: 1, maxConnections: 1 });
      wss.on('connection', (ws) => ws.on('error', () => {}));
      const client = await connect(stage, 8080);
      const refused = await rawClient(stage.port(8080), { wait: false });
      await refused.when(({ head }) => head !== null);
      await refused.destroy();
      client.send('too long');
      await until(() => stage.printed.length === 4);
      const [breach, ...rest] = stage.printed;
      expect(breach).toEqual(['maxConnections was breached by a handshake']);
      expect(rest).toEqual(
        expect.arrayContaining([
          ['maxPayload was breached by 127.0.0.1'],
          ['client', 1009, 'remote', expect.any(Number)],
          ['server', 1006, 'local', expect.any(Number)],
        ]),
      );
    },
  },
  {
    file: 'docs/observability.md',
    includes: 'UVWS 4711',
    // What is shown is what is written.
    async run(source) {
      const { stderr } = await runChild(
        async ({ once, rawClient, rawConnect, upgradeRequest, uvws }) => {
          const { Context, WebSocketServer } = uvws;
          const options = { port: 0, host: '127.0.0.1', path: '/chat', maxPayload: 1 };
          const wss = new WebSocketServer(options);
          await once(wss, 'listening');
          wss.on('connection', (ws) => ws.on('error', () => {}));
          for (const head of [upgradeRequest({ path: '/other' }), 'no HTTP\r\n\r\n']) {
            const refused = await rawConnect(wss.address().port);
            refused.write(head);
            await refused.when((peer) => peer.head !== null);
            await refused.destroy();
          }
          const connected = once(wss, 'connection');
          const peer = await rawClient(wss.address().port, { path: '/chat' });
          const [ws] = await connected;
          const closed = new Promise((resolve) => ws.on('close', resolve));
          peer.send(1, 'too long');
          await peer.closing();
          peer.socket.end();
          await closed;
          await Context.default.close();
        },
        { env: { NODE_DEBUG: 'uvws' } },
      );
      const written = stderr
        .replace(/^UVWS \d+:/gm, 'UVWS 4711:')
        .replace(/127\.0\.0\.1:\d+/, '127.0.0.1:8080');
      expect(written).toBe(source);
    },
  },
];

/** Runs an example that makes clients of `url`, and sees that they are as they should be. */
async function makesClients(source, count, names = {}) {
  const stage = await createStage([8080], { takesErrors: true });
  await stage.run(source, { ...names, url: `ws://localhost:8080` });
  expect(stage.clients).toHaveLength(count);
  for (const client of stage.clients) expect(client.readyState).toBe(WebSocket.CONNECTING);
}

/** Sees which server a request for a host comes to. */
async function expectHosts(stage, servers) {
  for (const [host, server] of Object.entries(servers)) {
    const connected = once(server, 'connection');
    await connect(stage, 8080, { headers: { Host: host } });
    await connected;
  }
}

const all = documents().flatMap(blocksOf);

function isCovered({ file, source }, one) {
  return (one.file === undefined || one.file === file) && source.includes(one.includes);
}

test('each block is run, or it is said why not', () => {
  expect(all.length).toBeGreaterThan(30);
  for (const block of all) {
    const cases = [...CASES, ...ELSEWHERE].filter((one) => isCovered(block, one));
    const where = `${block.file}:${block.line}`;
    if (cases.length === 0)
      expect([where, NOT_RUN[block.language]]).toEqual([where, expect.any(String)]);
    else expect([where, cases.length]).toEqual([where, 1]);
  }
});

describe.each(CASES)('$file: $includes', ({ run, ...one }) => {
  const blocks = all.filter((block) => isCovered(block, one));

  test('does what it says', async () => {
    expect(blocks).toHaveLength(1);
    await run(blocks[0].source);
  });
});

test('what is run elsewhere is there', () => {
  const express = fs.readFileSync(path.join(__dirname, 'dependents', 'express.js'), 'utf8');
  expect(express).toContain('blocksOf');
  expect(all.filter((block) => isCovered(block, ELSEWHERE[0]))).toHaveLength(2);
});

test('the programs, scripts and files that commands name are there', () => {
  const commands = all.filter(({ language }) => language === 'sh').map(({ source }) => source);
  const text = commands.join('');
  const files = [...text.matchAll(/\b(?:node|npx jest) ((?:[\w./-]+\.js ?)+)/g)].flatMap(
    ([, list]) => list.trim().split(' '),
  );
  expect(files.length).toBeGreaterThan(5);
  // A server of the reader's own.
  const own = ['server.js'];
  for (const file of files) {
    if (!own.includes(file))
      expect([file, fs.existsSync(path.join(ROOT, file))]).toEqual([file, true]);
  }
  for (const [, script, name] of text.matchAll(/\bnpm (?:(start|test)\b|run (\w+))/g)) {
    expect(Object.keys(PACKAGE.scripts)).toContain(script ?? name);
  }
  for (const [, name] of text.matchAll(/--test (\w+)/g)) {
    expect(fs.existsSync(path.join(ROOT, 'tests', `${name}.rs`))).toBe(true);
  }
});

test('the tests that a document names are there', () => {
  const text = fs.readFileSync(path.join(ROOT, 'docs', 'vulnerabilities.md'), 'utf8');
  const cited = [...text.matchAll(/`([\w/-]+)`: ((?:`[^`]+`(?:, )?)+)/g)];
  expect(cited.length).toBeGreaterThan(40);
  for (const [, file, names] of cited) {
    const source = ['__tests__/$.test.js', 'tests/$.rs']
      .map((pattern) => path.join(ROOT, pattern.replace('$', file)))
      .find((name) => fs.existsSync(name));
    expect([file, source]).toEqual([file, expect.any(String)]);
    const tests = fs.readFileSync(source, 'utf8');
    for (const [, name] of names.matchAll(/`([^`]+)`/g)) {
      // What differs from row to row of a table of tests is left out.
      const parts = name.split('…').map((part) => part.trim());
      expect([name, parts.every((part) => tests.includes(part))]).toEqual([name, true]);
    }
  }
  const targets = [...text.matchAll(/fuzz targets? ((?:`\w+`(?:, )?)+)/g)];
  for (const [, name] of targets.flatMap(([, list]) => [...list.matchAll(/`(\w+)`/g)])) {
    expect(fs.existsSync(path.join(ROOT, 'fuzz', 'fuzz_targets', `${name}.rs`))).toBe(true);
  }
});
