'use strict';

// The limits: the options that set them, what they are without, and the count of their breaches. What
// the native half holds fast has its numbers in src/protocol/limits.rs.

const { tellLimit } = require('./diagnostics');
const { check, checkCount, checkLimit, checkTimeout, numberOf, received } = require('./validation');
const { CLOSE_TIMEOUT, MAX_CONTROL_FRAMES, MAX_FRAGMENTS, MAX_PAYLOAD } = require('./constants');

/** The limits by the numbers that the native half gives them. */
const NAMES = [
  'maxPayload',
  'maxFragments',
  'maxControlFrames',
  'maxBackpressure',
  'memoryBudget',
  'maxConnections',
  'maxConnectionsPerAddress',
  'maxPendingHandshakes',
  'handshakeTimeout',
  'closeTimeout',
  'maxHeaderSize',
  'maxHeadersCount',
  'heartbeat',
  // Only JavaScript knows of these.
  'allowedOrigins',
];

/** Frames a second: the native half counts in milliseconds. */
const FASTEST_CONTROL_FRAMES = 1000;

/** Milliseconds of silence before a PING: NATs and proxies forget a connection after a minute at the earliest. */
const HEARTBEAT_INTERVAL = 30_000;
/** Milliseconds for the answer: as libwebsockets has it. */
const HEARTBEAT_TIMEOUT = 10_000;

/** Reads the option `heartbeat`. An interval of 0 stands for none. */
function heartbeatOf(option) {
  if (option == null || option === false) return { heartbeatInterval: 0, heartbeatTimeout: 0 };
  if (option !== true && typeof option !== 'object') {
    throw new TypeError(`"options.heartbeat" must be a boolean or an object, ${received(option)}`);
  }
  const read = (name, fallback) =>
    checkTimeout(option[name], `options.heartbeat.${name}`, fallback, 1);
  return {
    heartbeatInterval: read('interval', HEARTBEAT_INTERVAL),
    heartbeatTimeout: read('timeout', HEARTBEAT_TIMEOUT),
  };
}

/** Reads the option `maxControlFrames`. What is no such number is not to be taken for "no limit". */
function checkControlFrames(option) {
  const rate = check('number', option, 'options.maxControlFrames', MAX_CONTROL_FRAMES);
  if (rate === Infinity) return 0;
  if (!Number.isInteger(rate) || rate < 0 || rate > FASTEST_CONTROL_FRAMES) {
    throw new RangeError(
      `"options.maxControlFrames" must be an integer from 0 to ${FASTEST_CONTROL_FRAMES}, or Infinity, ${received(option)}`,
    );
  }
  return rate;
}

/** Breaches of contexts and servers: an object of counts by name, for those that have any. */
const breaches = new WeakMap();

function countsOf(owner) {
  let counts = breaches.get(owner);
  if (counts === undefined) {
    counts = Object.fromEntries(NAMES.map((name) => [name, 0]));
    breaches.set(owner, counts);
  }
  return counts;
}

/**
 * Counts the breach of a limit.
 *
 * @param {string} name The limit
 * @param {import('./context')} context The context that it happened in
 * @param {import('./websocket-server') | null} server The server that it happened to
 * @param {import('./websocket') | null} websocket Who has breached it, if that is a WebSocket
 */
function breached(name, context, server, websocket) {
  countsOf(context)[name]++;
  if (server !== null) countsOf(server)[name]++;
  tellLimit(name, context, server, websocket);
}

/** Returns how often each limit of a context or a server was breached. */
function breachesOf(owner) {
  return { ...countsOf(owner) };
}

/**
 * Reads the options that a connection keeps for its life, and returns them as the native half wants
 * them, where 0 is no limit.
 *
 * @param {object} options The options of a WebSocket or a WebSocketServer
 * @param {number} handshakeTimeout Default of the option of that name
 * @returns {object} The limits
 */
function limitsOf(options, handshakeTimeout) {
  const timeout = numberOf(options.closeTimeout);
  const closeTimeout = checkTimeout(timeout, 'options.closeTimeout', CLOSE_TIMEOUT);
  const { heartbeatInterval, heartbeatTimeout } = heartbeatOf(options.heartbeat);
  return {
    handshakeTimeout: checkTimeout(
      options.handshakeTimeout,
      'options.handshakeTimeout',
      handshakeTimeout,
    ),
    // None would mean that a peer that does not answer stays for ever.
    closeTimeout: Math.max(1, closeTimeout),
    heartbeatInterval,
    heartbeatTimeout,
    maxPayload: checkLimit(options.maxPayload, 'options.maxPayload', MAX_PAYLOAD),
    maxFragments: checkLimit(options.maxFragments, 'options.maxFragments', MAX_FRAGMENTS),
    maxBackpressure: checkCount(
      options.maxBackpressure,
      'options.maxBackpressure',
      Infinity,
      Number.MAX_SAFE_INTEGER,
    ),
    maxControlFrames: checkControlFrames(options.maxControlFrames),
    skipUtf8: Boolean(options.skipUTF8Validation),
    autoPong: Boolean(options.autoPong ?? true),
  };
}

module.exports = { breached, breachesOf, limitsOf, NAMES };
