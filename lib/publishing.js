'use strict';

// Messages to many connections: to the subscribers of a topic, and to all clients of a server. The
// native half gets a message once, with the numbers of its receivers.

const native = require('./addon');
const table = require('./table');
const Receivers = require('./receivers');
const SendQueue = require('./send-queue');
const { failSending, flushIfExiting } = require('./outgoing');
const { serverOf, topicOf } = require('./topics');
const { check, checkObject, received } = require('./validation');
const {
  CLOSE_ON_OVERFLOW,
  COMPRESS,
  MAX_BACKPRESSURE,
  NONE,
  OPCODE_BINARY,
  OPCODE_TEXT,
} = require('./constants');

const NO_OPTIONS = {};

/** Receivers of the broadcast under way, kept for their memory. */
const everyone = new Receivers();

/** Sends to the subscribers of a topic, but not to `except`. See WebSocketServer.publish(). */
function publish(server, name, data, options, except = NONE) {
  const topic = topicOf(server, name);
  const payload = toPayload(data);
  const settings = settingsOf(data, options);
  return topic === undefined ? 0 : transmit(server.context, topic, except, payload, settings);
}

/** See WebSocket.publish(). */
function publishFrom(websocket, name, data, options) {
  return publish(serverOf(websocket, 'publish'), name, data, options, websocket._id);
}

/** See WebSocketServer.broadcast(). */
function broadcast(server, data, options) {
  const payload = toPayload(data);
  const settings = settingsOf(data, options);
  if (server.clients === undefined) {
    throw new Error('broadcast() needs the option "clientTracking"');
  }
  everyone.clear();
  for (const { _id: id } of server.clients) {
    if (id !== NONE) everyone.add(id);
  }
  return transmit(server.context, everyone, NONE, payload, settings);
}

/** Returns what the native half takes as a payload. */
function toPayload(data) {
  if (typeof data === 'string' || ArrayBuffer.isView(data) || data instanceof ArrayBuffer) {
    return data;
  }
  if (data instanceof SharedArrayBuffer) return Buffer.from(data);
  throw new TypeError(
    `"data" must be a string, a Buffer, an ArrayBuffer or a view of one, ${received(data)}`,
  );
}

/** Reads the options of a message to many: the flags of the native call, and the limit. */
function settingsOf(data, options = NO_OPTIONS) {
  checkObject(options, 'options');
  const { overflow } = options;
  const binary = check('boolean', options.binary, 'options.binary', typeof data !== 'string');
  const compress = check('boolean', options.compress, 'options.compress', true);
  const maxBackpressure = check(
    'number',
    options.maxBackpressure,
    'options.maxBackpressure',
    MAX_BACKPRESSURE,
  );
  if (!(maxBackpressure >= 0)) {
    throw new RangeError(
      `"options.maxBackpressure" must be a number of 0 or more, or Infinity, ${received(maxBackpressure)}`,
    );
  }
  if (overflow != null && overflow !== 'drop' && overflow !== 'close') {
    throw new TypeError(`"options.overflow" must be 'drop' or 'close', ${received(overflow)}`);
  }
  let flags = binary ? OPCODE_BINARY : OPCODE_TEXT;
  if (compress) flags |= COMPRESS;
  if (overflow === 'close') flags |= CLOSE_ON_OVERFLOW;
  return { flags, maxBackpressure };
}

/** Hands a message to the native half, and returns how many connections it went to. */
function transmit(context, receivers, except, payload, settings) {
  const sent =
    SendQueue.count() === 0
      ? transmitNow(context, receivers, except, payload, settings)
      : transmitInOrder(context, receivers, except, payload, settings);
  flushIfExiting();
  return sent;
}

function transmitNow(context, receivers, except, payload, { flags, maxBackpressure }) {
  receivers.prepare(except, maxBackpressure);
  return native.publish(context._id, payload, flags, receivers.numbers);
}

/** As transmitNow(), where some connections wait for a Blob to be read, and send in order. */
function transmitInOrder(context, receivers, except, payload, settings) {
  const size = Buffer.byteLength(payload);
  const others = new Receivers();
  const waiting = [];
  for (const id of receivers) {
    const websocket = table[id];
    const queue = websocket?._details?.queue ?? null;
    if (queue === null || id === except) others.add(id);
    else waiting.push(websocket);
  }
  // First: if it throws, nobody gets the message.
  const sent = transmitNow(context, others, except, payload, settings);
  for (const websocket of waiting) {
    const perform = () => {
      const itself = new Receivers();
      itself.add(websocket._id);
      try {
        transmitNow(context, itself, NONE, payload, settings);
      } catch (error) {
        // There is no memory for it, and publish() has returned.
        failSending(websocket, error);
      }
    };
    websocket._details.queue.add({ blob: null, size, perform, callback: undefined });
  }
  return waiting.length + sent;
}

module.exports = { broadcast, publish, publishFrom };
