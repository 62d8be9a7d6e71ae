'use strict';

/**
 * What all servers of the benchmark have in common, besides echoing.
 *
 * A server prints one line, `{"port":P,"pid":PID}`, when it is ready, and runs until it is killed.
 * On SIGUSR2 it collects its garbage, so that memory in use can be told from memory not yet freed
 * (`node --expose-gc`).
 */

/**
 * Announces a server that listens.
 *
 * @param {number} port its TCP port
 * @param {number} [pid] its process, if that is not this one
 */
function announce(port, pid = process.pid) {
  process.on('SIGUSR2', () => globalThis.gc?.());
  process.stdout.write(`${JSON.stringify({ port, pid })}\n`);
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

module.exports = { announce, assertNative, HOST, MAX_PAYLOAD };
