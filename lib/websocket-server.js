'use strict';

const EventEmitter = require('node:events');

const Context = require('./context');
const NativeListener = require('./native-listener');
const { captureScope } = require('./async-scope');
const { checkSubOptions } = require('./deflate');
const { STATES } = require('./decision');
const { contextClosed } = require('./failure');
const { decideOnStream, isHttp2, listenersOf } = require('./http2-upgrade');
const { limitsOf } = require('./limits');
const { broadcast, publish } = require('./publishing');
const { addressOf, DEFAULTS } = require('./server-options');
const { subscribersOf } = require('./topics');
const { completeOnSocket, decideOnSocket } = require('./upgrade');
const { received } = require('./validation');
const { HANDSHAKE_TIMEOUT, PHASES } = require('./constants');

const { CLOSED, CLOSING, RUNNING } = STATES;

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
  #context;
  /** The native listener, with `port`, until it is closed. */
  #listener = null;
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
    const limits = limitsOf(options, HANDSHAKE_TIMEOUT);
    const address = port == null ? null : addressOf(options);

    if (options.perMessageDeflate === true) options.perMessageDeflate = {};
    if (options.perMessageDeflate) checkSubOptions(options.perMessageDeflate);
    this.options = options;
    this._state = RUNNING;
    /** The HTTP server, or what stands for it with `port`. */
    this._server = null;
    /** Topics with subscribers, by name. */
    this._topics = null;
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
        ...(isHttp2(server) &&
          listenersOf(server, (stream, headers) => {
            this.handleStream(stream, headers, (websocket, request) => {
              this.emit('connection', websocket, request);
            });
          })),
      });
    }
  }

  #listen(address, limits) {
    let error;
    if (this.#context._phase === PHASES.RUNNING) {
      try {
        this.#listener = new NativeListener(this, address, limits, WebSocketServer.prototype);
        this._server = this.#listener;
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
    return this._server === null ? null : this._server.address();
  }

  // A native listener refuses by itself what cannot be accepted, unless somebody asks for
  // 'wsClientError'.

  on(name, listener) {
    super.on(name, listener);
    return this.#heed(name);
  }

  addListener(name, listener) {
    return this.on(name, listener);
  }

  prependListener(name, listener) {
    super.prependListener(name, listener);
    return this.#heed(name);
  }

  removeListener(name, listener) {
    super.removeListener(name, listener);
    return this.#heed(name);
  }

  off(name, listener) {
    return this.removeListener(name, listener);
  }

  removeAllListeners(...names) {
    super.removeAllListeners(...names);
    return this.#heed('wsClientError');
  }

  #heed(name) {
    if (name === 'wsClientError' && this.#listener !== null) {
      this.#listener._reportRefusals(this.listenerCount(name) > 0);
    }
    return this;
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
    }
    this._server = null;
    if (this.#listener !== null) {
      this.#listener._stop();
    } else if (this.clients !== undefined && this.clients.size > 0) {
      this.#waitsForClients = true;
    } else {
      process.nextTick(emitCloseOnce, this);
    }
  }

  // Messages to many: not in ws.

  /**
   * Sends a message to all subscribers of a topic.
   *
   * @param {string} topic The topic
   * @param {string | ArrayBuffer | SharedArrayBuffer | ArrayBufferView} data The message; a string is
   *   sent as text, anything else as binary
   * @param {object} [options]
   * @param {boolean} [options.binary] Whether to send a binary message
   * @param {boolean} [options.compress=true] Whether to compress it, where that was agreed on
   * @param {number} [options.maxBackpressure=1048576] Who has more bytes unsent does not get the
   *   message
   * @param {'drop' | 'close'} [options.overflow='drop'] Whether to terminate such a connection, too
   * @returns {number} How many connections the message went to
   * @throws {TypeError | RangeError} If an argument is not that; nothing was sent then
   */
  publish(topic, data, options) {
    return publish(this, topic, data, options);
  }

  /**
   * Sends a message to all `clients`. Arguments and result are as in publish().
   *
   * @throws {Error} Without the option `clientTracking`
   */
  broadcast(data, options) {
    return broadcast(this, data, options);
  }

  /**
   * Returns how many connections have subscribed to a topic.
   *
   * @param {string} topic The topic
   * @throws {TypeError} If it is no string
   */
  numSubscribers(topic) {
    return subscribersOf(this, topic);
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
   * Upgrades a connection of Node's HTTP server, which becomes a native one; or any other stream,
   * which goes on to carry the bytes.
   *
   * @param {http.IncomingMessage} request The request, or an object with its `method`, `url` and
   *   `headers`
   * @param {import('node:stream').Duplex} socket The connection
   * @param {Buffer} head What came behind the request
   * @param {Function} callback Called with the WebSocket and the request
   * @throws {Error} If the socket was upgraded before
   */
  handleUpgrade(request, socket, head, callback) {
    decideOnSocket(this, request, socket, head, callback);
  }

  /**
   * Upgrades a connection whose request has been checked.
   *
   * @private
   */
  completeUpgrade(extensions, key, protocols, request, socket, head, callback) {
    completeOnSocket(this, extensions, key, protocols, request, socket, head, callback);
  }

  /**
   * Accepts a WebSocket over HTTP/2 (RFC 8441): a stream of an extended CONNECT request. The server
   * of HTTP/2 must have the setting `enableConnectProtocol`. The checks and hooks are those of
   * handleUpgrade(); `request.stream` is the stream.
   *
   * @param {import('node:http2').ServerHttp2Stream} stream The stream
   * @param {object} headers The request's headers, as the 'stream' event gives them
   * @param {Function} callback Called with the WebSocket and the request
   */
  handleStream(stream, headers, callback) {
    decideOnStream(this, stream, headers, callback);
  }

  /** The native listener listens. */
  _listening() {
    if (this._state !== RUNNING) return;
    this.emit('listening');
    this.#context.emit('listening', this);
  }

  /** The native listener is gone, and so is each connection of it. */
  _closed(hasFailed) {
    this.#listener = null;
    // A server that could not listen has nothing to close, until close() is called.
    if (!hasFailed || this._state === CLOSING) emitClose(this);
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

module.exports = WebSocketServer;
