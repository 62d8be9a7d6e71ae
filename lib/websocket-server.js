'use strict';

const EventEmitter = require('node:events');

const native = require('./addon');
const table = require('./table');
const subprotocol = require('./subprotocol');
const Context = require('./context');
const UpgradeMessage = require('./upgrade-message');
const WebSocket = require('./websocket');
const { adopt, descriptorOf } = require('./adoption');
const { captureScope } = require('./async-scope');
const { contextClosed, failureOf, notSupported } = require('./failure');
const { acceptOf, findFault, refuseUpgrade, versionOf } = require('./handshake');
const { checkHeaderLine, formatHeaders } = require('./head');
const { onAccepted } = require('./incoming');
const { limitsOf } = require('./limits');
const { check, received } = require('./validation');
const {
  CLOSE_TIMEOUT,
  HANDSHAKE_TIMEOUT,
  LISTENING,
  MAX_FRAGMENTS,
  MAX_PAYLOAD,
  NONE,
  PHASES,
  SERVER_ERROR,
} = require('./constants');

/** As in Node. */
const DEFAULT_BACKLOG = 511;

// States of a server, with the numbers of ws.
const RUNNING = 0;
const CLOSING = 1;
const CLOSED = 2;

/** Marks sockets that have been upgraded already. */
const kUpgraded = Symbol('upgraded');

/** What a request without subprotocols offers. */
const NO_PROTOCOLS = new Set();

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

/**
 * A WebSocket server, with the API of `ws`: a listener of its own, or the upgrades of an HTTP
 * server.
 *
 * Events: 'listening', 'connection' (websocket, request), 'headers' (lines, request), 'error',
 * 'wsClientError' (error, socket, request) and 'close'.
 *
 * @extends EventEmitter
 */
class WebSocketServer extends EventEmitter {
  /** Number of the native listener, or NONE. */
  #id = NONE;
  #context;
  /** Whether listening has failed. */
  #hasFailed = false;
  /** Whether 'close' waits for the last tracked client. */
  #waitsForClients = false;
  /** Removes the listeners from the HTTP server. */
  #removeListeners = null;

  /**
   * One and only one of `port`, `server` and `noServer` is given. `options` stays readable and
   * writable as `server.options`, and is read at each handshake.
   *
   * @param {object} options
   * @param {boolean} [options.autoPong=true] Whether to answer PING frames
   * @param {number} [options.backlog=511] Length of the queue of connections to accept
   * @param {boolean} [options.clientTracking=true] Whether to keep `clients`
   * @param {number} [options.closeTimeout=30000] Milliseconds from our Close frame to the end of a
   *   connection, at the latest
   * @param {Context} [options.context] The context to join; the default one without it
   * @param {Function} [options.handleProtocols] Chooses a subprotocol: (Set, request) => string or
   *   false. The first one without it
   * @param {number} [options.handshakeTimeout=10000] Milliseconds from accepting a connection to
   *   the end of its request's head
   * @param {string} [options.host] Name or address to bind to; all addresses without it
   * @param {number} [options.maxFragments=16384] Most fragments of one message; 0 for no limit
   * @param {number} [options.maxPayload=104857600] Largest message in bytes; 0 for no limit
   * @param {boolean} [options.noServer=false] Whether only handleUpgrade() brings connections
   * @param {string} [options.path] The only path to accept
   * @param {number} [options.port] Port to listen on; 0 lets the system choose
   * @param {import('node:http').Server} [options.server] HTTP server to take upgrades of
   * @param {boolean} [options.skipUTF8Validation=false] Whether to deliver text without checking
   *   that it is UTF-8
   * @param {Function} [options.verifyClient] Decides on a request: (info) => boolean, or
   *   (info, callback(result, code, name, headers))
   * @param {Function} [options.WebSocket=WebSocket] Class of the connections: WebSocket or a
   *   subclass
   * @param {Function} [callback] Listener for 'listening', with `port`
   */
  constructor(options, callback) {
    super();
    options = { ...DEFAULTS, ...options };
    const { context, noServer, port, server } = options;
    if ((port != null) + Boolean(server) + Boolean(noServer) !== 1) {
      throw new TypeError(
        'One and only one of the "port", "server", or "noServer" options must be specified',
      );
    }
    if (context !== undefined && !(context instanceof Context)) {
      throw new TypeError(`"options.context" must be a Context, ${received(context)}`);
    }
    if (typeof server?.setSecureContext === 'function') {
      throw notSupported('Servers of TLS are not supported yet');
    }
    const limits = limitsOf(options, HANDSHAKE_TIMEOUT);
    const address = port == null ? null : addressOf(options);

    this.options = options;
    this._state = RUNNING;
    /** The HTTP server, with the `server` option. */
    this._server = null;
    if (options.clientTracking) this.clients = new Set();
    this.#context = context ?? Context.default;
    Object.defineProperty(this, '_scope', { value: captureScope('WEBSOCKETSERVER') });
    Context.join(this.#context, this);

    if (address !== null) {
      if (typeof callback === 'function') this.once('listening', callback);
      this.#listen(address, limits);
    } else if (server) {
      this._server = server;
      this.#removeListeners = addListeners(server, {
        listening: () => {
          this.emit('listening');
          this.#context.emit('listening', this);
        },
        error: (error) => this.emit('error', error),
        upgrade: (request, socket, head) => {
          this.handleUpgrade(request, socket, head, (websocket) => {
            this.emit('connection', websocket, request);
          });
        },
      });
    }
  }

  #listen(address, limits) {
    let error;
    if (this.#context._phase === PHASES.RUNNING) {
      try {
        this.#id = native.serverListen(this.#context._id, address, limits);
        table[this.#id] = this;
        return;
      } catch (caught) {
        error = caught;
      }
    } else {
      error = contextClosed('The context does not accept servers any more', this.#context._cause);
    }
    process.nextTick(() => this.emit('error', error));
  }

  /** The context that this server belongs to. */
  get context() {
    return this.#context;
  }

  /**
   * Returns where the server listens: `{ address, family, port }`, or null before that and after.
   *
   * @throws {Error} With the `noServer` option
   */
  address() {
    if (this.options.noServer) {
      throw new Error('The server is operating in "noServer" mode');
    }
    if (this._server !== null) return this._server.address();
    if (this.#id === NONE || this._state !== RUNNING) return null;
    return native.serverAddress(this.#id);
  }

  /**
   * Stops accepting connections. Open ones stay; 'close' follows when the last of them is gone, or
   * at once where that is not known.
   *
   * @param {Function} [callback] Listener for 'close'; gets an Error if the server was closed
   */
  close(callback) {
    if (this._state === CLOSED) {
      if (callback) {
        this.once('close', () => callback(new Error('The server is not running')));
      }
      process.nextTick(emitClose, this);
      return;
    }
    if (callback) this.once('close', callback);
    if (this._state === CLOSING) return;
    this._state = CLOSING;

    if (this.#removeListeners !== null) {
      this.#removeListeners();
      this.#removeListeners = null;
      this._server = null;
    }
    if (this.#id !== NONE) {
      native.serverClose(this.#id);
    } else if (this.clients !== undefined && this.clients.size > 0) {
      this.#waitsForClients = true;
    } else {
      process.nextTick(emitCloseOnce, this);
    }
  }

  /**
   * Decides whether a request is for this server. May be replaced.
   *
   * @param {http.IncomingMessage} request The request
   * @returns {boolean} Whether it is
   */
  shouldHandle(request) {
    const { path } = this.options;
    if (!path) return true;
    const [pathname] = request.url.split('?', 1);
    return pathname === path;
  }

  /**
   * Upgrades a connection of Node's HTTP server, which becomes a native one.
   *
   * @param {http.IncomingMessage} request The request
   * @param {import('node:net').Socket} socket The connection
   * @param {Buffer} head What came behind the request
   * @param {Function} callback Called with the WebSocket and the request
   * @throws {Error} If the socket was upgraded before, or is none of a plain TCP connection
   */
  handleUpgrade(request, socket, head, callback) {
    socket.on('error', destroyOnError);

    const refuse = (status, message, extra) => {
      if (this.listenerCount('wsClientError') > 0) {
        this.emit('wsClientError', new Error(message), socket, request);
      } else {
        refuseUpgrade(socket, status, message, extra);
      }
    };
    const fault = findFault(request);
    if (fault !== null) return refuse(fault.status, fault.message, fault.headers);
    if (!this.shouldHandle(request)) return refuseUpgrade(socket, 400);

    const { headers } = request;
    let protocols = NO_PROTOCOLS;
    if (headers['sec-websocket-protocol'] !== undefined) {
      try {
        protocols = subprotocol.parse(headers['sec-websocket-protocol']);
      } catch {
        return refuse(400, 'Invalid Sec-WebSocket-Protocol header');
      }
    }

    this.#verify(request, (isVerified, status, message, extra) => {
      if (isVerified) {
        const key = headers['sec-websocket-key'];
        this.completeUpgrade({}, key, protocols, request, socket, head, callback);
      } else {
        refuseUpgrade(socket, status, message, extra);
      }
    });
  }

  /**
   * Upgrades a connection whose request has been checked.
   *
   * @private
   */
  completeUpgrade(extensions, key, protocols, request, socket, head, callback) {
    if (socket[kUpgraded]) {
      throw new Error(
        'server.handleUpgrade() was called more than once with the same socket, possibly due to a misconfiguration',
      );
    }
    // The client has gone, or half of it.
    if (!socket.readable || !socket.writable) return socket.destroy();
    if (!this.#isRunning()) return refuseUpgrade(socket, 503);
    try {
      descriptorOf(socket);
    } catch (error) {
      refuseUpgrade(socket, 501);
      throw error;
    }
    // Data that was written in front of the response: nobody can wait for it here.
    if (socket.writableLength > 0) return socket.destroy();
    socket[kUpgraded] = true;

    let websocket;
    let protocol;
    let id;
    try {
      let lines;
      ({ websocket, protocol, lines } = this.#prepare(protocols, request, () => acceptOf(key)));
      // A handler may have ended the server or its context.
      if (!this.#isRunning()) return refuseUpgrade(socket, 503);
      const response = [
        'HTTP/1.1 101 Switching Protocols',
        'Upgrade: websocket',
        'Connection: Upgrade',
        `Sec-WebSocket-Accept: ${acceptOf(key)}`,
        ...(protocol ? [`Sec-WebSocket-Protocol: ${protocol}`] : []),
        ...lines,
        '\r\n',
      ].join('\r\n');
      id = adopt(this.#context, socket, head, response, limitsOf(this.options, 0));
    } catch (error) {
      // Nobody else will answer.
      refuseUpgrade(socket, 500);
      throw error;
    }
    socket.removeListener('error', destroyOnError);
    this.#open(websocket, id, protocol);
    callback(websocket, request);
    this.#context.emit('connection', websocket, request, this);
  }

  #isRunning() {
    return this._state === RUNNING && this.#context._phase === PHASES.RUNNING;
  }

  /**
   * Asks `verifyClient`, if there is one.
   *
   * @param {Function} decide Called once with the answer: (isVerified, status, message, headers)
   */
  #verify(request, decide) {
    const { verifyClient } = this.options;
    if (!verifyClient) return decide(true);
    const { headers, socket } = request;
    const info = {
      origin: headers[versionOf(request) === 8 ? 'sec-websocket-origin' : 'origin'],
      secure: Boolean(socket.authorized || socket.encrypted),
      req: request,
    };
    if (verifyClient.length === 2) {
      verifyClient(info, (isVerified, status = 401, message, extra) => {
        decide(isVerified, status || 401, message, extra);
      });
    } else {
      decide(verifyClient(info), 401);
    }
  }

  /**
   * Makes the WebSocket, chooses the subprotocol and asks the 'headers' listeners.
   *
   * @returns {{ websocket: WebSocket, protocol: string, lines: string[] }} `lines` are those that
   *   the listeners have added
   */
  #prepare(protocols, request, accept) {
    const websocket = new this.options.WebSocket(null, undefined, this.options);
    let protocol = '';
    if (protocols.size > 0) {
      const { handleProtocols } = this.options;
      const [first] = protocols;
      protocol = (handleProtocols ? handleProtocols(protocols, request) : first) || '';
      if (protocol) checkHeaderLine(`Sec-WebSocket-Protocol: ${protocol}`);
    }
    if (this.listenerCount('headers') === 0) return { websocket, protocol, lines: [] };

    const lines = [
      'HTTP/1.1 101 Switching Protocols',
      'Upgrade: websocket',
      'Connection: Upgrade',
      `Sec-WebSocket-Accept: ${accept()}`,
    ];
    if (protocol) lines.push(`Sec-WebSocket-Protocol: ${protocol}`);
    const own = new Set(lines);
    this.emit('headers', lines, request);
    const added = lines.filter((line) => !own.has(line));
    added.forEach(checkHeaderLine);
    return { websocket, protocol, lines: added };
  }

  /** Opens a WebSocket on an open native connection. */
  #open(websocket, id, protocol) {
    onAccepted(websocket, this, id, protocol);
    if (this.clients !== undefined) this.clients.add(websocket);
  }

  /** Decides on the request of a native connection; for lib/deliver.js. */
  _decide(request, id, hasProtocols) {
    try {
      if (!this.#isRunning()) return native.reject(id, 503, '', '');
      if (!this.shouldHandle(request)) return native.reject(id, 400, '', '');
      let protocols = NO_PROTOCOLS;
      if (hasProtocols) {
        try {
          protocols = subprotocol.parse(request.headers['sec-websocket-protocol']);
        } catch {
          const message = 'Invalid Sec-WebSocket-Protocol header';
          return native.reject(id, 400, message, '');
        }
      }
      if (!this.options.verifyClient) {
        this.#accept(request, id, protocols);
        return undefined;
      }
      this.#verify(request, (isVerified, status, message, extra) => {
        // The connection may have gone, or been decided on.
        if (table[id] !== request) return;
        if (isVerified) this.#accept(request, id, protocols);
        else this.#refuse(id, status, message, extra);
      });
    } catch (error) {
      // Nobody else will answer. Does nothing if it was accepted before.
      native.reject(id, 500, '', '');
      throw error;
    }
    return undefined;
  }

  /** Refuses the request of a native connection as verifyClient wants it. */
  #refuse(id, status, message = '', headers = {}) {
    let lines;
    try {
      lines = formatHeaders(headers);
    } catch (error) {
      native.reject(id, 500, '', '');
      throw error;
    }
    native.reject(id, Number(status), String(message), lines);
  }

  #accept(request, id, protocols) {
    const { websocket, protocol, lines } = this.#prepare(protocols, request, () =>
      acceptOf(UpgradeMessage.header(request, 'sec-websocket-key')),
    );
    // A handler may have ended the server or its context.
    if (!this.#isRunning()) {
      native.reject(id, 503, '', '');
      return;
    }
    const extra = lines.length === 0 ? '' : `${lines.join('\r\n')}\r\n`;
    // Not accepted if the client has gone meanwhile.
    if (!native.accept(id, protocol || undefined, extra)) return;
    UpgradeMessage.attach(request, websocket);
    this.#open(websocket, id, protocol);
    this.emit('connection', websocket, request);
    if (this.#context.listenerCount('connection') > 0) {
      this.#context.emit('connection', websocket, request, this);
    }
  }

  /** A record of the native listener; for lib/deliver.js. */
  _report(kind) {
    if (kind === LISTENING) {
      if (this._state !== RUNNING) return;
      this.emit('listening');
      this.#context.emit('listening', this);
    } else if (kind === SERVER_ERROR) {
      const error = failureOf(this.#id, this.#context._cause);
      this.#hasFailed = true;
      this.emit('error', error);
    } else {
      table[this.#id] = undefined;
      this.#id = NONE;
      // A server that could not listen has nothing to close, until close() is called.
      if (!this.#hasFailed || this._state === CLOSING) emitClose(this);
    }
  }

  /** The context does not accept connections any more; for lib/context.js. */
  _retire() {
    if (this._state === RUNNING) this.close();
  }

  /** The context has ended; for lib/context.js. */
  _conclude() {
    emitCloseOnce(this);
  }

  /** A connection of this server is gone; for lib/incoming.js. */
  _forget(websocket) {
    if (this.clients === undefined) return;
    this.clients.delete(websocket);
    if (this.#waitsForClients && this.clients.size === 0) {
      this.#waitsForClients = false;
      process.nextTick(emitCloseOnce, this);
    }
  }
}

/** Adds listeners by event, and returns a function that removes them. */
function addListeners(emitter, listeners) {
  for (const event of Object.keys(listeners)) emitter.on(event, listeners[event]);
  return () => {
    for (const event of Object.keys(listeners)) emitter.removeListener(event, listeners[event]);
  };
}

function emitClose(server) {
  server._state = CLOSED;
  Context.leave(server.context, server);
  server.emit('close');
}

/** The end of the context may come between the decision to emit 'close' and doing so. */
function emitCloseOnce(server) {
  if (server._state !== CLOSED) emitClose(server);
}

function destroyOnError() {
  this.destroy();
}

module.exports = WebSocketServer;
