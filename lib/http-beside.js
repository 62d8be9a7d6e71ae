'use strict';

// Requests on a native listener that are none for a WebSocket: the socket and what was read of it are
// given to an http.Server of Node's, for good.
//
// A connection whose server is the user's is the user's from then on. That of a server which is made here,
// for a handler, stays one of its context and its WebSocketServer, by the native half that it had: they
// wait for its end, and take it along when they are destroyed.

const { closeSync } = require('node:fs');

const native = require('./addon');
const Socket = require('./socket');
const table = require('./table');
const { received } = require('./validation');
const { notSupported } = require('./failure');

/** Servers of HTTP that track their connections, as they do from 'listening' on. */
const tracking = new WeakSet();

/** Milliseconds for which a connection is kept after a response, once its server closes. */
const CLOSING_KEEP_ALIVE = 1;

/** What has counted a socket among the connections of its server, where something does. */
const admissions = new WeakMap();

/** What stands for a connection whose socket is Node's, in the table. */
class Lent {
  /** The `net.Socket`. */
  #socket;
  /** What was shown of the connection before, if anything. */
  #facade;

  constructor(id, socket, facade) {
    this.#socket = socket;
    this.#facade = facade;
    table[id] = this;
    socket.on('close', () => {
      if (table[id] === this) native.terminate(id);
    });
  }

  /** The native half is gone; for lib/deliver.js. */
  conclude() {
    this.#socket.destroy();
    if (this.#facade !== undefined) Socket.conclude(this.#facade);
  }
}

/** The HTTP server beside a WebSocketServer. */
class HttpBeside {
  #option;
  #isOwn;
  #admission;
  #taken = new WeakSet();
  #onUpgrade;
  /** What finds out who answers a request. */
  #find;

  /**
   * @param {Function | import('node:http').Server} option The option `http`
   * @param {import('./admission').Admission | null} admission What has counted the connections that are
   *   taken here
   */
  constructor(option, admission) {
    this.#option = option;
    this.#isOwn = typeof option === 'function';
    this.#admission = admission;
    this.server = this.#isOwn ? require('node:http').createServer(this.#dispatch) : option;
  }

  /** Returns what has counted `stream`, or undefined if nothing has. */
  static admissionOf(stream) {
    return admissions.get(stream);
  }

  /** Answers a request, of whatever connection. */
  answer(request, response) {
    if (this.#isOwn) this.#option.call(this.server, request, response);
    else this.server.emit('request', request, response);
  }

  /** A connection is kept alive for other hosts, too, by proxies. */
  #dispatch = (request, response) => {
    const listener = this.#find(request);
    if (listener === null) {
      response.writeHead(421, { Connection: 'close' }).end();
    } else if (listener.beside === null) {
      response.writeHead(426, { Connection: 'close', Upgrade: 'websocket' }).end();
    } else {
      listener.beside.answer(request, response);
    }
  };

  /**
   * Takes what comes on connections that were taken here and kept alive.
   *
   * @param {(request: object) => import('./native-listener') | null} find Finds whose a request is
   * @param {Function} onUpgrade Called with upgrades
   */
  open(find, onUpgrade) {
    this.#find = find;
    this.#onUpgrade = (request, socket, head) => {
      // The server may have others, and other WebSocketServers beside it.
      if (this.#taken.has(socket)) onUpgrade(request, socket, head);
    };
    this.server.on('upgrade', this.#onUpgrade);
  }

  /** The port is bound. A server of Node's watches over its connections from this event on. */
  listening() {
    const { server } = this;
    if (server.listening || tracking.has(server)) return;
    tracking.add(server);
    server.emit('listening');
  }

  /**
   * Takes over a connection that has sent a request.
   *
   * @param {number} id Its number
   */
  take(id) {
    const { server } = this;
    const released = native.connectionRelease(id);
    const socket = released === null ? null : open(released);
    if (socket === null) {
      native.terminate(id);
      return;
    }
    this.#taken.add(socket);
    if (this.#isOwn) {
      // It stays counted until it is gone, whatever becomes of it.
      if (this.#admission !== null) admissions.set(socket, this.#admission);
      void new Lent(id, socket, table[id]);
    } else {
      native.terminate(id);
    }
    server.emit('connection', socket);
  }

  /** No more connections come. Those that are there may finish what they are doing. */
  stop() {
    const { server } = this;
    server.removeListener('upgrade', this.#onUpgrade);
    if (!this.#isOwn) return;
    server.keepAliveTimeout = CLOSING_KEEP_ALIVE;
    server.close();
    server.closeIdleConnections();
  }
}

/** Makes Node's socket of a descriptor; null if that fails. */
function open({ descriptor, bytes }) {
  const { Socket: NetSocket } = require('node:net');
  try {
    // As http.Server has them: a peer may end its side behind its request.
    const socket = new NetSocket({ fd: descriptor, allowHalfOpen: true });
    socket.unshift(bytes);
    return socket;
  } catch {
    closeSync(descriptor);
    return null;
  }
}

/**
 * Reads the option `http` of a WebSocketServer.
 *
 * @returns {Function | import('node:http').Server | null} Its value; null without one
 * @throws {TypeError} If it is neither a function nor an http.Server, or the port is not one of TCP alone
 * @throws {Error} Where sockets have no descriptors
 */
function httpOf({ http, port, tls }) {
  if (http == null) return null;
  const isServer =
    typeof http === 'object' &&
    typeof http.emit === 'function' &&
    typeof http.closeIdleConnections === 'function' &&
    // A server of HTTPS wants to do the TLS handshake, which there is none of here.
    typeof http.setSecureContext !== 'function';
  if (typeof http !== 'function' && !isServer) {
    throw new TypeError(`"options.http" must be a function or an http.Server, ${received(http)}`);
  }
  if (port == null) throw new TypeError('"options.http" needs "options.port"');
  if (tls != null) {
    throw new TypeError('"options.http" cannot go with "options.tls": use "options.server"');
  }
  if (process.platform === 'win32') {
    throw notSupported(
      '"options.http" needs sockets with descriptors, which Windows does not have',
    );
  }
  return http;
}

module.exports = { HttpBeside, httpOf, Lent };
