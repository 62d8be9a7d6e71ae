'use strict';

// What brings a client back whose connection is lost, with the schedule of libwebsockets' retry
// policies (`lws_retry_bo_t`): a table of delays of which the last one repeats, and jitter on top.
//
// The WebSocket stays the same object. Where it would end, in conclude(), it is made as new instead,
// waits as a client that connects, and starts again. A WebSocket without the option has none of this.

const Socket = require('./socket');
const { logReconnection, tellClose, tellError } = require('./diagnostics');
const { endSoon } = require('./ending');
const { contextClosed } = require('./failure');
const { conclude, onNeverConnected } = require('./incoming');
const { byteLength, bytesOf, restoreFastPath, toPayload } = require('./outgoing');
const { noTimings } = require('./clock');
const { check, checkLimit, checkNumber, checkObject, isBlob, received } = require('./validation');
const {
  BINARY_TYPE_BITS,
  CLOSING,
  CONNECTING,
  EMPTY_BUFFER,
  ENDED,
  ERROR_EMITTED,
  FRAGMENTING,
  OPEN,
  PAUSED,
  PHASES,
  STAGGERED,
  TERMINATED,
  WAS_OPEN,
} = require('./constants');

/** Milliseconds before each attempt. */
const DELAYS = [1000, 2000, 4000, 8000, 16_000, 30_000];
/** Default of libwebsockets, in percent. */
const JITTER = 30;
/** Milliseconds for which a connection has to hold to count as a success. */
const RESET_AFTER = 5000;
/** Bytes that may wait for a connection. */
const MAX_QUEUE = 1024 * 1024;
/** Longest timer of Node's, in milliseconds. */
const LONGEST_TIMER = 2 ** 31 - 1;

/**
 * Close codes that tell of trouble (RFC 6455 section 7.4.1 and its registry): going away, no Close
 * frame, internal error, restart, try again later, bad gateway. All others are a decision.
 */
const TRANSIENT_CODES = new Set([1001, 1006, 1011, 1012, 1013, 1014]);

/** Statuses that tell of trouble (RFC 9110 section 15, RFC 6585, RFC 8470). */
const TRANSIENT_STATUSES = new Set([408, 425, 429, 500, 502, 503, 504]);

/** Messages of ws, which do not change. */
const UNEXPECTED_STATUS = /^Unexpected server response: (\d+)$/;
const TIMED_OUT = 'Opening handshake has timed out';

const OFFLINE_MODES = ['queue', 'refuse'];

/** Flags that outlive a connection. */
const LASTING_FLAGS = BINARY_TYPE_BITS | PAUSED | STAGGERED;

function throwError(error) {
  throw error;
}

/** Tells whether it may help to try again: the default of the option `retry`. */
function isTransient({ code, error, wasOpen }) {
  if (wasOpen) return error === null && TRANSIENT_CODES.has(code);
  const status = error.status ?? UNEXPECTED_STATUS.exec(error.message)?.[1];
  if (status !== undefined) return TRANSIENT_STATUSES.has(Number(status));
  // What has no code is a fault in the server's answer.
  return error.code !== undefined || error.message === TIMED_OUT;
}

function checkDelays(delays) {
  const isDelay = (delay) => typeof delay === 'number' && delay >= 0 && delay <= LONGEST_TIMER;
  if (!Array.isArray(delays) || delays.length === 0 || !delays.every(isDelay)) {
    throw new TypeError(
      `"options.reconnect.delays" must be an array of one or more numbers of milliseconds, ${received(delays)}`,
    );
  }
  return [...delays];
}

/** Reads the option. */
function readSettings(option) {
  const given = option === true ? {} : option;
  checkObject(given, 'options.reconnect');
  const offline = given.offline ?? 'queue';
  if (!OFFLINE_MODES.includes(offline)) {
    throw new TypeError(
      `"options.reconnect.offline" must be "queue" or "refuse", ${received(offline)}`,
    );
  }
  const read = (name, fallback, max) =>
    checkNumber(given[name], `options.reconnect.${name}`, fallback, max);
  return {
    delays: checkDelays(given.delays ?? DELAYS),
    jitter: read('jitter', JITTER, 100),
    maxAttempts: read('maxAttempts', Infinity),
    resetAfter: read('resetAfter', RESET_AFTER),
    isQueueing: offline === 'queue',
    // 0 is no limit.
    maxQueue: checkLimit(given.maxQueue, 'options.reconnect.maxQueue', MAX_QUEUE) || Infinity,
    retry: check('function', given.retry, 'options.reconnect.retry', isTransient),
  };
}

/** The error of a message that is not sent because there is no connection. */
function offlineError(why) {
  const error = new Error(`The message was not sent: ${why}`);
  return Object.assign(error, { code: 'ERR_UVWS_OFFLINE' });
}

/** The tries of one client. While it waits for the next one, it is its opening handshake. */
class Reconnection {
  #websocket;
  #context;
  #settings;
  #signal;
  #start;
  #heed;
  #url;

  /** Attempts since the last connection that has held. */
  #attempts = 0;
  #hasOpened = false;
  #openedAt = 0;
  /** Why it waits. */
  #cause = null;
  #timer = null;

  /** @type {{ payload: *, options: object, callback?: Function, size: number }[]} */
  #queue = [];
  #queuedBytes = 0;
  /** The client ends: nothing waits for a connection any more. */
  #isOver = false;
  /** Whether the fragments of a message are being sent whose first ones are lost. */
  #isCut = false;

  /**
   * @param {import('./websocket')} websocket The WebSocket
   * @param {import('./context')} context Its context
   * @param {object} options The options of the WebSocket
   * @param {object} actions
   * @param {() => void} actions.start Starts an attempt
   * @param {(signal: AbortSignal) => void} actions.heed Gives it up when the signal aborts
   */
  constructor(websocket, context, options, { start, heed }) {
    this.#websocket = websocket;
    this.#context = context;
    this.#settings = readSettings(options.reconnect);
    this.#signal = options.signal ?? undefined;
    this.#start = start;
    this.#heed = heed;
    this.#url = websocket._details.url;
  }

  // ---- the connection

  /** The connection is open; emits that. */
  opened() {
    const websocket = this.#websocket;
    const name = this.#hasOpened ? 'reconnected' : 'open';
    this.#hasOpened = true;
    this.#openedAt = performance.now();
    if ((websocket._flags & PAUSED) !== 0) websocket.pause();
    restoreFastPath(websocket);
    try {
      websocket.emit(name);
    } finally {
      // What listeners have sent, to log in perhaps, goes first.
      this.#flush();
    }
  }

  /**
   * The connection, or the attempt, has ended.
   *
   * @returns {boolean} Whether there will be another one; if not, the WebSocket ends
   */
  survive() {
    const websocket = this.#websocket;
    const cause = this.#takeCause();
    if (!this.#mayRetry(cause)) {
      this.#giveUp();
      return false;
    }
    if (cause.error !== null) tellError(websocket, cause.error);
    tellClose(websocket, cause.code, cause.reason);
    // A subscriber may have ended it.
    if (this.#isFinal) {
      this.#giveUp();
      return false;
    }
    this.#attempts++;
    this.#cause = cause;
    this.#renew();
    const { delays, jitter } = this.#settings;
    const base = delays[Math.min(this.#attempts, delays.length) - 1];
    const delay = Math.min(base + (base * jitter * Math.random()) / 100, LONGEST_TIMER);
    this.#wait(delay);
    logReconnection(websocket, this.#attempts, delay);
    websocket.emit('reconnecting', this.#attempts, delay, cause);
    return true;
  }

  #takeCause() {
    const { _details: details, _flags: flags } = this.#websocket;
    const { closeCode: code, closeReason: reason, error } = details;
    return { code, reason, error, wasOpen: (flags & WAS_OPEN) !== 0 };
  }

  /** Whether somebody has decided that this is the end. */
  get #isFinal() {
    return (
      (this.#websocket._flags & (ENDED | ERROR_EMITTED)) !== 0 ||
      this.#context._phase >= PHASES.DRAINING ||
      this.#signal?.aborted === true
    );
  }

  #mayRetry(cause) {
    const { maxAttempts, resetAfter, retry } = this.#settings;
    if (this.#isFinal) return false;
    if (cause.wasOpen && performance.now() - this.#openedAt >= resetAfter) this.#attempts = 0;
    if (this.#attempts >= maxAttempts) return false;
    try {
      return Boolean(retry(cause, this.#attempts + 1)) && !this.#isFinal;
    } catch (error) {
      process.nextTick(throwError, error);
      return false;
    }
  }

  /** Ends for good: conclude() follows. */
  #giveUp() {
    this.#isOver = true;
    const { _details: details, _flags: flags } = this.#websocket;
    // Closing what has been open is no fault, even if it is away.
    if ((flags & ENDED) !== 0 && (flags & ERROR_EMITTED) === 0 && this.#hasOpened) {
      details.error = null;
    }
    details.bufferedBytes -= this.#queuedBytes;
    this.#queuedBytes = 0;
    for (const { callback } of this.#queue.splice(0)) {
      if (callback !== undefined) process.nextTick(callback, offlineError('the client has ended'));
    }
  }

  /** Makes the WebSocket one that has not been connected yet. */
  #renew() {
    const websocket = this.#websocket;
    const { _details: details, _flags: flags } = websocket;
    details.queue?.abandon(offlineError('the connection was lost'));
    for (const callback of details.callbacks.splice(0)) {
      process.nextTick(callback, offlineError('the connection was lost'));
    }
    if (details.socket !== null) Socket.conclude(details.socket);
    this.#isCut = (flags & FRAGMENTING) !== 0;
    // The rest of a message whose beginning is lost is to be told from a new one.
    websocket._flags = flags & (this.#isCut ? LASTING_FLAGS | FRAGMENTING : LASTING_FLAGS);
    websocket._readyState = CONNECTING;
    Object.assign(details, {
      protocol: '',
      url: this.#url,
      closeCode: 1006,
      closeReason: EMPTY_BUFFER,
      error: null,
      bufferedBytes: this.#queuedBytes,
      socket: null,
      bridge: null,
      redirects: 0,
      timings: noTimings(),
      receiver: null,
      sender: null,
      deflate: null,
    });
  }

  // ---- waiting: an opening handshake, as far as others see it

  /** There is no http.ClientRequest. */
  get request() {
    return null;
  }

  #wait(delay) {
    const context = this.#context;
    this.#websocket._details.handshake = this;
    context._handshakes.add(this);
    this.#timer = setTimeout(() => this.#tryAgain(), delay);
    this.setRef(context.hasRef());
    if (this.#signal !== undefined) this.#heed(this.#signal);
  }

  #tryAgain() {
    const websocket = this.#websocket;
    this.#stopWaiting();
    websocket._details.handshake = null;
    try {
      this.#start();
    } catch (error) {
      endSoon(this.#context, () => onNeverConnected(websocket, error));
    }
  }

  #stopWaiting() {
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#context._finished(this);
  }

  /** Whether waiting keeps the process alive; for lib/context.js. */
  setRef(isRef) {
    if (isRef) this.#timer.ref();
    else this.#timer.unref();
  }

  /** Gives up, because the WebSocket has been closed. Its error is set. */
  abandon() {
    if (this.#timer === null) return;
    this.#stopWaiting();
    endSoon(this.#context, () => conclude(this.#websocket));
  }

  /** The context drains: what is lost stays lost; for lib/context.js. */
  retire() {
    const { code, reason, error } = this.#cause;
    Object.assign(this.#websocket._details, { closeCode: code, closeReason: reason, error });
    this.#leave();
    this.abandon();
  }

  /** The context is closing; for lib/context.js. */
  interrupt() {
    this.#fail();
    this.abandon();
  }

  /** The context has ended: all is over when this returns; for lib/context.js. */
  conclude() {
    this.#fail();
    this.#stopWaiting();
    conclude(this.#websocket);
  }

  #fail() {
    const message = 'The context was closed before the connection was established';
    this.#websocket._details.error ??= contextClosed(message, this.#context._cause);
    this.#leave();
  }

  #leave() {
    this.#websocket._readyState = CLOSING;
    this.#websocket._flags |= TERMINATED;
  }

  // ---- what is sent meanwhile

  /** Whether messages are not for the connection: there is none, or they are the rest of a lost one. */
  get isAway() {
    if (this.#isOver) return false;
    const { _flags: flags, _readyState: state } = this.#websocket;
    return state === CONNECTING || (state === CLOSING && (flags & ENDED) === 0) || this.#isCut;
  }

  /** Takes a message that is sent while isAway holds; see WebSocket.send(). */
  send(data, options, callback) {
    if (typeof options === 'function') {
      callback = options;
      options = undefined;
    }
    if (typeof callback !== 'function') callback = undefined;
    const given = options ?? {};
    const fin = Boolean(given.fin ?? true);
    const why = this.#reasonToRefuse(fin);
    if (why !== null) {
      this.refuse(callback, why);
      return;
    }
    if (typeof data === 'number') data = data.toString();
    const entry = this.#entryOf(data, given, callback);
    if (this.#queuedBytes + entry.size > this.#settings.maxQueue) {
      this.refuse(callback, 'too much is waiting for a connection');
      return;
    }
    this.#queue.push(entry);
    this.#queuedBytes += entry.size;
    this.#websocket._details.bufferedBytes += entry.size;
  }

  /** Tells a callback that its message is not sent. */
  refuse(callback, why = 'there is no connection') {
    if (typeof callback === 'function') process.nextTick(callback, offlineError(why));
  }

  #reasonToRefuse(fin) {
    const websocket = this.#websocket;
    if ((websocket._flags & FRAGMENTING) !== 0) {
      if (fin) {
        this.#isCut = false;
        websocket._flags &= ~FRAGMENTING;
        restoreFastPath(websocket);
      }
      return 'the fragments before it are lost';
    }
    if (!fin) {
      websocket._flags |= FRAGMENTING;
      this.#isCut = true;
    }
    if (!fin || !this.#settings.isQueueing) return 'there is no connection';
    return null;
  }

  #entryOf(data, given, callback) {
    const binary = Boolean('binary' in given ? given.binary : typeof data !== 'string');
    const options = { ...given, binary };
    if (isBlob(data)) return { payload: data, options, callback, size: data.size };
    const payload = toPayload(data);
    const size = byteLength(payload);
    // The caller may use its memory again.
    const copy = typeof payload === 'string' ? payload : Buffer.from(bytesOf(payload));
    return { payload: copy, options, callback, size };
  }

  #flush() {
    const websocket = this.#websocket;
    while (this.#queue.length > 0 && websocket._readyState === OPEN) {
      const { payload, options, callback, size } = this.#queue.shift();
      this.#queuedBytes -= size;
      websocket._details.bufferedBytes -= size;
      websocket.send(payload, options, callback);
    }
  }
}

module.exports = Reconnection;
