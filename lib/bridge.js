'use strict';

const native = require('./addon');
const { remasker } = require('./remask');
const { onBridged } = require('./incoming');
const { NONE, TERMINATED } = require('./constants');

/**
 * Carries one connection over a JavaScript stream: a TLS socket, an HTTP/2 stream, any Duplex. The
 * native half has the protocol; this moves bytes, both directions with backpressure.
 *
 * The stream stays the user's `_socket`. It is ended or destroyed here, as ws does.
 */
class Bridge {
  /** Number of the native connection, or NONE. */
  #id;
  #websocket;
  #context;
  #remask;
  #closeTimeout;
  #timer;
  /** Called when the stream has closed. */
  #onClosed = null;
  #isClosed = false;
  #hasEnded = false;
  /** Bytes that the native half has given to write(). */
  #written = 0;

  /**
   * Attaches `stream` and opens `websocket` on it; 'open' is for the caller to emit.
   *
   * @param {import('./websocket')} websocket The WebSocket
   * @param {import('./context')} context The context to join
   * @param {import('node:stream').Duplex} stream The stream; its handshake is done
   * @param {Buffer} head What has been read behind the handshake
   * @param {object} settings
   * @param {object} settings.limits Limits, as the native half wants them
   * @param {string} [settings.response] What to write first
   * @param {(mask: Buffer) => void} [settings.generateMask] Makes the masking keys of a client
   */
  constructor(websocket, context, stream, head, { limits, response = '', generateMask }) {
    const isServer = websocket._isServer;
    this.stream = stream;
    this.#websocket = websocket;
    this.#context = context;
    this.#closeTimeout = limits.closeTimeout;
    this.#remask = generateMask && !isServer ? remasker(generateMask) : null;
    this.#id = native.attach(context._id, { descriptor: -1, isServer, response }, head, limits);
    context._bridges.add(this);
    onBridged(websocket, this.#id, this);

    // Answers to what the peer has sent before its end are written after 'end'. The stream is ended here.
    stream.allowHalfOpen = true;
    // A stream that is no socket need not have these.
    if (stream.setTimeout) stream.setTimeout(0);
    if (stream.setNoDelay) stream.setNoDelay();
    stream.on('data', (chunk) => this.#feed(chunk));
    stream.on('end', () => this.#feedEnd());
    stream.on('drain', () => {
      if (this.#id !== NONE) native.outputDrained(this.#id);
    });
    stream.on('error', () => stream.destroy());
    stream.on('close', () => this.#closed());
    // It may have closed, which it does not say again.
    if (stream.destroyed) process.nextTick(() => this.#closed());
  }

  /** Bytes that wait behind the native queue: on their way to the stream, and in it. */
  get bufferedAmount() {
    const inStream = this.#isClosed ? 0 : (this.stream.writableLength ?? 0);
    if (this.#id === NONE) return inStream;
    const { bytesWritten } = native.connectionInfo(this.#id) ?? { bytesWritten: this.#written };
    return inStream + bytesWritten - this.#written;
  }

  #feed(chunk) {
    // What is not parsed now is kept; more may wait in the stream, which stops its peer.
    if (this.#id !== NONE && !native.feed(this.#id, chunk)) this.stream.pause();
  }

  /** The native half wants more to read. */
  resume() {
    if (!this.#websocket.isPaused) this.stream.resume();
  }

  #feedEnd() {
    this.#hasEnded = true;
    if (this.#id !== NONE) native.feedEnd(this.#id);
    else this.stream.end();
  }

  #closed() {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearTimeout(this.#timer);
    if (this.#id !== NONE) {
      // A stream that is paused may have been destroyed with something to read in it.
      const rest = this.stream.readableLength > 0 ? this.stream.read() : null;
      if (rest !== null) native.feed(this.#id, rest);
      native.feedClosed(this.#id);
    }
    this.#conclude();
  }

  #conclude() {
    const onClosed = this.#onClosed;
    if (onClosed === null) return;
    this.#onClosed = null;
    this.#context._bridges.delete(this);
    onClosed();
  }

  /** Writes what the native half has to send. */
  write(bytes) {
    this.#written += bytes.length;
    const { stream } = this;
    if (stream.destroyed || stream.writableEnded) return;
    const chunk = this.#remask === null ? bytes : this.#remask(bytes);
    const isFull = !stream.write(chunk);
    if (this.#id !== NONE) native.outputPassedOn(this.#id, bytes.length, isFull ? 1 : 0);
  }

  /** Nothing more will be written. */
  end() {
    if (!this.stream.destroyed) this.stream.end();
  }

  /** The native connection is gone: its number is not to be used any more. */
  detach() {
    this.#id = NONE;
  }

  /**
   * Closes the stream, and calls `onClosed` when it has closed. After a closing handshake what is
   * being written is waited for, at most as long as that handshake might have taken.
   */
  close(onClosed) {
    const { stream } = this;
    this.#onClosed = onClosed;
    if (this.#isClosed) {
      this.#conclude();
    } else if (stream.destroyed) {
      // 'close' is on its way.
    } else if (this.#hasEnded && (this.#websocket._flags & TERMINATED) === 0) {
      if (stream.writableFinished) {
        stream.destroy();
        return;
      }
      stream.once('finish', () => stream.destroy());
      stream.end();
      this.#timer = setTimeout(() => stream.destroy(), Math.min(this.#closeTimeout, 2 ** 31 - 1));
      // The stream keeps the process alive, if it is of that kind.
      this.#timer.unref();
    } else {
      stream.destroy();
    }
  }

  /** Closes without waiting, because the context has ended; for lib/context.js. */
  abandon() {
    clearTimeout(this.#timer);
    try {
      this.stream.destroy();
    } finally {
      this.#conclude();
    }
  }
}

module.exports = Bridge;
