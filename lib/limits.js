'use strict';

const { checkLimit, checkTimeout } = require('./validation');
const { CLOSE_TIMEOUT, MAX_FRAGMENTS, MAX_PAYLOAD } = require('./constants');

/**
 * Reads the options that a connection keeps for its life, and returns them as the native half wants
 * them, where 0 is no limit.
 *
 * @param {object} options The options of a WebSocket or a WebSocketServer
 * @param {number} handshakeTimeout Default of the option of that name
 * @returns {object} The limits
 */
function limitsOf(options, handshakeTimeout) {
  const closeTimeout = checkTimeout(options.closeTimeout, 'options.closeTimeout', CLOSE_TIMEOUT);
  return {
    handshakeTimeout: checkTimeout(
      options.handshakeTimeout,
      'options.handshakeTimeout',
      handshakeTimeout,
    ),
    // None would mean that a peer that does not answer stays for ever.
    closeTimeout: Math.max(1, closeTimeout),
    maxPayload: checkLimit(options.maxPayload, 'options.maxPayload', MAX_PAYLOAD),
    maxFragments: checkLimit(options.maxFragments, 'options.maxFragments', MAX_FRAGMENTS),
    skipUtf8: Boolean(options.skipUTF8Validation),
    autoPong: Boolean(options.autoPong ?? true),
  };
}

module.exports = { limitsOf };
