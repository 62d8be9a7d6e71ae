'use strict';

const EventEmitter = require('node:events');

const native = require('./addon');
const PeerSecurity = require('./peer-security');
const table = require('./table');
const { writeRaw } = require('./raw-write');
const { NONE } = require('./constants');

/** Bytes that wait above which `write` asks to stop, as in Node. */
const HIGH_WATER_MARK = 16 * 1024;

/** What is known of a socket that there is none of. */
const UNKNOWN = {
  remoteAddress: undefined,
  remoteFamily: undefined,
  remotePort: undefined,
  localAddress: undefined,
  localFamily: undefined,
  localPort: undefined,
  bytesRead: 0,
  bytesWritten: 0,
};

/**
 * Shows a native connection as a `net.Socket`, as far as others look at the socket below a
 * WebSocket: addresses, counters, options, raw reads and writes, and its end.
 *
 * Made when it is asked for. Addresses stay known after the end if they were asked for before.
 *
 * @extends EventEmitter
 */
class Socket extends EventEmitter {
  /** Number of the connection, or NONE after its end. */
  #id;
  #known = UNKNOWN;
  #destroyed = false;
  /** Whether end() was called. */
  #ended = false;
  /** What broke the connection. */
  #error = null;
  /** Whether the connection is one of TLS, once that was asked. */
  #isSecure;
  /** What is known of the peer of one. */
  #security = null;

  /** @param {number} id Number of the connection, or NONE if it has ended already */
  constructor(id) {
    super();
    this.#id = id;
    this.#destroyed = id === NONE;
    // What the peer sends is only shown here as long as somebody looks.
    this.on('newListener', (name) => {
      if (name === 'data' && this.#id !== NONE) native.connectionTap(this.#id, true);
    });
    this.on('removeListener', (name) => {
      const isLast = name === 'data' && this.listenerCount('data') === 0;
      if (isLast && this.#id !== NONE) native.connectionTap(this.#id, false);
    });
  }

  /** Asks for everything, and keeps it. */
  #info() {
    const info = this.#id === NONE ? null : native.connectionInfo(this.#id);
    // A closed socket has no addresses: those that are known stay.
    if (info != null) {
      const isClosed = info.remoteAddress == null;
      this.#known = isClosed
        ? { ...this.#known, bytesRead: info.bytesRead, bytesWritten: info.bytesWritten }
        : info;
    }
    return this.#known;
  }

  /** Addresses do not change: they are asked for once. */
  #addresses() {
    return this.#known.remoteAddress === undefined ? this.#info() : this.#known;
  }

  get remoteAddress() {
    return this.#addresses().remoteAddress ?? undefined;
  }

  get remoteFamily() {
    return this.#addresses().remoteFamily ?? undefined;
  }

  get remotePort() {
    return this.#addresses().remotePort ?? undefined;
  }

  get localAddress() {
    return this.#addresses().localAddress ?? undefined;
  }

  get localFamily() {
    return this.#addresses().localFamily ?? undefined;
  }

  get localPort() {
    return this.#addresses().localPort ?? undefined;
  }

  /** Octets received so far, the opening handshake included. */
  get bytesRead() {
    return this.#info().bytesRead;
  }

  /** Octets that the system has taken so far, the opening handshake included. */
  get bytesWritten() {
    return this.#info().bytesWritten;
  }

  /** Octets that the system has not taken yet. */
  get writableLength() {
    return this.#id === NONE ? 0 : Math.max(0, native.bufferedAmount(this.#id));
  }

  get connecting() {
    return false;
  }

  get pending() {
    return false;
  }

  get destroyed() {
    return this.#destroyed;
  }

  get readable() {
    return !this.#destroyed;
  }

  get writable() {
    return !this.#destroyed && !this.#ended;
  }

  get readyState() {
    return this.#destroyed ? 'closed' : 'open';
  }

  /** Whether the connection is one of TLS. */
  get encrypted() {
    if (this.#id !== NONE) this.#isSecure ??= native.connectionIsSecure(this.#id);
    return this.#isSecure ?? false;
  }

  // What follows is what a tls.TLSSocket has; there is none of it without TLS.

  get #peer() {
    if (this.#security === null && this.encrypted && this.#id !== NONE) {
      const security = native.connectionSecurity(this.#id);
      if (security) this.#security = new PeerSecurity(security);
    }
    return this.#security;
  }

  /** Whether the peer has shown a certificate that is trusted. */
  get authorized() {
    return this.encrypted ? (this.#peer?.authorized ?? false) : undefined;
  }

  /** Why it is not trusted: a code, or null. */
  get authorizationError() {
    return this.encrypted ? (this.#peer?.authorizationError ?? null) : undefined;
  }

  /** The protocol that was negotiated, or false. */
  get alpnProtocol() {
    return this.encrypted ? (this.#peer?.alpnProtocol ?? false) : undefined;
  }

  /** The name that the client has asked for, or false. */
  get servername() {
    return this.encrypted ? (this.#peer?.servername ?? false) : undefined;
  }

  /** The version of TLS, such as 'TLSv1.3'; null without TLS. */
  getProtocol() {
    return this.#peer?.protocol ?? null;
  }

  /** @returns {{ name?: string, standardName?: string, version?: string }} The cipher suite */
  getCipher() {
    return this.#peer?.cipher ?? {};
  }

  /**
   * Returns the peer's certificate, as that method of tls.TLSSocket does; `{}` if it has shown none.
   *
   * @param {boolean} [isDetailed=false] Whether to add the chain, as `issuerCertificate`
   */
  getPeerCertificate(isDetailed = false) {
    return this.#peer?.certificate(isDetailed) ?? {};
  }

  /** @returns {import('node:crypto').X509Certificate | undefined} The peer's certificate */
  getPeerX509Certificate() {
    return this.#peer?.certificates[0];
  }

  /** @returns {{ address: string, family: string, port: number } | {}} Our end's address */
  address() {
    const { localAddress, localFamily, localPort } = this.#addresses();
    if (localAddress === undefined) return {};
    return { address: localAddress, family: localFamily, port: localPort };
  }

  /** Turns Nagle's algorithm off, as it is at first, or on. */
  setNoDelay(enable = true) {
    if (this.#id !== NONE) native.connectionSetNoDelay(this.#id, Boolean(enable));
    return this;
  }

  /** Turns keep-alive probes on, the first after `initialDelay` milliseconds, or off. */
  setKeepAlive(enable = false, initialDelay = 0) {
    if (this.#id !== NONE) {
      native.connectionSetKeepAlive(this.#id, Boolean(enable), Math.ceil(initialDelay / 1000));
    }
    return this;
  }

  /** There is no idle timeout. */
  setTimeout() {
    return this;
  }

  ref() {
    if (this.#id !== NONE) native.connectionSetRef(this.#id, true);
    return this;
  }

  unref() {
    if (this.#id !== NONE) native.connectionSetRef(this.#id, false);
    return this;
  }

  /** The WebSocket above, or undefined if there is none (any more). */
  get #websocket() {
    const owner = table[this.#id];
    return owner?._scope === undefined ? undefined : owner;
  }

  pause() {
    this.#websocket?.pause();
    return this;
  }

  resume() {
    this.#websocket?.resume();
    return this;
  }

  isPaused() {
    return this.#websocket?.isPaused ?? false;
  }

  cork() {}

  uncork() {}

  /**
   * Sends bytes as they are, behind everything that was sent before: somebody else's frames.
   *
   * @param {string | Uint8Array} data The bytes
   * @param {string} [encoding='utf8'] The encoding of a string
   * @param {Function} [callback] Called on the next tick, with an Error if they cannot be sent
   * @returns {boolean} Whether more may be written now
   */
  write(data, encoding, callback) {
    if (typeof encoding === 'function') {
      callback = encoding;
      encoding = undefined;
    }
    const bytes = typeof data === 'string' ? Buffer.from(data, encoding) : data;
    const isWritable = this.#id !== NONE && !this.#ended && !this.#destroyed;
    const isSent = isWritable && writeRaw(this.#websocket, this.#id, bytes, callback);
    if (!isSent && typeof callback === 'function') {
      process.nextTick(callback, new Error('The socket has been ended'));
    }
    return isSent && this.writableLength <= HIGH_WATER_MARK;
  }

  /** Ends our side behind everything that was sent before, without a Close frame. */
  end(data, encoding, callback) {
    const last = [data, encoding, callback].find((each) => typeof each === 'function');
    if (last !== undefined) this.once('finish', last);
    if (data != null && typeof data !== 'function') this.write(data, encoding);
    if (this.#ended || this.#id === NONE) return this;
    this.#ended = true;
    native.endStream(this.#id);
    return this;
  }

  /** Takes bytes as if the peer had sent them. */
  push(chunk) {
    if (chunk !== null && this.#id !== NONE) native.feed(this.#id, chunk);
    return true;
  }

  unshift(chunk) {
    this.push(chunk);
  }

  /** What code written for Node's streams looks at. */
  get _writableState() {
    return { length: this.writableLength, ended: this.#ended, finished: this.writableFinished };
  }

  get _readableState() {
    return { length: 0, endEmitted: this.#id === NONE, ended: this.#id === NONE };
  }

  get readableLength() {
    return 0;
  }

  get writableEnded() {
    return this.#ended;
  }

  get writableFinished() {
    return this.#ended && this.#id === NONE;
  }

  get writableHighWaterMark() {
    return HIGH_WATER_MARK;
  }

  get errored() {
    return this.#error;
  }

  /** Drops the connection, and says so to the peer. */
  resetAndDestroy() {
    if (!this.#destroyed && this.#websocket !== undefined) native.connectionReset(this.#id);
    return this.destroy();
  }

  /**
   * Drops the connection without a closing handshake; 'close' follows.
   *
   * @param {Error} [error] What listeners of 'error' are told first
   */
  destroy(error) {
    if (!this.#destroyed) {
      this.#destroyed = true;
      this.#error = error ?? null;
      const websocket = this.#websocket;
      if (websocket === undefined) native.terminate(this.#id);
      else websocket.terminate();
    }
    return this;
  }

  /** Drops the connection once everything is written. */
  destroySoon() {
    this.end();
  }

  /**
   * Returns the number of the connection whose upgrade request is still to be decided on, or NONE if
   * `stream` is anything else.
   */
  static undecided(stream) {
    if (!(stream instanceof Socket) || stream.#id === NONE) return NONE;
    const isOpen = stream.#websocket !== undefined;
    return isOpen ? NONE : stream.#id;
  }

  /** Remembers what broke the connection, until it is concluded. */
  static fail(socket, error) {
    socket.#error = error;
  }

  /** Ends `socket`; called by lib/incoming.js when the connection is gone. */
  static conclude(socket) {
    socket.#info();
    void socket.encrypted;
    socket.#id = NONE;
    socket.#destroyed = true;
    if (socket.#error !== null) {
      // Whoever does not listen is told by the WebSocket.
      if (socket.listenerCount('error') > 0) socket.emit('error', socket.#error);
    } else if (socket.#ended) {
      socket.emit('finish');
    }
    socket.emit('close', socket.#error !== null);
  }
}

module.exports = Socket;
