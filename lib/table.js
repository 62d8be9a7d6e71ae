'use strict';

/**
 * Who a native number stands for: a WebSocket, a NativeListener, an UpgradeMessage while its
 * request is being decided on, or a Socket in front of that.
 *
 * The native half gives out small numbers and uses them again, so this is a dense array. It takes
 * no number back before the record that ends its use has been delivered.
 *
 * @type {object[]}
 */
const table = [];

module.exports = table;
