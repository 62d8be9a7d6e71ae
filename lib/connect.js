'use strict';

// The client's way to a connection: reads the constructor's arguments as ws does. The native half
// looks the name up, connects and does the opening handshake, unless something asks for Node's HTTP
// client: see request.js.

const native = require('./addon');
const table = require('./table');
const Address = require('./address');
const Context = require('./context');
const Reconnection = require('./reconnection');
const { capture, scopesOf } = require('./async-scope');
const { Offer } = require('./deflate');
const { detailsOf } = require('./details');
const { endSoon } = require('./ending');
const { contextClosed } = require('./failure');
const { formatHeader } = require('./head');
const { conclude, onNeverConnected } = require('./incoming');
const { abort } = require('./outgoing');
const { limitsOf } = require('./limits');
const { OpeningRequest } = require('./request');
const { clientSecurity } = require('./security');
const {
  checkIfAny,
  checkNumber,
  checkObject,
  checkSignal,
  checkTimeout,
  isToken,
  numberOf,
  received,
} = require('./validation');
const { defer } = require('./waiting');
const { CONNECTING, STAGGERED } = require('./constants');

/** Headers that the handshake itself consists of: given ones are left out, as in ws. */
const OWN_HEADERS = new Set([
  'connection',
  'upgrade',
  'sec-websocket-extensions',
  'sec-websocket-key',
  'sec-websocket-version',
]);

/** Options that the native half understands, or that do not concern it. */
const NATIVE_OPTIONS = new Set([
  'allowSynchronousEvents',
  'auth',
  'autoPong',
  'closeTimeout',
  'context',
  'family',
  'handshakeTimeout',
  'headers',
  'heartbeat',
  'maxBackpressure',
  'maxBufferedChunks',
  'maxControlFrames',
  'maxFragments',
  'maxPayload',
  'maxPendingAutoPongs',
  'maxRedirects',
  'origin',
  'perMessageDeflate',
  'protocols',
  'protocolVersion',
  'proxy',
  'reconnect',
  'signal',
  'skipUTF8Validation',
  // Those that the URL decides.
  'host',
  'hostname',
  'method',
  'path',
  'port',
  'protocol',
  'socketPath',
  'timeout',
  // Those of TLS, which lib/security.js looks at. A `ws:` URL has none.
  'ALPNProtocols',
  'ca',
  'cert',
  'checkServerIdentity',
  'ciphers',
  'key',
  'maxVersion',
  'minVersion',
  'passphrase',
  'pfx',
  'rejectUnauthorized',
  'secureContext',
  'servername',
]);

/** Tells whether the handshake is one for Node's HTTP client. */
function needsRequest(address, options) {
  if (address.socketPath !== undefined || options.protocolVersion === 8) return true;
  if (options.proxy) {
    // Loaded when it is needed: it holds no state.
    const { proxyFor } = require('./proxy/settings');
    if (proxyFor(address, options.proxy) !== null) return true;
  }
  for (const name in options) {
    const value = options[name];
    if (value && !NATIVE_OPTIONS.has(name)) return true;
    if (name === 'setHost' && value === false) return true;
  }
  const { family } = options;
  return family !== undefined && family !== 0 && family !== 4 && family !== 6;
}

/** Returns the offered subprotocols. */
function readProtocols(protocols) {
  const list = Array.isArray(protocols) ? protocols : [protocols];
  for (const [index, protocol] of list.entries()) {
    if (!isToken(protocol) || list.indexOf(protocol) !== index) {
      throw new SyntaxError('An invalid or duplicated subprotocol was specified');
    }
  }
  return list;
}

/** Sorts the given headers: the Host header, whether there is authorization, and lines. */
function readHeaders(headers) {
  const result = { host: undefined, isAuthorized: false, lines: '' };
  for (const name of Object.keys(headers)) {
    const lowerCase = name.toLowerCase();
    if (OWN_HEADERS.has(lowerCase) || headers[name] === undefined) continue;
    const lines = formatHeader(name, headers[name]);
    if (lowerCase === 'host') {
      result.host = String(headers[name]);
    } else {
      result.isAuthorized ||= lowerCase === 'authorization';
      result.lines += lines;
    }
  }
  return result;
}

/** Values of the option `family`, of which Node's HTTP client takes the names. */
const FAMILIES = [0, 4, 6, 'IPv4', 'IPv6'];

/** Checks what does not depend on the way that the handshake takes. */
function checkOptions(options) {
  const { context, family, protocolVersion = 13, signal } = options;
  Context.check(context);
  checkSignal(signal ?? undefined, 'options.signal');
  checkIfAny('string', options.auth, 'options.auth');
  checkIfAny('function', options.finishRequest, 'options.finishRequest');
  checkIfAny('function', options.generateMask, 'options.generateMask');
  if (options.headers) checkObject(options.headers, 'options.headers');
  checkNumber(numberOf(options.maxRedirects), 'options.maxRedirects', 0);
  if (family != null && !FAMILIES.includes(family)) {
    throw new RangeError(`"options.family" must be 4, 6 or 0, ${received(family)}`);
  }
  if (options.proxy) {
    for (const name of ['agent', 'createConnection']) {
      if (options[name]) {
        throw new TypeError(`"options.proxy" and "options.${name}" exclude each other`);
      }
    }
  }
  if (protocolVersion !== 13 && protocolVersion !== 8) {
    throw new RangeError(
      `Unsupported protocol version: ${String(protocolVersion)} (supported versions: 8, 13)`,
    );
  }
}

/** Returns what the native half needs to know about where to go. */
function destinationOf({ address, protocols, options, extension }) {
  const headers = readHeaders(options.headers || {});
  const credentials = address.credentials ?? options.auth;
  let { lines } = headers;
  if (options.origin) lines += formatHeader('Origin', options.origin);
  if (credentials && !headers.isAuthorized) {
    lines += formatHeader('Authorization', `Basic ${Buffer.from(credentials).toString('base64')}`);
  }
  return {
    hostname: address.hostname,
    port: address.port,
    family: options.family ?? 0,
    hostHeader: headers.host ?? address.url.host,
    path: address.path,
    protocols: protocols.length === 0 ? undefined : protocols.join(','),
    extensions: extension === null ? undefined : extension.offer,
    headers: lines,
    serverName: address.isSecure ? (options.servername ?? address.hostname) : undefined,
  };
}

/**
 * Makes what a client offers as an extension (RFC 7692), or null for nothing.
 *
 * @param {boolean | object} perMessageDeflate The option of that name
 * @param {number} maxPayload Largest message in bytes; 0 for no limit
 * @returns {Offer | null} The offer
 */
function offerOf(perMessageDeflate, maxPayload) {
  return perMessageDeflate ? new Offer(perMessageDeflate, maxPayload) : null;
}

/** Gives up the handshake of `websocket` when `signal` aborts. */
function heed(websocket, signal) {
  const onAbort = () => {
    if (websocket._readyState !== CONNECTING) return;
    const error = new Error('The operation was aborted', { cause: signal.reason });
    abort(websocket, Object.assign(error, { name: 'AbortError', code: 'ABORT_ERR' }));
  };
  signal.addEventListener('abort', onAbort, { once: true });
  detailsOf(websocket).forgetSignal = () => signal.removeEventListener('abort', onAbort);
  if (signal.aborted) onAbort();
}

/** Events that bring a response of Node's, be it acceptable or not. */
const RESPONSE_EVENTS = ['unexpected-response', 'upgrade'];

/**
 * A client between its construction and the next tick. It starts natively then, unless a listener
 * for a response, or somebody who looks at the request, wants one of Node's.
 */
class Beginning {
  #websocket;
  #context;
  #wanted;
  #destination;
  #begin = 0;

  constructor(websocket, context, wanted) {
    this.#websocket = websocket;
    this.#context = context;
    this.#wanted = wanted;
    // Its errors are thrown by the constructor.
    this.#destination = destinationOf(wanted);
  }

  /** The http.ClientRequest: there is one from now on. */
  get request() {
    if (this.#websocket._readyState !== CONNECTING) return null;
    useRequest(this.#websocket, this.#context, this.#wanted);
    return this.#websocket._details.handshake.request;
  }

  abandon() {
    // What start() finds concludes it.
  }

  start() {
    const websocket = this.#websocket;
    if (websocket._details.handshake !== this) return;
    new websocket._scope().runInAsyncScope(this.#start, this);
  }

  /** The native half's TLS does not get on with the server: Node's has the last word. */
  #fallBack = () => {
    const { limits } = this.#wanted;
    const spent = Math.ceil(performance.now() - this.#begin);
    const handshakeTimeout =
      limits.handshakeTimeout && Math.max(1, limits.handshakeTimeout - spent);
    this.#wanted.isForNode = true;
    useRequest(this.#websocket, this.#context, {
      ...this.#wanted,
      limits: { ...limits, handshakeTimeout },
    });
  };

  #start() {
    const websocket = this.#websocket;
    const context = this.#context;
    this.#begin = performance.now();
    if (websocket._readyState !== CONNECTING) {
      endSoon(context, () => conclude(websocket));
      return;
    }
    let error;
    try {
      if (context.state !== 'running' && context.state !== 'draining') {
        error = contextClosed('The context is closed', context._cause);
      } else if (RESPONSE_EVENTS.some((name) => websocket.listenerCount(name) > 0)) {
        useRequest(websocket, context, this.#wanted);
        return;
      } else {
        const { limits, security } = this.#wanted;
        const id = native.connect(context._id, this.#destination, limits, security);
        websocket._details.handshake = null;
        if (security !== null) detailsOf(websocket).fallBack = this.#fallBack;
        websocket._id = id;
        table[id] = websocket;
        return;
      }
    } catch (caught) {
      error = caught;
    }
    endSoon(context, () => onNeverConnected(websocket, error));
  }
}

/** Does the handshake through Node's HTTP client. */
function useRequest(websocket, context, wanted) {
  const handshake = new OpeningRequest(websocket, context, wanted);
  websocket._details.handshake = handshake;
  handshake.start();
}

/** Tells whether the handshake is Node's business. If not, `wanted` has what TLS needs. */
function isForNode(wanted) {
  const { address, options } = wanted;
  if (wanted.isForNode || needsRequest(address, options)) return true;
  if (address.isSecure) wanted.security ??= clientSecurity(address.hostname, options);
  wanted.isForNode = address.isSecure && wanted.security === null;
  return wanted.isForNode;
}

/** Starts, or fails on the next tick. */
function start(websocket, context, wanted) {
  if (context.state !== 'running' && context.state !== 'draining') {
    const error = contextClosed('The context is closed', context._cause);
    endSoon(context, () => {
      new websocket._scope().runInAsyncScope(onNeverConnected, undefined, websocket, error);
    });
  } else if (isForNode(wanted)) {
    useRequest(websocket, context, wanted);
  } else {
    const beginning = new Beginning(websocket, context, wanted);
    websocket._details.handshake = beginning;
    defer(beginning);
  }
}

/**
 * Connects a new WebSocket; see its constructor for the arguments.
 *
 * @param {import('./websocket')} websocket The WebSocket
 */
function connect(websocket, address, protocols, options) {
  if (!Array.isArray(protocols) && typeof protocols === 'object' && protocols !== null) {
    options = protocols;
    protocols = undefined;
  }
  options ??= {};
  checkObject(options, 'options');
  if (protocols === undefined) protocols = options.protocols ?? [];

  checkOptions(options);
  const wanted = {
    address: new Address(address),
    protocols: readProtocols(protocols),
    options,
    limits: limitsOf(options, 0),
    connectTimeout: checkTimeout(options.connectTimeout, 'options.connectTimeout', 0),
    extension: null,
    /** How it is secured natively. */
    security: null,
    /** Whether Node's HTTP client is known to be needed. */
    isForNode: false,
  };
  const { perMessageDeflate = true } = options;
  wanted.extension = offerOf(perMessageDeflate, wanted.limits.maxPayload);

  const details = detailsOf(websocket);
  details.url = wanted.address.href;
  details.options = options;
  details.context = options.context ?? Context.default;
  details.extension = wanted.extension;
  if (options.allowSynchronousEvents === false) websocket._flags |= STAGGERED;
  details.scope = scopesOf(capture('WEBSOCKET'));
  const { context } = details;
  if (options.reconnect) {
    details.reconnection = new Reconnection(websocket, context, options, {
      start: () => start(websocket, context, wanted),
      heed: (signal) => heed(websocket, signal),
    });
  }
  start(websocket, context, wanted);
  if (options.signal != null) heed(websocket, options.signal);
}

module.exports = connect;
