'use strict';

const fs = require('node:fs');
const http = require('node:http');
const https = require('node:https');
const { announce, certificate, HOST, MAX_PAYLOAD, DEFLATE_LEVEL, TOPIC } = require('./announce');

/**
 * Serves with a `WebSocketServer` that has the interface of `ws`. `ws` and uvws run this very code.
 *
 * @param {typeof import('ws').WebSocketServer} WebSocketServer
 * @param {import('./announce').Work} work
 * @param {object} [own] what `ws` does not have
 * @param {Record<string, (server: object, data: Buffer, isBinary: boolean) => void>} [own.publish] how
 *   messages are sent to all clients, by task; where there is nothing, to one after the other
 * @param {boolean} [own.tls] whether the server speaks TLS itself
 */
function serve(WebSocketServer, work, { publish = {}, tls: isOwnTls = false } = {}) {
  const options = { perMessageDeflate: deflateOptions(work.deflate), maxPayload: MAX_PAYLOAD };
  const tls = work.tls && {
    key: fs.readFileSync(certificate.key),
    cert: fs.readFileSync(certificate.cert),
  };
  if (tls && isOwnTls) options.tls = tls;
  const httpServer = httpServerFor(work, isOwnTls ? undefined : tls);
  const server = httpServer
    ? new WebSocketServer({ ...options, server: httpServer })
    : new WebSocketServer({ ...options, host: HOST, port: 0 });
  const deliver = publish[work.task] ?? sendToEach;
  const deliverAll = (data, isBinary) => {
    for (let copy = 0; copy < work.repeat; copy++) deliver(server, data, isBinary);
  };
  server.on('connection', (ws) => {
    // A client that has measured enough resets its connections.
    ws.on('error', ignore);
    if (work.task === 'topic') ws.subscribe(TOPIC);
    ws.on('message', work.task === 'echo' ? echo : deliverAll);
  });
  server.on('listening', () => announce(server.address().port));
  httpServer?.listen(0, HOST);
}

/** The HTTP server that connections are taken over from, if it takes one. */
function httpServerFor(work, tls) {
  if (tls) return https.createServer(tls);
  return work.adopted ? http.createServer() : null;
}

/** Sends a message back. One function serves all connections, as with the other servers. */
function echo(data, isBinary) {
  this.send(data, { binary: isBinary });
}

function ignore() {}

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
