'use strict';

// Ties the negotiation of permessage-deflate to connections, which compress natively.

const native = require('./addon');
const extension = require('./extension');
const PerMessageDeflate = require('./permessage-deflate');
const { detailsOf } = require('./details');
const { DEFLATES, NONE } = require('./constants');

const { extensionName } = PerMessageDeflate;

/** Widest window of zlib, which holds without an agreement. */
const DEFAULT_WINDOW_BITS = 15;

/** Returns the sub-options: `true` stands for the defaults. */
function subOptions(perMessageDeflate) {
  return perMessageDeflate === true ? {} : perMessageDeflate;
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
 * @throws {Error} If the header is not valid or no offer is acceptable
 */
function acceptOffer(perMessageDeflate, header, maxPayload) {
  const offers = extension.parse(header)[extensionName];
  if (offers === undefined) return null;
  const options = { ...subOptions(perMessageDeflate), isServer: true, maxPayload };
  const deflate = new PerMessageDeflate(options);
  deflate.accept(offers);
  return deflate;
}

/** What a client offers, and what becomes of it. */
class Offer {
  #deflate;

  /**
   * @param {true | object} perMessageDeflate The option of the client
   * @param {number} maxPayload Largest message in bytes; 0 for no limit
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
    enable(websocket, this.#deflate);
  }
}

/**
 * Lets the connection of `websocket` compress as agreed: before anything is read from it.
 *
 * @param {import('./websocket')} websocket The WebSocket, which has a native connection
 * @param {PerMessageDeflate} deflate What is agreed on
 */
function enable(websocket, deflate) {
  const { params } = deflate;
  const { threshold, zlibDeflateOptions = {} } = deflate._options;
  const isEnabled = native.enableDeflate(websocket._id, {
    serverNoContextTakeover: params.server_no_context_takeover === true,
    clientNoContextTakeover: params.client_no_context_takeover === true,
    serverMaxWindowBits: params.server_max_window_bits ?? DEFAULT_WINDOW_BITS,
    clientMaxWindowBits: params.client_max_window_bits ?? DEFAULT_WINDOW_BITS,
    level: zlibDeflateOptions.level,
    memLevel: zlibDeflateOptions.memLevel,
    threshold,
  });
  if (!isEnabled) {
    // The other side has been told that it is in use.
    native.terminate(websocket._id);
    throw new RangeError('Invalid options of permessage-deflate');
  }
  detailsOf(websocket).extensions = { [extensionName]: deflate };
  websocket._flags |= DEFLATES;
  // Whether to compress is decided off the fast path.
  websocket._sendId = NONE;
}

module.exports = { Offer, acceptOffer, enable, format };
