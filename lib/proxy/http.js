'use strict';

// The client's side of a CONNECT request (RFC 9110 section 9.3.6) with basic authentication. Reads
// bytes and says what to write; the socket is tunnel.js's.

// Loaded when it is needed: that takes longer than all of this package.
const net = () => require('node:net');

const { Refusal } = require('./failure');
const { formatHeaders } = require('../head');

/** How an answer begins (RFC 9112 section 2.3). */
const START = Buffer.from('HTTP/1.');

/** The status line up to its reason, which a server may leave out with the space before it. */
const STATUS_LINE = /^HTTP\/1\.[01] ([1-9]\d\d)(?:[ \t][^\r\n]*)?\r\n/;

const END = '\r\n\r\n';

/** Longest head of an answer: the limit of Node's parser, and of the native one. */
const MAX_HEAD = 16 * 1024;

/** Provisional answers that are skipped, as by the native half. */
const MAX_PROVISIONAL = 8;

/** Finds the end of a head; 0 while it has not come. */
function headLength(bytes) {
  // What does not begin like an answer may never end like one.
  const start = bytes.subarray(0, START.length);
  if (!START.subarray(0, start.length).equals(start)) throw new Refusal('does not speak HTTP');
  const end = bytes.indexOf(END);
  const length = end === -1 ? bytes.length : end + END.length;
  if (length > MAX_HEAD) throw new Refusal('sends too long an answer');
  return end === -1 ? 0 : length;
}

function requestFor({ username, password, headers }, host, port) {
  const authority = `${net().isIPv6(host) ? `[${host}]` : host}:${port}`;
  const all = { Host: authority, 'Proxy-Connection': 'Keep-Alive' };
  if (username !== null) {
    const credentials = Buffer.from(`${username}:${password}`).toString('base64');
    all['Proxy-Authorization'] = `Basic ${credentials}`;
  }
  // A header that has been given replaces ours.
  const given = new Set(Object.keys(headers).map((name) => name.toLowerCase()));
  for (const name of Object.keys(all)) if (given.has(name.toLowerCase())) delete all[name];
  const lines = formatHeaders({ ...all, ...headers });
  return Buffer.from(`CONNECT ${authority} HTTP/1.1\r\n${lines}\r\n`, 'latin1');
}

/**
 * Talks to a proxy up to an open tunnel. Yields what to write, and a function that says how many of
 * the bytes that have come belong to the answer, 0 while it is not complete; takes these.
 *
 * @param {import('./settings').Proxy} proxy The proxy
 * @param {string} host The host to reach
 * @param {number} port The port to reach
 * @yields {{ write: Buffer | null, measure: (bytes: Buffer) => number }} What to do next
 * @throws {Refusal} If it does not come about
 */
function* handshake(proxy, host, port) {
  let write = requestFor(proxy, host, port);
  for (let answers = 0; answers <= MAX_PROVISIONAL; answers++) {
    const head = yield { write, measure: headLength };
    const [, digits] = STATUS_LINE.exec(head.latin1Slice(0, head.length)) ?? [];
    if (digits === undefined) throw new Refusal('does not speak HTTP');
    const status = Number(digits);
    // A body may not follow, whatever the headers say.
    if (status >= 200 && status < 300) return;
    if (status >= 200) throw new Refusal(`has answered with ${status}`, { status });
    write = null;
  }
  throw new Refusal('does not come to an answer');
}

module.exports = { handshake };
