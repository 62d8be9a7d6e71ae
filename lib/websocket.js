'use strict';

const native = require('./addon');
const Bridge = require('./bridge');
const connect = require('./connect');
const PerMessageDeflate = require('./permessage-deflate');
const Socket = require('./socket');
const { tellConnection } = require('./diagnostics');
const { mixInto } = require('./event-target');
const { Emitter, Listeners } = require('./emitter');
const { detailsOf } = require('./details');
const { close, send, sendControl, terminate } = require('./outgoing');
const { checkBytes, checkEmitter, checkIfAny, checkObject } = require('./validation');
const Context = require('./context');
const { capture, scopesOf } = require('./async-scope');
const { emitClose } = require('./incoming');
const { limitsOf } = require('./limits');
const { publishFrom } = require('./publishing');
const { statsOf } = require('./stats');
const { isSubscribed, namesOf, subscribe, unsubscribe } = require('./topics');
const {
  BINARY_TYPES,
  BINARY_TYPE_BITS,
  CLOSE_RECEIVED,
  CLOSE_SENT,
  CLOSE_TIMEOUT,
  CLOSED,
  CLOSING,
  CONNECTING,
  DEFLATES,
  ENDED,
  FIN,
  IS_SERVER,
  NONE,
  OPCODE_BINARY,
  OPCODE_TEXT,
  OPEN,
  PAUSED,
  STAGGERED,
  STRING,
  WAS_OPEN,
} = require('./constants');

// Only what has no state of its own is loaded later: a file that is required from within a function
// may come from another module registry than this one (in jest), with other tables and classes.

const { isView } = ArrayBuffer;
const { send: sendNative } = native;

/**
 * Returns the flags of a whole message that needs no conversion, callback or unusual option: nearly
 * all of them. 0 for everything else.
 */
function quickFlags(data, options) {
  const isString = typeof data === 'string';
  if (!isString && !isView(data)) return 0;
  let isBinary = !isString;
  if (options !== undefined) {
    if (options === null || typeof options === 'function') return 0;
    if (options.fin !== undefined || options.mask !== undefined) return 0;
    isBinary = options.binary;
    if (isBinary !== true && isBinary !== false) return 0;
  }
  return (isBinary ? OPCODE_BINARY : OPCODE_TEXT) | (isString ? STRING : 0) | FIN;
}

/**
 * A WebSocket connection, of either side, with the API of `ws`.
 *
 * The connection itself is native and known by a number. This object has the state that JavaScript
 * can see. All fields are set here, in this order, and what only few connections need is in
 * `_details`: a server has many idle ones.
 *
 * @extends EventEmitter
 */
class WebSocket extends Emitter {
  /**
   * Connects to a server. Options that are not listed here are those of https.request(): with them
   * Node's HTTP client does the opening handshake.
   *
   * @param {string | URL | null} address The URL: `ws:`, `wss:`, `http:`, `https:` or `ws+unix:`.
   *   `null` makes the object of a server connection; a WebSocketServer does that with the class it
   *   is given
   * @param {string | string[]} [protocols] Subprotocols to offer
   * @param {object} [options]
   * @param {string} [options.auth] `user:password` for an Authorization header; that of the URL
   *   counts more
   * @param {boolean} [options.allowSynchronousEvents=true] Whether several events may come in one
   *   turn of the loop
   * @param {boolean} [options.autoPong=true] Whether to answer PING frames
   * @param {number} [options.closeTimeout=30000] Milliseconds from our Close frame to the end of
   *   the connection, at the latest
   * @param {import('./context')} [options.context] The context to join; the default one without it
   * @param {0 | 4 | 6} [options.family=0] IP version to use; 0 for both
   * @param {Function} [options.finishRequest] Ends each request, as (request, websocket)
   * @param {boolean} [options.followRedirects=false] Whether to follow redirects
   * @param {Function} [options.generateMask] Fills the masking key of each frame
   * @param {number} [options.handshakeTimeout] Milliseconds for the opening handshake, the name
   *   lookup included; no limit without it
   * @param {object} [options.headers] Further header lines of the request
   * @param {boolean | { interval?: number, timeout?: number }} [options.heartbeat=false] Whether, and
   *   when, to find out that the peer is gone
   * @param {number} [options.maxBackpressure=Infinity] Bytes that may wait for the peer when something is
   *   sent
   * @param {number} [options.maxControlFrames=100] PINGs and PONGs of the peer a second; 0 for no limit
   * @param {number} [options.maxFragments=16384] Most fragments of one message; 0 for no limit
   * @param {number} [options.maxPayload=104857600] Largest message in bytes; 0 for no limit
   * @param {number} [options.maxRedirects=10] Most redirects to follow
   * @param {string} [options.origin] The Origin header
   * @param {string | URL | object} [options.proxy] The proxy to go through; 'env' to ask the
   *   environment
   * @param {boolean | object} [options.reconnect] Whether, and how, to come back when the
   *   connection is lost
   * @param {string | string[]} [options.protocols] Subprotocols, if not given before
   * @param {8 | 13} [options.protocolVersion=13] The protocol version
   * @param {AbortSignal} [options.signal] Gives up the opening handshake when it aborts
   * @param {boolean} [options.skipUTF8Validation=false] Whether to deliver text without checking
   *   that it is UTF-8
   */
  constructor(address, protocols, options) {
    super();
    this._events = new Listeners();
    this._eventsCount = 0;
    /** Number of the connection while `send` may take its fast path, else NONE. */
    this._sendId = NONE;
    /** Number of the connection, or NONE. */
    this._id = NONE;
    this._readyState = CONNECTING;
    this._flags = 0;
    /** The WebSocketServer, of a server connection. */
    this._server = null;
    /** What only some connections have. */
    this._details = null;

    if (address === null) {
      checkObject(options, 'options');
      this._flags = options.allowSynchronousEvents === false ? IS_SERVER | STAGGERED : IS_SERVER;
    } else {
      connect(this, address, protocols, options);
    }
  }

  /** What binary messages are delivered as; an unknown value is ignored. */
  get binaryType() {
    return BINARY_TYPES[this._flags & BINARY_TYPE_BITS];
  }

  set binaryType(type) {
    const index = BINARY_TYPES.indexOf(type);
    if (index !== -1) this._flags = (this._flags & ~BINARY_TYPE_BITS) | index;
  }

  /** Bytes that were sent and that the system has not taken yet, frame headers included. */
  get bufferedAmount() {
    const queued = this._id === NONE ? 0 : Math.max(0, native.bufferedAmount(this._id));
    const details = this._details;
    if (details === null) return queued;
    const inStream = details.bridge === null ? 0 : details.bridge.bufferedAmount;
    return queued + inStream + details.bufferedBytes;
  }

  /** The extensions in use. */
  get extensions() {
    return (this._flags & DEFLATES) === 0 ? '' : PerMessageDeflate.extensionName;
  }

  /** Whether pause() was called last. */
  get isPaused() {
    return (this._flags & PAUSED) !== 0;
  }

  /** The subprotocol in use, or ''. */
  get protocol() {
    return this._details === null ? '' : this._details.protocol;
  }

  /** How long the steps of a client's opening handshake took, in milliseconds from its start. */
  get timings() {
    return this._details === null ? null : this._details.timings;
  }

  get readyState() {
    return this._readyState;
  }

  /** What the handlers' init() has returned, for this server and subprotocol. */
  get state() {
    const protocols = this._server === null ? null : this._server._protocols;
    return protocols === null ? undefined : protocols.stateOf(this.protocol);
  }

  /** The URL of a client. */
  get url() {
    return this._details === null ? undefined : this._details.url;
  }

  /**
   * Sends a message.
   *
   * @param {*} data A string is sent as text, anything else as binary: a Buffer, an ArrayBuffer or
   *   a view of one, a Blob, or what Buffer.from() takes
   * @param {object | Function} [options] Options, or the callback
   * @param {boolean} [options.binary] Whether to send a binary message
   * @param {boolean} [options.compress=true] Whether to compress it, where that was agreed on
   * @param {boolean} [options.fin=true] Whether this is the last fragment of the message
   * @param {boolean} [options.mask] Whether to mask it; by default clients do and servers do not
   * @param {Function} [callback] Called when the system has taken the data, or with an Error. Never
   *   called before send() has returned
   * @throws {Error} If the connection is still being opened
   */
  send(data, options, callback) {
    if (this._sendId !== NONE && callback === undefined) {
      const flags = quickFlags(data, options);
      if (flags !== 0 && sendNative(this._sendId, data, flags) >= 0) return;
    }
    send(this, data, options, callback);
  }

  /**
   * Sends a PING frame.
   *
   * @param {*} [data] At most 125 bytes
   * @param {boolean} [mask] Has no meaning: RFC 6455 section 5.3 decides
   * @param {Function} [callback] As in send()
   * @throws {RangeError} If there are more bytes
   */
  ping(data, mask, callback) {
    sendControl(this, native.ping, data, mask, callback);
  }

  /** Sends a PONG frame; arguments as in ping(). */
  pong(data, mask, callback) {
    sendControl(this, native.pong, data, mask, callback);
  }

  /**
   * Starts the closing handshake: sends a Close frame behind what was sent before. Whoever is not
   * done after `closeTimeout` is terminated. Gives up an opening handshake, with an 'error'.
   *
   * @param {number} [code] 1000 to 1014 as far as defined for this, or 3000 to 4999
   * @param {string | Uint8Array} [reason] At most 123 bytes
   * @throws {TypeError | RangeError} If one of them is not that; nothing has happened then
   */
  close(code, reason) {
    close(this, code, reason);
  }

  /** Drops the connection: 'close' follows with 1006. */
  terminate() {
    this._flags |= ENDED;
    terminate(this);
  }

  /** Returns what the connection has received and sent, and how it stands; at its end once it is closed. */
  stats() {
    return statsOf(this);
  }

  // Topics: not in ws. They belong to the server of the connection.

  /**
   * Subscribes this connection of a server to a topic. It leaves all topics when it is closed.
   *
   * @param {string} topic The topic: any string, compared as it is
   * @returns {boolean} Whether it is subscribed now: not if it is not open
   * @throws {Error} If this is a client
   * @throws {TypeError} If `topic` is no string
   */
  subscribe(topic) {
    return subscribe(this, topic);
  }

  /**
   * Ends a subscription.
   *
   * @param {string} topic The topic
   * @returns {boolean} Whether there was one
   * @throws {TypeError} If `topic` is no string
   */
  unsubscribe(topic) {
    return unsubscribe(this, topic);
  }

  /**
   * Tells whether this connection has subscribed to a topic.
   *
   * @param {string} topic The topic
   * @throws {TypeError} If it is no string
   */
  isSubscribed(topic) {
    return isSubscribed(this, topic);
  }

  /** Returns the topics of this connection. */
  getTopics() {
    return namesOf(this);
  }

  /**
   * Sends a message to all subscribers of a topic but this connection, which need not be open. The
   * rest is as in WebSocketServer.publish().
   *
   * @throws {Error} If this is a client
   */
  publish(topic, data, options) {
    return publishFrom(this, topic, data, options);
  }

  /** Stops reading. Messages that have been read already are still delivered. */
  pause() {
    if (this._readyState === CONNECTING || this._readyState === CLOSED) return;
    this._flags |= PAUSED;
    if (this._id !== NONE) native.pause(this._id);
    if (this._details !== null && this._details.bridge !== null) this._socket.pause();
  }

  /** Goes on reading. */
  resume() {
    if (this._readyState === CONNECTING || this._readyState === CLOSED) return;
    this._flags &= ~PAUSED;
    if (this._id !== NONE) native.resume(this._id);
    if (this._details !== null && this._details.bridge !== null) this._socket.resume();
  }

  // What code written for ws looks at below the public API.

  /**
   * Opens this WebSocket on a stream whose opening handshake somebody else has done. For an object
   * made with `null` instead of an address.
   *
   * @param {import('node:stream').Duplex} socket The stream
   * @param {Buffer} head What has been read from it behind the handshake
   * @param {object} [options] Options of a connection, as in the constructor, where `maxPayload`
   *   and `maxFragments` are without limit if they are not given; and `generateMask`
   * @throws {TypeError | RangeError} If an argument is not that
   */
  setSocket(socket, head, options = {}) {
    checkEmitter('a stream', socket, 'socket');
    head = checkBytes(head, 'head');
    checkObject(options, 'options');
    Context.check(options.context);
    const { maxPayload = 0, maxFragments = 0, generateMask } = options;
    checkIfAny('function', generateMask, 'options.generateMask');
    const limits = limitsOf({ ...options, maxPayload, maxFragments }, 0);
    const context = options.context ?? Context.default;
    if (options.allowSynchronousEvents === false) this._flags |= STAGGERED;
    const details = detailsOf(this);
    details.context = context;
    if (this._scope === undefined) details.scope = scopesOf(capture('WEBSOCKET'));
    void new Bridge(this, context, socket, head, { limits, generateMask });
    tellConnection(this, null);
    this.emit('open');
  }

  /** Class of the async scopes that events are emitted in: that of the server, if there is one. */
  get _scope() {
    return this._server === null ? this._details?.scope : this._server._scope;
  }

  /** Emits 'close'. */
  emitClose() {
    emitClose(this);
  }

  /** The socket, once the connection is open. */
  get _socket() {
    const details = this._details;
    if (details !== null && details.bridge !== null) return details.bridge.stream;
    if ((this._flags & WAS_OPEN) === 0) return null;
    detailsOf(this).socket ??= new Socket(this._id);
    return this._details.socket;
  }

  /** The http.ClientRequest of an opening handshake that is under way, or null. */
  get _req() {
    const details = this._details;
    return details === null || details.handshake === null ? null : details.handshake.request;
  }

  /** How many redirects the opening handshake has followed. */
  get _redirects() {
    return this._details === null ? 0 : this._details.redirects;
  }

  /** What sends frames that have been made elsewhere. */
  get _sender() {
    if (this._readyState === CONNECTING) return null;
    const details = detailsOf(this);
    const SenderShim = require('./sender-shim');
    details.sender ??= new SenderShim(this);
    return details.sender;
  }

  /** What tells of the peer's Close frame. */
  get _receiver() {
    if (this._readyState === CONNECTING) return null;
    const details = detailsOf(this);
    const ReceiverShim = require('./receiver-shim');
    details.receiver ??= new ReceiverShim(this, this._server?.options ?? details.options ?? {});
    return details.receiver;
  }

  /** Stands for the timer of the closing handshake, once that has begun. */
  get _closeTimer() {
    if ((this._flags & CLOSE_SENT) === 0) return null;
    const options = this._server === null ? this._details?.options : this._server.options;
    return { _idleTimeout: options?.closeTimeout ?? CLOSE_TIMEOUT };
  }

  get _isServer() {
    return (this._flags & IS_SERVER) !== 0;
  }

  set _isServer(value) {
    this._flags = value ? this._flags | IS_SERVER : this._flags & ~IS_SERVER;
  }

  get _closeFrameSent() {
    return (this._flags & CLOSE_SENT) !== 0;
  }

  get _closeFrameReceived() {
    return (this._flags & CLOSE_RECEIVED) !== 0;
  }
}

const STATES = { CONNECTING, OPEN, CLOSING, CLOSED };
for (const name of Object.keys(STATES)) {
  const constant = { enumerable: true, value: STATES[name] };
  Object.defineProperty(WebSocket, name, constant);
  Object.defineProperty(WebSocket.prototype, name, constant);
}

for (const name of [
  'binaryType',
  'bufferedAmount',
  'extensions',
  'isPaused',
  'protocol',
  'readyState',
  'url',
]) {
  Object.defineProperty(WebSocket.prototype, name, { enumerable: true });
}

/** The user's. On the prototype: a connection that is given none has no room for it. */
WebSocket.prototype.data = undefined;

mixInto(WebSocket.prototype);

module.exports = WebSocket;
