'use strict';

// The echo server that the conformance cases are played against.

const { WebSocketServer } = require('../..');

const wss = new WebSocketServer({
  host: '127.0.0.1',
  port: 0,
  maxPayload: 64 * 1024 * 1024,
  // Two cases send a message in 65,536 fragments, more than the default allows.
  maxFragments: 0,
  perMessageDeflate: true,
});

wss.on('listening', () => console.log(wss.address().port));
wss.on('connection', (ws) => {
  // Most cases end in a fault on purpose.
  ws.on('error', () => {});
  ws.on('message', (data, isBinary) => ws.send(data, { binary: isBinary }));
});
