'use strict';

const { isTokenCode } = require('./validation');

/** Most subprotocols of one offer: the limit of the native half. */
const MAX_SUBPROTOCOLS = 128;

const COMMA = 0x2c;

function isBlank(code) {
  return code === 0x20 || code === 0x09;
}

/**
 * Reads a Sec-WebSocket-Protocol header: tokens separated by commas, none of them twice (RFC 6455
 * section 4.1). Looks at each character once.
 *
 * @param {string} header The header's value
 * @returns {Set<string>} The subprotocols, in order
 * @throws {SyntaxError} If the value is not such a list
 */
function parse(header) {
  const protocols = new Set();
  // Where the current token starts, and where it has ended; -1 for not yet.
  let start = -1;
  let end = -1;

  function take(until) {
    const protocol = header.slice(start, end === -1 ? until : end);
    if (protocols.has(protocol)) {
      throw new SyntaxError(`The "${protocol}" subprotocol is duplicated`);
    }
    if (protocols.size === MAX_SUBPROTOCOLS) {
      throw new SyntaxError(`More than ${MAX_SUBPROTOCOLS} subprotocols are offered`);
    }
    protocols.add(protocol);
    start = end = -1;
  }

  for (let i = 0; i < header.length; i++) {
    const code = header.charCodeAt(i);
    if (isTokenCode(code) && end === -1) {
      if (start === -1) start = i;
    } else if (isBlank(code) && i > 0) {
      if (start !== -1 && end === -1) end = i;
    } else if (code === COMMA && start !== -1) {
      take(i);
    } else {
      throw new SyntaxError(`Unexpected character at index ${i}`);
    }
  }
  if (start === -1 || end !== -1) throw new SyntaxError('Unexpected end of input');
  take(header.length);
  return protocols;
}

module.exports = { parse };
