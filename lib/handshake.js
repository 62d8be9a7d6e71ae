'use strict';

// The server's half of the opening handshake for requests that Node's HTTP server has read. A native
// listener does all of this natively.

const { formatHeaders } = require('./head');

/** What the key is extended by before it is hashed (RFC 6455 section 4.2.2). */
const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
/** Base64 of 16 bytes. */
const KEY = /^[+/0-9A-Za-z]{22}==$/;

/** Returns the answer to a Sec-WebSocket-Key. */
function acceptOf(key) {
  // Loaded here because it takes longer than all of uvws, and most servers never need it.
  const { createHash } = require('node:crypto');
  return createHash('sha1')
    .update(key + GUID)
    .digest('base64');
}

/** Returns the protocol version that a request asks for. */
function versionOf(request) {
  return Number(request.headers['sec-websocket-version']);
}

/** Tells whether Node's HTTP server would emit 'upgrade' for a request. */
function isUpgrade({ headers }) {
  const tokens = String(headers.connection ?? '').toLowerCase();
  return (
    headers.upgrade !== undefined && tokens.split(',').some((token) => token.trim() === 'upgrade')
  );
}

/**
 * Checks a request in the order and with the messages of ws (RFC 6455 section 4.2.1).
 *
 * @param {http.IncomingMessage} request The request
 * @returns {{ status: number, message: string, headers?: object } | null} The refusal, if it is not
 *   valid
 */
function findFault(request) {
  const { headers } = request;
  if (request.method !== 'GET') return { status: 405, message: 'Invalid HTTP method' };
  // The bytes of a body would be read as frames here and as a request by whoever stands before us.
  const { 'content-length': length = '0', 'transfer-encoding': coding } = headers;
  if (length !== '0' || coding !== undefined) return { status: 400, message: 'Unexpected body' };
  if (String(headers.upgrade).toLowerCase() !== 'websocket') {
    return { status: 400, message: 'Invalid Upgrade header' };
  }
  const key = headers['sec-websocket-key'];
  if (key === undefined || !KEY.test(key)) {
    return { status: 400, message: 'Missing or invalid Sec-WebSocket-Key header' };
  }
  const version = versionOf(request);
  if (version !== 13 && version !== 8) {
    return {
      status: 400,
      message: 'Missing or invalid Sec-WebSocket-Version header',
      headers: { 'Sec-WebSocket-Version': '13, 8' },
    };
  }
  return null;
}

/**
 * Answers a request with an error, and ends the connection.
 *
 * @param {import('node:net').Socket} socket The connection
 * @param {number} status The status
 * @param {string} [message] The body; the status's phrase without it
 * @param {object} [extra] Further headers
 */
function refuseUpgrade(socket, status, message, extra) {
  const phrase = require('node:http').STATUS_CODES[status] ?? '';
  const body = String(message || phrase);
  const headers = formatHeaders({
    Connection: 'close',
    'Content-Type': 'text/html',
    'Content-Length': Buffer.byteLength(body),
    ...extra,
  });
  socket.once('finish', socket.destroy);
  socket.end(`HTTP/1.1 ${status} ${phrase}\r\n${headers}\r\n${body}`);
}

module.exports = { acceptOf, findFault, isUpgrade, refuseUpgrade, versionOf };
