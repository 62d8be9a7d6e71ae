'use strict';

// Upgrades of Node's HTTP server, whose sockets become native connections; and of any other stream,
// which goes on to carry the bytes.

const Bridge = require('./bridge');
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
const { acceptOf, findFault, refuseUpgrade } = require('./handshake');
const { onAccepted } = require('./incoming');
const { limitsOf } = require('./limits');
const native = require('./addon');
const Socket = require('./socket');
const table = require('./table');
const UpgradeMessage = require('./upgrade-message');
const { NONE } = require('./constants');

/** Name of permessage-deflate among the extensions of completeUpgrade(). */
const DEFLATE = 'permessage-deflate';

/** Accepts or refuses an upgrade for a WebSocketServer; see its handleUpgrade(). */
function decideOnSocket(server, request, socket, head, callback) {
  socket.on('error', destroyOnError);

  const refuse = (status, message, extra) => {
    if (server.listenerCount('wsClientError') > 0) {
      server.emit('wsClientError', new Error(message), socket, request);
    } else {
      refuseUpgrade(socket, status, message, extra);
    }
  };
  const fault = findFault(request);
  if (fault !== null) return refuse(fault.status, fault.message, fault.headers);
  if (!server.shouldHandle(request)) return refuseUpgrade(socket, 400);

  const offer = readOffer(server, request);
  if (offer.fault !== null) return refuse(400, offer.fault);
  const extensions = offer.deflate === null ? {} : { [DEFLATE]: offer.deflate };

  verify(server, request, (isVerified, status, message, extra) => {
    if (isVerified) {
      const key = request.headers['sec-websocket-key'];
      server.completeUpgrade(extensions, key, offer.protocols, request, socket, head, callback);
    } else {
      refuseUpgrade(socket, status, message, extra);
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
  if (!isRunning(server)) return refuseUpgrade(socket, 503);
  socket[kUpgraded] = true;

  const deflate = extensions[DEFLATE] ?? null;
  let prepared;
  try {
    prepared = prepare(server, protocols, deflate, request, () => acceptOf(key));
    // A handler may have ended the server or its context.
    if (!isRunning(server)) return refuseUpgrade(socket, 503);
    const lines = prepared.lines ?? responseLines(acceptOf(key), prepared.protocol, deflate);
    // A native connection may have gone meanwhile.
    if (!take(server, prepared, socket, head, `${lines.join('\r\n')}\r\n\r\n`)) return undefined;
  } catch (error) {
    // Nobody else will answer.
    refuseUpgrade(socket, 500);
    throw error;
  }
  socket.removeListener('error', destroyOnError);
  open(server, prepared.websocket, deflate, request, callback);
  return undefined;
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
  } else if (isAdoptable(stream)) {
    const id = adopt(server.context, stream, head, response, limits);
    onAccepted(websocket, server, id, protocol);
  } else {
    if (response !== '') stream.write(response, 'latin1');
    websocket._server = server;
    websocket._scope = server._scope;
    websocket._protocol = protocol;
    void new Bridge(websocket, server.context, stream, head, { limits });
  }
  return true;
}

function destroyOnError() {
  this.destroy();
}

module.exports = { completeOnSocket, decideOnSocket, destroyOnError, take };
