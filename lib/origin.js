'use strict';

// Which web pages may connect (RFC 6455 section 10.2): the option `allowedOrigins` of a server.

const { versionOf } = require('./handshake');
const { received } = require('./validation');

/**
 * An origin as it stands in a header (RFC 6454 section 7.1), or `null`, for one that is not to be named:
 * a scheme, and a host in ASCII with or without a port. What was sent twice, and was joined by a comma,
 * is none.
 */
const ORIGIN = /^(?:null|[A-Za-z][A-Za-z0-9+.-]*:\/\/[A-Za-z0-9._~%[\]:-]+)$/;

/** Throws unless `value` is a list of origins, a function, or nothing. */
function checkAllowedOrigins(value) {
  if (value == null || typeof value === 'function') return;
  if (!Array.isArray(value)) {
    throw new TypeError(
      `"options.allowedOrigins" must be an array of origins or a function, ${received(value)}`,
    );
  }
  for (const origin of value) {
    if (typeof origin !== 'string' || !ORIGIN.test(origin) || !isSerialized(origin)) {
      throw new TypeError(
        `"options.allowedOrigins" must hold origins such as 'https://example.com', ${received(origin)}`,
      );
    }
  }
}

/** Tells whether browsers write an origin this way: lower case, and no port that goes without saying. */
function isSerialized(origin) {
  if (!/^(?:https?|wss?):/i.test(origin)) return true;
  return URL.canParse(origin) && new URL(origin).origin === origin;
}

/**
 * Tells whether a request comes from an origin that is allowed.
 *
 * @param {string[] | Function | null} allowed The option
 * @param {import('node:http').IncomingMessage} request The request
 */
function isAllowedOrigin(allowed, request) {
  const name = versionOf(request) === 8 ? 'sec-websocket-origin' : 'origin';
  const origin = request.headers[name];
  if (origin !== undefined && !(typeof origin === 'string' && ORIGIN.test(origin))) return false;
  // What is no boolean, as a promise, allows nothing.
  if (typeof allowed === 'function') return allowed(origin, request) === true;
  return allowed.includes(origin);
}

module.exports = { checkAllowedOrigins, isAllowedOrigin };
