'use strict';

const { CLOSED, NONE, TERMINATED } = require('./constants');

/** How many queues there are. */
let count = 0;

/**
 * What has to wait because a Blob in front of it is being read.
 *
 * Lives only while that is so. Its bytes count in `bufferedAmount`.
 */
class SendQueue {
  #websocket;
  /** @type {{ blob: Blob | null, size: number, perform: Function, callback?: Function }[]} */
  #entries = [];
  #reading = false;
  #isAbandoned = false;

  #onEmpty;
  #onFailure;

  /**
   * @param {import('./websocket')} websocket The WebSocket, whose details exist
   * @param {(websocket: import('./websocket')) => void} onEmpty Called when nothing waits any more
   * @param {(websocket: import('./websocket'), error: Error) => void} onFailure Called when a Blob
   *   cannot be read
   */
  constructor(websocket, onEmpty, onFailure) {
    this.#websocket = websocket;
    this.#onEmpty = onEmpty;
    this.#onFailure = onFailure;
    count++;
  }

  /** Returns how many connections wait. */
  static count() {
    return count;
  }

  /** Appends something to send, and sends it at once if nothing is in front of it. */
  add(entry) {
    this.#entries.push(entry);
    this.#websocket._details.bufferedBytes += entry.size;
    if (!this.#reading) this.#proceed();
  }

  #proceed() {
    while (this.#entries.length > 0) {
      const { blob, perform } = this.#entries[0];
      if (blob !== null) {
        this.#reading = true;
        blob.arrayBuffer().then(
          (bytes) => this.#read(bytes),
          (error) => this.#fail(error),
        );
        return;
      }
      this.#take();
      perform();
    }
    this.#end();
  }

  /** Takes the first entry out. */
  #take() {
    const entry = this.#entries.shift();
    this.#websocket._details.bufferedBytes -= entry.size;
    return entry;
  }

  #end() {
    this.#forget();
    this.#onEmpty(this.#websocket);
  }

  #read(bytes) {
    if (this.#isAbandoned) return;
    const websocket = this.#websocket;
    this.#reading = false;
    const isOver =
      websocket._id === NONE ||
      websocket._readyState === CLOSED ||
      (websocket._flags & TERMINATED) !== 0;
    if (isOver) {
      this.abandon(new Error('The socket was closed while the blob was being read'));
      return;
    }
    this.#take().perform(bytes);
    this.#proceed();
  }

  /** The Blob could not be read: the message cannot be sent, nor anything behind it. */
  #fail(error) {
    if (this.#isAbandoned) return;
    const websocket = this.#websocket;
    this.#reading = false;
    this.abandon(error);
    if (websocket._readyState !== CLOSED) this.#onFailure(websocket, error);
  }

  /** Gives up everything that waits, and tells the callbacks why. */
  abandon(error) {
    const entries = this.#entries;
    this.#entries = [];
    this.#isAbandoned = true;
    for (const { callback } of entries) {
      if (typeof callback === 'function') process.nextTick(callback, error);
    }
    this.#forget();
  }

  /** The connection waits no longer. */
  #forget() {
    if (this.#websocket._details.queue !== this) return;
    this.#websocket._details.queue = null;
    count--;
  }
}

module.exports = SendQueue;
