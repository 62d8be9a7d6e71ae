'use strict';

// express, on the port of a WebSocketServer.

const assert = require('node:assert');
const { once } = require('node:events');
const { test } = require('node:test');

const express = require('express');
const WebSocket = require('ws');

// This runs where the dependents are installed: in build/dependents.
const { blocksOf, documents, Stage } = require('../../__tests__/support/documents.js');

test('an application answers beside WebSockets', async (t) => {
  const app = express();
  app.use(express.json({ limit: '1mb' }));
  app.get('/page/:name', (request, response) => response.send(`page ${request.params.name}`));
  app.post('/sum', (request, response) => response.json(request.body.reduce((a, b) => a + b, 0)));
  const wss = new WebSocket.Server({ port: 0, host: '127.0.0.1', http: app });
  t.after(() => wss.close());
  wss.on('connection', (ws) => ws.on('message', (data) => ws.send(String(data))));
  await once(wss, 'listening');
  const { port } = wss.address();

  const response = await fetch(`http://127.0.0.1:${port}/page/one`);
  assert.strictEqual(await response.text(), 'page one');
  const numbers = Array.from({ length: 100_000 }, (_, i) => i);
  const headers = { 'Content-Type': 'application/json' };
  const sum = await fetch(`http://127.0.0.1:${port}/sum`, {
    method: 'POST',
    headers,
    body: JSON.stringify(numbers),
  });
  assert.strictEqual(await sum.json(), 4_999_950_000);

  const client = new WebSocket(`ws://127.0.0.1:${port}/`);
  await once(client, 'open');
  client.send('hello');
  assert.strictEqual(String((await once(client, 'message'))[0]), 'hello');
  client.close();
  await once(client, 'close');
});

const examples = documents()
  .flatMap(blocksOf)
  .filter(({ source }) => source.includes("require('express')"));

test('there are examples', () => assert.strictEqual(examples.length, 2));

for (const { file, line, source } of examples) {
  test(`the example at ${file}:${line} serves pages and WebSockets`, async (t) => {
    const stage = await Stage.create(WebSocket, [8080]);
    t.after(() => stage.end());
    await stage.run(source, {}, { express });
    const [wss] = stage.servers;
    await once(wss, 'listening');
    const { port } = wss.address();
    const page = await fetch(`http://127.0.0.1:${port}/metrics`);
    if (source.includes('metrics()')) {
      assert.strictEqual(page.headers.get('content-type'), WebSocket.metrics.contentType);
      assert.match(await page.text(), /^uvws_listeners\{context="default"\} \d+$/m);
    } else {
      assert.strictEqual(page.status, 404);
      await page.text();
    }
    const client = new WebSocket(`ws://127.0.0.1:${port}/`);
    await once(client, 'open');
    client.terminate();
    await once(client, 'close');
  });
}
