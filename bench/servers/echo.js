'use strict';

const { announce, HOST, MAX_PAYLOAD } = require('./announce');

/**
 * Serves echo with a `WebSocketServer` that has the interface of `ws`. `ws` and uvws run this very
 * code.
 *
 * @param {typeof import('ws').WebSocketServer} WebSocketServer
 */
function serveEcho(WebSocketServer) {
  const server = new WebSocketServer({
    host: HOST,
    port: 0,
    perMessageDeflate: false,
    maxPayload: MAX_PAYLOAD,
  });
  server.on('connection', (ws) => {
    // A client that has measured enough resets its connections.
    ws.on('error', () => {});
    ws.on('message', (data, isBinary) => ws.send(data, { binary: isBinary }));
  });
  server.on('listening', () => announce(server.address().port));
}

module.exports = { serveEcho };
