'use strict';

// A connection through a proxy: connects to it and asks for a tunnel. What comes out of it is a
// socket that carries the destination's bytes, and nothing of the proxy's.

// Loaded when it is needed: that takes longer than all of this package.
const net = () => require('node:net');

const http = require('./http');
const socks = require('./socks');
const { Refusal, proxyFailure } = require('./failure');

/** Options of a client that concern the connection, which is one to the proxy. */
const CONNECTION_OPTIONS = [
  'autoSelectFamily',
  'autoSelectFamilyAttemptTimeout',
  'family',
  'hints',
  'localAddress',
  'localPort',
  'lookup',
];

/** One tunnel in the making. Calls back once: with an error, or with the socket. */
class Tunnel {
  #proxy;
  #host;
  #port;
  #options = {};
  #onStep;
  #onDone;
  /** @type {net.Socket | null} */
  #socket = null;
  #handshake = null;
  #measure = null;
  #input = Buffer.alloc(0);
  #isOver = false;

  /**
   * @param {import('./settings').Proxy} proxy The proxy
   * @param {object} options Options of the client, with the `host` and `port` to reach
   * @param {(step: 'dns' | 'connect' | 'proxy') => void} onStep Called with what has been reached
   * @param {(error: Error | null, socket?: net.Socket) => void} onDone Called at the end, never
   *   within start(), and not at all after destroy()
   */
  constructor(proxy, options, onStep, onDone) {
    this.#proxy = proxy;
    this.#host = options.host;
    this.#port = Number(options.port);
    for (const name of CONNECTION_OPTIONS) {
      if (options[name] !== undefined) this.#options[name] = options[name];
    }
    this.#onStep = onStep;
    this.#onDone = onDone;
  }

  /**
   * Begins.
   *
   * @throws {TypeError | RangeError} What net().connect() throws
   */
  start() {
    const { protocol } = this.#proxy;
    // As in curl, only `socks5h:` leaves the lookup to the proxy.
    if (protocol !== 'socks5:' || net().isIP(this.#host) !== 0) {
      this.#connect();
      return;
    }
    const { family = 0, hints, lookup = require('node:dns').lookup } = this.#options;
    lookup(this.#host, { family, hints, all: false }, (error, address) => {
      if (this.#isOver) return;
      if (error) {
        this.#finish(error);
        return;
      }
      this.#host = address;
      try {
        this.#connect();
      } catch (thrown) {
        this.#finish(thrown);
      }
    });
  }

  /** Gives up. */
  destroy() {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#socket?.destroy();
  }

  #connect() {
    const { host, port, protocol, tls: tlsOptions } = this.#proxy;
    const options = { ...this.#options, host, port };
    const isSecure = protocol === 'https:';
    const socket = isSecure
      ? require('node:tls').connect({
          servername: net().isIP(host) ? '' : host,
          ...tlsOptions,
          ...options,
        })
      : net().connect(options);
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.once('lookup', this.#onLookup);
    socket.once('connect', this.#onConnect);
    socket.once(isSecure ? 'secureConnect' : 'connect', this.#onReady);
    socket.on('data', this.#onData);
    socket.on('error', this.#onError);
    socket.on('close', this.#onClose);
  }

  #onLookup = (error) => {
    if (!error) this.#onStep('dns');
  };

  #onConnect = () => {
    this.#onStep('connect');
  };

  #onReady = () => {
    const { handshake } = this.#proxy.protocol.startsWith('socks') ? socks : http;
    this.#handshake = handshake(this.#proxy, this.#host, this.#port);
    this.#advance();
  };

  #onData = (chunk) => {
    this.#input = this.#input.length === 0 ? chunk : Buffer.concat([this.#input, chunk]);
    this.#proceed();
  };

  #onError = (cause) => {
    const what = this.#handshake === null ? 'cannot be reached' : 'has dropped the connection';
    this.#fail(what, { cause });
  };

  #onClose = () => {
    this.#fail('has closed the connection');
  };

  /** Takes what has come, as far as it is complete. */
  #proceed() {
    while (!this.#isOver && this.#input.length > 0) {
      if (this.#measure === null) {
        // Nobody speaks behind the answer: of HTTP and TLS alike the client begins.
        this.#fail('has sent more than an answer');
        return;
      }
      let length;
      try {
        length = this.#measure(this.#input);
      } catch (error) {
        this.#refuse(error);
        return;
      }
      if (length === 0) return;
      const taken = this.#input.subarray(0, length);
      this.#input = this.#input.subarray(length);
      this.#advance(taken);
    }
  }

  /** Lets the handshake go on with `bytes`. */
  #advance(bytes) {
    let step;
    try {
      step = this.#handshake.next(bytes);
    } catch (error) {
      this.#refuse(error);
      return;
    }
    if (step.done) {
      this.#measure = null;
      if (this.#input.length === 0) this.#succeed();
      return;
    }
    this.#measure = step.value.measure;
    if (step.value.write !== null) this.#socket.write(step.value.write);
  }

  #refuse(error) {
    if (!(error instanceof Refusal)) throw error;
    this.#fail(error.message, error.facts);
  }

  #fail(what, facts) {
    this.#finish(proxyFailure(this.#proxy, what, facts));
  }

  #finish(error) {
    if (this.#isOver) return;
    this.destroy();
    this.#onDone(error);
  }

  #succeed() {
    const socket = this.#socket;
    this.#isOver = true;
    socket.off('lookup', this.#onLookup);
    socket.off('data', this.#onData);
    socket.off('error', this.#onError);
    socket.off('close', this.#onClose);
    // What comes now is for the next one, who listens from the next tick on.
    socket.pause();
    this.#onStep('proxy');
    this.#onDone(null, socket);
    socket.resume();
  }
}

module.exports = Tunnel;
