'use strict';

// Ties the negotiation of permessage-deflate to connections, which compress natively.

const native = require('./addon');
const extension = require('./extension');
const limiter = require('./limiter');
const PerMessageDeflate = require('./permessage-deflate');
const { detailsOf } = require('./details');
const { checkLimit, checkObject, numberOf } = require('./validation');
const { DEFLATES, NONE } = require('./constants');

const { extensionName } = PerMessageDeflate;

/** Widest window of zlib, which holds without an agreement. */
const DEFAULT_WINDOW_BITS = 15;

/** What may be asked for as the window bits (RFC 7692 section 7.1.2), and put into a header. */
const WINDOW_BITS = /^(?:[89]|1[0-5])$/;

/** The option, in messages. */
const NAME = 'options.perMessageDeflate';

/** Sub-options that are window bits, with the names of the parameters. */
const WINDOWS = [
  ['serverMaxWindowBits', 'server_max_window_bits'],
  ['clientMaxWindowBits', 'client_max_window_bits'],
];

/** Numbers of `zlibDeflateOptions`, with the range that zlib has for each. */
const RANGES = [
  ['level', -1, 9],
  ['memLevel', 1, 9],
];

/**
 * What was agreed on last. Most clients of a server offer the same, and share what came of it: ten
 * thousand connections need no object each.
 *
 * @type {{ header: string, deflate: PerMessageDeflate } | null}
 */
let latest = null;

/** Returns a number of `zlibDeflateOptions`; undefined where zlib takes its default. */
function zlibNumber(zlibDeflateOptions, name) {
  const value = zlibDeflateOptions?.[name] ?? undefined;
  return Number.isNaN(value) ? undefined : value;
}

/** Returns the `threshold`: ws compares it with lengths, which makes a number of any string. */
function thresholdOf({ threshold }) {
  return threshold === '' ? 0 : numberOf(threshold);
}

/**
 * Checks the sub-options before anybody is told of them.
 *
 * @param {*} perMessageDeflate The option of a server or a client; as in ws, what is no object has none
 * @throws {TypeError | RangeError} For windows and numbers of zlib, what ws and node:zlib throw once they
 *   use them
 */
function checkSubOptions(perMessageDeflate) {
  for (const [option, parameter] of WINDOWS) {
    const bits = perMessageDeflate[option];
    if (bits == null || typeof bits === 'boolean') continue;
    if (!WINDOW_BITS.test(String(bits))) {
      throw new TypeError(`Invalid value for parameter "${parameter}": ${String(bits)}`);
    }
  }
  const { concurrencyLimit, zlibDeflateOptions } = perMessageDeflate;
  checkLimit(concurrencyLimit, `${NAME}.concurrencyLimit`, 0);
  checkLimit(thresholdOf(perMessageDeflate), `${NAME}.threshold`, 0);
  for (const name of ['zlibDeflateOptions', 'zlibInflateOptions']) {
    if (perMessageDeflate[name]) checkObject(perMessageDeflate[name], `${NAME}.${name}`);
  }
  for (const [name, least, most] of RANGES) {
    const value = zlibNumber(zlibDeflateOptions, name);
    if (value === undefined) continue;
    if (typeof value !== 'number' || value < least || value > most) {
      // Throws the error of Node's own.
      require('node:zlib').createDeflateRaw({ [name]: value });
    }
  }
}

/** Returns the sub-options, of which `true` has none. Throws if they are not valid. */
function subOptions(perMessageDeflate) {
  checkSubOptions(perMessageDeflate);
  return perMessageDeflate;
}

/** Returns the header's value that names what was agreed on. */
function format(deflate) {
  return extension.format({ [extensionName]: deflate.params });
}

/**
 * Decides on the Sec-WebSocket-Extensions header of a request.
 *
 * @param {true | object} perMessageDeflate The option of the server
 * @param {string} header The header's value
 * @param {number} maxPayload Largest message in bytes; 0 for no limit
 * @returns {PerMessageDeflate | null} What is agreed on; null if the client does not offer it
 * @throws {Error} If the header or the option is not valid, or no offer is acceptable
 */
function acceptOffer(perMessageDeflate, header, maxPayload) {
  const options = { ...subOptions(perMessageDeflate), isServer: true, maxPayload };
  if (latest !== null && latest.header === header && isSame(latest.deflate._options, options)) {
    return latest.deflate;
  }
  const offers = extension.parse(header)[extensionName];
  if (offers === undefined) return null;
  const deflate = new PerMessageDeflate(options);
  deflate.accept(offers);
  latest = { header, deflate };
  return deflate;
}

/** Tells whether two objects have the same values. */
function isSame(one, other) {
  const names = Object.keys(one);
  return (
    names.length === Object.keys(other).length && names.every((name) => one[name] === other[name])
  );
}

/** What a client offers, and what becomes of it. */
class Offer {
  #deflate;

  /**
   * @param {true | object} perMessageDeflate The option of the client
   * @param {number} maxPayload Largest message in bytes; 0 for no limit
   * @throws {TypeError | RangeError} If the option is not valid
   */
  constructor(perMessageDeflate, maxPayload) {
    const options = { ...subOptions(perMessageDeflate), isServer: false, maxPayload };
    this.#deflate = new PerMessageDeflate(options);
    /** The value of the Sec-WebSocket-Extensions header. */
    this.offer = extension.format({ [extensionName]: this.#deflate.offer() });
  }

  /**
   * Says what is wrong with the server's response, or returns null.
   *
   * @param {string} header The value of its Sec-WebSocket-Extensions header
   * @returns {string | null} The message of ws
   */
  findFault(header) {
    let responses;
    try {
      responses = extension.parse(header);
    } catch {
      return 'Invalid Sec-WebSocket-Extensions header';
    }
    const names = Object.keys(responses);
    if (names.length !== 1 || names[0] !== extensionName) {
      return 'Server indicated an extension that was not requested';
    }
    try {
      this.#deflate.accept(responses[extensionName]);
      return null;
    } catch {
      return 'Invalid Sec-WebSocket-Extensions header';
    }
  }

  /**
   * Takes the server's response and lets `websocket`, which has a number, compress.
   *
   * @throws {Error} If the response is not valid, or names what was not offered
   */
  accept(websocket, header) {
    const fault = this.findFault(header);
    if (fault !== null) throw new Error(fault);
    if (!enable(websocket, this.#deflate)) {
      throw new RangeError('Invalid options of permessage-deflate');
    }
  }
}

/**
 * Lets the connection of `websocket` compress as agreed: before anything is read from it.
 *
 * @param {import('./websocket')} websocket The WebSocket, which has a native connection
 * @param {PerMessageDeflate} deflate What is agreed on
 * @returns {boolean} Whether it does. If not, the connection is of no use: the other side has been
 *   told that it compresses
 */
function enable(websocket, deflate) {
  try {
    if (!native.enableDeflate(websocket._id, parametersOf(deflate))) return false;
  } catch {
    // A value is not of the type that it should be.
    return false;
  }
  detailsOf(websocket).deflate = deflate;
  websocket._flags |= DEFLATES;
  // Whether to compress is decided off the fast path.
  websocket._sendId = NONE;
  return true;
}

/** Returns what the native half wants to know. */
function parametersOf({ params, _options: options }) {
  return {
    serverNoContextTakeover: params.server_no_context_takeover === true,
    clientNoContextTakeover: params.client_no_context_takeover === true,
    serverMaxWindowBits: params.server_max_window_bits ?? DEFAULT_WINDOW_BITS,
    clientMaxWindowBits: params.client_max_window_bits ?? DEFAULT_WINDOW_BITS,
    level: zlibNumber(options.zlibDeflateOptions, 'level'),
    memLevel: zlibNumber(options.zlibDeflateOptions, 'memLevel'),
    threshold: thresholdOf(options) ?? undefined,
    concurrency: limiter.nativeLimit(),
  };
}

module.exports = { Offer, acceptOffer, checkSubOptions, enable, format };
