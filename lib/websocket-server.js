'use strict';

const EventEmitter = require('node:events');

const Context = require('./context');
const NativeListener = require('./native-listener');
const { Admission } = require('./admission');
const { capture, scopesOf } = require('./async-scope');
const { checkSubOptions } = require('./deflate');
const { STATES } = require('./decision');
const { logListening, tellClientError, tellServerError } = require('./diagnostics');
const { contextClosed } = require('./failure');
const { Hosts } = require('./hosts');
const {
  decideOnStream,
  hostOf,
  isHttp2,
  listenersOf,
  misdirectStream,
} = require('./http2-upgrade');
const { HttpBeside, httpOf } = require('./http-beside');
const { breachesOf, limitsOf } = require('./limits');
const Protocols = require('./protocols');
const { makeNodeServer, namedIdentities, renewNodeServer, serverSecurity } = require('./security');
const { broadcast, publish } = require('./publishing');
const {
  addressOf,
  hostnameOf,
  pendingHandshakesOf,
  readHostname,
  readOptions,
} = require('./server-options');
const { subscribersOf } = require('./topics');
const { completeOnSocket, decideOnSocket, misdirectSocket } = require('./upgrade');
const { checkIfAny } = require('./validation');
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
  /** Server of Node's that was made here, because of what the option `tls` asks for. */
  #ownServer = null;
  #hasPort;
  /** Whether 'close' waits for the last client. */
  #waitsForClients = false;
  #connections = 0;
  /** The async context that it was made in. */
  #captured;
  /** Takes everything back from the HTTP server. */
  #removeListeners = null;
  #connectionsOpened = 0;

  /**
   * One and only one of `port`, `server` and `noServer` is given. `options` stays readable and
   * writable as `server.options`, and is read at each handshake.
   *
   * @param {object} options
   * @param {string[] | Function} [options.allowedOrigins] Origins that may connect, or a function:
   *   (origin, request) => boolean
   * @param {boolean} [options.autoPong=true] Whether to answer PING frames
   * @param {number} [options.backlog=511] Length of the queue of connections to accept
   * @param {boolean} [options.clientTracking=true] Whether to keep `clients`
   * @param {number} [options.closeTimeout=30000] Milliseconds from our Close frame to the end of a
   *   connection, at the latest
   * @param {Context} [options.context] The context to join; the default one without it
   * @param {*} [options.data] Anything; it becomes `data`
   * @param {string} [options.defaultProtocol] Which of `protocols` handles connections without a
   *   subprotocol
   * @param {Function} [options.handleProtocols] Chooses a subprotocol: (Set, request) => string or
   *   false. The first one without it, or the first one that is among `protocols`
   * @param {number} [options.handshakeTimeout=10000] Milliseconds from accepting a connection to
   *   the end of its request's head
   * @param {boolean | { interval?: number, timeout?: number }} [options.heartbeat=false] Whether, and
   *   when, to find out that a peer is gone
   * @param {string} [options.host] Name or address to bind to; all addresses without it
   * @param {Function | import('node:http').Server} [options.http] What answers requests on `port` that
   *   are none for a WebSocket: a listener for 'request', or a server that need not listen itself
   * @param {string} [options.hostname] The host that this server is for, such as 'example.org' or
   *   '*.example.org', where several servers share a port or an HTTP server
   * @param {number} [options.maxConnections=Infinity] Most connections
   * @param {number} [options.maxConnectionsPerAddress=Infinity] Most connections of one address
   * @param {number} [options.maxBackpressure=Infinity] Bytes that may wait for a peer when something is
   *   sent to it
   * @param {number} [options.maxControlFrames=100] PINGs and PONGs of a peer a second; 0 for no limit
   * @param {number} [options.maxFragments=16384] Most fragments of one message; 0 for no limit
   * @param {number} [options.maxPayload=104857600] Largest message in bytes; 0 for no limit
   * @param {number} [options.maxPendingHandshakes=1024] Most connections that are not open yet, with
   *   `port`
   * @param {boolean} [options.noServer=false] Whether only handleUpgrade() brings connections
   * @param {string} [options.path] The only path to accept
   * @param {number} [options.port] Port to listen on; 0 lets the system choose
   * @param {object} [options.protocols] Handlers of connections, by their subprotocols
   * @param {import('node:http').Server} [options.server] HTTP server to take upgrades of
   * @param {boolean} [options.skipUTF8Validation=false] Whether to deliver text without checking
   *   that it is UTF-8
   * @param {boolean} [options.strictHost=false] Whether to take nothing but requests for `hostname`
   * @param {import('node:tls').TlsOptions} [options.tls] Makes the listener of `port` one of TLS, with
   *   these certificates and keys; see docs/tls.md
   * @param {Function} [options.verifyClient] Decides on a request: (info) => boolean, or
   *   (info, callback(result, code, name, headers))
   * @param {Function} [options.WebSocket=WebSocket] Class of the connections: WebSocket or a
   *   subclass
   * @param {Function} [callback] Listener for 'listening', with `port`. As in ws, what is none is ignored:
   *   programs have objects there
   */
  constructor(options, callback) {
    super();
    options = readOptions(options);
    // Who replaces the method may have paths of any kind.
    if (this.shouldHandle === WebSocketServer.prototype.shouldHandle) {
      checkIfAny('string', options.path, 'options.path');
    }
    const { context, port, server } = options;
    Context.check(context);
    const limits = limitsOf(options, HANDSHAKE_TIMEOUT);
    const maxPendingHandshakes = pendingHandshakesOf(options);
    const hostname = hostnameOf(options);
    const http = httpOf(options);
    const address = port == null ? null : addressOf(options, hostname, maxPendingHandshakes);
    const protocols = Protocols.of(options);
    if (options.tls != null && address === null) {
      throw new TypeError('"options.tls" is for the option "port": another server has its own');
    }
    const security = options.tls == null ? null : serverSecurity(options.tls);

    if (options.perMessageDeflate === true) options.perMessageDeflate = {};
    if (options.perMessageDeflate) checkSubOptions(options.perMessageDeflate);
    this.options = options;
    this.#hasPort = address !== null;
    /** The user's. */
    this.data = options.data;
    this._state = RUNNING;
    /** The HTTP server, or what stands for it with `port`. */
    this._server = null;
    /** What handles connections by their subprotocols, or null. */
    this._protocols = null;
    /** Topics with subscribers, by name. */
    this._topics = null;
    /** What limits the number of connections, or null. */
    this._admission = Admission.of(options);
    if (options.clientTracking) this.clients = new Set();
    this.#context = context ?? Context.default;
    this.#captured = capture('WEBSOCKETSERVER');
    const isAccepted = this.#context._phase === PHASES.RUNNING;
    const hosts = server && isAccepted ? Hosts.of(server) : null;
    Context.join(this.#context, this);

    try {
      if (hosts !== null) {
        hosts.add(this, hostname, options.strictHost);
        this.#removeListeners = () => hosts.remove(this);
      }
      if (protocols !== null && isAccepted) {
        protocols.init(this);
        this._protocols = protocols;
      }
      // An init() may have closed it.
      if (this._state === RUNNING) this.#start(address, limits, hosts, security, http, callback);
    } catch (error) {
      if (this._protocols !== null) this._protocols.destroy(this);
      this.#leaveHttpServer();
      this._admission?.end();
      Context.leave(this.#context, this);
      throw error;
    }
  }

  #start(address, limits, hosts, security, http, callback) {
    if (this.#context._phase !== PHASES.RUNNING) {
      const cause = this.#context._cause;
      this.#fail(contextClosed('The context does not accept servers any more', cause));
    } else if (address !== null) {
      if (typeof callback === 'function') this.once('listening', callback);
      const { tls } = this.options;
      if (tls != null && security === null) this.#listenByNode(address);
      else {
        const beside = http === null ? null : new HttpBeside(http, this._admission);
        this.#listen(address, limits, security, beside);
      }
    } else if (hosts !== null) {
      this.#useHttpServer(this.options.server, hosts);
    }
  }

  /** Listens by Node's TLS, which can do what the native one cannot. */
  #listenByNode({ host, port, backlog, hostname }) {
    const server = makeNodeServer(this.options);
    const hosts = Hosts.of(server);
    hosts.add(this, hostname, this.options.strictHost);
    this.#ownServer = server;
    this.#useHttpServer(server, hosts);
    server.on('tlsClientError', (error) => this._clientFailed(error));
    // It may fail to listen when this server is closed already.
    server.on('error', () => {});
    server.listen({ host, port, backlog });
  }

  #listen(address, limits, security, beside) {
    try {
      const { prototype } = WebSocketServer;
      this.#listener = new NativeListener(this, address, limits, security, beside, prototype);
      this._server = this.#listener;
      if (beside !== null) this.#useHttpBeside(beside);
    } catch (error) {
      if (error.code === 'InvalidArg') throw new RangeError(error.message, { cause: error });
      this.#fail(error);
    }
  }

  #fail(error) {
    process.nextTick(() => this.#emitError(error));
  }

  #emitError(error) {
    tellServerError(this, error);
    this.emit('error', error);
  }

  #emitListening() {
    logListening(this);
    this.emit('listening');
    this.#context.emit('listening', this);
  }

  #useHttpServer(server, hosts) {
    this._server = server;
    const removeListeners = addListeners(server, {
      listening: () => this.#emitListening(),
      error: (error) => this.#emitError(error),
      upgrade: (request, socket, head) => {
        const role = hosts.roleOf(this, request, server.listenerCount('upgrade'));
        if (role === 'refuse') misdirectSocket(socket);
        else if (role === 'take') this.#takeUpgrade(request, socket, head);
      },
      ...(isHttp2(server) &&
        listenersOf(server, (stream, headers) => {
          const socket = stream.session?.socket;
          const request = { url: '/', headers: { host: hostOf(headers) }, socket };
          const role = hosts.roleOf(this, request, 0);
          if (role === 'refuse') return misdirectStream(stream);
          if (role === 'leave') return undefined;
          return this.handleStream(stream, headers, (websocket, streamRequest) => {
            this.emit('connection', websocket, streamRequest);
          });
        })),
    });
    this.#removeListeners = () => {
      removeListeners();
      hosts.remove(this);
    };
  }

  /** Takes what comes on connections that were left to an HTTP server. */
  #useHttpBeside(beside) {
    const find = (request) => this.#listener?.find(request) ?? null;
    beside.open(find, (request, socket, head) => {
      const listener = find(request);
      if (listener === null) misdirectSocket(socket);
      else listener.server.#takeUpgrade(request, socket, head);
    });
    this.#removeListeners = () => beside.stop();
  }

  #takeUpgrade(request, socket, head) {
    this.handleUpgrade(request, socket, head, (websocket) => {
      this.emit('connection', websocket, request);
    });
  }

  /** The async context that it was made in; for lib/native-listener.js. */
  get _captured() {
    return this.#captured;
  }

  /** Class of the async scopes that events of connections are emitted in. */
  get _scope() {
    const value = scopesOf(this.#captured);
    Object.defineProperty(this, '_scope', { value });
    return value;
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
    if (this.#listener !== null && name === 'wsClientError') {
      this.#listener._reportRefusals(this.listenerCount(name) > 0);
    }
    return this;
  }

  // TLS: names and arguments are those of tls.Server.

  /**
   * Replaces the certificates, and all else that the option `tls` says, for connections from now on.
   * What addContext() has added stays.
   *
   * @param {import('node:tls').TlsOptions} tls The new options
   * @throws {Error} If they are not valid, or there is no TLS; nothing has changed then
   */
  setSecureContext(tls) {
    this.#checkTls();
    if (this.#ownServer !== null) {
      renewNodeServer(this.#ownServer, this.options.tls, tls);
    } else {
      const security = serverSecurity(tls);
      if (security === null) {
        throw new TypeError('"tls" asks for what only a server that began with it can do');
      }
      // The port of a server that is closing may be others' still.
      if (this._state === RUNNING) this.#listener?._setSecurity(security);
    }
    this.options.tls = tls;
  }

  /**
   * Shows another certificate to clients that ask for a host name (RFC 6066 section 3).
   *
   * @param {string} hostname The name; one that begins with `*.` stands for all hosts below the rest
   * @param {{ cert: *, key: *, passphrase?: string }} tls The certificate and its key
   * @throws {Error} If they are not valid, or there is no TLS
   */
  addContext(hostname, tls) {
    this.#checkTls();
    const name = readHostname(hostname, 'hostname');
    if (this.#ownServer !== null) this.#ownServer.addContext(name, tls);
    else this.#listener?._setName(name, namedIdentities(tls));
  }

  #checkTls() {
    if (this.options.tls == null) throw new Error('The server was made without the option "tls"');
  }

  /**
   * Stops accepting connections. Open ones stay; 'close' follows when the last of them is gone, or
   * at once where that is not known.
   *
   * @param {Function} [callback] Listener for 'close'; gets an Error if the server was closed
   */
  close(callback) {
    checkIfAny('function', callback, 'callback');
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

    this.#leaveHttpServer();
    this._server = null;
    if (this.#ownServer !== null) {
      // A connection ends a moment after its stream.
      this.#ownServer.close(() => this.#endBehindClients());
    } else if (this.#listener !== null) {
      this.#listener._stop();
    } else {
      this.#endBehindClients();
    }
  }

  /** Emits 'close' when those that it waits for are gone. */
  #endBehindClients() {
    if (this.#hasClients()) this.#waitsForClients = true;
    else process.nextTick(emitCloseOnce, this);
  }

  /** Whether connections are known that 'close' has to wait for. */
  #hasClients() {
    // Handlers have to hear of the end of each before they are destroyed. That of a port is the last to go.
    if (this._protocols !== null || this.#hasPort) return this.#connections > 0;
    return this.clients !== undefined && this.clients.size > 0;
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
   * @throws {TypeError} If an argument is not that
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
   * @throws {TypeError} If an argument is not that
   * @throws {Error} If the stream was accepted before
   */
  handleStream(stream, headers, callback) {
    decideOnStream(this, stream, headers, callback);
  }

  /** Returns how many connections there are and have been, and how often each limit was breached. */
  stats() {
    return {
      connections: this.#connections,
      connectionsOpened: this.#connectionsOpened,
      pendingHandshakes: this.#listener === null ? 0 : this.#listener.pendingHandshakes,
      limits: breachesOf(this),
    };
  }

  /** A connection of TLS has failed before its request; for lib/native-listener.js. */
  _clientFailed(error) {
    tellClientError(this, error);
    this.emit('tlsClientError', error);
  }

  /** The native listener listens. */
  _listening() {
    if (this._state === RUNNING) this.#emitListening();
  }

  /** The native listener is gone, and so is each connection of it. */
  _closed(hasFailed) {
    this.#listener = null;
    this.#leaveHttpServer();
    // A server that could not listen has nothing to close, until close() is called.
    if (hasFailed && this._state !== CLOSING) return;
    // Those of handleUpgrade(), and of an HTTP server beside it, count as well.
    if (this.#hasClients()) this.#waitsForClients = true;
    else emitClose(this);
  }

  /** The context does not accept connections any more; for lib/context.js. */
  _retire() {
    if (this._state === RUNNING) this.close();
  }

  /** Takes no upgrades of the HTTP server any more. */
  #leaveHttpServer() {
    if (this.#removeListeners === null) return;
    this.#removeListeners();
    this.#removeListeners = null;
  }

  /** The context has ended; for lib/context.js. */
  _conclude() {
    this.#leaveHttpServer();
    this.#ownServer?.close();
    emitCloseOnce(this);
  }

  /** A connection of this server is open; for lib/decision.js. */
  _remember() {
    this.#connections++;
    this.#connectionsOpened++;
  }

  /** A connection of this server is gone; for lib/incoming.js. */
  _forget(websocket) {
    this.#connections--;
    if (this._admission !== null) this._admission.leave(websocket);
    if (this.clients !== undefined) this.clients.delete(websocket);
    if (this.#waitsForClients && !this.#hasClients()) {
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
  if (server._protocols !== null) server._protocols.destroy(server);
  server._state = CLOSED;
  if (server._admission !== null) server._admission.end();
  Context.leave(server.context, server);
  server.emit('close');
}

/** The end of the context may come between the decision to emit 'close' and doing so. */
function emitCloseOnce(server) {
  if (server._state !== CLOSED) emitClose(server);
}

module.exports = WebSocketServer;
