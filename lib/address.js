'use strict';

const querystring = require('node:querystring');

const PROTOCOLS = ['ws:', 'wss:', 'ws+unix:'];

/** Longest name of a host, in characters (RFC 1035 section 2.3.4), without the dot at its end. */
const MAX_HOSTNAME = 253;

/** What a URL says about where a client goes. */
class Address {
  /**
   * Reads a URL, with the errors of ws.
   *
   * @param {string | URL} address The URL
   * @param {Address} [base] What a relative one is relative to
   * @throws {SyntaxError} If it is none, or none for a WebSocket
   */
  constructor(address, base) {
    const url = parse(address, base);
    if (url.protocol === 'http:') url.protocol = 'ws:';
    else if (url.protocol === 'https:') url.protocol = 'wss:';
    if (!PROTOCOLS.includes(url.protocol)) {
      throw new SyntaxError(
        'The URL\'s protocol must be one of "ws:", "wss:", "http:", "https:", or "ws+unix:"',
      );
    }
    const isLocal = url.protocol === 'ws+unix:';
    if (isLocal && !url.pathname) throw new SyntaxError("The URL's pathname is empty");
    if (url.hash) throw new SyntaxError('The URL contains a fragment identifier');
    if (url.hostname.replace(/\.$/, '').length > MAX_HOSTNAME) {
      throw new SyntaxError(`The URL's host name is longer than ${MAX_HOSTNAME} characters`);
    }

    this.url = url;
    this.href = url.href;
    this.isSecure = url.protocol === 'wss:';
    /** The path of a Unix domain socket, or undefined. */
    this.socketPath = undefined;
    this.path = url.pathname + url.search;
    if (isLocal) {
      // Only the first colon separates: the request's path may have others.
      const colon = this.path.indexOf(':');
      this.socketPath = colon === -1 ? this.path : this.path.slice(0, colon);
      this.path = colon === -1 ? undefined : this.path.slice(colon + 1);
    }
    this.defaultPort = this.isSecure ? 443 : 80;
    this.port = url.port === '' ? this.defaultPort : Number(url.port);
    this.hostname = url.hostname.startsWith('[') ? url.hostname.slice(1, -1) : url.hostname;
  }

  /** `user:password`, or undefined. */
  get credentials() {
    const { username, password } = this.url;
    if (!username && !password) return undefined;
    return `${querystring.unescape(username)}:${querystring.unescape(password)}`;
  }
}

/** Returns a URL of its own: a given one is the caller's. */
function parse(address, base) {
  try {
    return base === undefined ? new URL(address) : new URL(address, base.url);
  } catch {
    throw new SyntaxError(`Invalid URL: ${String(address)}`);
  }
}

module.exports = Address;
