'use strict';

const EventEmitter = require('node:events');
const { types } = require('node:util');

const native = require('./addon');
const table = require('./table');
const Delivery = require('./deliver');
const contexts = require('./contexts');
const { capture, runOnce } = require('./async-scope');
const { logState } = require('./diagnostics');
const { breachesOf } = require('./limits');
const { settle } = require('./waiting');
const { flushForExit, sendClose } = require('./outgoing');
const {
  check,
  checkClose,
  checkCount,
  checkObject,
  checkSignal,
  checkTimeout,
  received,
} = require('./validation');
const { CLOSE_TIMEOUT, OPEN, PHASES } = require('./constants');

const { RUNNING, DRAINING, CLOSING, DESTROYING } = PHASES;

/** By the numbers that the native half gives them. */
const STATES = ['running', 'draining', 'closing', 'destroying', 'destroyed'];

/** Status code of a server that goes away (RFC 6455 section 7.4.1). */
const GOING_AWAY = 1001;

const NO_STATS = {
  handles: 0,
  closing: 0,
  connections: 0,
  connectionsOpened: 0,
  listeners: 0,
  pendingConnects: 0,
  pendingHandshakes: 0,
  bytesBuffered: 0,
  bytesReceived: 0,
  bytesSent: 0,
  messagesReceived: 0,
  messagesSent: 0,
  messagesDropped: 0,
  memory: null,
};

let defaultContext = null;

/** Makes a property that cannot be assigned to. */
function define(context, name, value) {
  Object.defineProperty(context, name, { configurable: true, enumerable: true, value });
}

function throwError(error) {
  throw error;
}

/** Reads a memory budget, and returns it as the native half wants it. */
function checkBudget(value, name) {
  return checkCount(value, name, undefined, Number.MAX_SAFE_INTEGER);
}

/** Calls what may call handlers. What they throw does not keep the rest from ending. */
function guard(action) {
  try {
    action();
  } catch (error) {
    process.nextTick(throwError, error);
  }
}

/**
 * Everything on this thread's loop that belongs and ends together: servers, clients, connections
 * and timers, and a handle that wakes the loop from any thread.
 *
 * `drain`, `close` and `destroy` may be called any number of times, from anywhere. They return
 * `closed`, and call nothing of the user's before they have returned.
 *
 * Events: 'listening' (server), 'connection' (websocket, request, server), 'waitCancelled',
 * 'draining', and 'close' as the last.
 *
 * @extends EventEmitter
 */
class Context extends EventEmitter {
  /** Number of the native context. */
  #id;
  /** The async context that it was made in. */
  #captured = capture('UVWSCONTEXT');
  #handshakes = new Set();
  #bridges = new Set();
  #staggered = new Set();
  #cause = undefined;
  #phase = RUNNING;
  #connectionsOpened = 0;
  #resolve;
  #isDestroyed = false;
  /** Whether 'draining' has been emitted. */
  #hasDrained = false;
  #token;
  /** WebSocketServers of this context that have not emitted 'close'. */
  #servers = new Set();
  /** Stop listening to the signals that were given. */
  #forgetSignals = [];

  /**
   * @param {object} [options]
   * @param {*} [options.data] Anything; it becomes `data`
   * @param {number} [options.memoryBudget=Infinity] Bytes that may be held for peers
   * @param {string} [options.name=''] A name for logs
   * @param {AbortSignal} [options.signal] Destroys the context when it aborts
   */
  constructor(options = {}) {
    checkObject(options, 'options');
    const name = check('string', options.name, 'options.name', '');
    const budget = checkBudget(options.memoryBudget ?? Infinity, 'options.memoryBudget');
    checkSignal(options.signal, 'options.signal');
    super();

    /** The user's. */
    this.data = options.data;
    define(this, 'name', name);
    /** Resolves when the context is destroyed. Never rejects. */
    const closed = new Promise((resolve) => {
      this.#resolve = resolve;
    });
    define(this, 'closed', closed);
    const delivery = new Delivery(this);
    this.#id = native.contextCreate((extras) => delivery.deliver(extras), delivery.records);

    if (budget !== 0) native.contextSetMemoryBudget(this.#id, budget);
    if (contexts.add(this)) process.on('exit', flushForExit);
    if (options.signal !== undefined) this.#heed(options.signal);
  }

  /** The context that servers and clients join without the `context` option. */
  static get default() {
    if (defaultContext === null || defaultContext.state === 'destroyed') {
      defaultContext = new Context({ name: 'default' });
    }
    return defaultContext;
  }

  /** Bytes that may be held for peers, or Infinity: see docs/limits.md. */
  get memoryBudget() {
    const budget = this.#isDestroyed ? 0 : native.contextStats(this.#id).memoryBudget;
    return budget === 0 ? Infinity : budget;
  }

  set memoryBudget(value) {
    const budget = checkBudget(value, 'memoryBudget');
    if (!this.#isDestroyed) native.contextSetMemoryBudget(this.#id, budget);
  }

  /** 'running', 'draining', 'closing', 'destroying' or 'destroyed'. */
  get state() {
    if (this.#isDestroyed) return 'destroyed';
    // The native half is done a moment before the last events have been emitted.
    const state = STATES[native.contextState(this.#id)];
    if (state === 'destroyed') return 'destroying';
    return state === 'running' ? STATES[this.#phase] : state;
  }

  /**
   * Makes the loop turn and emits 'waitCancelled'. Stops nothing. Calls before the loop turns are
   * one event.
   *
   * @returns {boolean} False once the context is being destroyed
   */
  cancelService() {
    return !this.#isDestroyed && native.contextWake(this.#id);
  }

  /** As cancelService(). */
  wake() {
    return this.cancelService();
  }

  /** With this, wake() of any thread wakes this context, or returns false for ever. */
  get wakeToken() {
    this.#token ??= native.contextWakeToken(this.#id);
    return this.#token;
  }

  /**
   * Stops listening, and ends the context when its last connection has ended by itself.
   *
   * @returns {Promise<void>} `closed`
   */
  drain() {
    if (this.#isDestroyed) return this.closed;
    this.#advance(DRAINING);
    if (this.#handshakes.size === 0) {
      native.contextDrain(this.#id);
    } else {
      // The native half, which does not know of them, drains when they are over.
      setImmediate(() => this._run(this._entered, this, DRAINING));
    }
    this.#retireServers();
    return this.closed;
  }

  /**
   * Ends the context with closing handshakes. The Close frame of each connection goes out behind
   * what was sent before; a client that is still connecting fails with ERR_UVWS_CONTEXT_CLOSED, and
   * an upgrade that is half done is answered with 503. Called again, only `signal` has a meaning.
   *
   * @param {object} [options]
   * @param {number} [options.code=1001] Status code of the Close frames, as in WebSocket.close()
   * @param {string | Uint8Array} [options.reason=''] Reason of the Close frames
   * @param {number} [options.timeout=30000] Milliseconds after which the rest is terminated, or
   *   Infinity. The `closeTimeout` of each connection holds as well
   * @param {AbortSignal} [options.signal] Terminates the rest when it aborts
   * @returns {Promise<void>} `closed`
   * @throws {TypeError | RangeError} If an option is not that; nothing has happened then
   */
  close(options = {}) {
    checkObject(options, 'options');
    const { code = GOING_AWAY, reason = '', signal } = options;
    checkClose(code, reason);
    const timeout = checkTimeout(options.timeout, 'options.timeout', CLOSE_TIMEOUT);
    checkSignal(signal, 'options.signal');

    if (this.#isDestroyed) return this.closed;
    this.#advance(CLOSING);
    if (native.contextState(this.#id) < CLOSING) {
      native.contextClose(this.#id, timeout);
      this.#retireServers();
      for (const id of native.contextConnections(this.#id)) {
        const websocket = table[id];
        if (websocket !== undefined && websocket._readyState === OPEN) {
          sendClose(websocket, code, reason);
        }
      }
    }
    if (signal !== undefined) this.#heed(signal);
    return this.closed;
  }

  /**
   * Ends the context at once: nothing more is read, no Close frame is sent. Takes effect when the
   * running delivery is over if it is called from within a handler; no message follows.
   *
   * @param {Error} [error] The `cause` of the errors of clients that were still connecting
   * @returns {Promise<void>} `closed`
   */
  destroy(error) {
    if (error !== undefined && !types.isNativeError(error) && !(error instanceof Error)) {
      throw new TypeError(`"error" must be an Error, ${received(error)}`);
    }
    this.#destroy(error);
    return this.closed;
  }

  /** Lets the servers and connections of this context keep the process alive, as they do at first. */
  ref() {
    settle();
    if (!this.#isDestroyed) native.contextRef(this.#id);
    for (const handshake of this.#handshakes) handshake.setRef?.(true);
    return this;
  }

  /** Lets nothing of this context keep the process alive. */
  unref() {
    settle();
    if (!this.#isDestroyed) native.contextUnref(this.#id);
    for (const handshake of this.#handshakes) handshake.setRef?.(false);
    return this;
  }

  /** Whether the servers and connections of this context keep the process alive. */
  hasRef() {
    return !this.#isDestroyed && native.contextHasRef(this.#id);
  }

  /** Returns how much there is of everything, and how much there has been. */
  stats() {
    settle();
    const limits = breachesOf(this);
    if (this.#isDestroyed) return { ...NO_STATS, limits };
    const {
      memoryBudget: budget,
      memoryUsed: used,
      memoryPeak: peak,
      ...stats
    } = native.contextStats(this.#id);
    stats.pendingConnects += this.#handshakes.size;
    return {
      ...stats,
      connectionsOpened: this.#connectionsOpened,
      memory: budget === 0 ? null : { budget, used, peak },
      limits,
    };
  }

  /** As close(), for `await using`. */
  [Symbol.asyncDispose ?? Symbol.for('nodejs.asyncDispose')]() {
    return this.close();
  }

  #destroy(cause) {
    if (this.#isDestroyed) return;
    // Before it is told to those who are interrupted.
    this.#cause ??= cause;
    this.#advance(DESTROYING);
    native.contextDestroy(this.#id);
  }

  #advance(phase) {
    // Clients that have just been made are part of this context.
    settle();
    if (phase > this.#phase) logState(this, STATES[phase]);
    this.#phase = Math.max(this.#phase, phase);
    for (const handshake of [...this.#handshakes]) {
      if (phase >= CLOSING) handshake.interrupt();
      else handshake.retire?.();
    }
  }

  /** Destroys the context when `signal` aborts. */
  #heed(signal) {
    if (signal.aborted) {
      this.#destroy(signal.reason);
      return;
    }
    const onAbort = () => this.#destroy(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    this.#forgetSignals.push(() => signal.removeEventListener('abort', onAbort));
  }

  #retireServers() {
    for (const server of this.#servers) server._retire();
  }

  /** Throws unless the option `context` is one, or not given; for servers and WebSockets. */
  static check(context) {
    if (context !== undefined && !(context instanceof Context)) {
      throw new TypeError(`"options.context" must be a Context, ${received(context)}`);
    }
  }

  // For the files of lib/. A property of the object would be shown by whoever prints it, and to hide
  // one costs a fifth of a microsecond.

  /** Number of the native context. */
  get _id() {
    return this.#id;
  }

  /** Opening handshakes that Node's HTTP client does, and clients that wait for their next. */
  get _handshakes() {
    return this.#handshakes;
  }

  /** Bridges whose streams are not closed. */
  get _bridges() {
    return this.#bridges;
  }

  /** Queues of connections with `allowSynchronousEvents: false` that are not empty. */
  get _staggered() {
    return this.#staggered;
  }

  /** Why it ends, if somebody said so. */
  get _cause() {
    return this.#cause;
  }

  /** How far drain(), close() and destroy() have brought it: asked for by each upgrade. */
  get _phase() {
    return this.#phase;
  }

  /** A connection is open; for lib/diagnostics.js. */
  _remember() {
    this.#connectionsOpened++;
  }

  /** Runs a function in the async context that this was made in. */
  _run(run, self, ...values) {
    runOnce(this.#captured, run, self, ...values);
  }

  /** Takes a server in; for lib/websocket-server.js. */
  static join(context, server) {
    context.#servers.add(server);
  }

  /** Lets a server go; for lib/websocket-server.js. */
  static leave(context, server) {
    context.#servers.delete(server);
  }

  /** The native half has entered a state; for lib/deliver.js. */
  _entered(state) {
    if (state !== DRAINING || this.#hasDrained || this.#isDestroyed) return;
    this.#hasDrained = true;
    this.emit('draining');
  }

  /** An opening handshake through Node's HTTP client is over; for lib/request.js. */
  _finished(handshake) {
    this.#handshakes.delete(handshake);
    if (this.#phase === DRAINING && this.#handshakes.size === 0) native.contextDrain(this.#id);
  }

  /** The last handle is closed: the end; for lib/deliver.js. */
  _conclude() {
    // An exception may have put off what was to begin.
    settle();
    // Handlers may change each of these sets.
    for (const staggered of [...this.#staggered]) staggered.flush();
    this.#phase = DESTROYING;
    for (const bridge of [...this.#bridges]) guard(() => bridge.abandon());
    for (const handshake of [...this.#handshakes]) guard(() => handshake.conclude());
    for (const forget of this.#forgetSignals) guard(forget);
    for (const server of [...this.#servers]) guard(() => server._conclude());
    this.#servers.clear();
    if (contexts.remove(this)) process.removeListener('exit', flushForExit);
    this.#isDestroyed = true;
    logState(this, 'destroyed');
    try {
      this.emit('close');
    } finally {
      this.#resolve();
    }
  }
}

module.exports = Context;
