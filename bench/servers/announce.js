'use strict';

const path = require('node:path');

/**
 * What all servers of the benchmark have in common.
 *
 * A server is started with its work as JSON, prints one line, `{"port":P,"pid":PID}`, when it is
 * ready, and runs until it is killed. On SIGUSR2 it collects its garbage, so that memory in use can
 * be told from memory not yet freed (`node --expose-gc`).
 *
 * @typedef {object} Work
 * @property {'echo' | 'loop' | 'publish' | 'topic' | 'cycles'} task `loop` sends each message to all
 *   clients, one after the other; `publish` does so by one call, if there is one; `topic` by the
 *   call for those who have subscribed, where that is another one; `cycles` listens and ends, over
 *   and over
 * @property {'no-takeover' | 'takeover'} [deflate] whether and how messages are compressed
 * @property {boolean} [adopted] take connections over from an HTTP server
 * @property {boolean} [tls] listen with TLS, by the files of `certificate`
 * @property {number} [repeat] copies of each message that goes to all
 * @property {number} [warmup] for `cycles`, in seconds
 * @property {number} [seconds] for `cycles`
 */

/** @returns {Work} what this process was started for */
function readWork() {
  return { task: 'echo', repeat: 1, ...JSON.parse(process.argv[2] ?? '{}') };
}

/**
 * Announces a server that listens.
 *
 * @param {number} port its TCP port
 * @param {number} [pid] its process, if that is not this one
 */
function announce(port, pid = process.pid) {
  process.on('SIGUSR2', () => globalThis.gc?.());
  print({ port, pid });
}

/**
 * Ends this process: it cannot do the work that it was started for.
 *
 * @param {string} why
 * @returns {never}
 */
function declare(why) {
  print({ unsupported: why });
  process.exit();
}

/** @param {object} line */
function print(line) {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

/**
 * Refuses a peer that has replaced its native code by JavaScript, as some do silently where their
 * binary does not load: its figures would not be those its users get.
 *
 * @param {string} name
 * @param {Function} implementation
 */
function assertNative(name, implementation) {
  if (!Function.prototype.toString.call(implementation).includes('[native code]')) {
    throw new Error(`${name} has no binary for Node ${process.version} here`);
  }
}

/** The host that all servers listen on. */
const HOST = '127.0.0.1';

/** The largest message that servers accept, in bytes: above all that the benchmark sends. */
const MAX_PAYLOAD = 128 * 1024 * 1024;

/** The level of compression, where a server lets one choose: the default of zlib. */
const DEFLATE_LEVEL = 6;

/** Where the benchmark puts the key and the certificate that it makes, in PEM. */
const certificate = {
  key: path.join(__dirname, '..', 'results', 'key.pem'),
  cert: path.join(__dirname, '..', 'results', 'cert.pem'),
};

/** What all clients subscribe to. */
const TOPIC = 'all';

module.exports = {
  readWork,
  announce,
  declare,
  print,
  assertNative,
  HOST,
  MAX_PAYLOAD,
  DEFLATE_LEVEL,
  TOPIC,
  certificate,
};
