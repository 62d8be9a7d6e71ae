'use strict';

const http = require('node:http');
const { announce, HOST, MAX_PAYLOAD, DEFLATE_LEVEL, TOPIC } = require('./announce');

/**
 * Serves with a `WebSocketServer` that has the interface of `ws`. `ws` and uvws run this very code.
 *
 * @param {typeof import('ws').WebSocketServer} WebSocketServer
 * @param {import('./announce').Work} work
 * @param {Record<string, (server: object, data: Buffer, isBinary: boolean) => void>} [publish] how
 *   messages are sent to all clients, by task; where there is nothing, to one after the other
 */
function serve(WebSocketServer, work, publish = {}) {
  const options = { perMessageDeflate: deflateOptions(work.deflate), maxPayload: MAX_PAYLOAD };
  const httpServer = work.adopted ? http.createServer() : null;
  const server = httpServer
    ? new WebSocketServer({ ...options, server: httpServer })
    : new WebSocketServer({ ...options, host: HOST, port: 0 });
  const deliver = publish[work.task] ?? sendToEach;
  server.on('connection', (ws) => {
    // A client that has measured enough resets its connections.
    ws.on('error', () => {});
    if (work.task === 'topic') ws.subscribe(TOPIC);
    if (work.task === 'echo') {
      ws.on('message', (data, isBinary) => ws.send(data, { binary: isBinary }));
    } else {
      ws.on('message', (data, isBinary) => {
        for (let copy = 0; copy < work.repeat; copy++) deliver(server, data, isBinary);
      });
    }
  });
  server.on('listening', () => announce(server.address().port));
  httpServer?.listen(0, HOST);
}

/** The way that the documentation of `ws` shows. */
function sendToEach(server, data, isBinary) {
  for (const client of server.clients) client.send(data, { binary: isBinary });
}

/** @param {import('./announce').Work['deflate']} deflate */
function deflateOptions(deflate) {
  if (!deflate) return false;
  const noTakeover = deflate === 'no-takeover';
  return {
    serverNoContextTakeover: noTakeover,
    clientNoContextTakeover: noTakeover,
    threshold: 0,
    zlibDeflateOptions: { level: DEFLATE_LEVEL },
  };
}

module.exports = { serve };
