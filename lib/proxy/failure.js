'use strict';

/** Code of everything that goes wrong between a client and its proxy. */
const CODE = 'ERR_UVWS_PROXY';

/** A proxy does not do what it is asked for. */
class Refusal extends Error {
  /**
   * @param {string} message What the proxy does, as the end of a sentence
   * @param {{ status?: number, reply?: number }} [facts] Its answer, in numbers
   */
  constructor(message, facts) {
    super(message);
    this.facts = facts;
  }
}

/**
 * Makes the error of a tunnel that does not come about.
 *
 * @param {import('./settings').Proxy} proxy The proxy
 * @param {string} what What has happened, as the end of a sentence about the proxy
 * @param {object} [facts]
 * @param {*} [facts.cause] The error behind it: that of the system or of TLS
 * @param {number} [facts.status] The status with which an HTTP proxy refuses
 * @param {number} [facts.reply] The reply with which a SOCKS5 proxy refuses (RFC 1928 section 6)
 * @returns {Error} The error
 */
function proxyFailure(proxy, what, { cause, ...facts } = {}) {
  const options = cause === undefined ? undefined : { cause };
  const error = new Error(`The proxy ${proxy.name} ${what}`, options);
  return Object.assign(error, { code: CODE, ...facts });
}

module.exports = { Refusal, proxyFailure };
