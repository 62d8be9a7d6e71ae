'use strict';

const { Offer } = require('./deflate');

/**
 * Makes what a client offers as an extension (RFC 7692), or null for nothing.
 *
 * An offer has the text of the header, `offer`; `findFault(header)` says what is wrong with the
 * server's answer, or null; `accept(websocket, header)` puts it to use, and throws if it is not
 * acceptable.
 *
 * @param {boolean | object} perMessageDeflate The option of that name
 * @param {number} maxPayload Largest message in bytes; 0 for no limit
 * @returns {import('./deflate').Offer | null} The offer
 */
function offerOf(perMessageDeflate, maxPayload) {
  if (!perMessageDeflate) return null;
  return new Offer(perMessageDeflate, maxPayload);
}

module.exports = { offerOf };
