'use strict';

// The option `protocols` of a WebSocketServer: the subprotocol that was agreed on decides what handles
// a connection. Handlers are added to the connection as listeners are, so that they cost what these
// cost, and nothing where there are none.

const { check, checkObject, isToken, received } = require('./validation');

/** What makes a listener of a handler, by the event. */
const LISTENERS = {
  message: (handlers) =>
    function onMessage(data, isBinary) {
      return handlers.message(this, data, isBinary);
    },
  drain: (handlers) =>
    function onDrain() {
      return handlers.drain(this);
    },
  ping: (handlers) =>
    function onPing(data) {
      return handlers.ping(this, data);
    },
  pong: (handlers) =>
    function onPong(data) {
      return handlers.pong(this, data);
    },
  error: (handlers) =>
    function onError(error) {
      return handlers.error(this, error);
    },
  close: (handlers) =>
    function onClose(code, reason) {
      return handlers.close(this, code, reason);
    },
};

const EVENTS = Object.keys(LISTENERS);

/** Whatever may be a handler. */
const METHODS = [...EVENTS, 'init', 'open', 'destroy'];

/** An error without a handler: 'close' follows, and a peer must not end the process. */
function ignore() {}

function throwError(error) {
  throw error;
}

/** The handlers of one subprotocol of one server, and what belongs to both. */
class Protocol {
  #handlers;
  /** The listeners of a connection, by the event. */
  #listeners;
  state = undefined;

  constructor(handlers) {
    this.#handlers = handlers;
    this.#listeners = EVENTS.filter((event) => typeof handlers[event] === 'function').map(
      (event) => [event, LISTENERS[event](handlers)],
    );
    if (typeof handlers.error !== 'function') this.#listeners.push(['error', ignore]);
  }

  init(server) {
    const handlers = this.#handlers;
    if (typeof handlers.init === 'function') this.state = handlers.init(server, handlers.options);
  }

  attach(websocket) {
    for (const [event, listener] of this.#listeners) websocket.on(event, listener);
  }

  open(websocket, request) {
    const handlers = this.#handlers;
    if (typeof handlers.open === 'function') handlers.open(websocket, request);
  }

  destroy(server) {
    const handlers = this.#handlers;
    const { state } = this;
    this.state = undefined;
    if (typeof handlers.destroy === 'function') handlers.destroy(server, state);
  }
}

/** The subprotocols of one server. */
class Protocols {
  /** @type {Map<string, Protocol>} */
  #protocols = new Map();
  /** Of peers that speak none of them. */
  #default;
  /** Those whose init() has returned, in that order. */
  #running = [];

  constructor(protocols, defaultProtocol) {
    for (const name of Object.keys(protocols)) {
      this.#protocols.set(name, new Protocol(protocols[name]));
    }
    this.#default =
      defaultProtocol === undefined ? undefined : this.#protocols.get(defaultProtocol);
  }

  /**
   * Reads the options.
   *
   * @returns {Protocols | null} Null without them
   * @throws {TypeError} If they are not valid
   */
  static of({ protocols, defaultProtocol }) {
    check('string', defaultProtocol, 'options.defaultProtocol', undefined);
    if (protocols != null) {
      checkObject(protocols, 'options.protocols');
      for (const name of Object.keys(protocols)) checkProtocol(name, protocols[name]);
    }
    if (defaultProtocol != null && !Object.hasOwn(protocols ?? {}, defaultProtocol)) {
      throw new TypeError(
        `"options.defaultProtocol" must be one of the names in "options.protocols", ${received(defaultProtocol)}`,
      );
    }
    return protocols == null ? null : new Protocols(protocols, defaultProtocol ?? undefined);
  }

  /** Calls init() of each. If one throws, those before it are destroyed. */
  init(server) {
    try {
      for (const protocol of this.#protocols.values()) {
        protocol.init(server);
        this.#running.push(protocol);
      }
    } catch (error) {
      this.destroy(server);
      throw error;
    }
  }

  /** Returns the first of the offered subprotocols that there is, or ''. */
  choose(offered) {
    for (const name of offered) {
      if (this.#protocols.has(name)) return name;
    }
    return '';
  }

  /** Returns what handles connections with a subprotocol, or with none. */
  #of(name) {
    return name === '' ? this.#default : this.#protocols.get(name);
  }

  /** Returns what init() has returned for a subprotocol. */
  stateOf(name) {
    return this.#of(name)?.state;
  }

  /** Lets the handlers have the events of a connection. */
  attach(websocket) {
    const protocol = this.#of(websocket.protocol);
    if (protocol === undefined) websocket.on('error', ignore);
    else protocol.attach(websocket);
  }

  /** Calls open(). */
  open(websocket, request) {
    this.#of(websocket.protocol)?.open(websocket, request);
  }

  /** Calls destroy() of each whose init() has returned, the last one first, and only once. */
  destroy(server) {
    for (const protocol of this.#running.splice(0).reverse()) {
      try {
        protocol.destroy(server);
      } catch (error) {
        // The others still get theirs.
        process.nextTick(throwError, error);
      }
    }
  }
}

/** Throws unless these may be the handlers of a subprotocol. */
function checkProtocol(name, handlers) {
  if (!isToken(name)) {
    throw new TypeError(
      `"options.protocols" must have subprotocols as keys, which are tokens (RFC 9110), ${received(name)}`,
    );
  }
  const what = `options.protocols.${name}`;
  checkObject(handlers, what);
  for (const method of METHODS) check('function', handlers[method], `${what}.${method}`);
}

module.exports = Protocols;
