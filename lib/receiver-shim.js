'use strict';

const EventEmitter = require('node:events');

const PerMessageDeflate = require('./permessage-deflate');

/**
 * What code written for ws finds as `websocket._receiver`: the limits in force, and 'conclude',
 * which the peer's Close frame causes. Made when it is asked for.
 *
 * @extends EventEmitter
 */
class ReceiverShim extends EventEmitter {
  /**
   * @param {import('./websocket')} websocket The WebSocket
   * @param {object} options The options of the WebSocket or of its server
   */
  constructor(websocket, options) {
    super();
    const deflate = websocket._details?.deflate ?? null;
    this._extensions = deflate === null ? {} : { [PerMessageDeflate.extensionName]: deflate };
    this._isServer = websocket._isServer;
    this._maxBufferedChunks = options.maxBufferedChunks | 0;
    this._maxFragments = options.maxFragments | 0;
    this._maxPayload = options.maxPayload | 0;
  }
}

module.exports = ReceiverShim;
