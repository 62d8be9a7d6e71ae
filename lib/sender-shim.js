'use strict';

const { writeRaw } = require('./raw-write');
const { NONE, OPEN } = require('./constants');

/**
 * What code written for ws finds as `websocket._sender`: it sends frames that have been made
 * elsewhere, for a broadcast. Made when it is asked for.
 */
class SenderShim {
  #websocket;

  /** @param {import('./websocket')} websocket The WebSocket */
  constructor(websocket) {
    this.#websocket = websocket;
  }

  get _socket() {
    return this.#websocket._socket;
  }

  /** Bytes that wait in front of the socket's queue. */
  get _bufferedBytes() {
    const { _details: details } = this.#websocket;
    return details === null ? 0 : details.bufferedBytes;
  }

  /**
   * Sends a frame as it is.
   *
   * @param {Buffer[]} list The frame, in pieces
   * @param {Function} [callback] Called when the system has taken it, or with an Error
   */
  sendFrame(list, callback) {
    const websocket = this.#websocket;
    const bytes = list.length === 1 ? list[0] : Buffer.concat(list);
    const isOpen = websocket._readyState === OPEN && websocket._id !== NONE;
    if (isOpen && writeRaw(websocket, websocket._id, bytes, callback)) return;
    if (typeof callback === 'function') {
      process.nextTick(callback, new Error('The socket is closed'));
    }
  }
}

module.exports = SenderShim;
