'use strict';

// WebSockets over HTTP/2 (RFC 8441): each is a stream of an extended CONNECT request.

const {
  isRunning,
  kUpgraded,
  open,
  prepare,
  readOffer,
  responseLines,
  verify,
} = require('./decision');
const { mayHave } = require('./admission');
const { logRefusal } = require('./diagnostics');
const { versionOf } = require('./handshake');
const { destroyOnError, take } = require('./upgrade');
const { checkEmitter, checkObject, checkType } = require('./validation');
const { EMPTY_BUFFER } = require('./constants');

/** Tells whether this is a server of HTTP/2. */
function isHttp2(server) {
  return typeof server.updateSettings === 'function';
}

/** Tells whether a request is an extended CONNECT for a WebSocket (section 4). */
function isWebSocketStream(headers) {
  return headers[':method'] === 'CONNECT' && headers[':protocol'] === 'websocket';
}

/**
 * Makes a server of HTTP/2 take WebSockets.
 *
 * @param {import('node:http2').Http2Server} server The server
 * @param {(stream: object, headers: object) => void} accept Called with each stream of a WebSocket
 * @returns {object} Listeners to add to the server
 */
function listenersOf(server, accept) {
  server.updateSettings({ enableConnectProtocol: true });
  return {
    stream: (stream, headers) => {
      if (isWebSocketStream(headers)) accept(stream, headers);
    },
    // Without a listener the compatibility layer of Node would refuse each CONNECT.
    connect: (request, response) => {
      const isOurs = isWebSocketStream(request.headers);
      if (!isOurs && server.listenerCount('connect') === 1) response.writeHead(405).end();
    },
  };
}

/** Accepts or refuses a stream for a WebSocketServer; see its handleStream(). */
function decideOnStream(server, stream, headers, callback) {
  checkEmitter('a stream of HTTP/2', stream, 'stream');
  checkObject(headers, 'headers');
  checkType('function', callback, 'callback');
  stream.on('error', destroyOnError);
  const request = requestOf(stream, headers);
  try {
    decide(server, request, stream, headers, callback);
  } catch (error) {
    // Nobody else will answer.
    if (!stream[kUpgraded] && !stream.headersSent) turnAway(server, request, stream, 500);
    throw error;
  }
}

function decide(server, request, stream, headers, callback) {
  const refuse = (status, message, extra) => {
    if (server.listenerCount('wsClientError') > 0) {
      server.emit('wsClientError', new Error(message), stream, request);
    } else {
      turnAway(server, request, stream, status, message, extra);
    }
  };
  if (!isWebSocketStream(headers)) return refuse(405, 'Invalid HTTP method');
  const version = versionOf(request);
  if (version !== 13) {
    const message = 'Missing or invalid Sec-WebSocket-Version header';
    return refuse(400, message, { 'sec-websocket-version': '13' });
  }
  if (!server.shouldHandle(request)) return turnAway(server, request, stream, 400);
  if (!mayHave(server, (admission) => admission.refusal(stream)))
    return turnAway(server, request, stream, 503);
  const offer = readOffer(server, request);
  if (offer.fault !== null) return refuse(400, offer.fault);

  verify(server, request, (isVerified, status, message, extra) => {
    if (isVerified) complete(server, offer, request, stream, callback);
    else turnAway(server, request, stream, status, message, extra);
  });
  return undefined;
}

function complete(server, { protocols, deflate }, request, stream, callback) {
  if (stream[kUpgraded]) {
    throw new Error('server.handleStream() was called more than once with the same stream');
  }
  if (stream.destroyed || stream.closed) return;
  if (!isRunning(server)) {
    turnAway(server, request, stream, 503);
    return;
  }
  stream[kUpgraded] = true;
  let prepared;
  try {
    prepared = prepare(server, protocols, deflate, request, null);
    if (!isRunning(server)) {
      turnAway(server, request, stream, 503);
      return;
    }
    const { websocket } = prepared;
    if (!mayHave(server, (admission) => admission.enter(websocket, stream))) {
      turnAway(server, request, stream, 503);
      return;
    }
    const lines = prepared.lines ?? responseLines(null, prepared.protocol, deflate);
    stream.respond(responseHeaders(lines));
    take(server, prepared, stream, EMPTY_BUFFER, '');
  } catch (error) {
    server._admission?.leave(prepared?.websocket);
    turnAway(server, request, stream, 500);
    throw error;
  }
  stream.removeListener('error', destroyOnError);
  open(server, prepared.websocket, deflate, request, callback);
}

/** Refuses a request. */
function turnAway(server, request, stream, status, message, extra) {
  logRefusal(server, request, status, message);
  refuseStream(stream, status, message, extra);
}

/** Returns the host that a stream is for: with `:authority` no Host header counts (RFC 9113 section 8.3.1). */
function hostOf(headers) {
  return headers[':authority'] ?? headers.host;
}

/** Shows a stream's headers as a request of HTTP/1.1, which shouldHandle() and hooks know. */
function requestOf(stream, headers) {
  return {
    method: headers[':method'],
    url: headers[':path'],
    headers: { ...headers, host: hostOf(headers) },
    httpVersion: '2.0',
    httpVersionMajor: 2,
    httpVersionMinor: 0,
    stream,
    socket: stream.session?.socket,
  };
}

/** Makes headers of the lines of a head, without the first one. */
function responseHeaders(lines) {
  const headers = { ':status': 200 };
  for (const line of lines.slice(1)) {
    const colon = line.indexOf(':');
    const name = line.slice(0, colon).toLowerCase();
    const value = line.slice(colon + 1).trim();
    headers[name] = headers[name] === undefined ? value : [headers[name], value].flat();
  }
  return headers;
}

/** Refuses a stream that is for none of the hosts of its server (RFC 9110 section 15.5.20). */
function misdirectStream(stream) {
  stream.on('error', destroyOnError);
  refuseStream(stream, 421);
}

/** Answers a stream with an error. */
function refuseStream(stream, status, message, extra) {
  if (stream.destroyed || stream.headersSent) {
    stream.close();
    return;
  }
  stream.respond({ ':status': Number(status), 'content-type': 'text/html', ...extra });
  stream.end(String(message || (require('node:http').STATUS_CODES[status] ?? '')));
}

module.exports = { decideOnStream, hostOf, isHttp2, listenersOf, misdirectStream };
