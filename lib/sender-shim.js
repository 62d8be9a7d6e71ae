'use strict';

const native = require('./addon');
const { NONE } = require('./constants');

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
   * @param {Function} [callback] Called on the next tick
   */
  sendFrame(list, callback) {
    const { _id: id } = this.#websocket;
    const bytes = list.length === 1 ? list[0] : Buffer.concat(list);
    const isSent = id !== NONE && native.writeRaw(id, bytes) >= 0;
    if (typeof callback !== 'function') return;
    if (isSent) process.nextTick(callback);
    else process.nextTick(callback, new Error('The socket is closed'));
  }
}

module.exports = SenderShim;
