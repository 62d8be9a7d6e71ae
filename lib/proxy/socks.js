'use strict';

// The client's side of SOCKS5 (RFC 1928), with no authentication or with a user name and a password
// (RFC 1929). Reads bytes and says what to write; the socket is tunnel.js's.

// Loaded when it is needed: that takes longer than all of this package.
const net = () => require('node:net');

const { Refusal } = require('./failure');

const VERSION = 5;
const CONNECT = 1;

// Methods of authentication.
const NO_AUTHENTICATION = 0;
const PASSWORD = 2;

/** Version of the negotiation of user name and password. */
const PASSWORD_VERSION = 1;

// Types of addresses.
const IPV4 = 1;
const NAME = 3;
const IPV6 = 4;

/** What the replies mean, by their number. */
const REPLIES = [
  '',
  'has failed',
  'does not allow this connection',
  'cannot reach the network',
  'cannot reach the host',
  'was refused by the host',
  'has let the connection expire',
  'does not support the command',
  'does not support the type of address',
];

const MISUNDERSTOOD = 'does not speak SOCKS5';

/** Returns the bytes of an IPv6 address. */
function ipv6Bytes(address) {
  // The URL parser writes all of it in hexadecimal.
  const text = new URL(`http://[${address.split('%')[0]}]`).hostname.slice(1, -1);
  const [front, back] = text.split('::').map((part) => part.split(':').filter(Boolean));
  const missing = back === undefined ? 0 : 8 - front.length - back.length;
  const groups = [...front, ...new Array(missing).fill('0'), ...(back ?? [])];
  return groups.flatMap((group) => {
    const number = parseInt(group, 16);
    return [number >> 8, number & 0xff];
  });
}

/** Writes an address (RFC 1928 section 5). */
function addressBytes(host) {
  switch (net().isIP(host)) {
    case 4:
      return [IPV4, ...host.split('.').map(Number)];
    case 6:
      return [IPV6, ...ipv6Bytes(host)];
    default:
      // No name is longer than fits (lib/address.js).
      return [NAME, host.length, ...Buffer.from(host, 'latin1')];
  }
}

/** Reads exactly `count` bytes. */
function exactly(count) {
  return (bytes) => (bytes.length < count ? 0 : count);
}

/** Talks to a proxy up to an open tunnel; as in http.js. */
function* handshake({ username, password }, host, port) {
  const request = [VERSION, CONNECT, 0, ...addressBytes(host), port >> 8, port & 0xff];

  const methods = username === null ? [NO_AUTHENTICATION] : [NO_AUTHENTICATION, PASSWORD];
  const greeting = Buffer.from([VERSION, methods.length, ...methods]);
  const [version, method] = yield { write: greeting, measure: exactly(2) };
  if (version !== VERSION) throw new Refusal(MISUNDERSTOOD);
  if (!methods.includes(method)) {
    throw new Refusal('accepts no way of authentication that was offered');
  }

  if (method === PASSWORD) {
    const [user, secret] = [Buffer.from(username), Buffer.from(password)];
    const write = Buffer.from([PASSWORD_VERSION, user.length, ...user, secret.length, ...secret]);
    const [, status] = yield { write, measure: exactly(2) };
    if (status !== 0) throw new Refusal('does not accept the user name and the password');
  }

  const answer = yield { write: Buffer.from(request), measure: exactly(4) };
  const [answerVersion, reply, , type] = answer;
  if (answerVersion !== VERSION) throw new Refusal(MISUNDERSTOOD);
  if (reply !== 0) throw new Refusal(REPLIES[reply] ?? 'has failed', { reply });
  // From where the proxy connects is of no interest, but has to be read.
  let length = { [IPV4]: 4, [IPV6]: 16 }[type];
  if (type === NAME) [length] = yield { write: null, measure: exactly(1) };
  if (length === undefined) throw new Refusal(MISUNDERSTOOD);
  yield { write: null, measure: exactly(length + 2) };
}

module.exports = { handshake };
