'use strict';

// The client's opening handshake through Node's HTTP client: for Node's TLS, Unix domain sockets, agents,
// redirects, proxies, and whatever else an option of http.request() asks for. What comes out of it is a
// stream, which becomes a native connection if it is a plain TCP socket, and is bridged otherwise.

const Address = require('./address');
const Bridge = require('./bridge');
const { Clock } = require('./clock');
const { adopt, isAdoptable } = require('./adoption');
const { detailsOf } = require('./details');
const { endSoon } = require('./ending');
const { contextClosed } = require('./failure');
const { acceptOf } = require('./handshake');
const { conclude, emitOpen, onAttached } = require('./incoming');
const { terminate } = require('./outgoing');
const { CLOSING, CONNECTING, NONE, PHASES, TERMINATED } = require('./constants');

/** As in ws and curl. */
const MAX_REDIRECTS = 10;

/** What no longer holds for another host (curl 7.77.0). */
const CREDENTIALS = ['authorization', 'cookie'];

/** Options of http.request() that the URL decides. */
const OVERRIDDEN = {
  socketPath: undefined,
  hostname: undefined,
  protocol: undefined,
  timeout: undefined,
  method: 'GET',
  host: undefined,
  path: undefined,
  port: undefined,
};

// Node's modules are loaded when they are needed: they take longer to load than this package.

function connectPlain(options) {
  options.path = options.socketPath;
  return require('node:net').connect(options);
}

function connectSecurely(options) {
  options.path = undefined;
  // An empty name, which is no name, may be given.
  if (!options.servername && options.servername !== '') {
    options.servername = require('node:net').isIP(options.host) ? '' : options.host;
  }
  return require('node:tls').connect(options);
}

/** One client's handshake, with all requests that redirects make of it. */
class OpeningRequest {
  #websocket;
  #context;
  #protocols;
  #options;
  #limits;
  #connectTimeout;
  #extension;
  #address;
  /** Where the first request went, for redirects. */
  #origin = null;
  #isOver = false;
  /** The times of it, and its time limits. */
  #clock;
  /** A way through a proxy that is being made. */
  #tunnel = null;

  /**
   * @param {import('./websocket')} websocket The WebSocket
   * @param {import('./context')} context The context to join
   * @param {object} wanted
   * @param {Address} wanted.address Where to go
   * @param {string[]} wanted.protocols Subprotocols to offer, checked
   * @param {object} wanted.options The options of the WebSocket
   * @param {object} wanted.limits Limits, as the native half wants them
   * @param {number} wanted.connectTimeout Milliseconds for the connection; 0 for no limit
   * @param {object | null} wanted.extension What to offer as an extension
   */
  constructor(websocket, context, wanted) {
    const { address, protocols, options, limits, connectTimeout, extension } = wanted;
    this.#websocket = websocket;
    this.#context = context;
    this.#protocols = protocols;
    this.#options = options;
    this.#limits = limits;
    this.#connectTimeout = connectTimeout;
    this.#extension = extension;
    this.#address = address;
    this.#clock = new Clock(detailsOf(websocket), (error) => this.#fail(error));
    /** The http.ClientRequest that is under way. */
    this.request = null;
  }

  /**
   * Sends the first request.
   *
   * @throws {TypeError} What http.request() throws
   */
  start() {
    this.#context._handshakes.add(this);
    try {
      if (this.#options.followRedirects) this.#prepareForRedirects();
      const options = this.#requestOptions();
      this.#rememberAuthorization(options);
      this.#send(options);
    } catch (error) {
      this.#finish();
      throw error;
    }
  }

  /** Gives up, because the WebSocket has been closed. Its error is set. */
  abandon() {
    if (this.#isOver) return;
    this.#drop();
    endSoon(this.#context, () => conclude(this.#websocket));
  }

  /** The context is closing; for lib/context.js. */
  interrupt() {
    this.#fail(this.#interruption());
  }

  /** The context has ended: all is over when this returns; for lib/context.js. */
  conclude() {
    this.#give(this.#interruption());
    this.#drop();
    conclude(this.#websocket);
  }

  #interruption() {
    const message = 'The context was closed before the connection was established';
    return contextClosed(message, this.#context._cause);
  }

  /** Ends this with an error. */
  #fail(error) {
    if (this.#isOver) return;
    this.#give(error);
    this.abandon();
  }

  /** Sets the error that the WebSocket ends with. */
  #give(error) {
    const websocket = this.#websocket;
    detailsOf(websocket).error ??= error;
    websocket._readyState = CLOSING;
    websocket._flags |= TERMINATED;
  }

  /** Destroys the request that is under way. */
  #drop() {
    const { request } = this;
    this.#tunnel?.destroy();
    this.#finish();
    if (request === null) return;
    request.destroy();
    // It stays open if the response is complete.
    if (request.socket) request.socket.destroy();
  }

  #finish() {
    this.#isOver = true;
    this.#clock.stop();
    this.request = null;
    this.#context._finished(this);
  }

  /** Makes the options of http.request(), with the headers in the order of ws. */
  #requestOptions() {
    const address = this.#address;
    const given = this.#options;
    const { protocolVersion = 13, origin } = given;
    const options = {
      ...given,
      ...OVERRIDDEN,
      createConnection: given.createConnection || this.#wayTo(address),
      defaultPort: given.defaultPort || address.defaultPort,
      port: address.url.port || address.defaultPort,
      host: address.hostname,
      path: address.path,
      socketPath: address.socketPath,
      headers: {
        ...given.headers,
        'Sec-WebSocket-Version': protocolVersion,
        'Sec-WebSocket-Key': require('node:crypto').randomBytes(16).toString('base64'),
        Connection: 'Upgrade',
        Upgrade: 'websocket',
      },
    };
    const { headers } = options;
    // An aborted request would report it in its own words.
    delete options.signal;
    if (this.#extension !== null) {
      headers['Sec-WebSocket-Extensions'] = this.#extension.offer;
    }
    if (this.#protocols.length > 0) {
      headers['Sec-WebSocket-Protocol'] = this.#protocols.join(',');
    }
    if (origin) headers[protocolVersion < 13 ? 'Sec-WebSocket-Origin' : 'Origin'] = origin;
    const { credentials } = address;
    if (credentials !== undefined) options.auth = credentials;
    return options;
  }

  /** Returns what connects to an address, as http.request() calls it. */
  #wayTo(address) {
    const connect = address.isSecure ? connectSecurely : connectPlain;
    if (!this.#options.proxy) return connect;
    const { proxyFor } = require('./proxy/settings');
    const proxy = proxyFor(address, this.#options.proxy);
    if (proxy === null) return connect;
    return (options, onCreated) => this.#tunnelTo(proxy, options, connect, onCreated);
  }

  /** Connects through a proxy; the request waits for it. */
  #tunnelTo(proxy, options, connect, onCreated) {
    const Tunnel = require('./proxy/tunnel');
    const clock = this.#clock;
    const onStep = (step) => {
      clock.note(step);
      if (step === 'proxy') clock.connected();
    };
    this.#tunnel = new Tunnel(proxy, options, onStep, (error, socket) => {
      this.#tunnel = null;
      if (error !== null) {
        onCreated(error);
      } else if (this.#address.isSecure) {
        onCreated(null, connect({ ...options, socket }));
      } else {
        onCreated(null, socket);
      }
    });
    this.#tunnel.start();
  }

  /** Copies the options with the names of their headers in lower case: some may have to go. */
  #prepareForRedirects() {
    const address = this.#address;
    const headers = {};
    for (const [name, value] of Object.entries(this.#options.headers ?? {})) {
      headers[name.toLowerCase()] = value;
    }
    this.#options = { ...this.#options, headers };
    this.#origin = {
      isLocal: address.socketPath !== undefined,
      isSecure: address.isSecure,
      place: address.socketPath ?? address.url.host,
    };
  }

  /** The first authorization of a chain of redirects counts, if none was given as a header. */
  #rememberAuthorization(options) {
    if (this.#origin === null || !options.auth || this.#options.headers.authorization) return;
    const encoded = Buffer.from(options.auth).toString('base64');
    this.#options.headers.authorization = `Basic ${encoded}`;
  }

  /** Leaves out what is none of another host's business. */
  #dropCredentials(options) {
    const address = this.#address;
    const origin = this.#origin;
    const isLocal = address.socketPath !== undefined;
    const isSame =
      isLocal === origin.isLocal && (address.socketPath ?? address.url.host) === origin.place;
    if (isSame && (!origin.isSecure || address.isSecure)) return;
    for (const name of CREDENTIALS) delete options.headers[name];
    if (!isSame) delete options.headers.host;
    options.auth = undefined;
  }

  #send(options) {
    const websocket = this.#websocket;
    const { request: makeRequest } = require(this.#address.isSecure ? 'node:https' : 'node:http');
    const request = makeRequest(options);
    const isCurrent = () => !this.#isOver && this.request === request;
    this.request = request;
    this.#clock.start(this.#limits.handshakeTimeout, this.#connectTimeout);
    request.on('error', (error) => {
      if (isCurrent()) this.#fail(error);
    });
    request.on('socket', (socket) => {
      if (isCurrent()) this.#clock.watch(socket);
    });
    if (websocket._redirects > 0) {
      websocket.emit('redirect', websocket.url, request);
    }
    request.on('response', (response) => {
      if (isCurrent()) this.#respond(request, response);
    });
    request.on('upgrade', (response, socket, head) => {
      if (isCurrent()) this.#upgrade(options, response, socket, head);
      else socket.destroy();
    });
    if (options.finishRequest) options.finishRequest(request, websocket);
    else request.end();
  }

  /** The server has not upgraded the connection. */
  #respond(request, response) {
    const websocket = this.#websocket;
    const { location } = response.headers;
    const { statusCode } = response;
    if (location && this.#origin !== null && statusCode >= 300 && statusCode < 400) {
      this.#redirect(request, location);
    } else if (!websocket.emit('unexpected-response', request, response)) {
      this.#fail(new Error(`Unexpected server response: ${statusCode}`));
    }
  }

  #redirect(request, location) {
    const websocket = this.#websocket;
    const details = detailsOf(websocket);
    details.redirects++;
    if (details.redirects > (this.#options.maxRedirects ?? MAX_REDIRECTS)) {
      this.#fail(new Error('Maximum redirects exceeded'));
      return;
    }
    // From here on its events are of no interest.
    this.request = null;
    request.destroy();
    try {
      this.#address = new Address(location, this.#address);
      details.url = this.#address.href;
      const options = this.#requestOptions();
      if (websocket.listenerCount('redirect') === 0) this.#dropCredentials(options);
      this.#rememberAuthorization(options);
      this.#send(options);
    } catch (error) {
      this.#fail(error);
    }
  }

  /** The server has upgraded the connection. */
  #upgrade(options, response, socket, head) {
    const websocket = this.#websocket;
    this.#clock.note('upgrade');
    websocket.emit('upgrade', response);
    // A listener may have closed it.
    if (this.#isOver || websocket._readyState !== CONNECTING) {
      socket.destroy();
      return;
    }
    const fault = this.#faultOf(options, response.headers);
    if (fault !== null) {
      this.#refuse(socket, new Error(fault));
      return;
    }
    if (this.#context._phase >= PHASES.CLOSING) {
      this.interrupt();
      return;
    }
    try {
      this.#attach(socket, head);
    } catch (error) {
      this.#refuse(socket, error);
      return;
    }
    this.#finish();
    detailsOf(websocket).protocol = response.headers['sec-websocket-protocol'] ?? '';
    const extensions = response.headers['sec-websocket-extensions'];
    if (extensions !== undefined) {
      try {
        this.#extension.accept(websocket, extensions);
      } catch (error) {
        detailsOf(websocket).error = error;
        terminate(websocket);
        return;
      }
    }
    emitOpen(websocket);
  }

  /** Ends the connection with an error, because its response is not acceptable. */
  #refuse(socket, error) {
    socket.destroy();
    this.#fail(error);
  }

  #attach(socket, head) {
    const websocket = this.#websocket;
    const { createConnection, generateMask, finishRequest } = this.#options;
    // Whoever has made the socket, or has seen it, may look at it later.
    const isOurs = !createConnection && !finishRequest && !generateMask;
    const mayAdopt = isOurs && isAdoptable(socket);
    const id = mayAdopt ? adopt(this.#context, socket, head, '', this.#limits, false) : NONE;
    if (id !== NONE) {
      onAttached(websocket, id);
    } else {
      const settings = { limits: this.#limits, generateMask };
      void new Bridge(websocket, this.#context, socket, head, settings);
    }
  }

  /** Checks the headers of a response, with the messages of ws (RFC 6455 section 4.1). */
  #faultOf(options, headers) {
    if (headers.upgrade === undefined || headers.upgrade.toLowerCase() !== 'websocket') {
      return 'Invalid Upgrade header';
    }
    if (headers['sec-websocket-accept'] !== acceptOf(options.headers['Sec-WebSocket-Key'])) {
      return 'Invalid Sec-WebSocket-Accept header';
    }
    const protocol = headers['sec-websocket-protocol'];
    if (protocol === undefined) {
      if (this.#protocols.length > 0) return 'Server sent no subprotocol';
    } else if (this.#protocols.length === 0) {
      return 'Server sent a subprotocol but none was requested';
    } else if (!this.#protocols.includes(protocol)) {
      return 'Server sent an invalid subprotocol';
    }
    const extensions = headers['sec-websocket-extensions'];
    if (extensions === undefined) return null;
    if (this.#extension === null) {
      return 'Server sent a Sec-WebSocket-Extensions header but no extension was requested';
    }
    return this.#extension.findFault(extensions);
  }
}

module.exports = { OpeningRequest };
