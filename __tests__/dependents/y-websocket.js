'use strict';

// y-websocket's provider between two documents, over a server that passes everything on.

const assert = require('node:assert');
const { once } = require('node:events');
const { test } = require('node:test');

const WebSocket = require('ws');

test('two documents become equal', async (t) => {
  // One copy for both: the package of the provider is an ES module.
  const Y = await import('yjs');
  const { WebsocketProvider } = await import('y-websocket');
  const wss = new WebSocket.WebSocketServer({ port: 0, host: '127.0.0.1' });
  wss.on('connection', (socket) => {
    socket.on('message', (data) => {
      for (const other of wss.clients) {
        if (other !== socket && other.readyState === WebSocket.OPEN) other.send(data, {}, () => {});
      }
    });
  });
  await once(wss, 'listening');
  const url = `ws://127.0.0.1:${wss.address().port}`;
  const settings = { WebSocketPolyfill: WebSocket, disableBc: true };
  const docs = [new Y.Doc(), new Y.Doc()];
  const providers = [];
  for (const doc of docs) {
    const provider = new WebsocketProvider(url, 'room', doc, settings);
    providers.push(provider);
    if (!provider.wsconnected) {
      await new Promise((resolve) => provider.on('status', resolve));
    }
  }
  t.after(() => {
    for (const provider of providers) provider.destroy();
    for (const client of wss.clients) client.terminate();
    wss.close();
  });

  docs[0].getText('text').insert(0, 'shared');
  const deadline = Date.now() + 5000;
  while (docs[1].getText('text').toString() !== 'shared' && Date.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.strictEqual(docs[1].getText('text').toString(), 'shared');
});
