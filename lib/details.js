'use strict';

const { EMPTY_BUFFER } = require('./constants');

/**
 * What only some WebSockets have, apart from them: an idle server connection has none of it.
 *
 * All fields are made at once, so that the shape is always the same.
 */
class Details {
  constructor() {
    /** @type {string | undefined} The URL of a client. */
    this.url = undefined;
    /** @type {string} The subprotocol in use. */
    this.protocol = '';
    /** @type {Function | undefined} Class of the async scopes that a client's events are emitted in. */
    this.scope = undefined;
    /** @type {number} What 'close' will report. */
    this.closeCode = 1006;
    /** @type {Buffer} What 'close' will report. */
    this.closeReason = EMPTY_BUFFER;
    /** @type {Error | null} Emitted in front of 'close'. */
    this.error = null;
    /** @type {number} Bytes that wait for a Blob, or came too late to be sent. */
    this.bufferedBytes = 0;
    /** @type {Function[]} Callbacks of sends that are not yet written out, in order. */
    this.callbacks = [];
    /** @type {number} The last of these whose data was still to be compressed at the end. */
    this.uncompressed = 0;
    /** @type {import('./send-queue') | null} What waits for a Blob to be read. */
    this.queue = null;
    /** @type {import('./socket') | null} The facade of the socket, once asked for. */
    this.socket = null;
    /** @type {object | null} The opening handshake of a client, while JavaScript has a part in it. */
    this.handshake = null;
    /** @type {(() => void) | null} Begins the handshake anew where the native TLS has failed. */
    this.fallBack = null;
    /** @type {object | null} What a client has offered as an extension. */
    this.extension = null;
    /** @type {number} Redirects that a client has followed. */
    this.redirects = 0;
    /** @type {object | null} How long the steps of a client's opening handshake took. */
    this.timings = null;
    /** @type {import('./reconnection') | null} What brings a client back that is lost. */
    this.reconnection = null;
    /** @type {object | null} The figures of a connection that has ended. */
    this.stats = null;
    /** @type {import('./context') | null} The context, where there is no server that has it. */
    this.context = null;
    /** @type {object | null} The options of a client. */
    this.options = null;
    /** @type {import('./bridge') | null} What carries the connection, if a JavaScript stream does. */
    this.bridge = null;
    /** @type {import('./staggered') | null} Events that wait for a turn of their own. */
    this.staggered = null;
    /** @type {import('./receiver-shim') | null} What code written for ws listens to. */
    this.receiver = null;
    /** @type {import('./sender-shim') | null} What code written for ws sends frames with. */
    this.sender = null;
    /** @type {Map<import('./topics').Topic, number> | null} Its topics, and its place in each. */
    this.topics = null;
    /** @type {import('./permessage-deflate') | null} The extension in use; others may have it, too. */
    this.deflate = null;
    /** @type {(() => void) | null} Stops listening to the `signal` option of a client. */
    this.forgetSignal = null;
  }
}

/** Returns the details of a WebSocket, making them the first time. */
function detailsOf(websocket) {
  let details = websocket._details;
  if (details === null) {
    details = new Details();
    websocket._details = details;
  }
  return details;
}

module.exports = { Details, detailsOf };
