'use strict';

// What happens to a WebSocket, apart from messages: each function takes one record of the native
// half and emits the events that it stands for.

const native = require('./addon');
const Socket = require('./socket');
const table = require('./table');
const UpgradeMessage = require('./upgrade-message');
const { closeShell } = require('./adoption');
const { detailsOf } = require('./details');
const { tellClose, tellConnection, tellError } = require('./diagnostics');
const { contextClosed, failureOf } = require('./failure');
const { abort, leaveTopics, restoreFastPath, sendClose } = require('./outgoing');
const { keepStats } = require('./stats');
const {
  CLOSE_RECEIVED,
  CLOSE_SENT,
  CLOSED,
  CLOSED_BY_PEER,
  CLOSING,
  CONNECTING,
  EMPTY_BUFFER,
  ERROR_EMITTED,
  NONE,
  OPEN,
  PHASES,
  WAS_OPEN,
} = require('./constants');

const INTERRUPTED = 'The context was closed before the connection was established';

/** What a Close frame without a code is reported as (RFC 6455 section 7.1.5). */
const NO_STATUS_RECEIVED = 1005;
/** What a connection that ends without a Close frame is reported with, also by the native half. */
const ABNORMAL_CLOSURE = 1006;

/** Codes of errors that the callbacks get, too, of what could not be sent for this reason. */
const FOR_CALLBACKS = new Set([
  'ENOMEM',
  'ERR_UVWS_BACKPRESSURE',
  'ERR_UVWS_MEMORY_BUDGET',
  'ERR_UVWS_RANDOM',
]);

// Flags of an OPENED record.
const HAS_PROTOCOL = 1;
const HAS_EXTENSIONS = 2;

function throwError(error) {
  throw error;
}

/**
 * Makes `websocket` stand for the connection `id` of `server`, open from now on; 'open' is for the
 * caller to emit.
 */
function onAccepted(websocket, server, id, protocol) {
  table[id] = websocket;
  websocket._id = id;
  websocket._sendId = id;
  websocket._server = server;
  if (protocol !== '') detailsOf(websocket).protocol = protocol;
  websocket._readyState = OPEN;
  websocket._flags |= WAS_OPEN;
}

/**
 * The opening handshake of a client is done.
 *
 * @param {import('./context')} context The context, whose end may come first
 */
function onOpened(websocket, head, flags, context) {
  if (!mayOpen(websocket, context)) return;
  const response = UpgradeMessage.create(head, websocket._id);
  if ((flags & HAS_EXTENSIONS) !== 0) {
    const header = UpgradeMessage.header(response, 'sec-websocket-extensions');
    if (!agree(websocket, header)) return;
  }
  if ((flags & HAS_PROTOCOL) !== 0) {
    const protocol = UpgradeMessage.header(response, 'sec-websocket-protocol') ?? '';
    detailsOf(websocket).protocol = protocol;
  }
  websocket.emit('upgrade', response);
  // A listener may have closed it, or ended its context.
  if (!mayOpen(websocket, context)) return;
  UpgradeMessage.attach(response, websocket);
  noteTimings(websocket);
  websocket._readyState = OPEN;
  websocket._flags |= WAS_OPEN;
  detailsOf(websocket).fallBack = null;
  restoreFastPath(websocket);
  forgetSignal(websocket);
  emitOpen(websocket);
}

/** Emits 'open', or that a client is back. */
function emitOpen(websocket) {
  tellConnection(websocket, null);
  const { reconnection } = detailsOf(websocket);
  if (reconnection === null) websocket.emit('open');
  else reconnection.opened();
}

/** Keeps how long the steps of a native opening handshake took. */
function noteTimings(websocket) {
  const {
    dns = null,
    connect = null,
    tls = null,
    upgrade = null,
  } = native.connectionTimings(websocket._id) ?? {};
  detailsOf(websocket).timings = { dns, connect, proxy: null, tls, upgrade };
}

/**
 * Makes `websocket` stand for the connection `id`, which a stream carries, open from now on.
 *
 * @param {import('./bridge')} bridge What ties them
 */
function onBridged(websocket, id, bridge) {
  const details = detailsOf(websocket);
  details.bridge = bridge;
  details.handshake = null;
  onAttached(websocket, id);
}

/** Makes `websocket` stand for the connection `id`, open from now on. */
function onAttached(websocket, id) {
  if (websocket._details !== null) websocket._details.handshake = null;
  table[id] = websocket;
  websocket._id = id;
  websocket._sendId = id;
  websocket._readyState = OPEN;
  websocket._flags |= WAS_OPEN;
  forgetSignal(websocket);
}

/**
 * Takes the server's answer to what was offered as an extension, on a connection whose number is
 * known.
 *
 * @returns {boolean} Whether it is acceptable; if not, the connection is given up
 */
function agree(websocket, header) {
  try {
    detailsOf(websocket).extension.accept(websocket, header);
    return true;
  } catch {
    abort(websocket, new Error('Invalid Sec-WebSocket-Extensions header'));
    return false;
  }
}

/** Tells whether a connecting client may still open; gives it up if its context is closing. */
function mayOpen(websocket, context) {
  if (websocket._readyState !== CONNECTING) return false;
  if (context._phase === PHASES.CLOSING) {
    abort(websocket, contextClosed(INTERRUPTED, context._cause));
  }
  return context._phase < PHASES.CLOSING;
}

/** The peer has sent a Close frame; answers with the same code and reason. */
function onPeerClose(websocket, code, view) {
  const details = detailsOf(websocket);
  // A copy of its own: the view would keep a whole block of memory.
  const reason = view.length === 0 ? EMPTY_BUFFER : Buffer.from(Uint8Array.from(view).buffer);
  details.closeCode = code;
  details.closeReason = reason;
  websocket._flags |= CLOSE_RECEIVED;
  if (websocket._readyState === OPEN) {
    websocket._flags |= CLOSED_BY_PEER;
    if (code === NO_STATUS_RECEIVED) sendClose(websocket, 0, undefined);
    else sendClose(websocket, code, reason);
  }
  if (details.receiver !== null) details.receiver.emit('conclude', code, reason);
}

/**
 * The connection failed: the peer broke the protocol, which `closeCode` names, or the opening
 * handshake did not succeed.
 */
function onError(websocket, closeCode, cause) {
  if (websocket._readyState === CONNECTING) {
    noteTimings(websocket);
    if (fallsBack(websocket)) return;
  }
  onFailed(websocket, closeCode, failureOf(websocket._id, cause));
}

/** Begins once more in another way, if that may succeed where the native half's TLS has failed. */
function fallsBack(websocket) {
  const { fallBack } = detailsOf(websocket);
  if (fallBack === null || !native.connectionFailure(websocket._id)?.isOfTls) return false;
  // What is left of the native connection reaches nobody.
  table[websocket._id] = undefined;
  websocket._id = NONE;
  websocket._details.fallBack = null;
  try {
    fallBack();
  } catch (error) {
    process.nextTick(onNeverConnected, websocket, error);
  }
  return true;
}

/** As onError(), with an error that has been made already. */
function onFailed(websocket, closeCode, error) {
  const details = detailsOf(websocket);
  if (websocket._readyState === CONNECTING) {
    // 'close' follows with the GONE record.
    websocket._readyState = CLOSING;
  } else if (closeCode !== 0 && websocket._readyState < CLOSED) {
    websocket._readyState = CLOSING;
    websocket._sendId = NONE;
    leaveTopics(websocket);
    details.queue?.abandon(error);
    if (closeCode !== ABNORMAL_CLOSURE) {
      websocket._flags |= CLOSE_SENT;
      if (websocket._id !== NONE) native.closeFrame(websocket._id, closeCode, undefined);
    }
  }
  details.error ??= error;
  // What has not opened may be tried again, which conclude() finds out.
  const isOver = details.reconnection === null || (websocket._flags & WAS_OPEN) !== 0;
  if (isOver) emitError(websocket);
}

/** Emits the error that is waiting, at most once. */
function emitError(websocket) {
  const error = websocket._details === null ? null : websocket._details.error;
  if (error === null || (websocket._flags & ERROR_EMITTED) !== 0) return;
  websocket._flags |= ERROR_EMITTED;
  tellError(websocket, error);
  websocket.emit('error', error);
}

/** Some sends are written out. */
function onSent(websocket, count) {
  const { callbacks } = websocket._details;
  for (const callback of callbacks.splice(0, count)) {
    try {
      callback();
    } catch (error) {
      // The callbacks behind it are not to be lost.
      process.nextTick(throwError, error);
    }
  }
}

/** The connection is gone; arguments as in detach(). */
function onGone(websocket, uncompressed, cause) {
  if (websocket._readyState === CONNECTING) {
    detailsOf(websocket).error ??= contextClosed(INTERRUPTED, cause);
  }
  tellSocket(websocket);
  leave(websocket, detach(websocket, uncompressed));
}

/** Tells whoever listens to `_socket` what broke the connection. */
function tellSocket({ _details: details, _id: id }) {
  if (details === null || details.socket === null || details.error !== null) return;
  if (native.connectionFailure(id)) Socket.fail(details.socket, failureOf(id));
}

/** Concludes a WebSocket, once the stream that has carried it is closed. */
function leave(websocket, bridge) {
  websocket._readyState = CLOSING;
  if (bridge === null) conclude(websocket);
  else bridge.close(() => conclude(websocket));
}

/**
 * Takes the number from a WebSocket whose connection is gone: the native half may use it again.
 *
 * @param {number} uncompressed Callbacks, the last ones, whose data had not been compressed yet
 * @returns {import('./bridge') | null} What has carried the connection
 */
function detach(websocket, uncompressed) {
  leaveTopics(websocket);
  keepStats(websocket);
  table[websocket._id] = undefined;
  closeShell(websocket._id);
  websocket._id = NONE;
  websocket._sendId = NONE;
  const details = websocket._details;
  details.uncompressed = uncompressed;
  if (details.bridge === null) return null;
  details.bridge.detach();
  return details.bridge;
}

/** Ends a client that never had a native connection. */
function onNeverConnected(websocket, error) {
  detailsOf(websocket).error ??= error;
  conclude(websocket);
}

/** Emits the error that is left, and 'close', unless the client tries again. */
function conclude(websocket) {
  websocket._readyState = CLOSING;
  websocket._sendId = NONE;
  websocket._id = NONE;
  if (websocket._details !== null) websocket._details.handshake = null;
  forgetSignal(websocket);
  const reconnection = websocket._details === null ? null : websocket._details.reconnection;
  if (reconnection !== null && reconnection.survive()) return;
  try {
    emitError(websocket);
  } catch (thrown) {
    // What a listener of 'close' throws as well does not take its place.
    try {
      emitClose(websocket);
    } catch (error) {
      process.nextTick(throwError, error);
    }
    throw thrown;
  }
  emitClose(websocket);
}

/** Emits 'close', and settles everything that was waiting for the connection. */
function emitClose(websocket) {
  const details = websocket._details;
  let code = ABNORMAL_CLOSURE;
  let reason = EMPTY_BUFFER;
  websocket._readyState = CLOSED;
  if (details !== null) {
    code = details.closeCode;
    reason = details.closeReason;
    const framed = details.callbacks.length - details.uncompressed;
    const cause = FOR_CALLBACKS.has(details.error?.code) ? details.error : null;
    details.callbacks.splice(0).forEach((callback, index) => {
      process.nextTick(callback, cause ?? (index < framed ? notSent() : notCompressed()));
    });
    if (details.socket !== null) Socket.conclude(details.socket);
  }
  if (websocket._server !== null) websocket._server._forget(websocket);
  tellClose(websocket, code, reason);
  websocket.emit('close', code, reason);
}

function notSent() {
  const error = new Error('The connection was closed before the data was sent');
  return Object.assign(error, { code: 'ERR_STREAM_DESTROYED' });
}

function notCompressed() {
  return new Error('The socket was closed while data was being compressed');
}

function forgetSignal(websocket) {
  if (websocket._details !== null && websocket._details.forgetSignal !== null) {
    websocket._details.forgetSignal();
    websocket._details.forgetSignal = null;
  }
}

module.exports = {
  conclude,
  detach,
  emitClose,
  emitOpen,
  forgetSignal,
  leave,
  mayOpen,
  onAccepted,
  onAttached,
  onBridged,
  onError,
  onFailed,
  onGone,
  onNeverConnected,
  onOpened,
  onPeerClose,
  onSent,
  tellSocket,
};
