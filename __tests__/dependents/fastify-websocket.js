'use strict';

// @fastify/websocket: routes, and injectWS(), which connects through streams in memory.

const assert = require('node:assert');
const { once } = require('node:events');
const { test } = require('node:test');

const fastify = require('fastify');
const websocket = require('@fastify/websocket');
const WebSocket = require('ws');

async function start(t) {
  const app = fastify();
  await app.register(websocket);
  app.get('/echo', { websocket: true }, (socket) => {
    socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
  });
  app.get('/page', async () => ({ is: 'page' }));
  t.after(() => app.close());
  return app;
}

test('a route echoes', async (t) => {
  const app = await start(t);
  const address = await app.listen({ port: 0, host: '127.0.0.1' });
  const client = new WebSocket(`${address.replace('http', 'ws')}/echo`);
  await once(client, 'open');
  client.send('hello');
  const [data, isBinary] = await once(client, 'message');
  assert.deepStrictEqual([String(data), isBinary], ['hello', false]);
  client.close(1000, 'done');
  const [code] = await once(client, 'close');
  assert.strictEqual(code, 1000);
  const response = await fetch(`${address}/page`);
  assert.deepStrictEqual(await response.json(), { is: 'page' });
});

test('injectWS() connects without a network', async (t) => {
  const app = await start(t);
  await app.ready();
  const client = await app.injectWS('/echo');
  client.send('in memory');
  const [data] = await once(client, 'message');
  assert.strictEqual(String(data), 'in memory');
  client.terminate();
});
