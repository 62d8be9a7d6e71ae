'use strict';

const WebSocket = require('./websocket');
const { check, received } = require('./validation');
const { CLOSE_TIMEOUT, HANDSHAKE_TIMEOUT, MAX_FRAGMENTS, MAX_PAYLOAD } = require('./constants');

/** As in Node. */
const DEFAULT_BACKLOG = 511;

/** The options of a WebSocketServer. */
const DEFAULTS = {
  allowSynchronousEvents: true,
  autoPong: true,
  backlog: null,
  clientTracking: true,
  closeTimeout: CLOSE_TIMEOUT,
  context: undefined,
  handleProtocols: null,
  handshakeTimeout: HANDSHAKE_TIMEOUT,
  host: null,
  maxFragments: MAX_FRAGMENTS,
  maxPayload: MAX_PAYLOAD,
  noServer: false,
  path: null,
  perMessageDeflate: false,
  port: null,
  server: null,
  skipUTF8Validation: false,
  verifyClient: null,
  WebSocket,
};

/** Reads the port, as net.Server does. */
function checkPort(port) {
  const number = typeof port === 'string' && port.trim() !== '' ? Number(port) : port;
  if (typeof number !== 'number' || !Number.isInteger(number) || number < 0 || number > 65535) {
    const error = new RangeError(`"options.port" must be from 0 to 65535, ${received(port)}`);
    throw Object.assign(error, { code: 'ERR_SOCKET_BAD_PORT' });
  }
  return number;
}

/** Reads where to listen. */
function addressOf(options) {
  return {
    host: check('string', options.host, 'options.host', undefined),
    port: checkPort(options.port),
    backlog: check('number', options.backlog, 'options.backlog', DEFAULT_BACKLOG),
  };
}

module.exports = { addressOf, DEFAULTS };
