'use strict';

const EventEmitter = require('node:events');
const { STATUS_CODES } = require('node:http');

const native = require('./addon');
const table = require('./table');
const subprotocol = require('./subprotocol');
const Bridge = require('./bridge');
const Context = require('./context');
const UpgradeMessage = require('./upgrade-message');
const WebSocket = require('./websocket');
const { adopt, isAdoptable } = require('./adoption');
const { captureScope } = require('./async-scope');
const {
  acceptOffer,
  checkSubOptions,
  enable: enableDeflate,
  format: formatDeflate,
} = require('./deflate');
const { contextClosed, failureOf } = require('./failure');
const { acceptOf, findFault, isUpgrade, refuseUpgrade, versionOf } = require('./handshake');
const { checkHeaderLine, formatHeaders } = require('./head');
const { onAccepted } = require('./incoming');
const { limitsOf } = require('./limits');
const { terminate } = require('./outgoing');
const { check, received } = require('./validation');
const {
  CLOSE_TIMEOUT,
  EMPTY_BUFFER,
  HANDSHAKE_TIMEOUT,
  LISTENING,
  MAX_FRAGMENTS,
  MAX_PAYLOAD,
  NONE,
  PHASES,
  SERVER_ERROR,
  STAGGERED,
} = require('./constants');

/** As in Node. */
const DEFAULT_BACKLOG = 511;

// States of a server, with the numbers of ws.
const RUNNING = 0;
const CLOSING = 1;
const CLOSED = 2;

/** Options that a native listener gives to its connections. */
const LIMITS = ['autoPong', 'closeTimeout', 'maxFragments', 'maxPayload', 'skipUTF8Validation'];

/** Marks sockets that have been upgraded already. */
const kUpgraded = Symbol('upgraded');

// Flags of an UPGRADE record.
const HAS_PROTOCOLS = 1;
const HAS_EXTENSIONS = 2;
/** The native half would refuse it. */
const NOT_ACCEPTABLE = 4;

/** Name of permessage-deflate among the extensions of completeUpgrade(). */
const DEFLATE = 'permessage-deflate';

/** How the response of an upgrade starts. */
const SWITCHING = ['HTTP/1.1 101 Switching Protocols', 'Upgrade: websocket', 'Connection: Upgrade'];

/** Lines of a response that the native half writes itself. */
const OWN_LINE = /^(?:upgrade|connection|sec-websocket-accept|sec-websocket-protocol):/i;

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
  /** The options whose values the native listener has. */
  #given = null;
  /** Whether listening has failed. */
  #hasFailed = false;
  /** Whether 'close' waits for the last tracked client. */
  #waitsForClients = false;
  /** What stands for the HTTP server, while 'close' is awaited. */
  #listener = null;
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
    if (options.clientTracking) this.clients = new Set();
    this.#context = context ?? Context.default;
    Object.defineProperty(this, '_scope', { value: captureScope('WEBSOCKETSERVER') });
    Context.join(this.#context, this);

    if (address !== null) {
      if (typeof callback === 'function') this.once('listening', callback);
      this.#listen(address, limits);
      this._server = new Listener(this);
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
        ...(isHttp2(server) && this.#streamListeners(server)),
      });
    }
  }

  /** Listeners that take WebSockets over HTTP/2 from a server of that. */
  #streamListeners(server) {
    server.updateSettings({ enableConnectProtocol: true });
    return {
      stream: (stream, headers) => {
        if (!isWebSocketStream(headers)) return;
        this.handleStream(stream, headers, (websocket, request) => {
          this.emit('connection', websocket, request);
        });
      },
      // Without a listener the compatibility layer of Node would refuse each CONNECT.
      connect: (request, response) => {
        const isOurs = isWebSocketStream(request.headers);
        if (!isOurs && server.listenerCount('connect') === 1) response.writeHead(405).end();
      },
    };
  }

  #listen(address, limits) {
    let error;
    if (this.#context._phase === PHASES.RUNNING) {
      try {
        this.#id = native.serverListen(this.#context._id, address, limits);
        this.#given = { ...this.options };
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
    return this._server === null ? null : this._server.address();
  }

  /** Where the native listener listens; for Listener. */
  _address() {
    return this.#id === NONE ? null : native.serverAddress(this.#id);
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
    if (name === 'wsClientError' && this.#id !== NONE) {
      native.serverReportRefusals(this.#id, this.listenerCount(name) > 0);
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
    const listener = this._server;
    this._server = null;
    if (this.#id !== NONE) {
      this.#listener = listener;
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
    socket.on('error', destroyOnError);

    const refuse = (status, message, extra) => {
      if (this.listenerCount('wsClientError') > 0) {
        this.emit('wsClientError', new Error(message), socket, request);
      } else {
        refuseUpgrade(socket, status, message, extra);
      }
    };
    const { headers } = request;
    const fault = findFault(request);
    if (fault !== null) return refuse(fault.status, fault.message, fault.headers);
    if (!this.shouldHandle(request)) return refuseUpgrade(socket, 400);

    const offer = this.#readOffer(request);
    if (offer.fault !== null) return refuse(400, offer.fault);
    const extensions = offer.deflate === null ? {} : { [DEFLATE]: offer.deflate };

    this.#verify(request, (isVerified, status, message, extra) => {
      if (isVerified) {
        const key = headers['sec-websocket-key'];
        this.completeUpgrade(extensions, key, offer.protocols, request, socket, head, callback);
      } else {
        refuseUpgrade(socket, status, message, extra);
      }
    });
  }

  /**
   * Reads the subprotocols and extensions that a request offers.
   *
   * @returns {{ fault: string | null, protocols?: Set<string>, deflate?: object | null }} What is
   *   wrong, or what is offered and acceptable
   */
  #readOffer({ headers }) {
    const protocols = headers['sec-websocket-protocol'];
    const extensions = headers['sec-websocket-extensions'];
    const offer = { fault: null, protocols: NO_PROTOCOLS, deflate: null };
    if (protocols !== undefined) {
      try {
        offer.protocols = subprotocol.parse(protocols);
      } catch {
        return { fault: 'Invalid Sec-WebSocket-Protocol header' };
      }
    }
    if (extensions !== undefined && this.options.perMessageDeflate) {
      try {
        const { maxPayload, perMessageDeflate } = this.options;
        offer.deflate = acceptOffer(perMessageDeflate, extensions, maxPayload);
      } catch {
        return { fault: 'Invalid or unacceptable Sec-WebSocket-Extensions header' };
      }
    }
    return offer;
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
    socket[kUpgraded] = true;

    const deflate = extensions[DEFLATE] ?? null;
    let prepared;
    try {
      prepared = this.#prepare(protocols, deflate, request, () => acceptOf(key));
      // A handler may have ended the server or its context.
      if (!this.#isRunning()) return refuseUpgrade(socket, 503);
      const lines = prepared.lines ?? this.#lines(acceptOf(key), prepared.protocol, deflate);
      const response = `${lines.join('\r\n')}\r\n\r\n`;
      this.#take(prepared, socket, head, response);
    } catch (error) {
      // Nobody else will answer.
      refuseUpgrade(socket, 500);
      throw error;
    }
    socket.removeListener('error', destroyOnError);
    this.#open(prepared.websocket, deflate, request, callback);
    return undefined;
  }

  /** Makes a connection of a socket whose opening handshake ends with `response`. */
  #take({ websocket, protocol }, socket, head, response) {
    const limits = limitsOf(this.options, 0);
    if (isAdoptable(socket)) {
      const id = adopt(this.#context, socket, head, response, limits);
      onAccepted(websocket, this, id, protocol);
    } else {
      if (response !== '') socket.write(response, 'latin1');
      websocket._server = this;
      websocket._scope = this._scope;
      websocket._protocol = protocol;
      void new Bridge(websocket, this.#context, socket, head, { limits });
    }
  }

  /** Puts to use what the response has agreed on, and announces the connection by `callback`. */
  #open(websocket, deflate, request, callback) {
    if (deflate !== null && !enableDeflate(websocket, deflate)) {
      terminate(websocket);
      return;
    }
    if (this.options.allowSynchronousEvents === false) websocket._flags |= STAGGERED;
    websocket.emit('open');
    if (this.clients !== undefined) this.clients.add(websocket);
    callback(websocket, request);
    if (this.#context.listenerCount('connection') > 0) {
      this.#context.emit('connection', websocket, request, this);
    }
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
    stream.on('error', destroyOnError);
    const request = streamRequest(stream, headers);

    const refuse = (status, message, extra) => {
      if (this.listenerCount('wsClientError') > 0) {
        this.emit('wsClientError', new Error(message), stream, request);
      } else {
        refuseStream(stream, status, message, extra);
      }
    };
    if (!isWebSocketStream(headers)) return refuse(405, 'Invalid HTTP method');
    const version = versionOf(request);
    if (version !== 13) {
      const message = 'Missing or invalid Sec-WebSocket-Version header';
      return refuse(400, message, { 'sec-websocket-version': '13' });
    }
    if (!this.shouldHandle(request)) return refuseStream(stream, 400);
    const offer = this.#readOffer(request);
    if (offer.fault !== null) return refuse(400, offer.fault);

    this.#verify(request, (isVerified, status, message, extra) => {
      if (isVerified) this.#completeStream(offer, request, stream, callback);
      else refuseStream(stream, status, message, extra);
    });
    return undefined;
  }

  #completeStream({ protocols, deflate }, request, stream, callback) {
    if (stream[kUpgraded]) {
      throw new Error('server.handleStream() was called more than once with the same stream');
    }
    if (stream.destroyed || stream.closed) return;
    if (!this.#isRunning()) {
      refuseStream(stream, 503);
      return;
    }
    stream[kUpgraded] = true;
    let prepared;
    try {
      prepared = this.#prepare(protocols, deflate, request, null);
      if (!this.#isRunning()) {
        refuseStream(stream, 503);
        return;
      }
      const lines = prepared.lines ?? this.#lines(null, prepared.protocol, deflate);
      stream.respond(responseHeaders(lines));
      this.#take(prepared, stream, EMPTY_BUFFER, '');
    } catch (error) {
      refuseStream(stream, 500);
      throw error;
    }
    stream.removeListener('error', destroyOnError);
    this.#open(prepared.websocket, deflate, request, callback);
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
      secure: Boolean(socket?.authorized || socket?.encrypted),
      req: request,
    };
    if (verifyClient.length === 2) {
      verifyClient(info, (isVerified, status = 401, message, extra) => {
        const fault = isVerified ? null : faultOfRefusal(status || 401, extra);
        if (fault !== null) {
          // The peer still gets an answer, and nothing of what cannot be written.
          decide(false, 500);
          throw fault;
        }
        decide(isVerified, status || 401, message, extra);
      });
    } else {
      decide(verifyClient(info), 401);
    }
  }

  /**
   * Makes the WebSocket, chooses the subprotocol and asks the 'headers' listeners.
   *
   * @param {(() => string) | null} accept Returns the Sec-WebSocket-Accept header; null for HTTP/2
   * @returns {{ websocket: WebSocket, protocol: string, lines: string[] | null }} `lines` is what
   *   the listeners have made of the response's head; null without listeners
   */
  #prepare(protocols, deflate, request, accept) {
    const websocket = new this.options.WebSocket(null, undefined, this.options);
    let protocol = '';
    if (protocols.size > 0) {
      const { handleProtocols } = this.options;
      const [first] = protocols;
      protocol = (handleProtocols ? handleProtocols(protocols, request) : first) || '';
      if (protocol) checkHeaderLine(`Sec-WebSocket-Protocol: ${protocol}`);
    }
    if (this.listenerCount('headers') === 0) return { websocket, protocol, lines: null };

    const lines = this.#lines(accept === null ? null : accept(), protocol, deflate);
    this.emit('headers', lines, request);
    lines.slice(1).forEach(checkHeaderLine);
    return { websocket, protocol, lines };
  }

  /** Returns the lines of the response's head. */
  #lines(accept, protocol, deflate) {
    const lines =
      accept === null ? ['HTTP/2 200'] : [...SWITCHING, `Sec-WebSocket-Accept: ${accept}`];
    if (protocol) lines.push(`Sec-WebSocket-Protocol: ${protocol}`);
    if (deflate !== null) lines.push(`Sec-WebSocket-Extensions: ${formatDeflate(deflate)}`);
    return lines;
  }

  /** Decides on the request of a native connection; for lib/deliver.js. */
  _decide(request, id, flags) {
    try {
      if (!this.#isRunning()) return native.reject(id, 503, '', '');
      if ((flags & NOT_ACCEPTABLE) !== 0) {
        if (!isUpgrade(request)) {
          return native.reject(id, 426, 'Upgrade Required', 'Upgrade: websocket\r\n');
        }
        const fault = findFault(request);
        if (fault !== null) return this.#report(request, id, fault);
      }
      if (!this.shouldHandle(request)) return native.reject(id, 400, '', '');
      let protocols = NO_PROTOCOLS;
      let deflate = null;
      const wantsDeflate = (flags & HAS_EXTENSIONS) !== 0 && this.options.perMessageDeflate;
      if ((flags & (HAS_PROTOCOLS | NOT_ACCEPTABLE)) !== 0 || wantsDeflate) {
        const offer = this.#readOffer(request);
        if (offer.fault !== null) {
          return this.#report(request, id, { status: 400, message: offer.fault });
        }
        ({ protocols, deflate } = offer);
      }
      if ((flags & NOT_ACCEPTABLE) !== 0) return native.reject(id, 400, '', '');
      if (!this.options.verifyClient) {
        this.#accept(request, id, protocols, deflate);
        return undefined;
      }
      this.#verify(request, (isVerified, status, message, extra) => {
        // The connection may have gone, or been decided on.
        if (table[id] !== request) return;
        if (isVerified) this.#accept(request, id, protocols, deflate);
        else this.#refuse(id, status, message, extra);
      });
    } catch (error) {
      // Nobody else will answer. Does nothing if it was accepted before.
      native.reject(id, 500, '', '');
      throw error;
    }
    return undefined;
  }

  /** Refuses the request of a native connection, or lets a 'wsClientError' listener do so. */
  #report(request, id, { status, message, headers }) {
    if (this.listenerCount('wsClientError') > 0) {
      this.emit('wsClientError', new Error(message), request.socket, request);
    } else {
      this.#refuse(id, status, message, headers);
    }
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

  #accept(request, id, protocols, deflate) {
    const { websocket, protocol, lines } = this.#prepare(protocols, deflate, request, () =>
      acceptOf(UpgradeMessage.header(request, 'sec-websocket-key')),
    );
    // A handler may have ended the server or its context.
    if (!this.#isRunning()) {
      native.reject(id, 503, '', '');
      return;
    }
    if (LIMITS.some((name) => this.options[name] !== this.#given[name])) {
      native.connectionConfigure(id, limitsOf(this.options, 0));
    }
    const extra = extraLines(lines, deflate);
    // Not accepted if the client has gone meanwhile.
    if (!native.accept(id, protocol || undefined, extra)) return;
    UpgradeMessage.attach(request, websocket);
    onAccepted(websocket, this, id, protocol);
    this.#open(websocket, deflate, request, this.#announce);
  }

  /** Emits 'connection'. */
  #announce = (websocket, request) => this.emit('connection', websocket, request);

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
      this.#listener?.emit('close');
      this.#listener = null;
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

/**
 * Returns what a 'headers' listener or an extension adds to the lines that the native half writes.
 *
 * @param {string[] | null} lines The lines, if a listener has had them
 */
function extraLines(lines, deflate) {
  if (lines !== null) {
    return lines
      .filter((line, index) => index > 0 && !OWN_LINE.test(line))
      .map((line) => `${line}\r\n`)
      .join('');
  }
  return deflate === null ? '' : `Sec-WebSocket-Extensions: ${formatDeflate(deflate)}\r\n`;
}

/** Tells whether this is a server of HTTP/2. */
function isHttp2(server) {
  return typeof server.updateSettings === 'function';
}

/** Tells whether a request is an extended CONNECT for a WebSocket (RFC 8441 section 4). */
function isWebSocketStream(headers) {
  return headers[':method'] === 'CONNECT' && headers[':protocol'] === 'websocket';
}

/** Shows a stream's headers as a request of HTTP/1.1, which shouldHandle() and hooks know. */
function streamRequest(stream, headers) {
  return {
    method: headers[':method'],
    url: headers[':path'],
    headers: { host: headers[':authority'], ...headers },
    httpVersion: '2.0',
    httpVersionMajor: 2,
    httpVersionMinor: 0,
    stream,
    socket: stream.session?.socket,
  };
}

/** Makes headers of the lines of a head, without the first one. */
function responseHeaders(lines) {
  const headers = { ':status': 200 };
  for (const line of lines.slice(1)) {
    const colon = line.indexOf(':');
    const name = line.slice(0, colon).toLowerCase();
    const value = line.slice(colon + 1).trim();
    headers[name] = headers[name] === undefined ? value : [headers[name], value].flat();
  }
  return headers;
}

/** Answers a stream with an error. */
function refuseStream(stream, status, message, extra) {
  if (stream.destroyed || stream.headersSent) {
    stream.close();
    return;
  }
  stream.respond({ ':status': Number(status), 'content-type': 'text/html', ...extra });
  stream.end(String(message || (STATUS_CODES[status] ?? '')));
}

/** Returns why a refusal by `verifyClient` cannot be written as HTTP, or null if it can. */
function faultOfRefusal(status, headers) {
  if (!Number.isInteger(status) || status < 300 || status > 999) {
    return new RangeError(`The status of a refusal must be an integer from 300 to 999: ${status}`);
  }
  try {
    formatHeaders(headers ?? {});
    return null;
  } catch (error) {
    return error;
  }
}

/** Stands for the HTTP server that ws makes for the option `port`. */
class Listener extends EventEmitter {
  #server;

  /** @param {WebSocketServer} server Whose listener it is */
  constructor(server) {
    super();
    this.#server = server;
  }

  get listening() {
    return this.address() !== null;
  }

  address() {
    return this.#server._address();
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
