'use strict';

const { domainToASCII } = require('node:url');

const native = require('./addon');
const WebSocket = require('./websocket');
const { checkAllowedOrigins } = require('./origin');
const {
  check,
  checkCount,
  checkEmitter,
  checkIfAny,
  checkType,
  numberOf,
  received,
} = require('./validation');
const {
  CLOSE_TIMEOUT,
  HANDSHAKE_TIMEOUT,
  MAX_CONTROL_FRAMES,
  MAX_FRAGMENTS,
  MAX_PAYLOAD,
  MAX_PENDING_HANDSHAKES,
} = require('./constants');

/** The options of a WebSocketServer. */
const DEFAULTS = {
  allowedOrigins: null,
  allowSynchronousEvents: true,
  autoPong: true,
  backlog: null,
  clientTracking: true,
  closeTimeout: CLOSE_TIMEOUT,
  context: undefined,
  data: undefined,
  defaultProtocol: null,
  handleProtocols: null,
  handshakeTimeout: HANDSHAKE_TIMEOUT,
  heartbeat: false,
  host: null,
  hostname: null,
  http: null,
  maxBackpressure: Infinity,
  maxConnections: Infinity,
  maxConnectionsPerAddress: Infinity,
  maxControlFrames: MAX_CONTROL_FRAMES,
  maxFragments: MAX_FRAGMENTS,
  maxPayload: MAX_PAYLOAD,
  maxPendingHandshakes: MAX_PENDING_HANDSHAKES,
  noServer: false,
  path: null,
  perMessageDeflate: false,
  port: null,
  protocols: null,
  server: null,
  skipUTF8Validation: false,
  strictHost: false,
  tls: null,
  verifyClient: null,
  WebSocket,
};

/** Longest queue of connections, a C int. Node takes 0 for the default. */
const MAX_BACKLOG = 2 ** 31 - 1;

/**
 * Returns the options, with the defaults of those that are not given.
 *
 * @throws {TypeError} If there is not one way to listen, or what a handshake asks for cannot be asked
 */
function readOptions(given) {
  const options = { ...DEFAULTS, ...given };
  for (const name of Object.keys(DEFAULTS)) {
    if (options[name] === undefined) options[name] = DEFAULTS[name];
  }
  const { noServer, port, server } = options;
  if ((port != null) + Boolean(server) + Boolean(noServer) !== 1) {
    throw new TypeError(
      'One and only one of the "port", "server", or "noServer" options must be specified',
    );
  }
  if (server) checkEmitter('an http.Server', server, 'options.server');
  checkIfAny('function', options.handleProtocols, 'options.handleProtocols');
  checkIfAny('function', options.verifyClient, 'options.verifyClient');
  checkType('function', options.WebSocket, 'options.WebSocket');
  return options;
}

/** Reads the port, as net.Server does. */
function checkPort(port) {
  const number = typeof port === 'string' && port.trim() !== '' ? Number(port) : port;
  if (typeof number !== 'number' || !Number.isInteger(number) || number < 0 || number > 65535) {
    const error = new RangeError(`"options.port" must be from 0 to 65535, ${received(port)}`);
    throw Object.assign(error, { code: 'ERR_SOCKET_BAD_PORT' });
  }
  return number;
}

/**
 * Reads for which host a server is.
 *
 * @returns {string | undefined} The host name in its usual form; undefined without one
 */
function hostnameOf({ hostname, noServer, strictHost }) {
  check('string', hostname, 'options.hostname', undefined);
  check('boolean', strictHost, 'options.strictHost', false);
  if (hostname == null) {
    if (strictHost) throw new TypeError('"options.strictHost" needs "options.hostname"');
    return undefined;
  }
  if (noServer) throw new TypeError('"options.hostname" has no meaning with "noServer"');
  return readHostname(hostname, 'options.hostname');
}

/** Returns the usual form of a host name, which may begin with `*.`. */
function readHostname(hostname, what) {
  let name = null;
  if (typeof hostname === 'string') {
    // Names of other scripts are sent as ASCII.
    const isAscii = Buffer.byteLength(hostname) === hostname.length;
    name = native.hostname(isAscii ? hostname : domainToASCII(hostname));
  }
  if (name === null) {
    throw new TypeError(
      `"${what}" must be a host name without a port, such as 'example.org' or '*.example.org', ${received(hostname)}`,
    );
  }
  return name;
}

/** Reads the length of the queue of connections to accept; undefined for the default. */
function checkBacklog(option) {
  const backlog = check('number', numberOf(option), 'options.backlog', 0);
  if (!(Number.isInteger(backlog) && backlog >= 0 && backlog <= MAX_BACKLOG)) {
    throw new RangeError(
      `"options.backlog" must be an integer from 0 to ${MAX_BACKLOG}, ${received(backlog)}`,
    );
  }
  return backlog || undefined;
}

/** Reads where to listen, for which host, and for how many at a time. */
function addressOf(options, hostname, maxPendingHandshakes) {
  return {
    // An empty one is none, as in Node: a variable of the environment may be that.
    host: check('string', options.host, 'options.host', undefined) || undefined,
    port: checkPort(options.port),
    backlog: checkBacklog(options.backlog),
    hostname,
    strictHost: Boolean(options.strictHost),
    maxPendingHandshakes,
  };
}

/** Checks what limits the opening handshakes, and returns how many may be under way. */
function pendingHandshakesOf(options) {
  checkAllowedOrigins(options.allowedOrigins);
  return checkCount(
    options.maxPendingHandshakes,
    'options.maxPendingHandshakes',
    MAX_PENDING_HANDSHAKES,
  );
}

module.exports = { addressOf, hostnameOf, pendingHandshakesOf, readHostname, readOptions };
