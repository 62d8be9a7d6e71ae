'use strict';

const native = require('./addon');
const { bind } = require('./async-scope');
const { detailsOf } = require('./details');
const { NOTIFY } = require('./constants');

/**
 * Sends bytes as they are.
 *
 * @param {import('./websocket') | undefined} websocket The WebSocket, if there is one yet
 * @param {number} id Number of its connection
 * @param {Buffer} bytes The bytes
 * @param {Function} [callback] Called when the system has taken them
 * @returns {boolean} Whether they will be sent; if not, `callback` is not called
 */
function writeRaw(websocket, id, bytes, callback) {
  const notify = websocket !== undefined && typeof callback === 'function';
  if (native.writeRaw(id, bytes, notify ? NOTIFY : 0) < 0) return false;
  if (notify) detailsOf(websocket).callbacks.push(bind(callback));
  else if (typeof callback === 'function') process.nextTick(callback);
  return true;
}

module.exports = { writeRaw };
