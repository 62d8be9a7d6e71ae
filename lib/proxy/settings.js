'use strict';

// Reads the `proxy` option of a client: which proxy, if any, a connection goes through. From options
// or, if asked for, from the environment with the rules of curl.

// Loaded when it is needed: that takes longer than all of this package.
const net = () => require('node:net');

const { check, received } = require('../validation');
const { formatHeaders } = require('../head');

/** Default ports by the scheme of a proxy's URL: those of HTTP, and the one of SOCKS. */
const PORTS = { 'http:': 80, 'https:': 443, 'socks5:': 1080, 'socks5h:': 1080 };

/** Longest user name and password of SOCKS5 (RFC 1929 section 2). */
const MAX_CREDENTIAL = 255;

const SCHEME = /^[a-z][a-z0-9+.-]*:\/\//i;

/**
 * One proxy.
 *
 * @typedef {object} Proxy
 * @property {'http:' | 'https:' | 'socks5:' | 'socks5h:'} protocol What it speaks
 * @property {string} host A name, or an address without brackets
 * @property {number} port Its port
 * @property {string | null} username Decoded; null for no authentication
 * @property {string} password Decoded
 * @property {object} headers Further headers of the CONNECT request
 * @property {object} tls Options of tls.connect() for an `https:` proxy
 * @property {string} name How errors name it: a URL without credentials
 */

/** Returns the decoded form of a part of a URL. */
function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    // A lone percent sign stands for itself.
    return text;
  }
}

/** Reads the URL of a proxy; `http:` is the scheme of one that has none, as in curl. */
function parse(value, name) {
  let url;
  try {
    const isBare = typeof value === 'string' && !SCHEME.test(value);
    url = new URL(isBare ? `http://${value}` : value);
  } catch {
    // The value is not shown: it may hold a password.
    throw new SyntaxError(`${name} is not a valid URL`);
  }
  if (!Object.hasOwn(PORTS, url.protocol) || url.hostname === '') {
    throw new SyntaxError(
      `${name} must be an "http:", "https:", "socks5:" or "socks5h:" URL of a proxy`,
    );
  }
  return url;
}

/** Makes a Proxy of its URL and what has been given beside it. */
function describe(url, name, { username, password, headers = {}, tls = {} } = {}) {
  const isSocks = url.protocol.startsWith('socks');
  const hasUser = username !== undefined || url.username !== '' || url.password !== '';
  const proxy = {
    protocol: url.protocol,
    host: decode(url.hostname.replace(/^\[|\]$/g, '')),
    port: url.port === '' ? PORTS[url.protocol] : Number(url.port),
    username: hasUser ? (username ?? decode(url.username)) : null,
    password: password ?? decode(url.password),
    headers,
    tls,
    name: `${url.protocol}//${url.host}`,
  };
  if (isSocks && hasUser) {
    for (const text of [proxy.username, proxy.password]) {
      const { length } = Buffer.from(text);
      // A user without password is usual, and a password of no byte is what curl sends then.
      if (length > MAX_CREDENTIAL) {
        throw new RangeError(`User name and password of ${name} have at most 255 bytes for SOCKS5`);
      }
    }
  }
  return proxy;
}

/** Reads the object form of the option. */
function readObject(given) {
  const { url, headers = {}, tls = {} } = given;
  if (typeof url !== 'string' && !(url instanceof URL)) {
    throw new TypeError(`"options.proxy.url" must be a string or a URL, ${received(url)}`);
  }
  const username = check('string', given.username, 'options.proxy.username');
  const password = check('string', given.password, 'options.proxy.password');
  for (const [name, value] of Object.entries({ headers, tls })) {
    if (typeof value !== 'object' || value === null) {
      throw new TypeError(`"options.proxy.${name}" must be an object, ${received(value)}`);
    }
  }
  // Its errors are those of a header that is not valid.
  formatHeaders(headers);
  const name = '"options.proxy.url"';
  return describe(parse(url, name), name, { username, password, headers, tls });
}

/** Returns the first variable that is set and not empty: curl takes no account of an empty one. */
function variable(...names) {
  const name = names.find((each) => process.env[each]);
  return name === undefined ? undefined : { name, value: process.env[name] };
}

/**
 * Tells whether an entry of NO_PROXY names a destination. An entry is a name, which stands for its
 * subdomains too, with or without a dot or `*.` in front; an address, or a network as
 * `10.0.0.0/8`; each with or without a port behind it.
 */
function matches(entry, host, port) {
  const withPort = /^(\[[^\]]*\]|[^:]*):(\d+)$/.exec(entry);
  if (withPort !== null && Number(withPort[2]) !== port) return false;
  const pattern = (withPort === null ? entry : withPort[1])
    .replace(/^\[|\]$/g, '')
    .replace(/^\*?\.+/, '')
    .replace(/\.$/, '')
    .toLowerCase();
  if (pattern === '') return false;
  const family = net().isIP(host);
  if (family === 0) {
    const name = host.replace(/\.$/, '').toLowerCase();
    return name === pattern || name.endsWith(`.${pattern}`);
  }
  const [address, prefix] = pattern.split('/');
  if (net().isIP(address) !== family) return false;
  const longest = family === 4 ? 32 : 128;
  const length = prefix === undefined ? longest : Number(prefix);
  if (!/^\d+$/.test(prefix ?? '0') || length > longest) return false;
  const type = family === 4 ? 'ipv4' : 'ipv6';
  const network = new (net().BlockList)();
  network.addSubnet(address, length, type);
  return network.check(host, type);
}

/** Tells whether NO_PROXY exempts a destination. */
function isExempt(host, port) {
  const list = variable('no_proxy', 'NO_PROXY')?.value ?? '';
  if (list.trim() === '*') return true;
  return list.split(/[\s,]+/).some((entry) => matches(entry, host, port));
}

/** Finds the proxy for a destination in the environment. */
function fromEnvironment(address) {
  // A server that runs a program by CGI sets HTTP_PROXY to the Proxy header of a request, which
  // anybody may send ("httpoxy"). curl never reads it in upper case for that reason.
  const plain = process.env.REQUEST_METHOD ? ['http_proxy'] : ['http_proxy', 'HTTP_PROXY'];
  const names = address.isSecure ? ['https_proxy', 'HTTPS_PROXY'] : plain;
  const found = variable(...names, 'all_proxy', 'ALL_PROXY');
  if (found === undefined || isExempt(address.hostname, address.port)) return null;
  return describe(parse(found.value, found.name), found.name);
}

/**
 * Returns the proxy that a connection goes through, or null for none. A Unix domain socket needs
 * none.
 *
 * @param {import('../address')} address Where the connection goes
 * @param {*} option The `proxy` option
 * @returns {Proxy | null} The proxy
 * @throws {TypeError | SyntaxError | RangeError} If the option, or a variable, names none
 */
function proxyFor(address, option) {
  if (option === undefined || option === null || option === false || option === '') return null;
  let proxy;
  if (option === 'env') {
    proxy = address.socketPath === undefined ? fromEnvironment(address) : null;
  } else if (typeof option === 'string' || option instanceof URL) {
    const name = '"options.proxy"';
    proxy = describe(parse(option, name), name);
  } else if (typeof option === 'object') {
    proxy = readObject(option);
  } else {
    throw new TypeError(
      `"options.proxy" must be a string, a URL or an object, ${received(option)}`,
    );
  }
  return address.socketPath === undefined ? proxy : null;
}

module.exports = { proxyFor };
