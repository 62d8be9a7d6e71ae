'use strict';

// What a WebSocket sends, apart from the fast path in its `send`: sends with options or callbacks,
// control frames, the Close frame, and the abrupt end.

const native = require('./addon');
const table = require('./table');
const SendQueue = require('./send-queue');
const { bind } = require('./async-scope');
const { detailsOf } = require('./details');
const { leaveAll } = require('./topics');
const { checkClose, checkIfAny, isBlob } = require('./validation');
const {
  CLOSE_SENT,
  CLOSED,
  CLOSING,
  COMPRESS,
  CONNECTING,
  DEFLATES,
  EMPTY_BUFFER,
  ENDED,
  EXCESS,
  FIN,
  FRAGMENTING,
  NONE,
  NOTIFY,
  OPCODE_BINARY,
  OPCODE_CONTINUATION,
  OPCODE_TEXT,
  OPEN,
  READY_STATE_NAMES,
  TERMINATED,
} = require('./constants');

/** Whether the process is exiting: the loop does not turn again, so each send is written at once. */
let isExiting = false;

/** The opcode among the flags of a send. */
const OPCODE_BITS = 15;

/** Largest payload of a control frame (RFC 6455 section 5.5). */
const MAX_CONTROL_PAYLOAD = 125;

function notOpen(websocket) {
  // The native half may know that the connection has ended before its record is delivered.
  const state = websocket._readyState === OPEN ? CLOSING : websocket._readyState;
  return new Error(`WebSocket is not open: readyState ${state} (${READY_STATE_NAMES[state]})`);
}

/** Returns what the native half takes as a payload; throws what Buffer.from() throws. */
function toPayload(data) {
  if (typeof data === 'string') return data;
  if (!data) return EMPTY_BUFFER;
  if (ArrayBuffer.isView(data) || data instanceof ArrayBuffer) return data;
  return Buffer.from(data);
}

function byteLength(payload) {
  return typeof payload === 'string' ? Buffer.byteLength(payload) : payload.byteLength;
}

/** Counts data that comes too late, and tells its callback on the next tick. */
function refuse(websocket, data, callback) {
  if (data) {
    detailsOf(websocket).bufferedBytes += isBlob(data) ? data.size : byteLength(toPayload(data));
  }
  if (typeof callback === 'function') process.nextTick(callback, notOpen(websocket));
}

/** Writes what was sent, and from now on each send: for the 'exit' event of the process. */
function flushForExit() {
  isExiting = true;
  for (const websocket of table) {
    if (websocket !== undefined && websocket._sendId !== undefined) websocket._sendId = NONE;
  }
  native.flush();
}

/** Writes what was just sent, if nobody else will. */
function flushIfExiting() {
  if (isExiting) native.flush();
}

/** Hands a frame to the native half by `transmit(id, payload, flags)`. */
function dispatch(websocket, transmit, payload, flags, callback) {
  const notify = typeof callback === 'function';
  const answer = transmit(websocket._id, payload, notify ? flags | NOTIFY : flags);
  // Who has sent too much is told with the others, by the end of the connection.
  if (answer < 0 && answer !== EXCESS) {
    refuse(websocket, payload, callback);
    return;
  }
  if (notify) detailsOf(websocket).callbacks.push(callback);
  flushIfExiting();
}

/** Dispatches a frame behind whatever waits for a Blob. */
function dispatchInOrder(websocket, transmit, payload, flags, callback) {
  const queue = websocket._details === null ? null : websocket._details.queue;
  if (queue === null) {
    dispatch(websocket, transmit, payload, flags, callback);
    return;
  }
  queue.add({
    blob: null,
    size: byteLength(payload),
    perform: () => dispatch(websocket, transmit, payload, flags, callback),
    callback,
  });
}

/** Dispatches the bytes of a Blob once they are read; everything else waits behind it. */
function dispatchBlob(websocket, transmit, blob, flags, callback) {
  const details = detailsOf(websocket);
  details.queue ??= new SendQueue(websocket, restoreFastPath, failSending);
  websocket._sendId = NONE;
  details.queue.add({
    blob,
    size: blob.size,
    perform: (bytes) => dispatch(websocket, transmit, bytes, flags, callback),
    callback,
  });
}

/** Lets `send` take its fast path again, if nothing stands in its way. */
function restoreFastPath(websocket) {
  const isFree =
    !isExiting &&
    websocket._readyState === OPEN &&
    (websocket._flags & (FRAGMENTING | DEFLATES)) === 0 &&
    (websocket._details === null || websocket._details.queue === null);
  websocket._sendId = isFree ? websocket._id : NONE;
}

/** Ends a connection whose next message cannot be had. */
function failSending(websocket, error) {
  websocket._details.error ??= error;
  terminate(websocket);
}

/** What brings a client back that is away now, or null. */
function comeback(websocket) {
  const reconnection = websocket._details === null ? null : websocket._details.reconnection;
  return reconnection !== null && reconnection.isAway ? reconnection : null;
}

/** Sends a message or a fragment; see WebSocket.send(). */
function send(websocket, data, options, callback) {
  if (typeof options === 'function') {
    callback = options;
    options = undefined;
  }
  checkIfAny('function', callback, 'callback');
  const reconnection = comeback(websocket);
  if (reconnection !== null) {
    reconnection.send(data, options, bind(callback));
    return;
  }
  if (websocket._readyState === CONNECTING) throw notOpen(websocket);
  if (typeof data === 'number') data = data.toString();
  if (websocket._readyState !== OPEN) {
    refuse(websocket, data, callback);
    return;
  }

  let binary = typeof data !== 'string';
  let fin = true;
  let compress = (websocket._flags & DEFLATES) !== 0;
  let transmit = native.send;
  if (typeof options === 'object' && options !== null) {
    // As in ws, the property counts if it is there, even if it is undefined.
    if ('binary' in options) binary = Boolean(options.binary);
    if (options.fin !== undefined) fin = Boolean(options.fin);
    if (compress && 'compress' in options) compress = Boolean(options.compress);
    if (options.mask !== undefined && Boolean(options.mask) === websocket._isServer) {
      transmit = websocket._isServer ? sendMasked : sendUnmasked;
    }
  }
  const blob = isBlob(data);
  const payload = blob ? data : toPayload(data);

  const continues = (websocket._flags & FRAGMENTING) !== 0;
  const opcode = continues ? OPCODE_CONTINUATION : binary ? OPCODE_BINARY : OPCODE_TEXT;
  let flags = fin ? opcode | FIN : opcode;
  if (compress) flags |= COMPRESS;
  if (continues === fin) {
    if (fin) websocket._flags &= ~FRAGMENTING;
    else websocket._flags |= FRAGMENTING;
    restoreFastPath(websocket);
  }

  if (blob) dispatchBlob(websocket, transmit, payload, flags, bind(callback));
  else dispatchInOrder(websocket, transmit, payload, flags, bind(callback));
}

/** As native.send(), but masked, against RFC 6455 section 5.1: for tests of other peers. */
function sendMasked(id, payload, flags) {
  return sendFramed(id, payload, flags, true);
}

/** As native.send(), but not masked. */
function sendUnmasked(id, payload, flags) {
  return sendFramed(id, payload, flags, false);
}

/** Sends a frame that is made here, and not compressed. */
function sendFramed(id, payload, flags, mask) {
  const Sender = require('./sender');
  const bytes = typeof payload === 'string' ? Buffer.from(payload) : bytesOf(payload);
  const options = { fin: (flags & FIN) !== 0, mask, opcode: flags & OPCODE_BITS, readOnly: true };
  return native.writeRaw(id, Buffer.concat(Sender.frame(bytes, options)), flags & NOTIFY);
}

/** Shows an ArrayBuffer or a view of one as a Buffer. */
function bytesOf(data) {
  if (ArrayBuffer.isView(data)) {
    return Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  }
  return Buffer.from(data);
}

/** Sends a PING or a PONG frame by `transmit`; see WebSocket.ping(). */
function sendControl(websocket, transmit, data, mask, callback) {
  if (typeof data === 'function') {
    callback = data;
    data = undefined;
  } else if (typeof mask === 'function') {
    callback = mask;
  }
  checkIfAny('function', callback, 'callback');
  const reconnection = comeback(websocket);
  if (reconnection !== null && websocket._readyState !== OPEN) {
    reconnection.refuse(callback);
    return;
  }
  if (websocket._readyState === CONNECTING) throw notOpen(websocket);
  if (typeof data === 'number') data = data.toString();
  if (websocket._readyState !== OPEN) {
    refuse(websocket, data, callback);
    return;
  }

  const blob = isBlob(data);
  const payload = blob ? data : toPayload(data);
  if ((blob ? data.size : byteLength(payload)) > MAX_CONTROL_PAYLOAD) {
    throw new RangeError('The data size must not be greater than 125 bytes');
  }
  if (blob) dispatchBlob(websocket, transmit, payload, 0, bind(callback));
  else dispatchInOrder(websocket, transmit, payload, 0, bind(callback));
}

function writeClose(websocket, code, reason) {
  native.closeFrame(websocket._id, code, reason);
  flushIfExiting();
}

/** Takes a WebSocket, which is open no longer, out of its topics. */
function leaveTopics(websocket) {
  const { _details: details } = websocket;
  if (details !== null && details.topics !== null) leaveAll(websocket);
}

/** Queues the Close frame of an open WebSocket. `code` 0 is an empty one. */
function sendClose(websocket, code, reason) {
  websocket._readyState = CLOSING;
  websocket._sendId = NONE;
  websocket._flags |= CLOSE_SENT;
  leaveTopics(websocket);
  const queue = websocket._details === null ? null : websocket._details.queue;
  if (queue === null) {
    writeClose(websocket, code, reason);
    return;
  }
  queue.add({
    blob: null,
    size: 0,
    perform: () => writeClose(websocket, code, reason),
    callback: undefined,
  });
}

/** Starts the closing handshake; see WebSocket.close(). */
function close(websocket, code, reason) {
  if (websocket._readyState === OPEN) {
    if (code !== undefined) checkClose(code, reason);
    sendClose(websocket, code ?? 0, code === undefined ? undefined : reason);
  } else if (websocket._readyState === CONNECTING) {
    abort(websocket);
  }
  websocket._flags |= ENDED;
}

/** Drops the connection; see WebSocket.terminate(). */
function terminate(websocket) {
  if (websocket._readyState === CLOSED) return;
  if (websocket._readyState === CONNECTING) {
    abort(websocket);
    return;
  }
  websocket._readyState = CLOSING;
  websocket._sendId = NONE;
  websocket._flags |= TERMINATED;
  leaveTopics(websocket);
  native.terminate(websocket._id);
}

/** Gives up an opening handshake. */
function abort(websocket, error) {
  const details = detailsOf(websocket);
  details.error = error ?? new Error('WebSocket was closed before the connection was established');
  websocket._readyState = CLOSING;
  websocket._flags |= TERMINATED;
  // Without either, somebody else ends it: see connect().
  if (websocket._id !== NONE) native.terminate(websocket._id);
  else if (details.handshake !== null) details.handshake.abandon();
}

module.exports = {
  abort,
  byteLength,
  bytesOf,
  close,
  failSending,
  flushForExit,
  flushIfExiting,
  leaveTopics,
  restoreFastPath,
  send,
  sendClose,
  sendControl,
  terminate,
  toPayload,
};
