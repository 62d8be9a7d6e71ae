'use strict';

// Several WebSocketServers on one HTTP server, told apart by their host names. A native listener
// does this natively (src/endpoint/listener.rs), by the same rules.

const native = require('./addon');

/** The authority of a request target that has one (RFC 9112 section 3.2.2). */
const AUTHORITY = /^[a-z][a-z0-9+.-]*:\/\/([^/?#]*)/i;

/** The servers of each HTTP server. */
const all = new WeakMap();

/** The WebSocketServers of one HTTP server. */
class Hosts {
  #httpServer;
  /** @type {Map<import('./websocket-server'), { hostname: string | undefined, isStrict: boolean }>} */
  #servers = new Map();
  /** How many of them have a host name. */
  #named = 0;

  constructor(httpServer) {
    this.#httpServer = httpServer;
  }

  /**
   * Adds a server.
   *
   * @param {string | undefined} hostname Its host name
   * @throws {Error} If another one has that name
   */
  add(server, hostname, isStrict) {
    if (hostname !== undefined) {
      for (const other of this.#servers.values()) {
        if (other.hostname === hostname) throw nameInUse(hostname);
      }
      this.#named++;
    }
    this.#servers.set(server, { hostname, isStrict });
  }

  remove(server) {
    if (this.#servers.get(server)?.hostname !== undefined) this.#named--;
    this.#servers.delete(server);
  }

  /**
   * Tells what a server is to do with a request.
   *
   * @param {object} request The request
   * @param {number} listeners How many listeners the HTTP server has for such requests, these
   *   servers among them
   * @returns {'take' | 'leave' | 'refuse'} Whether it is to decide on it, to leave it to others, or to
   *   refuse it because it is for nobody
   */
  roleOf(server, request, listeners) {
    if (this.#named === 0) return 'take';
    // It has been closed by one of the listeners.
    if (!this.#servers.has(server)) return 'leave';
    const named = this.#find(authorityOf(request));
    const role = named === null ? this.#roleOfOthers(server, listeners) : roleIf(named === server);
    return role === 'take' && this.#isMisdirected(named, request.socket) ? 'refuse' : role;
  }

  /**
   * Tells whether a client that had to show a certificate did so for another server than its request is
   * for. What is asked for, and who vouches for it, may differ by the name that it has asked for in TLS.
   */
  #isMisdirected(named, socket) {
    return this.#httpServer.requestCert === true && this.#find(socket?.servername || '') !== named;
  }

  /** As roleOf(), for a request whose host is the name of none of them. */
  #roleOfOthers(server, listeners) {
    const servers = [...this.#servers];
    const isDefault = ([, { hostname }]) => hostname === undefined;
    if (servers.some(isDefault)) {
      // Each of them, as in ws.
      return roleIf(this.#servers.get(server).hostname === undefined);
    }
    // Somebody else who listens may want it.
    if (listeners > servers.length) return 'leave';
    const lenient = servers.find(([, { isStrict }]) => !isStrict);
    if (lenient !== undefined) return roleIf(lenient[0] === server);
    return servers.at(-1)[0] === server ? 'refuse' : 'leave';
  }

  /** Finds the server whose name, or longest wildcard, fits. */
  #find(authority) {
    let best = -1;
    let found = null;
    for (const [server, { hostname }] of this.#servers) {
      const rank = hostname === undefined ? -1 : native.hostRank(hostname, authority);
      if (rank > best) [best, found] = [rank, server];
    }
    return found;
  }

  /** Returns the servers of an HTTP server. */
  static of(server) {
    let hosts = all.get(server);
    if (hosts === undefined) {
      hosts = new Hosts(server);
      all.set(server, hosts);
    }
    return hosts;
  }
}

function roleIf(isIts) {
  return isIts ? 'take' : 'leave';
}

/** Returns the host, and port, that a request is for. */
function authorityOf({ url, headers }) {
  return AUTHORITY.exec(url)?.[1] ?? headers.host ?? '';
}

function nameInUse(hostname) {
  const error = new Error(
    `listen EADDRINUSE: another WebSocketServer of this HTTP server has the hostname ${hostname}`,
  );
  return Object.assign(error, { code: 'EADDRINUSE' });
}

module.exports = { authorityOf, Hosts };
