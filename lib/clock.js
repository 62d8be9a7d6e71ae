'use strict';

// How long a client's opening handshake through Node's HTTP client takes, and how long it may take.

/** Longest timer of Node's, in milliseconds. */
const LONGEST_TIMER = 2 ** 31 - 1;

/** Makes what `WebSocket.timings` is before anything has been reached. */
function noTimings() {
  return { dns: null, connect: null, proxy: null, tls: null, upgrade: null };
}

/**
 * Starts a timer that does not keep the process alive: what it limits does.
 *
 * @returns {NodeJS.Timeout | undefined} Nothing for 0, which is no limit
 */
function limit(milliseconds, action) {
  if (milliseconds === 0) return undefined;
  return setTimeout(action, Math.min(milliseconds, LONGEST_TIMER)).unref();
}

/** The times and the time limits of one handshake. A redirect starts it again. */
class Clock {
  #details;
  #onLate;
  #start = 0;
  #handshakeTimer;
  #connectTimer;

  /**
   * @param {import('./details').Details} details Where the timings are kept
   * @param {(error: Error) => void} onLate Called when a limit is reached
   */
  constructor(details, onLate) {
    this.#details = details;
    this.#onLate = onLate;
  }

  /**
   * Begins.
   *
   * @param {number} handshakeTimeout Milliseconds for all of it; 0 for no limit
   * @param {number} connectTimeout Milliseconds up to connected(); 0 for no limit
   */
  start(handshakeTimeout, connectTimeout) {
    this.stop();
    this.#start = performance.now();
    this.#details.timings = noTimings();
    this.#handshakeTimer = limit(handshakeTimeout, () => {
      this.#onLate(new Error('Opening handshake has timed out'));
    });
    this.#connectTimer = limit(connectTimeout, () => {
      const error = new Error('Connecting has timed out');
      this.#onLate(Object.assign(error, { code: 'ERR_UVWS_CONNECT_TIMEOUT' }));
    });
  }

  /** Notes when a step was reached: a property of the timings. */
  note(step) {
    this.#details.timings[step] = performance.now() - this.#start;
  }

  /** The connection stands: TLS and the request may follow. */
  connected() {
    clearTimeout(this.#connectTimer);
  }

  /** Notes the steps of a socket that has just been made, or was there before. */
  watch(socket) {
    if (socket.connecting) {
      socket.once('lookup', (error) => {
        if (!error) this.note('dns');
      });
      socket.once('connect', () => {
        this.note('connect');
        this.connected();
      });
    } else {
      this.connected();
    }
    // A socket that an agent has kept is beyond that.
    if (socket.encrypted === true && socket.secureConnecting === true) {
      socket.once('secureConnect', () => this.note('tls'));
    }
  }

  /** No limit holds any more. */
  stop() {
    clearTimeout(this.#handshakeTimer);
    clearTimeout(this.#connectTimer);
  }
}

module.exports = { Clock, noTimings };
