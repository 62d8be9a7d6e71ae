'use strict';

const native = require('./addon');
const { detailsOf } = require('./details');
const { NONE, PAUSED } = require('./constants');

/** Events that may wait before reading stops: what one read brings is often about as much. */
const MOST_WAITING = 64;

/**
 * The events of one WebSocket with `allowSynchronousEvents: false`: one for each turn of the loop,
 * in order, so that promises which one event settles have their reactions before the next.
 */
class Staggered {
  #websocket;
  #waiting = [];
  #hasStopped = false;

  /** @param {import('./websocket')} websocket The WebSocket */
  constructor(websocket) {
    this.#websocket = websocket;
  }

  get isEmpty() {
    return this.#waiting.length === 0;
  }

  add(perform) {
    this.#waiting.push(perform);
    if (this.#waiting.length === 1) setImmediate(next, this);
    const { _id: id } = this.#websocket;
    if (this.#waiting.length === MOST_WAITING && id !== NONE) {
      this.#hasStopped = true;
      native.pause(id);
    }
  }

  /** Performs the first one. */
  step() {
    const websocket = this.#websocket;
    const perform = this.#waiting[0];
    try {
      new websocket._scope().runInAsyncScope(perform);
    } finally {
      this.#waiting.shift();
      if (this.#waiting.length > 0) {
        setImmediate(next, this);
      } else if (this.#hasStopped) {
        this.#hasStopped = false;
        if (websocket._id !== NONE && (websocket._flags & PAUSED) === 0) {
          native.resume(websocket._id);
        }
      }
    }
  }
}

function next(staggered) {
  staggered.step();
}

/** Lets `perform` emit an event in a later turn of the loop, behind those that wait. */
function stagger(websocket, perform) {
  const details = detailsOf(websocket);
  details.staggered ??= new Staggered(websocket);
  details.staggered.add(perform);
}

/** Tells whether events wait. */
function isStaggering(websocket) {
  const details = websocket._details;
  return details !== null && details.staggered !== null && !details.staggered.isEmpty;
}

module.exports = { isStaggering, stagger };
