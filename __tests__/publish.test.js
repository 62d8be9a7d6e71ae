// Messages to many connections: topics, publish() and broadcast(). ws has neither.

const { once } = require('node:events');
const http2 = require('node:http2');
const zlib = require('node:zlib');

const {
  closing,
  collect,
  defer,
  dial,
  open,
  pair,
  rawClient,
  rawPair,
  serve,
  testOurs,
  thrownBy,
} = require('./support/fixtures.js');
const frames = require('./support/frames.js');
const { makeCertificate } = require('./support/certificate.js');
const { turn, until } = require('./support/tools.js');
const uvws = require('./support/uvws.js');

const { Context, WebSocket, WebSocketServer } = uvws;
const MIB = 1024 * 1024;

const describeOurs = Context === undefined ? describe.skip : describe;

/** A server and `count` connections of it; both ends are in the order in which they were opened. */
async function group(count, serverOptions, clientOptions) {
  const { wss, url, port } = await serve(serverOptions);
  const servers = [];
  wss.on('connection', (ws) => {
    ws.on('error', () => {});
    servers.push(ws);
  });
  const clients = [];
  for (let i = 0; i < count; i++) clients.push(await open(url, clientOptions));
  await until(() => servers.length === count);
  return { wss, url, port, servers, clients, inboxes: clients.map(collect) };
}

/** Publishes until the queue of `server` cannot be written any further by the system. */
function fill(server, amount = 16 * MIB) {
  server.send(Buffer.alloc(amount));
  return server.bufferedAmount;
}

/** The frames of `peer` that are no fill(): whole, and short. */
function shortFrames(peer) {
  return peer.frames.filter(({ payload }) => payload.length < MIB).map((frame) => frame.payload);
}

describeOurs('topics', () => {
  test('are subscribed to, listed and left', async () => {
    const { wss, server } = await pair();
    expect(server.getTopics()).toEqual([]);
    expect(server.isSubscribed('a')).toBe(false);
    expect(server.unsubscribe('a')).toBe(false);
    expect(wss.numSubscribers('a')).toBe(0);

    expect(server.subscribe('a')).toBe(true);
    expect(server.subscribe('a')).toBe(true);
    expect(server.subscribe('')).toBe(true);
    expect(server.subscribe('__proto__')).toBe(true);
    expect(server.getTopics()).toEqual(['a', '', '__proto__']);
    expect(server.isSubscribed('__proto__')).toBe(true);
    expect(server.isSubscribed('A')).toBe(false);
    expect(wss.numSubscribers('a')).toBe(1);

    expect(server.unsubscribe('a')).toBe(true);
    expect(server.unsubscribe('a')).toBe(false);
    expect(server.isSubscribed('a')).toBe(false);
    expect(wss.numSubscribers('a')).toBe(0);
    expect(server.getTopics()).toEqual(['', '__proto__']);
  });

  test('are exact: nothing in them is a wildcard', async () => {
    const { wss, servers, inboxes } = await group(2);
    servers[0].subscribe('a/+');
    servers[1].subscribe('a/b');
    expect(wss.publish('a/#', 'nobody')).toBe(0);
    expect(wss.publish('a/+', 'first')).toBe(1);
    expect(wss.publish('a/b', 'second')).toBe(1);
    await until(() => inboxes.every((messages) => messages.length === 1));
    expect(inboxes).toEqual([['first'], ['second']]);
  });

  test('belong to a server', async () => {
    const [one, other] = [await pair(), await pair()];
    const [messages, others] = [collect(one.client), collect(other.client)];
    one.server.subscribe('topic');
    other.server.subscribe('topic');
    expect(one.wss.publish('topic', 'one')).toBe(1);
    expect(other.server.publish('topic', 'nobody else')).toBe(0);
    expect(other.wss.publish('topic', 'other')).toBe(1);
    await until(() => messages.length === 1 && others.length === 1);
    expect([messages, others]).toEqual([['one'], ['other']]);
  });

  test.each(['close', 'terminate'])('are left at once by %s()', async (end) => {
    const { wss, servers } = await group(3);
    for (const server of servers) {
      server.subscribe('a');
      server.subscribe('b');
    }
    const closed = closing(servers[0]);
    servers[0][end]();
    expect(wss.numSubscribers('a')).toBe(2);
    expect(servers[0].getTopics()).toEqual([]);
    expect(servers[0].isSubscribed('a')).toBe(false);
    expect(servers[0].subscribe('a')).toBe(false);
    expect(wss.publish('a', 'to two')).toBe(2);
    await closed;
    expect(servers[0].subscribe('a')).toBe(false);
    expect(wss.numSubscribers('a')).toBe(2);
  });

  test('are left when the peer goes away, before close is emitted', async () => {
    const { wss, server, peer } = await rawPair();
    server.on('error', () => {});
    server.subscribe('topic');
    const atClose = new Promise((resolve) => {
      server.on('close', () => resolve([wss.numSubscribers('topic'), server.getTopics()]));
    });
    await peer.destroy();
    expect(await atClose).toEqual([0, []]);
  });

  test('are left when the peer breaks the protocol', async () => {
    const { wss, server, peer } = await rawPair();
    server.subscribe('topic');
    const failed = once(server, 'error');
    peer.send(3, 'an unknown opcode');
    await failed;
    expect(wss.numSubscribers('topic')).toBe(0);
  });

  test('survive any order of joining and leaving', async () => {
    const { wss, servers, inboxes } = await group(8);
    const topics = ['a', 'b', 'c'];
    const expected = servers.map(() => new Set());
    let state = 7;
    const random = (limit) => {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      return (state >>> 16) % limit;
    };
    for (let i = 0; i < 500; i++) {
      const who = random(servers.length);
      const topic = topics[random(topics.length)];
      if (random(2) === 0) {
        servers[who].subscribe(topic);
        expected[who].add(topic);
      } else {
        expect(servers[who].unsubscribe(topic)).toBe(expected[who].delete(topic));
      }
    }
    for (const topic of topics) {
      const count = expected.filter((set) => set.has(topic)).length;
      expect(wss.numSubscribers(topic)).toBe(count);
      expect(wss.publish(topic, topic)).toBe(count);
    }
    wss.broadcast('end');
    await until(() => inboxes.every((messages) => messages.at(-1) === 'end'));
    expect(inboxes).toEqual(
      expected.map((set) => [...topics.filter((topic) => set.has(topic)), 'end']),
    );
  });

  test('are not for clients', async () => {
    const { client } = await pair();
    for (const method of ['subscribe', 'publish']) {
      const error = thrownBy(() => client[method]('topic', 'data'));
      expect(error.message).toBe(
        `${method}() is for the connections of a WebSocketServer, not for clients`,
      );
    }
    expect(client.isSubscribed('topic')).toBe(false);
    expect(client.unsubscribe('topic')).toBe(false);
    expect(client.getTopics()).toEqual([]);
  });
});

describeOurs('publish()', () => {
  test('of a server goes to all subscribers, that of a connection to all others', async () => {
    const { wss, servers, inboxes } = await group(3);
    servers[0].subscribe('topic');
    servers[1].subscribe('topic');
    expect(wss.publish('topic', 'from the server')).toBe(2);
    expect(servers[0].publish('topic', 'from the first')).toBe(1);
    expect(servers[2].publish('topic', 'from one that has not subscribed')).toBe(2);
    expect(wss.broadcast('end')).toBe(3);
    await until(() => inboxes.every((messages) => messages.at(-1) === 'end'));
    expect(inboxes).toEqual([
      ['from the server', 'from one that has not subscribed', 'end'],
      ['from the server', 'from the first', 'from one that has not subscribed', 'end'],
      ['end'],
    ]);
  });

  test('may be called in the close handler of a connection', async () => {
    const { servers, inboxes } = await group(2);
    for (const server of servers) server.subscribe('topic');
    servers[0].on('close', () => servers[0].publish('topic', 'it has gone'));
    servers[0].terminate();
    await until(() => inboxes[1].length === 1);
    expect(inboxes[1]).toEqual(['it has gone']);
  });

  test('sends text and binary, of every kind of data and every size', async () => {
    const { wss, client, server } = await pair();
    const messages = [];
    client.on('message', (data, isBinary) => messages.push({ data, isBinary }));
    server.subscribe('topic');
    const bytes = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
    const shared = new SharedArrayBuffer(4);
    new Uint8Array(shared).set([9, 8, 7, 6]);
    const sent = [
      ['text äöü 🎉', false],
      ['', false],
      [Buffer.alloc(0), true],
      [Buffer.from(bytes), true],
      [bytes.subarray(2, 5), true],
      [bytes.buffer, true],
      [new DataView(bytes.buffer, 1, 3), true],
      [new Uint16Array(bytes.buffer), true],
      [shared, true],
      ...[125, 126, 16_383, 16_384, 65_535, 65_536, 3 * MIB].map((size) => [
        Buffer.alloc(size, size),
        true,
      ]),
      ['x'.repeat(70_000), false],
    ];
    for (const [data] of sent) expect(wss.publish('topic', data)).toBe(1);
    expect(wss.publish('topic', 'as binary', { binary: true })).toBe(1);
    expect(wss.publish('topic', Buffer.from('as text'), { binary: false })).toBe(1);
    await until(() => messages.length === sent.length + 2);
    const toBuffer = (data) =>
      ArrayBuffer.isView(data)
        ? Buffer.from(data.buffer, data.byteOffset, data.byteLength)
        : Buffer.from(data);
    sent.forEach(([data, isBinary], index) => {
      expect(messages[index].isBinary).toBe(isBinary);
      expect(messages[index].data.equals(toBuffer(data))).toBe(true);
    });
    expect(messages.slice(-2)).toEqual([
      { data: Buffer.from('as binary'), isBinary: true },
      { data: Buffer.from('as text'), isBinary: false },
    ]);
  });

  test('has taken the data when it returns: its memory may be reused', async () => {
    const { wss, inboxes, servers } = await group(2);
    for (const server of servers) server.subscribe('topic');
    const data = Buffer.from('before');
    wss.publish('topic', data);
    data.write('after!');
    wss.publish('topic', data);
    await until(() => inboxes.every((messages) => messages.length === 2));
    for (const messages of inboxes) expect(messages.map(String)).toEqual(['before', 'after!']);
  });

  test('throws at once for anything else, and sends nothing', async () => {
    const { wss, client, server } = await pair();
    const messages = collect(client);
    server.subscribe('1');
    const wrongTopics = [1, undefined, null, Buffer.from('1'), Symbol('1'), {}];
    for (const topic of wrongTopics) {
      const calls = [
        () => server.subscribe(topic),
        () => server.unsubscribe(topic),
        () => server.isSubscribed(topic),
        () => server.publish(topic, 'data'),
        () => wss.publish(topic, 'data'),
        () => wss.numSubscribers(topic),
      ];
      for (const call of calls) {
        const { name, message } = thrownBy(call);
        expect([name, message]).toEqual([
          'TypeError',
          expect.stringMatching(/^"topic" must be a string, received /),
        ]);
      }
    }
    for (const data of [1, undefined, null, {}, [1], new Blob(['x']), Symbol('x')]) {
      for (const call of [() => wss.publish('1', data), () => wss.broadcast(data)]) {
        const { name, message } = thrownBy(call);
        expect([name, message]).toEqual([
          'TypeError',
          expect.stringMatching(/^"data" must be a string, a Buffer, an ArrayBuffer or a view/),
        ]);
      }
    }
    for (const [options, kind, text] of [
      [null, 'TypeError', '"options" must be an object, received null'],
      [() => {}, 'TypeError', '"options" must be an object'],
      [{ binary: 1 }, 'TypeError', '"options.binary" must be a boolean, received 1'],
      [{ compress: 'no' }, 'TypeError', '"options.compress" must be a boolean'],
      [{ maxBackpressure: '1' }, 'TypeError', '"options.maxBackpressure" must be a number'],
      [{ maxBackpressure: -1 }, 'RangeError', '"options.maxBackpressure" must be a number of 0'],
      [{ maxBackpressure: NaN }, 'RangeError', '"options.maxBackpressure" must be a number of 0'],
      [{ overflow: 'wait' }, 'TypeError', `"options.overflow" must be 'drop' or 'close'`],
    ]) {
      for (const call of [
        () => wss.publish('1', 'data', options),
        () => wss.publish('nobody', 'data', options),
        () => server.publish('1', 'data', options),
        () => wss.broadcast('data', options),
      ]) {
        const { name, message } = thrownBy(call);
        expect([name, message]).toEqual([kind, expect.stringContaining(text)]);
      }
    }
    server.send('end');
    await until(() => messages.length === 1);
    expect(messages).toEqual(['end']);
  });

  test('counts a message for each receiver', async () => {
    const { wss, servers, inboxes } = await group(3);
    const before = Context.default.stats().messagesSent;
    for (const server of servers) server.subscribe('topic');
    wss.publish('topic', 'one');
    expect(Context.default.stats().messagesSent - before).toBe(3);
    await until(() => inboxes.every((messages) => messages.length === 1));
  });
});

describeOurs('broadcast()', () => {
  test('goes to all clients of the server, and to nobody else', async () => {
    const { wss, servers, inboxes } = await group(3);
    const other = await pair();
    const others = collect(other.client);
    servers[1].close();
    expect(wss.broadcast(Buffer.from('to two'))).toBe(2);
    other.server.send('end');
    await until(() => others.length === 1 && inboxes[0].length === 1 && inboxes[2].length === 1);
    expect(others).toEqual(['end']);
    expect(inboxes[1]).toEqual([]);
  });

  test('is 0 without clients, and throws where they are not known', async () => {
    const { wss } = await serve();
    expect(wss.broadcast('nobody')).toBe(0);
    const untracked = await pair({ clientTracking: false });
    expect(thrownBy(() => untracked.wss.broadcast('x')).message).toBe(
      'broadcast() needs the option "clientTracking"',
    );
    // Topics do not need it.
    const messages = collect(untracked.client);
    untracked.server.subscribe('topic');
    expect(untracked.wss.publish('topic', 'x')).toBe(1);
    await until(() => messages.length === 1);
  });

  test('reaches thousands, each of which gets everything once and in order', async () => {
    const { wss, url } = await serve({ backlog: 1024 });
    const count = 2000;
    const clients = [];
    for (let i = 0; i < count; i += 100) {
      const some = Array.from({ length: 100 }, () => dial(url));
      await Promise.all(some.map((client) => once(client, 'open')));
      clients.push(...some);
    }
    await until(() => wss.clients.size === count);
    const inboxes = clients.map(collect);
    [...wss.clients].forEach((ws, index) => ws.subscribe(index % 2 === 0 ? 'even' : 'odd'));
    for (let i = 0; i < 10; i++) {
      expect(wss.broadcast(`all ${i}`)).toBe(count);
      expect(wss.publish('even', `even ${i}`)).toBe(count / 2);
    }
    expect(wss.broadcast('end')).toBe(count);
    await until(() => inboxes.every((messages) => messages.at(-1) === 'end'), 'the end', 30_000);
    const all = Array.from({ length: 10 }, (_, i) => `all ${i}`);
    const both = all.flatMap((text, i) => [text, `even ${i}`]);
    const isEven = inboxes.filter((messages) => messages.length === 21);
    expect(isEven).toHaveLength(count / 2);
    for (const messages of inboxes) {
      expect(messages).toEqual([...(messages.length === 21 ? both : all), 'end']);
    }
  });
});

describeOurs('the order of what a connection is sent', () => {
  test('is that of the calls, whatever sends', async () => {
    const { wss, servers, inboxes } = await group(4);
    servers[0].subscribe('a');
    servers[1].subscribe('a');
    servers[1].subscribe('b');
    servers[2].subscribe('b');
    const expected = servers.map(() => []);
    let state = 3;
    const random = (limit) => {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      return (state >>> 16) % limit;
    };
    const sizes = [3, 100, 1000, 20_000, 70_000];
    for (let i = 0; i < 600; i++) {
      const text = `${i} `.padEnd(sizes[random(random(4) === 0 ? 5 : 3)], '.');
      const who = random(4);
      switch (random(5)) {
        case 0:
          wss.publish('a', text);
          expected[0].push(text);
          expected[1].push(text);
          break;
        case 1:
          servers[1].publish('b', Buffer.from(text), { binary: false });
          expected[2].push(text);
          break;
        case 2:
          wss.broadcast(text);
          for (const list of expected) list.push(text);
          break;
        case 3:
          servers[who].send(text);
          expected[who].push(text);
          break;
        default: {
          const choice = random(10);
          if (choice === 0) await turn();
          else if (choice === 1) expect(servers[who].bufferedAmount).toBeGreaterThanOrEqual(0);
        }
      }
    }
    wss.broadcast('end');
    await until(() => inboxes.every((messages) => messages.at(-1) === 'end'), 'the end');
    inboxes.forEach((messages, index) => expect(messages).toEqual([...expected[index], 'end']));
  });

  test('holds for callbacks, a Close frame and ping()', async () => {
    const { wss, server, client } = await pair();
    const events = [];
    client.on('message', (data) => events.push(String(data)));
    client.on('ping', (data) => events.push(`ping ${data}`));
    const closed = closing(client);
    const sent = new Promise((resolve, reject) => {
      wss.broadcast('one');
      server.send('two', (error) => (error ? reject(error) : resolve()));
    });
    server.ping('three');
    wss.broadcast('four');
    server.close(1000, 'five');
    expect(wss.broadcast('too late')).toBe(0);
    await sent;
    expect(await closed).toEqual({ code: 1000, reason: 'five' });
    expect(events).toEqual(['one', 'two', 'ping three', 'four']);
  });

  test('holds behind a Blob that is being read', async () => {
    const { wss, servers, inboxes } = await group(2);
    servers[0].send(new Blob(['blob']), { binary: false });
    expect(wss.broadcast('second')).toBe(2);
    servers[0].send('third');
    expect(servers[0].bufferedAmount).toBe(4 + 6 + 5);
    expect(wss.broadcast('fourth')).toBe(2);
    await until(() => inboxes[0].length === 4 && inboxes[1].length === 2);
    expect(inboxes).toEqual([
      ['blob', 'second', 'third', 'fourth'],
      ['second', 'fourth'],
    ]);
    expect(wss.broadcast('fifth')).toBe(2);
    await until(() => inboxes.every((messages) => messages.at(-1) === 'fifth'));
  });

  test('leaves out the sender also while others wait for a Blob', async () => {
    const { servers, inboxes } = await group(3);
    for (const server of servers) server.subscribe('topic');
    for (const server of servers) server.send(new Blob(['blob']), { binary: false });
    expect(servers[0].publish('topic', 'to two')).toBe(2);
    for (const server of servers) server.send('end');
    await until(() => inboxes.every((messages) => messages.at(-1) === 'end'));
    expect(inboxes).toEqual([
      ['blob', 'end'],
      ['blob', 'to two', 'end'],
      ['blob', 'to two', 'end'],
    ]);
  });

  test('never mixes the fragments of two messages', async () => {
    const { wss, peer, server } = await rawPair();
    const large = Buffer.alloc(40_000, 'l');
    server.send('frag', { fin: false });
    expect(wss.broadcast('small')).toBe(1);
    expect(wss.broadcast(large)).toBe(1);
    server.ping('a control frame may');
    server.send('men', { fin: false });
    expect(wss.broadcast('small again')).toBe(1);
    await turn();
    await peer.when(({ frames: list }) => list.length === 3);
    expect(server.bufferedAmount).toBe(7 + 40_004 + 13);
    const sent = new Promise((resolve) => server.send('ted', { fin: true }, resolve));
    server.send('behind them');
    await sent;
    await peer.when(({ frames: list }) => list.length === 8);
    expect(server.bufferedAmount).toBe(0);
    expect(peer.frames.map(({ opcode, fin, payload }) => [opcode, fin, String(payload)])).toEqual([
      [frames.TEXT, false, 'frag'],
      [frames.PING, true, 'a control frame may'],
      [frames.CONTINUATION, false, 'men'],
      [frames.CONTINUATION, true, 'ted'],
      [frames.TEXT, true, 'small'],
      [frames.BINARY, true, String(large)],
      [frames.TEXT, true, 'small again'],
      [frames.TEXT, true, 'behind them'],
    ]);
  });

  test('holds for what waits for the end of a fragmented message: it counts as unsent', async () => {
    const { wss, peer, server } = await rawPair();
    server.send('frag', { fin: false });
    const options = { maxBackpressure: 10 };
    expect(wss.broadcast('123456789', options)).toBe(1);
    expect(wss.broadcast('too much', options)).toBe(0);
    server.send('ment');
    await peer.when(({ frames: list }) => list.length === 3);
    expect(peer.frames.map(({ payload }) => String(payload))).toEqual([
      'frag',
      'ment',
      '123456789',
    ]);
    expect(wss.broadcast('goes again', options)).toBe(1);
    await peer.when(({ frames: list }) => list.length === 4);
  });
});

describeOurs('a receiver that is too slow', () => {
  test('misses the message, and gets later ones when it has caught up', async () => {
    const { wss, peer, server } = await rawPair();
    const fast = await open(`ws://127.0.0.1:${wss.address().port}`);
    const messages = collect(fast);
    const before = Context.default.stats().messagesDropped;
    const options = { maxBackpressure: MIB };
    peer.socket.pause();
    expect(fill(server)).toBeGreaterThan(MIB);
    expect(wss.broadcast('dropped', options)).toBe(1);
    expect(wss.broadcast('dropped, too')).toBe(1);
    expect(wss.broadcast('queued', { maxBackpressure: Infinity })).toBe(2);
    expect(Context.default.stats().messagesDropped - before).toBe(2);
    peer.socket.resume();
    await until(() => server.bufferedAmount === 0, 'an empty queue');
    expect(wss.broadcast('caught up', { maxBackpressure: 0 })).toBe(2);
    await peer.when(() => shortFrames(peer).length === 2);
    expect(shortFrames(peer).map(String)).toEqual(['queued', 'caught up']);
    await until(() => messages.length === 4);
    expect(messages).toEqual(['dropped', 'dropped, too', 'queued', 'caught up']);
  });

  test('is what it is at the time: what is corked does not count', async () => {
    const { wss, client } = await pair();
    const messages = collect(client);
    const options = { maxBackpressure: 0 };
    for (let i = 0; i < 100; i++) expect(wss.broadcast(`message ${i}`, options)).toBe(1);
    await until(() => messages.length === 100);
  });

  test('is terminated with overflow: close, and nobody else is', async () => {
    const { wss, peer, server } = await rawPair();
    const fast = await open(`ws://127.0.0.1:${wss.address().port}`);
    const messages = collect(fast);
    const before = Context.default.stats().messagesDropped;
    peer.socket.pause();
    fill(server);
    const closed = closing(server);
    expect(wss.broadcast('to the fast', { overflow: 'close' })).toBe(1);
    expect(await closed).toEqual({ code: 1006, reason: '' });
    expect(Context.default.stats().messagesDropped - before).toBe(1);
    expect(wss.broadcast('to the fast', { overflow: 'close' })).toBe(1);
    await until(() => messages.length === 2);
  });

  test('gets large and small messages in order, and drain behind them', async () => {
    const { wss, peer, server } = await rawPair();
    const drained = once(server, 'drain');
    const options = { maxBackpressure: Infinity };
    const expected = [];
    const send = (text, isPublished = true) => {
      expected.push(text);
      if (isPublished) wss.broadcast(text, options);
      else server.send(text);
    };
    peer.socket.pause();
    fill(server);
    for (let i = 0; i < 60; i++) {
      send(`small ${i}`);
      send(`large ${i} `.padEnd(20_000 + 1000 * i, '.'));
      send(`own ${i}`, false);
      if (i % 3 === 0) send(`large again ${i} `.padEnd(30_000, '.'));
      if (i % 20 === 0) await turn();
    }
    const bytes = expected.reduce((sum, text) => sum + text.length, 0);
    expect(server.bufferedAmount).toBeGreaterThan(bytes);
    expect(Context.default.stats().bytesBuffered).toBeGreaterThan(bytes);
    peer.socket.resume();
    await drained;
    expect(server.bufferedAmount).toBe(0);
    await peer.when(() => shortFrames(peer).length === expected.length);
    expect(shortFrames(peer).map(String)).toEqual(expected);
  });

  test('shares a large message with the others that wait for it', async () => {
    const { wss, port } = await serve();
    const peers = [];
    for (let i = 0; i < 20; i++) peers.push(await rawClient(port));
    await until(() => wss.clients.size === peers.length);
    for (const { socket } of peers) socket.pause();
    for (const server of wss.clients) fill(server, 8 * MIB);
    const before = process.memoryUsage().rss;
    expect(wss.broadcast(Buffer.alloc(16 * MIB, 1), { maxBackpressure: Infinity })).toBe(20);
    // One copy, not twenty.
    expect(process.memoryUsage().rss - before).toBeLessThan(100 * MIB);
    const [first] = peers;
    first.socket.resume();
    await first.when(({ frames: list }) => list.length === 2);
    expect(first.frames[1].payload.equals(Buffer.alloc(16 * MIB, 1))).toBe(true);
  });

  test('may be closed, dropped or destroyed with everything that waits for it', async () => {
    const context = new Context();
    defer(() => context.destroy());
    const { wss, port } = await serve({ context });
    const peers = [];
    for (let i = 0; i < 3; i++) peers.push(await rawClient(port));
    await until(() => wss.clients.size === 3);
    const servers = [...wss.clients];
    const ends = servers.map(closing);
    for (const { socket } of peers) socket.pause();
    for (const server of servers) fill(server);
    wss.broadcast(Buffer.alloc(MIB), { maxBackpressure: Infinity });
    wss.broadcast('small', { maxBackpressure: Infinity });
    servers[0].terminate();
    await peers[1].destroy();
    await context.destroy();
    expect(await Promise.all(ends)).toEqual(ends.map(() => ({ code: 1006, reason: '' })));
    expect(wss.broadcast('nobody')).toBe(0);
  });
});

describeOurs('compression', () => {
  const json = JSON.stringify(Array.from({ length: 40 }, (_, id) => ({ id, name: `name ${id}` })));
  const threshold = 100;

  /** The frames that a raw client gets that has agreed on `extension`. */
  async function agree(port, extension) {
    return rawClient(port, { lines: [`Sec-WebSocket-Extensions: ${extension}`] });
  }

  test('is done once for all who have the same setting, and not for the others', async () => {
    const { wss, port } = await serve({ perMessageDeflate: { threshold } });
    const peers = [
      await agree(port, 'permessage-deflate; server_no_context_takeover'),
      await agree(port, 'permessage-deflate; server_no_context_takeover'),
      await agree(port, 'permessage-deflate; server_no_context_takeover; server_max_window_bits=9'),
      await agree(port, 'permessage-deflate'),
      await rawClient(port),
    ];
    await until(() => wss.clients.size === peers.length);
    expect(wss.broadcast(json)).toBe(peers.length);
    expect(wss.broadcast('short')).toBe(peers.length);
    expect(wss.broadcast(json, { compress: false })).toBe(peers.length);
    for (const peer of peers) await peer.when(({ frames: list }) => list.length === 3);
    const inflate = ({ payload }) =>
      String(
        zlib.inflateRawSync(Buffer.concat([payload, Buffer.from([0, 0, 255, 255])]), {
          finishFlush: zlib.constants.Z_SYNC_FLUSH,
        }),
      );
    for (const peer of peers.slice(0, 4)) {
      expect(peer.frames[0].rsv).toBe(4);
      expect(peer.frames[0].payload.length).toBeLessThan(json.length / 2);
      expect(inflate(peer.frames[0])).toBe(json);
    }
    expect(peers[0].frames[0].payload.equals(peers[1].frames[0].payload)).toBe(true);
    expect(peers[4].frames[0].rsv).toBe(0);
    expect(String(peers[4].frames[0].payload)).toBe(json);
    for (const peer of peers) {
      expect(peer.frames.slice(1).map(({ rsv, payload }) => [rsv, String(payload)])).toEqual([
        [0, 'short'],
        [0, json],
      ]);
    }
  });

  test.each([true, false])(
    'mixes with what is sent to one connection, with context takeover: %s',
    async (takesOver) => {
      const perMessageDeflate = { threshold, serverNoContextTakeover: !takesOver };
      const { wss, servers, inboxes } = await group(
        3,
        { perMessageDeflate },
        { perMessageDeflate: true },
      );
      expect(servers[0].extensions).toBe('permessage-deflate');
      const expected = servers.map(() => []);
      for (let i = 0; i < 60; i++) {
        const text = `${i} ${json.slice(0, 200 + 17 * i)}`;
        if (i % 3 === 0) {
          wss.broadcast(text);
          for (const list of expected) list.push(text);
        } else if (i % 7 === 0) {
          wss.broadcast(text, { compress: false });
          for (const list of expected) list.push(text);
        } else {
          servers[i % 2].send(text);
          expected[i % 2].push(text);
        }
        if (i % 10 === 0) await turn();
      }
      // Amid a compressed message, whose compressor is in use.
      servers[0].send(json, { fin: false });
      wss.broadcast(json);
      servers[0].send(json);
      servers[0].send('again');
      expected[0].push(json + json, json, 'again');
      for (const list of expected.slice(1)) list.push(json);
      await until(() => inboxes.every((list, i) => list.length === expected[i].length));
      expect(inboxes).toEqual(expected);
    },
  );

  test('of large messages is shared as well', async () => {
    const { wss, inboxes } = await group(
      3,
      { perMessageDeflate: true },
      { perMessageDeflate: true },
    );
    let state = 1;
    const letter = () => {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      return 'abcdefgh'[state >>> 29];
    };
    const text = Array.from({ length: 200_000 }, letter).join('');
    const before = Context.default.stats().bytesSent;
    expect(wss.broadcast(text)).toBe(3);
    await until(() => inboxes.every((messages) => messages.length === 1));
    for (const [message] of inboxes) expect(message === text).toBe(true);
    const wire = Context.default.stats().bytesSent - before;
    expect(wire).toBeGreaterThan(3 * 20_000);
    expect(wire).toBeLessThan(3 * 150_000);
  });
});

describeOurs('connections that a stream carries', () => {
  /** A server over TLS and over HTTP/2, with a client of each kind. */
  async function mixed() {
    const certificate = makeCertificate();
    const server = http2.createSecureServer({ ...certificate, allowHTTP1: true });
    const wss = new WebSocketServer({ server });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address();
    const overTls = dial(`wss://localhost:${port}`, { ca: certificate.cert, family: 4 });
    await once(overTls, 'open');
    const session = http2.connect(`https://localhost:${port}`, {
      ca: certificate.cert,
      lookup: (_name, _options, callback) => callback(null, [{ address: '127.0.0.1', family: 4 }]),
    });
    await once(session, 'remoteSettings');
    const stream = session.request({
      ':method': 'CONNECT',
      ':protocol': 'websocket',
      ':path': '/',
      'sec-websocket-version': '13',
    });
    await once(stream, 'response');
    defer(async () => {
      for (const socket of wss.clients) socket.terminate();
      wss.close();
      session.destroy();
      await new Promise((resolve) => server.close(resolve));
    });
    const overHttp2 = new WebSocket(null, undefined, {});
    overHttp2._isServer = false;
    overHttp2.setSocket(stream, Buffer.alloc(0));
    const clients = [overTls, overHttp2];
    return { wss, clients, inboxes: clients.map(collect) };
  }

  test('take part, and get everything in order', async () => {
    const { wss, inboxes } = await mixed();
    for (const ws of wss.clients) expect(ws.subscribe('topic')).toBe(true);
    const expected = [];
    for (let i = 0; i < 40; i++) {
      const text = `${i} `.padEnd(i % 4 === 0 ? 30_000 : 50, '.');
      expected.push(text);
      if (i % 5 === 0) for (const ws of wss.clients) ws.send(text);
      else expect(wss.publish('topic', text)).toBe(2);
      if (i % 16 === 0) await turn();
    }
    await until(() => inboxes.every((messages) => messages.length === expected.length));
    for (const messages of inboxes) expect(messages).toEqual(expected);
  });

  test('queue what their streams do not take, and miss what is too much', async () => {
    const { wss, clients, inboxes } = await mixed();
    for (const client of clients) client.pause();
    const large = 'x'.repeat(MIB);
    let delivered = 0;
    for (let i = 0; i < 64; i++) {
      delivered += wss.broadcast(large);
      await turn();
    }
    expect(delivered).toBeLessThan(128);
    for (const client of clients) client.resume();
    const isIdle = () => [...wss.clients].every((ws) => ws.bufferedAmount === 0);
    await until(isIdle, 'empty queues');
    expect(wss.broadcast('end')).toBe(2);
    await until(() => inboxes.every((messages) => messages.at(-1) === 'end'), 'the end');
    expect(inboxes[0].length + inboxes[1].length).toBe(delivered + 2);
    for (const messages of inboxes) {
      expect(messages.slice(0, -1).every((text) => text === large)).toBe(true);
    }
  });
});

describeOurs('a handler', () => {
  test('may publish while messages are delivered', async () => {
    const { servers, clients, inboxes } = await group(4);
    for (const server of servers) {
      server.subscribe('room');
      server.on('message', (data, isBinary) => server.publish('room', data, { binary: isBinary }));
    }
    for (const [index, client] of clients.entries()) {
      for (let i = 0; i < 50; i++) client.send(`${index}: ${i}`);
    }
    await until(() => inboxes.every((messages) => messages.length === 150));
    inboxes.forEach((messages, index) => {
      for (let sender = 0; sender < 4; sender++) {
        const expected =
          sender === index ? [] : Array.from({ length: 50 }, (_, i) => `${sender}: ${i}`);
        expect(messages.filter((text) => text.startsWith(`${sender}:`))).toEqual(expected);
      }
    });
  });

  test.each(['close', 'terminate', 'unsubscribe'])(
    'may call %s() of receivers between publishes',
    async (method) => {
      const { wss, servers, clients, inboxes } = await group(6);
      for (const server of servers) server.subscribe('topic');
      servers[0].on('message', () => {
        wss.publish('topic', 'to six');
        for (const server of servers.slice(2, 4)) {
          server[method](...(method === 'unsubscribe' ? ['topic'] : []));
        }
        wss.publish('topic', 'to four');
      });
      clients[0].send('go');
      const staying = [0, 1, 4, 5];
      await until(() => staying.every((index) => inboxes[index].length === 2));
      for (const index of staying) expect(inboxes[index]).toEqual(['to six', 'to four']);
      await until(() => inboxes[2].length === 1 && inboxes[3].length === 1);
      expect(wss.numSubscribers('topic')).toBe(4);
    },
  );

  test('may destroy the context between publishes: what was published goes out', async () => {
    const context = new Context();
    const { wss, port } = await serve({ context });
    const peers = [await rawClient(port), await rawClient(port)];
    await until(() => wss.clients.size === 2);
    const [first] = wss.clients;
    for (const ws of wss.clients) ws.subscribe('topic');
    const results = [];
    first.on('message', () => {
      results.push(wss.publish('topic', 'last words'));
      context.destroy();
      results.push(wss.publish('topic', Buffer.alloc(100_000)), wss.broadcast('more'));
    });
    peers[0].send(frames.TEXT, 'go');
    await context.closed;
    for (const peer of peers) {
      await peer.when(({ hasClosed }) => hasClosed);
      expect(String(peer.frames[0].payload)).toBe('last words');
    }
    expect(results[0]).toBe(2);
    expect(wss.publish('topic', 'nobody')).toBe(0);
    expect(wss.broadcast('nobody')).toBe(0);
  });
});

describeOurs('a server that has been closed', () => {
  test('still publishes to the connections that are open', async () => {
    const { wss, servers, inboxes } = await group(2);
    for (const server of servers) server.subscribe('topic');
    wss.close();
    expect(wss.publish('topic', 'one')).toBe(2);
    expect(wss.broadcast('two')).toBe(2);
    await until(() => inboxes.every((messages) => messages.length === 2));
  });
});

testOurs('send() in a loop over the clients gives each what the data is at its turn', async () => {
  const { wss, servers, inboxes } = await group(5);
  const expected = servers.map(() => []);
  const send = (server, data) => {
    server.send(data, { binary: false });
    expected[servers.indexOf(server)].push(String(data));
  };
  const counter = Buffer.from('0');
  const prefix = Buffer.from('same start, then more');
  for (let i = 0; i < 30; i++) {
    for (const server of wss.clients) send(server, `message ${i}`);
    for (const server of wss.clients) {
      counter[0] = 48 + ((i + servers.indexOf(server)) >> 1);
      send(server, counter);
    }
    for (const server of wss.clients) send(server, prefix.subarray(0, 4 + (i % 2)));
    send(servers[i % 5], 'to one');
    if (i === 10) wss.broadcast('to all');
    if (i === 10) for (const list of expected) list.push('to all');
    if (i === 20) for (const server of wss.clients) send(server, 'x'.repeat(15_000));
    if (i % 10 === 0) await turn();
  }
  wss.broadcast('end');
  await until(() => inboxes.every((messages) => messages.at(-1) === 'end'));
  inboxes.forEach((messages, index) => expect(messages).toEqual([...expected[index], 'end']));
});

testOurs('what one connection sends in a turn may be more than the log takes', async () => {
  const { servers, inboxes } = await group(2);
  const [server, other] = servers;
  const expected = [[], []];
  for (let i = 0; i < 400; i++) {
    const text = `${i} `.padEnd(1000, '.');
    server.send(text);
    expected[0].push(text);
    if (i % 150 === 149) {
      other.send(text);
      expected[1].push(text);
    }
  }
  await until(() => inboxes.every((messages, index) => messages.length === expected[index].length));
  expect(inboxes).toEqual(expected);
});

testOurs(
  'a connection that has gone is not confused with one that has its number now',
  async () => {
    const { wss, server, client, url } = await pair();
    server.subscribe('topic');
    const closed = closing(server);
    client.terminate();
    await closed;
    for (let i = 0; i < 5; i++) {
      const next = await open(url);
      const messages = collect(next);
      expect(wss.numSubscribers('topic')).toBe(0);
      expect(wss.publish('topic', 'nobody')).toBe(0);
      expect(server.publish('topic', 'nobody')).toBe(0);
      const [ws] = wss.clients;
      ws.send('end');
      await until(() => messages.length === 1);
      expect(messages).toEqual(['end']);
      const gone = closing(ws);
      next.terminate();
      await gone;
    }
  },
);

testOurs('what is published in the exit handler of the process is written', async () => {
  const { spawn } = require('node:child_process');
  const { wss } = await serve();
  const script = `
    const { WebSocketServer } = require(${JSON.stringify(require.resolve('..'))});
    const wss = new WebSocketServer({ port: 0, host: '127.0.0.1' });
    wss.on('listening', () => process.send(wss.address().port));
    wss.on('connection', () => process.exit(0));
    process.on('exit', () => wss.broadcast('last words'));
  `;
  const child = spawn(process.execPath, ['-e', script], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const [port] = await once(child, 'message');
  const client = dial(`ws://127.0.0.1:${port}`);
  const messages = collect(client);
  await closing(client);
  expect(messages).toEqual(['last words']);
  expect(wss.clients.size).toBe(0);
});

testOurs('many publishes in one turn are one write', async () => {
  const { wss, server, peer } = await rawPair();
  server.subscribe('topic');
  let chunks = 0;
  peer.socket.on('data', () => chunks++);
  for (let i = 0; i < 50; i++) wss.publish('topic', `message ${i}`);
  await peer.when(({ frames: list }) => list.length === 50);
  expect(chunks).toBe(1);
});
