const { once } = require('node:events');

const { dial, pair, rawPair, serve } = require('./support/fixtures.js');
const { freePort } = require('./support/peers.js');
const { until } = require('./support/tools.js');
const { WebSocket } = require('./support/uvws.js');

describe('the on* properties', () => {
  test('take a function or null, and ignore everything else', () => {
    const ws = new WebSocket(null, undefined, {});
    for (const name of ['onopen', 'onmessage', 'onclose', 'onerror']) {
      const listener = () => {};
      expect(ws[name]).toBeNull();
      ws[name] = listener;
      expect(ws[name]).toBe(listener);
      const other = () => {};
      ws[name] = other;
      expect(ws[name]).toBe(other);
      expect(ws.listenerCount(name.slice(2))).toBe(1);
      for (const value of [null, undefined, 1, {}, 'text']) {
        ws[name] = listener;
        ws[name] = value;
        expect(ws[name]).toBeNull();
      }
    }
  });

  test('are enumerable accessors of the prototype', () => {
    for (const name of ['onopen', 'onmessage', 'onclose', 'onerror']) {
      expect(Object.getOwnPropertyDescriptor(WebSocket.prototype, name)).toMatchObject({
        enumerable: true,
        configurable: true,
      });
    }
  });

  test('are called with events that have a type and a target', async () => {
    const { wss, url } = await serve();
    wss.on('connection', (server) => {
      server.send('text');
      server.send(Buffer.from('binary'));
      server.close(4000, 'the end');
    });
    const ws = dial(url);
    const events = [];
    for (const name of ['onopen', 'onmessage', 'onclose', 'onerror']) {
      ws[name] = function onEvent(event) {
        expect(this).toBe(ws);
        expect(event.target).toBe(ws);
        events.push(event);
      };
    }
    await once(ws, 'close');
    expect(events.map(({ type }) => type)).toEqual(['open', 'message', 'message', 'close']);
    expect(events[1].data).toBe('text');
    expect(events[2].data).toEqual(Buffer.from('binary'));
    expect(events[3]).toMatchObject({ code: 4000, reason: 'the end', wasClean: true });
  });

  test('get an error event, and a close event that is not clean', async () => {
    const ws = dial(`ws://127.0.0.1:${await freePort()}`);
    const events = [];
    ws.onerror = (event) => events.push(event);
    ws.onclose = (event) => events.push(event);
    await until(() => events.length === 2);
    expect(events[0]).toMatchObject({ type: 'error', target: ws });
    expect(events[0].error.code).toBe('ECONNREFUSED');
    expect(events[0].message).toBe(events[0].error.message);
    expect(events[1]).toMatchObject({ code: 1006, reason: '', wasClean: false });
  });
});

describe('addEventListener()', () => {
  test('ignores other types and listeners that are registered already', async () => {
    const { client, server } = await pair();
    const listener = jest.fn();
    server.addEventListener('message', listener);
    server.addEventListener('message', listener);
    server.addEventListener('ping', listener);
    server.addEventListener('anything', listener);
    expect(server.listenerCount('message')).toBe(1);
    expect(server.listenerCount('ping')).toBe(0);
    client.ping();
    client.send('x');
    await until(() => listener.mock.calls.length > 0);
    expect(listener).toHaveBeenCalledTimes(1);
  });

  test('takes an object with handleEvent', async () => {
    const { client, server } = await pair();
    const events = [];
    const listener = {
      handleEvent(event) {
        expect(this).toBe(listener);
        events.push(event.data);
      },
    };
    server.addEventListener('message', listener);
    client.send('x');
    await until(() => events.length === 1);
    server.removeEventListener('message', listener);
    expect(server.listenerCount('message')).toBe(0);
  });

  test('removes a listener with once', async () => {
    const { client, server } = await pair();
    const first = jest.fn();
    const each = jest.fn();
    server.addEventListener('message', first, { once: true });
    server.addEventListener('message', each);
    client.send('a');
    client.send('b');
    await until(() => each.mock.calls.length === 2);
    expect(first).toHaveBeenCalledTimes(1);
  });

  test('is independent of on() and of the properties', async () => {
    const { client, server } = await pair();
    const calls = [];
    const listener = () => calls.push('listener');
    server.on('message', () => calls.push('on'));
    server.addEventListener('message', listener);
    server.onmessage = () => calls.push('property');
    server.removeEventListener('message', () => {});
    client.send('x');
    await until(() => calls.length === 3);
    expect(calls).toEqual(['on', 'listener', 'property']);
    server.removeEventListener('message', listener);
    expect(server.onmessage).not.toBeNull();
    expect(server.listenerCount('message')).toBe(2);
  });

  test('hears what is emitted by hand', () => {
    const ws = new WebSocket(null, undefined, {});
    const events = [];
    for (const type of ['open', 'message', 'close', 'error']) {
      ws.addEventListener(type, (event) => events.push(event));
    }
    ws.emit('open');
    ws.emit('message', Buffer.from('text'), false);
    ws.emit('message', Buffer.from('binary'), true);
    ws.emit('close', 1000, Buffer.from('reason'));
    const error = new Error('by hand');
    ws.emit('error', error);
    expect(events[1].data).toBe('text');
    expect(events[2].data).toEqual(Buffer.from('binary'));
    expect(events[3]).toMatchObject({ code: 1000, reason: 'reason' });
    expect(events[4]).toMatchObject({ error, message: 'by hand' });
  });
});

test('binaryType decides about the data of message events', async () => {
  const { client, server } = await pair();
  server.binaryType = 'arraybuffer';
  const received = new Promise((resolve) => (server.onmessage = (event) => resolve(event.data)));
  client.send(Buffer.from([1, 2, 3]));
  const data = await received;
  expect(Object.prototype.toString.call(data)).toBe('[object ArrayBuffer]');
  expect([...new Uint8Array(data)]).toEqual([1, 2, 3]);
});

test('an error event of a broken frame comes before a close event that is not clean', async () => {
  const { peer, server } = await rawPair();
  const events = [];
  server.onerror = (event) => events.push(event);
  server.onclose = (event) => events.push(event);
  peer.write(Buffer.from([0x83, 0x80, 0, 0, 0, 0]));
  await peer.closing();
  peer.socket.end();
  await until(() => events.length === 2);
  expect(events[0].error.code).toBe('WS_ERR_INVALID_OPCODE');
  expect(events[1]).toMatchObject({ code: 1006, wasClean: false });
});
