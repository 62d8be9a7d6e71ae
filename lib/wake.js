'use strict';

const native = require('./addon');
const { checkType } = require('./validation');

/**
 * Wakes the context that `token` is the `wakeToken` of: it emits 'waitCancelled'. May be called in
 * any thread, at any time, for ever.
 *
 * @param {bigint} token The token
 * @returns {boolean} False if the context is being destroyed or is gone
 * @throws {TypeError} If the token is no bigint
 */
function wake(token) {
  checkType('bigint', token, 'token');
  return BigInt.asUintN(64, token) === token && native.wakeByToken(token);
}

module.exports = wake;
