'use strict';

// The figures of a connection. The native half counts; what it has counted is kept when the connection ends.

const native = require('./addon');
const { detailsOf } = require('./details');
const { DEFLATES, NONE } = require('./constants');

/** By the numbers that the native half gives them. */
const TRANSPORTS = [null, 'tcp', 'tls', 'stream'];

/** What the native half writes, in the order of src/binding/stats.rs. */
const figures = new Float64Array(13);

function read(websocket) {
  native.connectionStats(websocket._id, figures);
  return {
    transport: TRANSPORTS[figures[12]],
    compression: (websocket._flags & DEFLATES) !== 0,
    duration: figures[10],
    idleTime: figures[11],
    bytesBuffered: figures[2],
    bytesReceived: figures[0],
    bytesSent: figures[1],
    messagesReceived: figures[3],
    messagesSent: figures[4],
    messagesDropped: figures[5],
    pingsReceived: figures[6],
    pingsSent: figures[7],
    pongsReceived: figures[8],
    pongsSent: figures[9],
  };
}

/** Keeps the figures of a connection whose number is about to be given back. */
function keepStats(websocket) {
  detailsOf(websocket).stats = read(websocket);
}

/** Returns the figures of a connection, or those that it had at its end. */
function statsOf(websocket) {
  const last = websocket._details === null ? null : websocket._details.stats;
  return websocket._id === NONE && last !== null ? { ...last } : read(websocket);
}

module.exports = { keepStats, statsOf };
