// destroy(), close(), terminate() and an exception inside every kind of callback. Each piece gets a server and
// a client on one context, calls `act()` from its callback, and lists in `log` what must not happen after
// destroy(). What has to follow in all cases is checked once, in `piece`.

const { inChild } = require('../support/child.js');

/** The frame of each test: a context, its journal, and the proof that it ended. */
async function piece(tools) {
  const { uvws, assert, within, until, input, turn } = tools;
  const { Context, WebSocketServer, WebSocket } = uvws;
  const context = new Context();
  const sockets = [];
  const log = [];
  const uncaught = [];
  const counts = new Map();
  let hasActed = false;
  let promise = null;
  // Other ends are no reason not to deliver what has come.
  const note = (text) => input.action === 'destroy' && log.push(text);

  /** Follows a connection: it emits one close, and nothing once destroy() was called but that. */
  const watch = (ws, name) => {
    sockets.push(ws);
    counts.set(name, 0);
    for (const event of ['open', 'message', 'ping', 'pong', 'drain']) {
      ws.on(event, () => {
        if (hasActed) note(`${name} ${event} after destroy()`);
      });
    }
    ws.on('error', () => counts.get(name) > 0 && log.push(`${name} error after close`));
    ws.on('close', () => {
      counts.set(name, counts.get(name) + 1);
      if (context.state === 'running') note(`${name} closed by itself`);
    });
    return ws;
  };

  /** What is done in the callback, each twice. */
  const ACTIONS = {
    destroy() {
      promise = context.destroy();
      assert.equal(context.destroy(), promise);
      assert.ok(['destroying', 'destroyed'].includes(context.state));
      assert.equal(context.wake(), false);
    },
    close() {
      for (const ws of [...sockets, ...sockets]) ws.close();
      // Peers on plain sockets do not answer.
      promise = context.close({ timeout: 100 });
      assert.equal(context.close(), promise);
    },
    terminate() {
      for (const ws of [...sockets, ...sockets]) ws.terminate();
      promise = turn().then(() => context.destroy());
    },
    throw() {
      promise = turn().then(() => context.destroy());
      throw new Error('from inside');
    },
  };
  const act = () => {
    if (hasActed) return note('the callback was called again');
    hasActed = true;
    const before = log.length;
    ACTIONS[input.action]();
    assert.equal(log.length, before);
  };
  process.on('uncaughtException', (error) => uncaught.push(error.message));
  const listen = async (options) => {
    const wss = new WebSocketServer({ port: 0, host: '127.0.0.1', context, ...options });
    counts.set('server', 0);
    wss.on('close', () => counts.set('server', counts.get('server') + 1));
    wss.on('connection', () => hasActed && note('connection after destroy()'));
    if (wss.address() === null) await tools.once(wss, 'listening');
    return wss;
  };
  const connect = (wss, options) => {
    const ws = new WebSocket(`ws://127.0.0.1:${wss.address().port}`, { context, ...options });
    return watch(ws, 'client');
  };

  const others = await require('vm').runInThisContext(`(${input.body})`)({
    ...tools,
    uvws,
    context,
    counts,
    note,
    watch,
    act,
    listen,
    connect,
  });

  let contextCloses = 0;
  context.on('close', () => contextCloses++);
  await until(() => hasActed, 'the callback');
  await within(promise, 'the end of the context');
  await turn();
  await turn();
  for (const peer of others ?? []) await peer.destroy();
  assert.deepEqual(log, []);
  assert.deepEqual(uncaught, input.action === 'throw' ? ['from inside'] : []);
  for (const [name, count] of counts) assert.equal(count, 1, `${name} emits close once`);
  assert.ok(contextCloses <= 1);
  assert.equal(context.state, 'destroyed');
  assert.deepEqual(
    [context.stats().handles, context.stats().connections, context.stats().listeners],
    [0, 0, 0],
  );
}

/** Every piece uses names of its parameter only: its source is sent to the child. */
const PIECES = {
  'a client’s open': async ({ listen, connect, act }) => {
    const wss = await listen();
    connect(wss).on('open', act);
  },

  'a server’s connection': async ({ listen, connect, act, watch }) => {
    const wss = await listen();
    wss.on('connection', (ws) => {
      watch(ws, 'server side');
      act();
    });
    connect(wss);
  },

  'a server’s connection, with messages right behind the request': async ({
    listen,
    act,
    watch,
    rawClient,
    frames,
  }) => {
    const wss = await listen();
    wss.on('connection', (ws) => {
      watch(ws, 'server side');
      act();
    });
    const after = Buffer.concat(Array(50).fill(frames.frame(frames.TEXT, 'early')));
    return [await rawClient(wss.address().port, { after, wait: false })];
  },

  'a message, with 50 more in the same TCP segment': async ({
    listen,
    act,
    watch,
    rawClient,
    frames,
    note,
  }) => {
    const wss = await listen();
    let messages = 0;
    wss.on('connection', (ws) => {
      watch(ws, 'server side');
      ws.on('message', (data) => {
        messages++;
        if (messages > 1) note(`message ${data} after destroy()`);
        if (String(data) !== 'message 0') note(`${data} was the first`);
        act();
      });
    });
    const peer = await rawClient(wss.address().port);
    const texts = Array.from({ length: 51 }, (_, i) => frames.frame(frames.TEXT, `message ${i}`));
    peer.write(Buffer.concat(texts));
    return [peer];
  },

  'a message, with messages of 50 other connections in the same turn': async ({
    listen,
    act,
    watch,
    rawClient,
    frames,
    note,
  }) => {
    const wss = await listen();
    let messages = 0;
    let sides = 0;
    wss.on('connection', (ws) => {
      watch(ws, `server side ${sides++}`);
      ws.on('message', () => {
        messages++;
        if (messages > 1) note('message of another connection after destroy()');
        else act();
      });
    });
    const peers = [];
    for (let i = 0; i < 51; i++) peers.push(await rawClient(wss.address().port));
    for (const peer of peers) peer.send(frames.TEXT, 'x');
    return peers;
  },

  'a message of a client': async ({ listen, connect, act, watch }) => {
    const wss = await listen();
    wss.on('connection', (ws) => {
      watch(ws, 'server side');
      for (let i = 0; i < 10; i++) ws.send('x');
    });
    connect(wss).once('message', act);
  },

  'an onmessage property': async ({ listen, connect, act, watch }) => {
    const wss = await listen();
    wss.on('connection', (ws) => {
      watch(ws, 'server side');
      ws.send('x');
      ws.send('y');
    });
    connect(wss).onmessage = act;
  },

  'a ping': async ({ listen, act, watch, rawClient, frames }) => {
    const wss = await listen();
    wss.on('connection', (ws) => watch(ws, 'server side').once('ping', act));
    const peer = await rawClient(wss.address().port);
    const pings = [frames.frame(frames.PING, 'a'), frames.frame(frames.PING, 'b')];
    peer.write(Buffer.concat([...pings, frames.frame(frames.TEXT, 'c')]));
    return [peer];
  },

  'a pong': async ({ listen, connect, act, watch }) => {
    const wss = await listen();
    wss.on('connection', (ws) => watch(ws, 'server side'));
    const ws = connect(wss);
    ws.on('open', () => ws.ping('x'));
    ws.on('pong', act);
  },

  'a drain': async ({ listen, act, watch, rawClient }) => {
    const wss = await listen();
    const peers = [];
    wss.on('connection', (ws) => {
      watch(ws, 'server side').once('drain', act);
      ws.send(Buffer.alloc(24 * 1024 * 1024));
      setTimeout(() => peers[0].socket.resume(), 50);
    });
    const peer = await rawClient(wss.address().port);
    peer.socket.pause();
    peers.push(peer);
    return peers;
  },

  'a close': async ({ listen, act, watch, rawClient, counts, note }) => {
    const wss = await listen();
    let remaining = 0;
    wss.on('connection', (ws) => {
      if (remaining++ === 0) {
        // Closed before the context is: watch() would call that a fault.
        counts.set('first', 0);
        ws.on('close', (code) => {
          counts.set('first', counts.get('first') + 1);
          if (code !== 1000) note(`closed with ${code}`);
          act();
        });
      } else {
        watch(ws, 'second');
      }
    });
    const peers = [await rawClient(wss.address().port), await rawClient(wss.address().port)];
    peers[0].close(1000);
    return peers;
  },

  'an error of a connection': async ({ listen, act, watch, rawClient }) => {
    const wss = await listen();
    wss.on('connection', (ws) => watch(ws, 'server side').once('error', act));
    const peer = await rawClient(wss.address().port);
    peer.write(Buffer.from([0xff, 0xff]));
    return [peer];
  },

  'an error of a client that cannot connect': async ({ uvws, context, act, counts, freePort }) => {
    const ws = new uvws.WebSocket(`ws://127.0.0.1:${await freePort()}`, { context });
    counts.set('client', 0);
    ws.on('error', act);
    ws.on('close', () => counts.set('client', counts.get('client') + 1));
  },

  'an error of a server': async ({ uvws, context, listen, act }) => {
    const first = await listen();
    const second = new uvws.WebSocketServer({
      port: first.address().port,
      host: '127.0.0.1',
      context,
    });
    second.on('error', act);
  },

  'a listening': async ({ uvws, context, counts, act }) => {
    const wss = new uvws.WebSocketServer({ port: 0, host: '127.0.0.1', context });
    counts.set('server', 0);
    wss.on('close', () => counts.set('server', counts.get('server') + 1));
    wss.on('listening', act);
  },

  'the callback of a server': async ({ uvws, context, counts, act }) => {
    counts.set('server', 0);
    const options = { port: 0, host: '127.0.0.1', context };
    new uvws.WebSocketServer(options, act).on('close', () =>
      counts.set('server', counts.get('server') + 1),
    );
  },

  'a verifyClient': async ({ listen, rawClient, act }) => {
    const wss = await listen({
      verifyClient: () => {
        act();
        return true;
      },
    });
    return [await rawClient(wss.address().port, { wait: false })];
  },

  'a verifyClient that answers after an await': async ({ listen, connect, act, turn }) => {
    const wss = await listen({
      verifyClient: async (info, answer) => {
        await turn();
        act();
        answer(true);
        await turn();
        answer(true);
      },
    });
    connect(wss).on('error', () => {});
  },

  'a verifyClient that answers after the end': async ({ listen, context, connect, act, turn }) => {
    const wss = await listen({
      verifyClient: async (info, answer) => {
        await turn();
        act();
        await context.closed;
        answer(false, 403);
      },
    });
    connect(wss).on('error', () => {});
  },

  'a handleProtocols': async ({ listen, rawClient, act }) => {
    const wss = await listen({
      handleProtocols: () => {
        act();
        return 'a';
      },
    });
    const lines = ['Sec-WebSocket-Protocol: a'];
    return [await rawClient(wss.address().port, { lines, wait: false })];
  },

  'a headers': async ({ listen, rawClient, act }) => {
    const wss = await listen();
    wss.on('headers', act);
    return [await rawClient(wss.address().port, { wait: false })];
  },

  'an upgrade of a client': async ({ listen, connect, act, watch }) => {
    const wss = await listen();
    wss.on('connection', (ws) => watch(ws, 'server side'));
    connect(wss).on('upgrade', act);
  },

  'a waitCancelled': async ({ context, act, assert }) => {
    context.on('waitCancelled', act);
    assert.equal(context.wake(), true);
    assert.equal(context.cancelService(), true);
  },

  'a nextTick that a handler queued': async ({ listen, connect, act, watch }) => {
    const wss = await listen();
    wss.on('connection', (ws) => {
      watch(ws, 'server side');
      ws.once('message', () => process.nextTick(act));
    });
    const ws = connect(wss);
    ws.on('open', () => ws.send('x'));
  },

  'a microtask that a handler queued': async ({ listen, connect, act, watch }) => {
    const wss = await listen();
    wss.on('connection', (ws) => {
      watch(ws, 'server side');
      ws.once('message', () => queueMicrotask(act));
    });
    const ws = connect(wss);
    ws.on('open', () => ws.send('x'));
  },

  'the callback of a send': async ({ listen, connect, act, watch }) => {
    const wss = await listen();
    wss.on('connection', (ws) => watch(ws, 'server side'));
    const ws = connect(wss);
    ws.on('open', () => ws.send('x', () => act()));
  },

  'the callback of a send that is too late': async ({ listen, connect, act, watch }) => {
    const wss = await listen();
    wss.on('connection', (ws) => watch(ws, 'server side'));
    const ws = connect(wss);
    ws.on('open', () => {
      ws.close();
      ws.send('x', () => act());
    });
  },

  'a draining': async ({ listen, connect, context, act, watch }) => {
    const wss = await listen();
    wss.on('connection', (ws) => {
      watch(ws, 'server side');
      context.on('draining', act);
      context.drain();
    });
    connect(wss);
  },

  'a timer of Node, with nothing active': async ({ context, act }) => {
    setTimeout(act, 20);
    context.data = 'unused';
  },

  'a setImmediate': async ({ listen, act }) => {
    await listen();
    setImmediate(act);
  },

  'a listener of an AbortSignal that ends a client': async ({ listen, connect, act }) => {
    const wss = await listen({ verifyClient: (_info, _answer) => {} });
    const controller = new AbortController();
    const ws = connect(wss, { signal: controller.signal });
    ws.on('error', () => {});
    controller.signal.addEventListener('abort', act);
    setTimeout(() => controller.abort(), 20);
  },
};

const NAMES = Object.keys(PIECES);

test.each(NAMES)('destroy() can be called from inside %s', (name) =>
  inChild(piece, { input: { body: String(PIECES[name]), action: 'destroy' } }),
);

describe.each(['close', 'terminate', 'throw'])('%s', (action) => {
  test.each(NAMES)('inside %s', (name) =>
    inChild(piece, { input: { body: String(PIECES[name]), action } }),
  );
});

test('destroy() in the close event of a context, of a server and of a connection changes nothing', () =>
  inChild(async ({ uvws, assert, once }) => {
    const context = new uvws.Context();
    const wss = new uvws.WebSocketServer({ port: 0, host: '127.0.0.1', context });
    await once(wss, 'listening');
    const ws = new uvws.WebSocket(`ws://127.0.0.1:${wss.address().port}`, { context });
    await once(ws, 'open');
    const order = [];
    for (const [name, emitter] of Object.entries({ ws, wss, context })) {
      emitter.on('close', () => {
        order.push(name);
        assert.equal(context.destroy(), context.closed);
        ws.terminate();
        ws.close();
        // A server that is closed again emits 'close' again, as in ws.
        if (name !== 'wss') wss.close();
      });
    }
    await context.destroy();
    await new Promise(setImmediate);
    assert.deepEqual(order.slice(0, 3), ['ws', 'wss', 'context']);
    assert.equal(order.filter((name) => name === 'context').length, 1);
    assert.equal(order.filter((name) => name === 'ws').length, 1);
  }));

test('the end of a context comes in one order: connections, servers, the context, the promise', () =>
  inChild(async ({ uvws, assert, once }) => {
    const context = new uvws.Context();
    const order = [];
    const servers = [];
    for (let i = 0; i < 2; i++) {
      const wss = new uvws.WebSocketServer({ port: 0, host: '127.0.0.1', context });
      wss.on('connection', (ws) => ws.on('close', () => order.push('connection')));
      wss.on('close', () => order.push('server'));
      await once(wss, 'listening');
      servers.push(wss);
    }
    for (const wss of servers) {
      const ws = new uvws.WebSocket(`ws://127.0.0.1:${wss.address().port}`, { context });
      ws.on('close', () => order.push('connection'));
      await Promise.all([once(ws, 'open'), once(wss, 'connection')]);
    }
    context.on('close', () => order.push('context'));
    context.closed.then(() => order.push('promise'));
    await context.destroy();
    assert.deepEqual(order, [
      ...Array(4).fill('connection'),
      'server',
      'server',
      'context',
      'promise',
    ]);
  }));
