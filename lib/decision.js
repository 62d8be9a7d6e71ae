'use strict';

// What a WebSocketServer decides about a request, wherever it came from: a native listener, Node's
// HTTP server, or a stream of HTTP/2. They differ in how the answer is written.

const subprotocol = require('./subprotocol');
const { tellConnection } = require('./diagnostics');
const { acceptOffer, enable: enableDeflate, format: formatDeflate } = require('./deflate');
const { versionOf } = require('./handshake');
const { checkHeaderLine, formatHeaders } = require('./head');
const { breached } = require('./limits');
const { isAllowedOrigin } = require('./origin');
const { terminate } = require('./outgoing');
const { STAGGERED } = require('./constants');

/** States of a WebSocketServer, with the numbers of ws. */
const STATES = { RUNNING: 0, CLOSING: 1, CLOSED: 2 };

/** How the response of an upgrade starts. */
const SWITCHING = ['HTTP/1.1 101 Switching Protocols', 'Upgrade: websocket', 'Connection: Upgrade'];

/** What a request without subprotocols offers. */
const NO_PROTOCOLS = new Set();

/** Marks sockets and streams that have been upgraded already. */
const kUpgraded = Symbol('upgraded');

/** Tells whether connections are still accepted: by the native half, too, which may have to end by itself. */
function isRunning(server) {
  return server._state === STATES.RUNNING && server.context.state === 'running';
}

/**
 * Reads the subprotocols and extensions that a request offers.
 *
 * @returns {{ fault: string | null, protocols?: Set<string>, deflate?: object | null }} What is
 *   wrong, or what is offered and acceptable
 */
function readOffer({ options }, { headers }) {
  const protocols = headers['sec-websocket-protocol'];
  const extensions = headers['sec-websocket-extensions'];
  const offer = { fault: null, protocols: NO_PROTOCOLS, deflate: null };
  if (protocols !== undefined) {
    try {
      offer.protocols = subprotocol.parse(protocols);
    } catch {
      return { fault: 'Invalid Sec-WebSocket-Protocol header' };
    }
  }
  if (extensions !== undefined && options.perMessageDeflate) {
    try {
      offer.deflate = acceptOffer(options.perMessageDeflate, extensions, options.maxPayload);
    } catch {
      return { fault: 'Invalid or unacceptable Sec-WebSocket-Extensions header' };
    }
  }
  return offer;
}

/**
 * Looks at the origin, and asks `verifyClient`, as far as there are such options.
 *
 * @param {Function} decide Called once with the answer: (isVerified, status, message, headers)
 */
function verify(server, request, decide) {
  const { allowedOrigins, verifyClient } = server.options;
  if (allowedOrigins && !isAllowedOrigin(allowedOrigins, request)) {
    breached('allowedOrigins', server.context, server, null);
    return decide(false, 403);
  }
  if (!verifyClient) return decide(true);
  const { headers, socket } = request;
  const info = {
    origin: headers[versionOf(request) === 8 ? 'sec-websocket-origin' : 'origin'],
    secure: Boolean(socket?.authorized || socket?.encrypted),
    req: request,
  };
  if (verifyClient.length === 2) {
    verifyClient(info, (isVerified, status = 401, message, extra) => {
      const fault = isVerified ? null : faultOfRefusal(status || 401, extra);
      if (fault !== null) {
        // The peer still gets an answer, and nothing of what cannot be written.
        decide(false, 500);
        throw fault;
      }
      decide(isVerified, status || 401, message, extra);
    });
  } else {
    decide(verifyClient(info), 401);
  }
}

/** Returns why a refusal by `verifyClient` cannot be written as HTTP, or null if it can. */
function faultOfRefusal(status, headers) {
  if (!Number.isInteger(status) || status < 300 || status > 999) {
    return new RangeError(`The status of a refusal must be an integer from 300 to 999: ${status}`);
  }
  try {
    formatHeaders(headers ?? {});
    return null;
  } catch (error) {
    return error;
  }
}

/**
 * Makes the WebSocket, chooses the subprotocol and asks the 'headers' listeners.
 *
 * @param {(() => string) | null} accept Returns the Sec-WebSocket-Accept header; null for HTTP/2
 * @returns {{ websocket: WebSocket, protocol: string, lines: string[] | null }} `lines` is what
 *   the listeners have made of the response's head; null without listeners
 */
function prepare(server, protocols, deflate, request, accept) {
  const { options } = server;
  const websocket = new options.WebSocket(null, undefined, options);
  let protocol = '';
  if (protocols.size > 0) {
    protocol = choose(server, protocols, request);
    if (protocol) checkHeaderLine(`Sec-WebSocket-Protocol: ${protocol}`);
  }
  if (server.listenerCount('headers') === 0) return { websocket, protocol, lines: null };

  const lines = responseLines(accept === null ? null : accept(), protocol, deflate);
  server.emit('headers', lines, request);
  lines.slice(1).forEach(checkHeaderLine);
  return { websocket, protocol, lines };
}

/** Chooses one of the subprotocols that a request offers, or ''. */
function choose({ options: { handleProtocols }, _protocols }, offered, request) {
  if (handleProtocols) return handleProtocols(offered, request) || '';
  if (_protocols !== null) return _protocols.choose(offered);
  const [first] = offered;
  return first;
}

/** Returns the lines of the head of a response that accepts; `accept` is null for HTTP/2. */
function responseLines(accept, protocol, deflate) {
  const lines =
    accept === null ? ['HTTP/2 200'] : [...SWITCHING, `Sec-WebSocket-Accept: ${accept}`];
  if (protocol) lines.push(`Sec-WebSocket-Protocol: ${protocol}`);
  if (deflate !== null) lines.push(`Sec-WebSocket-Extensions: ${formatDeflate(deflate)}`);
  return lines;
}

/** Puts to use what the response has agreed on, and announces the connection by `callback`. */
function open(server, websocket, deflate, request, callback) {
  const protocols = server._protocols;
  server._remember();
  if (protocols !== null) protocols.attach(websocket);
  if (deflate !== null && !enableDeflate(websocket, deflate)) {
    terminate(websocket);
    return;
  }
  const { clients, context } = server;
  if (server.options.allowSynchronousEvents === false) websocket._flags |= STAGGERED;
  tellConnection(websocket, request);
  websocket.emit('open');
  if (clients !== undefined) clients.add(websocket);
  if (protocols !== null) protocols.open(websocket, request);
  callback(websocket, request);
  if (context.listenerCount('connection') > 0) {
    context.emit('connection', websocket, request, server);
  }
}

module.exports = {
  isRunning,
  kUpgraded,
  NO_PROTOCOLS,
  open,
  prepare,
  readOffer,
  responseLines,
  STATES,
  verify,
};
