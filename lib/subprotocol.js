'use strict';

const { trim } = require('./head');
const { isToken } = require('./validation');

/** Most subprotocols of one offer: the limit of the native half. */
const MAX_SUBPROTOCOLS = 128;

/**
 * Reads a Sec-WebSocket-Protocol header: tokens separated by commas, none of them twice (RFC 6455
 * section 4.1).
 *
 * @param {string} header The header's value
 * @returns {Set<string>} The subprotocols, in order
 * @throws {SyntaxError} If the value is not such a list
 */
function parse(header) {
  const protocols = new Set();
  for (const element of header.split(',', MAX_SUBPROTOCOLS + 1)) {
    const protocol = trim(element);
    if (!isToken(protocol)) {
      throw new SyntaxError(`"${protocol}" is not a subprotocol`);
    }
    if (protocols.has(protocol)) {
      throw new SyntaxError(`The "${protocol}" subprotocol is duplicated`);
    }
    protocols.add(protocol);
  }
  if (protocols.size > MAX_SUBPROTOCOLS) {
    throw new SyntaxError(`More than ${MAX_SUBPROTOCOLS} subprotocols are offered`);
  }
  return protocols;
}

module.exports = { parse };
