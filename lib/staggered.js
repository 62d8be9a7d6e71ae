'use strict';

const native = require('./addon');
const { detailsOf } = require('./details');
const { NONE, PAUSED, PHASES } = require('./constants');

/** Events that may wait before reading stops: what one read brings is often about as much. */
const MOST_WAITING = 64;

function throwError(error) {
  throw error;
}

/**
 * The events of one WebSocket with `allowSynchronousEvents: false`: one for each turn of the loop,
 * in order, so that promises which one event settles have their reactions before the next.
 *
 * Once the context is being destroyed, only what ends the connection is left of them.
 */
class Staggered {
  #websocket;
  #context;
  /** @type {{ perform: () => void, isEnd: boolean }[]} */
  #waiting = [];
  #hasStopped = false;

  /**
   * @param {import('./websocket')} websocket The WebSocket
   * @param {import('./context')} context Its context
   */
  constructor(websocket, context) {
    this.#websocket = websocket;
    this.#context = context;
  }

  get isEmpty() {
    return this.#waiting.length === 0;
  }

  /** The server of the connection, or null. */
  get server() {
    return this.#websocket._server;
  }

  add(perform, isEnd) {
    this.#waiting.push({ perform, isEnd });
    if (this.#waiting.length === 1) {
      this.#context._staggered.add(this);
      setImmediate(next, this);
    }
    // Again and again, because the user may have called resume() meanwhile.
    if (this.#waiting.length % MOST_WAITING === 0) this.#stopReading();
  }

  /** Performs the first one. */
  step() {
    this.#dropEvents();
    if (this.#waiting.length === 0) return;
    const [{ perform }] = this.#waiting;
    try {
      new this.#websocket._scope().runInAsyncScope(perform);
    } finally {
      this.#waiting.shift();
      if (this.#waiting.length > 0) setImmediate(next, this);
      else this.#onEmpty();
    }
  }

  /** Performs all, because something ends that is to end behind them. */
  flush() {
    this.#dropEvents();
    while (this.#waiting.length > 0) {
      const [{ perform }] = this.#waiting;
      try {
        new this.#websocket._scope().runInAsyncScope(perform);
      } catch (error) {
        // Thrown by a listener; the others still get theirs.
        process.nextTick(throwError, error);
      }
      this.#waiting.shift();
      this.#dropEvents();
    }
    this.#onEmpty();
  }

  /** No message or other event follows destroy(). */
  #dropEvents() {
    if (this.#context._phase < PHASES.DESTROYING) return;
    this.#waiting = this.#waiting.filter(({ isEnd }) => isEnd);
    if (this.#waiting.length === 0) this.#onEmpty();
  }

  #onEmpty() {
    this.#context._staggered.delete(this);
    this.#goOnReading();
  }

  #stopReading() {
    const { _details: details, _id: id } = this.#websocket;
    if (id === NONE) return;
    this.#hasStopped = true;
    native.pause(id);
    if (details.bridge !== null) details.bridge.stream.pause();
  }

  #goOnReading() {
    if (!this.#hasStopped) return;
    this.#hasStopped = false;
    const { _details: details, _flags: flags, _id: id } = this.#websocket;
    if (id === NONE || (flags & PAUSED) !== 0) return;
    native.resume(id);
    if (details.bridge !== null) details.bridge.stream.resume();
  }
}

function next(staggered) {
  staggered.step();
}

/**
 * Lets `perform` emit an event in a later turn of the loop, behind those that wait.
 *
 * @param {import('./websocket')} websocket The WebSocket
 * @param {import('./context')} context Its context
 * @param {() => void} perform Emits the event
 * @param {boolean} [isEnd=false] Whether it belongs to the end of the connection, which comes in
 *   any case
 */
function stagger(websocket, context, perform, isEnd = false) {
  const details = detailsOf(websocket);
  details.staggered ??= new Staggered(websocket, context);
  details.staggered.add(perform, isEnd);
}

/** Tells whether events wait. */
function isStaggering(websocket) {
  const details = websocket._details;
  return details !== null && details.staggered !== null && !details.staggered.isEmpty;
}

module.exports = { isStaggering, stagger };
