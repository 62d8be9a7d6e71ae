'use strict';

const EventEmitter = require('node:events');

const native = require('./addon');
const table = require('./table');
const UpgradeMessage = require('./upgrade-message');
const { isRunning, NO_PROTOCOLS, open, prepare, readOffer, verify } = require('./decision');
const { format: formatDeflate } = require('./deflate');
const { failureOf } = require('./failure');
const { acceptOf, findFault, isUpgrade } = require('./handshake');
const { formatHeaders } = require('./head');
const { onAccepted } = require('./incoming');
const { limitsOf } = require('./limits');
const { EMPTY_BUFFER, LISTENING, NONE, SERVER_ERROR } = require('./constants');

/** Options that a native listener gives to its connections. */
const LIMITS = ['autoPong', 'closeTimeout', 'maxFragments', 'maxPayload', 'skipUTF8Validation'];

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

  /**
   * Starts to listen.
   *
   * @param {import('./websocket-server')} server The server
   * @param {{ host?: string, port: number, backlog: number }} address Where to listen
   * @param {object} limits Limits of its connections
   * @param {object} methods handleUpgrade() and completeUpgrade() as they are if nobody replaces them
   * @throws {Error} If the context takes no listener
   */
  constructor(server, address, limits, methods) {
    super();
    this.#server = server;
    this.#methods = methods;
    this.#id = native.serverListen(server.context._id, address, limits);
    this.#given = { ...server.options };
    table[this.#id] = this;
    if (this.#isReplaced('handleUpgrade')) this._reportRefusals(true);
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

  /** Tells whether this is the listener of `server`. */
  isOf(server) {
    return this.#server === server;
  }

  /** Takes a record of the native half; for lib/deliver.js. */
  _report(kind) {
    const server = this.#server;
    if (kind === LISTENING) {
      this.emit('listening');
      server._listening();
    } else if (kind === SERVER_ERROR) {
      const error = failureOf(this.#id, server.context._cause);
      this.#hasFailed = true;
      server.emit('error', error);
    } else {
      table[this.#id] = undefined;
      this.#id = NONE;
      if (!this.#hasFailed) this.emit('close');
      server._closed(this.#hasFailed || this.#isQuiet);
    }
  }

  /** Decides on a request; for lib/deliver.js. */
  _decide(request, id, flags) {
    const server = this.#server;
    try {
      if (!isRunning(server)) return native.reject(id, 503, '', '');
      if ((flags & NOT_ACCEPTABLE) !== 0) {
        if (!isUpgrade(request)) {
          return native.reject(id, 426, 'Upgrade Required', 'Upgrade: websocket\r\n');
        }
      }
      if (this.#isReplaced('handleUpgrade') || this.#isReplaced('completeUpgrade')) {
        server.handleUpgrade(request, request.socket, EMPTY_BUFFER, this.#announce);
        return undefined;
      }
      const fault = (flags & NOT_ACCEPTABLE) === 0 ? null : findFault(request);
      if (fault !== null) return this.#report(request, id, fault);
      if (!server.shouldHandle(request)) return native.reject(id, 400, '', '');
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
      if ((flags & NOT_ACCEPTABLE) !== 0) return native.reject(id, 400, '', '');
      if (!server.options.verifyClient) {
        this.#accept(request, id, protocols, deflate);
        return undefined;
      }
      verify(server, request, (isVerified, status, message, extra) => {
        // The connection may have gone, or been decided on.
        if (table[id] !== request) return;
        if (isVerified) this.#accept(request, id, protocols, deflate);
        else refuse(id, status, message, extra);
      });
    } catch (error) {
      // Nobody else will answer. Does nothing if it was accepted before.
      native.reject(id, 500, '', '');
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
      refuse(id, status, message, headers);
    }
  }

  #accept(request, id, protocols, deflate) {
    const server = this.#server;
    const { websocket, protocol, lines } = prepare(server, protocols, deflate, request, () =>
      acceptOf(UpgradeMessage.header(request, 'sec-websocket-key')),
    );
    // A handler may have ended the server or its context.
    if (!isRunning(server)) {
      native.reject(id, 503, '', '');
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

/** Refuses a request as verifyClient wants it. */
function refuse(id, status, message = '', headers = {}) {
  let lines;
  try {
    lines = formatHeaders(headers);
  } catch (error) {
    native.reject(id, 500, '', '');
    throw error;
  }
  native.reject(id, Number(status), String(message), lines);
}

/** Returns the header line that names what was agreed on, or ''. */
function extensionLine(deflate) {
  return deflate === null ? '' : `Sec-WebSocket-Extensions: ${formatDeflate(deflate)}\r\n`;
}

module.exports = NativeListener;
