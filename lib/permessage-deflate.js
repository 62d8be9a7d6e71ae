'use strict';

const limiter = require('./limiter');
const { kStatusCode } = require('./constants');
const { numberOf } = require('./validation');

/** What each compressed message ends with, left out on the wire (RFC 7692 section 7.2.1). */
const TAIL = Buffer.from([0x00, 0x00, 0xff, 0xff]);

/** Smallest message that is compressed where our side keeps no window, in bytes: that of ws. */
const THRESHOLD = 1024;

/** Loaded when a message is compressed in JavaScript, which connections do not do. */
function zlib() {
  return require('node:zlib');
}

function invalid(name, value) {
  return new TypeError(`Invalid value for parameter "${name}": ${value}`);
}

function checkWindowBits(name, value) {
  const bits = value === true ? NaN : Number(value);
  if (!Number.isInteger(bits) || bits < 8 || bits > 15) throw invalid(name, value);
  return bits;
}

function checkFlag(name, value) {
  if (value !== true) throw invalid(name, value);
  return true;
}

/**
 * Negotiates the permessage-deflate extension (RFC 7692), and compresses messages for those who
 * build on Sender and Receiver. Connections compress natively: see lib/deflate.js.
 */
class PerMessageDeflate {
  /**
   * @param {object} [options]
   * @param {boolean | number} [options.clientMaxWindowBits] The client's window: a number asks for
   *   it, `true` tells that one may be asked for, `false` that none may
   * @param {boolean} [options.clientNoContextTakeover] Whether the client keeps no window
   * @param {number} [options.concurrencyLimit=10] Most messages that are compressed on the thread
   *   pool at the same time, 0 for no limit; the first instance decides for the process
   * @param {boolean} [options.isServer=false] The role
   * @param {number} [options.maxPayload=0] Largest message in bytes; 0 for no limit
   * @param {boolean | number} [options.serverMaxWindowBits] The server's window
   * @param {boolean} [options.serverNoContextTakeover] Whether the server keeps no window
   * @param {number} [options.threshold=1024] Smallest message to compress, in bytes, where our side
   *   keeps no window
   * @param {object} [options.zlibDeflateOptions] Options for zlib
   * @param {object} [options.zlibInflateOptions] Options for zlib
   */
  constructor(options) {
    this._options = options || {};
    this._threshold = this._options.threshold ?? THRESHOLD;
    this._maxPayload = this._options.maxPayload | 0;
    this._isServer = Boolean(this._options.isServer);
    /** What was agreed on, by the names of RFC 7692. */
    this.params = null;
    // The streams of zlib, once needed.
    this._deflate = null;
    this._inflate = null;
    limiter.decide(numberOf(this._options.concurrencyLimit));
  }

  static get extensionName() {
    return 'permessage-deflate';
  }

  /** Returns the parameters that a client offers. */
  offer() {
    const {
      serverNoContextTakeover,
      clientNoContextTakeover,
      serverMaxWindowBits,
      clientMaxWindowBits,
    } = this._options;
    const params = {};
    if (serverNoContextTakeover) params.server_no_context_takeover = true;
    if (clientNoContextTakeover) params.client_no_context_takeover = true;
    if (serverMaxWindowBits) params.server_max_window_bits = serverMaxWindowBits;
    if (clientMaxWindowBits ?? true) params.client_max_window_bits = clientMaxWindowBits ?? true;
    return params;
  }

  /**
   * Decides on the offers of a client, or on the response of a server.
   *
   * @param {object[]} configurations Parameters, as extension.parse() returns them
   * @returns {object} What is agreed on; it becomes `params`
   * @throws {Error} If it is not acceptable
   */
  accept(configurations) {
    configurations.forEach((params) => this.#normalize(params));
    this.params = this._isServer
      ? this.#acceptOffer(configurations)
      : this.#acceptResponse(configurations[0]);
    return this.params;
  }

  /** Releases the streams of zlib. */
  cleanup() {
    this._inflate?.close();
    this._inflate = null;
    this._deflate?.close();
    this._deflate = null;
  }

  /** Turns lists of one value into that value, and texts into numbers. */
  #normalize(params) {
    for (const name of Object.keys(params)) {
      const values = params[name];
      if (values.length > 1) {
        throw new Error(`Parameter "${name}" must have only a single value`);
      }
      const [value] = values;
      switch (name) {
        case 'client_max_window_bits':
          // Only an offer may have it without a value (RFC 7692 section 7.1.2.2).
          params[name] = value === true && this._isServer ? true : checkWindowBits(name, value);
          break;
        case 'server_max_window_bits':
          params[name] = checkWindowBits(name, value);
          break;
        case 'client_no_context_takeover':
        case 'server_no_context_takeover':
          params[name] = checkFlag(name, value);
          break;
        default:
          throw new Error(`Unknown parameter "${name}"`);
      }
    }
  }

  /** Tells whether a server with these options can do what the offer demands. */
  #isAcceptable(params) {
    const { clientMaxWindowBits, serverMaxWindowBits, serverNoContextTakeover } = this._options;
    if (serverNoContextTakeover === false && params.server_no_context_takeover) return false;
    if (params.server_max_window_bits) {
      if (serverMaxWindowBits === false) return false;
      if (
        typeof serverMaxWindowBits === 'number' &&
        serverMaxWindowBits > params.server_max_window_bits
      ) {
        return false;
      }
    }
    // A client that does not mention it cannot be asked for it.
    return typeof clientMaxWindowBits !== 'number' || Boolean(params.client_max_window_bits);
  }

  #acceptOffer(offers) {
    const accepted = offers.find((params) => this.#isAcceptable(params));
    if (accepted === undefined) throw new Error('None of the extension offers can be accepted');

    const options = this._options;
    const offeredBits = accepted.client_max_window_bits;
    if (options.serverNoContextTakeover) accepted.server_no_context_takeover = true;
    if (options.clientNoContextTakeover) accepted.client_no_context_takeover = true;
    if (typeof options.serverMaxWindowBits === 'number') {
      accepted.server_max_window_bits = options.serverMaxWindowBits;
    }
    if (typeof options.clientMaxWindowBits === 'number') {
      accepted.client_max_window_bits =
        typeof offeredBits === 'number'
          ? Math.min(offeredBits, options.clientMaxWindowBits)
          : options.clientMaxWindowBits;
    } else if (offeredBits === true || options.clientMaxWindowBits === false) {
      delete accepted.client_max_window_bits;
    }
    return accepted;
  }

  #acceptResponse(params) {
    const { clientMaxWindowBits, clientNoContextTakeover } = this._options;
    if (clientNoContextTakeover === false && params.client_no_context_takeover) {
      throw new Error('Unexpected parameter "client_no_context_takeover"');
    }
    const isNumber = typeof clientMaxWindowBits === 'number';
    if (params.client_max_window_bits === undefined) {
      if (isNumber) params.client_max_window_bits = clientMaxWindowBits;
    } else if (
      clientMaxWindowBits === false ||
      (isNumber && params.client_max_window_bits > clientMaxWindowBits)
    ) {
      throw new Error('Unexpected or invalid parameter "client_max_window_bits"');
    }
    return params;
  }

  /** Returns a parameter of one role, 'server' or 'client'. */
  #parameter(role, name) {
    return this.params === null ? undefined : this.params[`${role}_${name}`];
  }

  #windowBits(role) {
    const bits = this.#parameter(role, 'max_window_bits');
    return typeof bits === 'number' ? bits : zlib().constants.Z_DEFAULT_WINDOWBITS;
  }

  /**
   * Compresses a message or a fragment.
   *
   * @param {Buffer | string} data What to compress
   * @param {boolean} fin Whether it is the last fragment
   * @param {(error: Error | null, data?: Buffer) => void} callback Gets the result
   */
  compress(data, fin, callback) {
    limiter.run((done) => {
      this.#compress(data, fin, (error, result) => {
        done();
        callback(error, result);
      });
    });
  }

  /**
   * Decompresses the payload of a message or of a fragment; arguments as in compress().
   */
  decompress(data, fin, callback) {
    limiter.run((done) => {
      this.#decompress(data, fin, (error, result) => {
        done();
        callback(error, result);
      });
    });
  }

  #compress(data, fin, callback) {
    const role = this._isServer ? 'server' : 'client';
    this._deflate ??= zlib().createDeflateRaw({
      ...this._options.zlibDeflateOptions,
      windowBits: this.#windowBits(role),
    });
    const stream = this._deflate;
    const chunks = [];
    const collect = (chunk) => chunks.push(chunk);
    const settle = (error, result) => {
      stream.removeListener('data', collect);
      stream.removeListener('close', onClose);
      callback(error, result);
    };
    const onClose = () => {
      settle(new Error('The deflate stream was closed while data was being processed'));
    };
    stream.on('data', collect);
    stream.on('close', onClose);
    stream.write(data);
    stream.flush(zlib().constants.Z_SYNC_FLUSH, () => {
      // cleanup() has come first: 'close' reports it.
      if (this._deflate !== stream) return;
      const compressed = Buffer.concat(chunks);
      if (fin && this.#parameter(role, 'no_context_takeover')) stream.reset();
      settle(null, fin ? compressed.subarray(0, -TAIL.length) : compressed);
    });
  }

  #decompress(data, fin, callback) {
    const role = this._isServer ? 'client' : 'server';
    this._inflate ??= zlib().createInflateRaw({
      ...this._options.zlibInflateOptions,
      windowBits: this.#windowBits(role),
    });
    const stream = this._inflate;
    const chunks = [];
    let length = 0;
    const settle = (error, result) => {
      stream.removeListener('data', collect);
      stream.removeListener('error', onError);
      if (error !== null) {
        this._inflate = null;
        stream.on('error', () => {});
        stream.close();
      }
      callback(error, result);
    };
    let isSettled = false;
    const collect = (chunk) => {
      length += chunk.length;
      if (this._maxPayload < 1 || length <= this._maxPayload) {
        chunks.push(chunk);
        return;
      }
      const error = new RangeError('Max payload size exceeded');
      error.code = 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH';
      error[kStatusCode] = 1009;
      isSettled = true;
      settle(error);
    };
    const onError = (error) => {
      if (isSettled) return;
      isSettled = true;
      error[kStatusCode] = 1007;
      settle(error);
    };
    stream.on('data', collect);
    stream.on('error', onError);
    stream.write(data);
    if (fin) stream.write(TAIL);
    stream.flush(() => {
      if (isSettled || this._inflate !== stream) return;
      isSettled = true;
      // A block with BFINAL set ends the stream: the next message starts a new one.
      if (stream.readableEnded) {
        stream.close();
        this._inflate = null;
      } else if (fin && this.#parameter(role, 'no_context_takeover')) {
        stream.reset();
      }
      settle(null, Buffer.concat(chunks, length));
    });
  }
}

module.exports = PerMessageDeflate;
