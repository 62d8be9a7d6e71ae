'use strict';

const EventEmitter = require('node:events');

const native = require('./addon');
const table = require('./table');
const UpgradeMessage = require('./upgrade-message');
const { runOnce } = require('./async-scope');
const { isRunning, NO_PROTOCOLS, open, prepare, readOffer, verify } = require('./decision');
const { format: formatDeflate } = require('./deflate');
const { isLogging, logRefusal, tellServerError } = require('./diagnostics');
const { failureOf } = require('./failure');
const { acceptOf, findFault, isUpgrade } = require('./handshake');
const { formatHeaders } = require('./head');
const { onAccepted } = require('./incoming');
const { authorityOf } = require('./hosts');
const { limitsOf } = require('./limits');
const { EMPTY_BUFFER, LISTENING, NONE, SERVER_ERROR } = require('./constants');

/** Options that a native listener gives to its connections. */
const LIMITS = [
  'autoPong',
  'closeTimeout',
  'heartbeat',
  'maxBackpressure',
  'maxControlFrames',
  'maxFragments',
  'maxPayload',
  'skipUTF8Validation',
];

// Flags of an UPGRADE record.
const HAS_PROTOCOLS = 1;
const HAS_EXTENSIONS = 2;
/** The native half would refuse it. */
const NOT_ACCEPTABLE = 4;

/**
 * The listener of a WebSocketServer with the option `port`. It stands for the HTTP server that ws
 * makes for that.
 *
 * @extends EventEmitter
 */
class NativeListener extends EventEmitter {
  /** Number of the native half, or NONE. */
  #id;
  #server;
  /** The options whose values the native half has. */
  #given;
  /** Methods that a server may have replaced. */
  #methods;
  /** Whether listening has failed. */
  #hasFailed = false;
  /** Whether close() was called here, instead of on the server. */
  #isQuiet = false;
  /** What takes requests that are none for a WebSocket, or null. */
  #beside;

  /**
   * Starts to listen.
   *
   * @param {import('./websocket-server')} server The server
   * @param {object} address Where to listen, and how
   * @param {object} limits Limits of its connections
   * @param {object | null} security How its connections are secured, as lib/security.js makes it
   * @param {import('./http-beside').HttpBeside | null} beside What takes other requests
   * @param {object} methods handleUpgrade() and completeUpgrade() as they are if nobody replaces them
   * @throws {Error} If the context takes no listener
   */
  constructor(server, address, limits, security, beside, methods) {
    super();
    this.#server = server;
    this.#methods = methods;
    const { host, port, backlog, hostname, strictHost, maxPendingHandshakes } = address;
    const admission = server._admission?.id;
    const where = { host, port, backlog, hostname, strictHost, maxPendingHandshakes, admission };
    this.#id = native.serverListen(server.context._id, where, limits, security);
    this.#given = { ...server.options };
    this.#beside = beside;
    table[this.#id] = this;
    if (beside !== null) native.serverReportHttp(this.#id);
    this._reportRefusals(this.#isReplaced('handleUpgrade'));
    if (isLogging) native.serverLogRefusals(this.#id);
    // Connections are reported before their request only if somebody wants to know.
    this.on('newListener', (name) => {
      if (name === 'connection') this.#reportConnections(true);
    });
    this.on('removeListener', (name) => {
      if (name === 'connection') this.#reportConnections(this.listenerCount(name) > 0);
    });
  }

  #isReplaced(method) {
    return this.#server[method] !== this.#methods[method];
  }

  #reportConnections(report) {
    if (this.#id !== NONE) native.serverReportConnections(this.#id, report);
  }

  /** Class of the async scopes that events are emitted in. */
  get _scope() {
    return this.#server._scope;
  }

  get listening() {
    return this.address() !== null;
  }

  address() {
    return this.#id === NONE ? null : native.serverAddress(this.#id);
  }

  /** Stops accepting, as http.Server does: the WebSocketServer is not closed by it. */
  close(callback) {
    if (typeof callback === 'function') this.once('close', callback);
    this.#isQuiet = true;
    this._stop();
    return this;
  }

  ref() {
    if (this.#id !== NONE) native.serverSetRef(this.#id, true);
    return this;
  }

  unref() {
    if (this.#id !== NONE) native.serverSetRef(this.#id, false);
    return this;
  }

  /** Stops accepting; a record says when the last connection is gone. */
  _stop() {
    if (this.#id !== NONE) native.serverClose(this.#id);
  }

  /** Lets JavaScript decide on what is not acceptable, too. */
  _reportRefusals(report) {
    if (this.#id !== NONE) native.serverReportRefusals(this.#id, report);
  }

  /** Secures connections from now on by `security`. */
  _setSecurity(security) {
    if (this.#id !== NONE) native.serverSetSecurity(this.#id, security);
  }

  /** Shows other certificates to clients that ask for `name`. */
  _setName(name, identities) {
    if (this.#id !== NONE) native.serverSetName(this.#id, name, identities);
  }

  /** A connection has failed before its request; for lib/deliver.js. */
  _clientFailed(text) {
    const [code, message, remoteAddress] = text.split('\n');
    this.#server._clientFailed(Object.assign(new Error(message), { code, remoteAddress }));
  }

  /** A head was refused natively; for lib/deliver.js. */
  _refused(text, status) {
    const [reason, url] = text.split('\n');
    logRefusal(this.#server, { url }, status, reason);
  }

  /** Opening handshakes that are under way, and refused ones whose connections are not gone. */
  get pendingHandshakes() {
    return this.#id === NONE ? 0 : native.serverPending(this.#id);
  }

  /** The server that it listens for. */
  get server() {
    return this.#server;
  }

  /** Tells whether this is the listener of `server`. */
  isOf(server) {
    return this.#server === server;
  }

  /** Takes a record of the native half; for lib/deliver.js. */
  _report(kind) {
    runOnce(this.#server._captured, this.#take, this, kind);
  }

  #take(kind) {
    const server = this.#server;
    if (kind === LISTENING) {
      this.#beside?.listening();
      this.emit('listening');
      server._listening();
    } else if (kind === SERVER_ERROR) {
      const error = failureOf(this.#id, server.context._cause);
      this.#hasFailed = true;
      tellServerError(server, error);
      server.emit('error', error);
    } else {
      table[this.#id] = undefined;
      this.#id = NONE;
      if (!this.#hasFailed) this.emit('close');
      server._closed(this.#hasFailed || this.#isQuiet);
    }
  }

  /** What takes requests that are none for a WebSocket, or null. */
  get beside() {
    return this.#beside;
  }

  /** Finds the listener of this port that a request is for; null if there is none. */
  find(request) {
    // Who is closing finishes what has begun.
    if (!isRunning(this.#server)) return this;
    return table[native.serverSelect(this.#id, authorityOf(request))] ?? null;
  }

  /** Takes a request that is none for a WebSocket; for lib/deliver.js. */
  _leaveToHttp(id) {
    if (isRunning(this.#server)) this.#beside.take(id);
    else native.reject(id, 503, '', '');
  }

  /** Decides on a request; for lib/deliver.js. */
  _decide(request, id, flags) {
    const server = this.#server;
    try {
      if (!isRunning(server)) return this.#reject(request, id, 503);
      if ((flags & NOT_ACCEPTABLE) !== 0) {
        if (!isUpgrade(request)) {
          return this.#reject(request, id, 426, 'Upgrade Required', 'Upgrade: websocket\r\n');
        }
      }
      if (this.#isReplaced('handleUpgrade') || this.#isReplaced('completeUpgrade')) {
        server.handleUpgrade(request, request.socket, EMPTY_BUFFER, this.#announce);
        return undefined;
      }
      const fault = (flags & NOT_ACCEPTABLE) === 0 ? null : findFault(request);
      if (fault !== null) return this.#report(request, id, fault);
      if (!server.shouldHandle(request)) return this.#reject(request, id, 400);
      let protocols = NO_PROTOCOLS;
      let deflate = null;
      const wantsDeflate = (flags & HAS_EXTENSIONS) !== 0 && server.options.perMessageDeflate;
      if ((flags & (HAS_PROTOCOLS | NOT_ACCEPTABLE)) !== 0 || wantsDeflate) {
        const offer = readOffer(server, request);
        if (offer.fault !== null) {
          return this.#report(request, id, { status: 400, message: offer.fault });
        }
        ({ protocols, deflate } = offer);
      }
      if ((flags & NOT_ACCEPTABLE) !== 0) return this.#reject(request, id, 400);
      if (!server.options.verifyClient && !server.options.allowedOrigins) {
        this.#accept(request, id, protocols, deflate);
        return undefined;
      }
      verify(server, request, (isVerified, status, message, extra) => {
        // The connection may have gone, or been decided on.
        if (table[id] !== request) return;
        if (isVerified) this.#accept(request, id, protocols, deflate);
        else this.#refuse(request, id, status, message, extra);
      });
    } catch (error) {
      // Nobody else will answer. It may have been accepted before.
      if (table[id] === request) this.#reject(request, id, 500);
      throw error;
    }
    return undefined;
  }

  /** Refuses a request, or lets a 'wsClientError' listener do so. */
  #report(request, id, { status, message, headers }) {
    const server = this.#server;
    if (server.listenerCount('wsClientError') > 0) {
      server.emit('wsClientError', new Error(message), request.socket, request);
    } else {
      this.#refuse(request, id, status, message, headers);
    }
  }

  /** Refuses a request as verifyClient wants it. */
  #refuse(request, id, status, message = '', headers = {}) {
    let lines;
    try {
      lines = formatHeaders(headers);
    } catch (error) {
      this.#reject(request, id, 500);
      throw error;
    }
    this.#reject(request, id, Number(status), String(message), lines);
  }

  #reject(request, id, status, body = '', lines = '') {
    logRefusal(this.#server, request, status, body);
    native.reject(id, status, body, lines);
  }

  #accept(request, id, protocols, deflate) {
    const server = this.#server;
    const { websocket, protocol, lines } = prepare(server, protocols, deflate, request, () =>
      acceptOf(UpgradeMessage.header(request, 'sec-websocket-key')),
    );
    // A handler may have ended the server or its context.
    if (!isRunning(server)) {
      this.#reject(request, id, 503);
      return;
    }
    if (LIMITS.some((name) => server.options[name] !== this.#given[name])) {
      native.connectionConfigure(id, limitsOf(server.options, 0));
    }
    // Not accepted if the client has gone meanwhile.
    const isAccepted =
      lines === null
        ? native.accept(id, protocol || undefined, extensionLine(deflate))
        : native.acceptWith(id, `${lines.join('\r\n')}\r\n\r\n`);
    if (!isAccepted) return;
    UpgradeMessage.attach(request, websocket);
    onAccepted(websocket, server, id, protocol);
    open(server, websocket, deflate, request, this.#announce);
  }

  /** Emits 'connection'. */
  #announce = (websocket, request) => this.#server.emit('connection', websocket, request);
}

/** Returns the header line that names what was agreed on, or ''. */
function extensionLine(deflate) {
  return deflate === null ? '' : `Sec-WebSocket-Extensions: ${formatDeflate(deflate)}\r\n`;
}

module.exports = NativeListener;
