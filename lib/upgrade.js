'use strict';

// Upgrades of Node's HTTP server, whose sockets become native connections; and of any other stream,
// which goes on to carry the bytes.

const Bridge = require('./bridge');
const { mayHave } = require('./admission');
const { adopt, isAdoptable } = require('./adoption');
const {
  isRunning,
  kUpgraded,
  open,
  prepare,
  readOffer,
  responseLines,
  verify,
} = require('./decision');
const { detailsOf } = require('./details');
const { logRefusal } = require('./diagnostics');
const { acceptOf, findFault, refuseUpgrade } = require('./handshake');
const { onAccepted } = require('./incoming');
const { limitsOf } = require('./limits');
const native = require('./addon');
const Socket = require('./socket');
const table = require('./table');
const UpgradeMessage = require('./upgrade-message');
const { checkBytes, checkEmitter, checkObject, checkType } = require('./validation');
const { NONE } = require('./constants');

/** Name of permessage-deflate among the extensions of completeUpgrade(). */
const DEFLATE = 'permessage-deflate';

/** Accepts or refuses an upgrade for a WebSocketServer; see its handleUpgrade(). */
function decideOnSocket(server, request, socket, head, callback) {
  checkObject(request, 'request');
  checkObject(request.headers, 'request.headers');
  checkEmitter('a stream', socket, 'socket');
  head = checkBytes(head, 'head');
  checkType('function', callback, 'callback');
  socket.on('error', destroyOnError);
  try {
    decide(server, request, socket, head, callback);
  } catch (error) {
    // Nobody else will answer.
    if (!socket[kUpgraded] && !socket.writableEnded) turnAway(server, request, socket, 500);
    throw error;
  }
}

function decide(server, request, socket, head, callback) {
  const refuse = (status, message, extra) => {
    if (server.listenerCount('wsClientError') > 0) {
      server.emit('wsClientError', new Error(message), socket, request);
    } else {
      turnAway(server, request, socket, status, message, extra);
    }
  };
  const fault = findFault(request);
  if (fault !== null) return refuse(fault.status, fault.message, fault.headers);
  if (!server.shouldHandle(request)) return turnAway(server, request, socket, 400);
  if (!mayHave(server, (admission) => admission.refusal(socket)))
    return turnAway(server, request, socket, 503);

  const offer = readOffer(server, request);
  if (offer.fault !== null) return refuse(400, offer.fault);
  const extensions = offer.deflate === null ? {} : { [DEFLATE]: offer.deflate };

  verify(server, request, (isVerified, status, message, extra) => {
    if (isVerified) {
      const key = request.headers['sec-websocket-key'];
      server.completeUpgrade(extensions, key, offer.protocols, request, socket, head, callback);
    } else {
      turnAway(server, request, socket, status, message, extra);
    }
  });
  return undefined;
}

/** Answers a request that has been checked; see completeUpgrade() of WebSocketServer. */
function completeOnSocket(server, extensions, key, protocols, request, socket, head, callback) {
  if (socket[kUpgraded]) {
    throw new Error(
      'server.handleUpgrade() was called more than once with the same socket, possibly due to a misconfiguration',
    );
  }
  // The client has gone, or half of it.
  if (!socket.readable || !socket.writable) return socket.destroy();
  if (!isRunning(server)) return turnAway(server, request, socket, 503);
  socket[kUpgraded] = true;

  const deflate = extensions[DEFLATE] ?? null;
  let prepared;
  try {
    prepared = prepare(server, protocols, deflate, request, () => acceptOf(key));
    // A handler may have ended the server or its context.
    if (!isRunning(server)) return turnAway(server, request, socket, 503);
    const lines = prepared.lines ?? responseLines(acceptOf(key), prepared.protocol, deflate);
    const { websocket } = prepared;
    if (!mayHave(server, (admission) => admission.enter(websocket, socket))) {
      return turnAway(server, request, socket, 503);
    }
    // A native connection may have gone meanwhile.
    if (!take(server, prepared, socket, head, `${lines.join('\r\n')}\r\n\r\n`)) return undefined;
  } catch (error) {
    server._admission?.leave(prepared?.websocket);
    // Nobody else will answer.
    turnAway(server, request, socket, 500);
    throw error;
  }
  socket.removeListener('error', destroyOnError);
  open(server, prepared.websocket, deflate, request, callback);
  return undefined;
}

/** Refuses a request. */
function turnAway(server, request, socket, status, message, extra) {
  logRefusal(server, request, status, message);
  refuseUpgrade(socket, status, message, extra);
}

/**
 * Makes a connection of a stream whose opening handshake ends with `response`.
 *
 * @returns {boolean} Whether it could be made
 */
function take(server, { websocket, protocol }, stream, head, response) {
  const limits = limitsOf(server.options, 0);
  // One of a native listener, whose handleUpgrade() somebody has replaced.
  const undecided = Socket.undecided(stream);
  if (undecided !== NONE) {
    const request = table[undecided];
    native.connectionConfigure(undecided, limits);
    if (!native.acceptWith(undecided, response)) return false;
    UpgradeMessage.attach(request, websocket);
    onAccepted(websocket, server, undecided, protocol);
    return true;
  }
  const id = isAdoptable(stream) ? adopt(server.context, stream, head, response, limits) : NONE;
  if (id !== NONE) {
    onAccepted(websocket, server, id, protocol);
    return true;
  }
  if (response !== '') stream.write(response, 'latin1');
  websocket._server = server;
  if (protocol !== '') detailsOf(websocket).protocol = protocol;
  void new Bridge(websocket, server.context, stream, head, { limits });
  return true;
}

/** Refuses a request that is for none of the hosts of its server (RFC 9110 section 15.5.20). */
function misdirectSocket(socket) {
  socket.on('error', destroyOnError);
  refuseUpgrade(socket, 421);
}

function destroyOnError() {
  this.destroy();
}

module.exports = { completeOnSocket, decideOnSocket, destroyOnError, misdirectSocket, take };
