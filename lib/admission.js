'use strict';

// How many connections a server may have, in all and of one address. The native half counts; its
// listener asks there by itself.

const native = require('./addon');
const Socket = require('./socket');
const { HttpBeside } = require('./http-beside');
const { breached, NAMES } = require('./limits');
const { checkCount } = require('./validation');
const { NONE } = require('./constants');

/** The limits of one server, which has at least one of them. */
class Admission {
  /** Number of the native half. */
  id;
  /** The addresses of connections that did not come from a listener. */
  #guests = new Map();
  #hasEnded = false;

  constructor(maxConnections, maxConnectionsPerAddress) {
    this.id = native.admissionCreate(maxConnections, maxConnectionsPerAddress);
  }

  /**
   * Reads the options of a server.
   *
   * @returns {Admission | null} Null if there is no such limit
   */
  static of(options) {
    const [all, each] = ['maxConnections', 'maxConnectionsPerAddress'].map((name) =>
      checkCount(options[name], `options.${name}`, Infinity),
    );
    return all === 0 && each === 0 ? null : new Admission(all, each);
  }

  /** Returns the name of the limit that stands against one more connection, or null. */
  refusal(stream) {
    if (this.#hasEnded || this.#counts(stream)) return null;
    const address = addressOf(stream);
    const limit = native.admissionEnter(this.id, address);
    if (limit === NONE) native.admissionLeave(this.id, address);
    return limit === NONE ? null : NAMES[limit];
  }

  /** Counts a connection, or returns the name of the limit that stands against it. */
  enter(websocket, stream) {
    if (this.#hasEnded || this.#counts(stream)) return null;
    const address = addressOf(stream);
    const limit = native.admissionEnter(this.id, address);
    if (limit !== NONE) return NAMES[limit];
    this.#guests.set(websocket, address);
    return null;
  }

  /** Tells whether this is a connection of a native listener, which has been counted. */
  #counts(stream) {
    return Socket.undecided(stream) !== NONE || HttpBeside.admissionOf(stream) === this;
  }

  /** Counts it no longer. */
  leave(websocket) {
    if (!this.#guests.has(websocket)) return;
    native.admissionLeave(this.id, this.#guests.get(websocket));
    this.#guests.delete(websocket);
    if (this.#hasEnded) this.end();
  }

  /** The server is closed. Connections may outlast it where they are not tracked. */
  end() {
    this.#hasEnded = true;
    if (this.#guests.size > 0 || this.id === NONE) return;
    native.admissionRelease(this.id);
    // The native half gives the number to somebody else.
    this.id = NONE;
  }
}

/** Returns the peer's address; a Unix socket has none, and a stream of HTTP/2 that of its session. */
function addressOf(stream) {
  return stream.remoteAddress ?? stream.session?.socket?.remoteAddress;
}

/**
 * Tells whether a server may have one more connection; counts the breach if not.
 *
 * @param {import('./websocket-server')} server The server
 * @param {(admission: Admission) => string | null} ask Asks for the limit that stands against it
 */
function mayHave(server, ask) {
  const { _admission: admission } = server;
  const limit = admission === null ? null : ask(admission);
  if (limit !== null) breached(limit, server.context, server, null);
  return limit === null;
}

module.exports = { Admission, mayHave };
