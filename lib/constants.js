'use strict';

// Numbers and small shared values: the states of a connection and of a server,
// the flags that lib/websocket.js packs into one field, and the vocabulary that
// lib/deliver.js shares with src/context/outbox.rs.

const BINARY_TYPES = ['nodebuffer', 'arraybuffer', 'fragments'];

if (typeof Blob === 'function') BINARY_TYPES.push('blob');

/** On errors of a Receiver: the status code of the Close frame that they call for. */
const kStatusCode = Symbol('status-code');

module.exports = {
  kStatusCode,

  /** Values of `binaryType`; the index is what a connection's flags hold. */
  BINARY_TYPES,

  /** Stands for "no native connection". Numbers of connections are never negative. */
  NONE: -1,

  EMPTY_BUFFER: Buffer.alloc(0),

  // WebSocket readyState, as in the WHATWG standard.
  CONNECTING: 0,
  OPEN: 1,
  CLOSING: 2,
  CLOSED: 3,
  READY_STATE_NAMES: ['CONNECTING', 'OPEN', 'CLOSING', 'CLOSED'],

  /** States of a context, with the numbers of the native half. */
  PHASES: { RUNNING: 0, DRAINING: 1, CLOSING: 2, DESTROYING: 3 },

  // Bits of a WebSocket's `_flags`. The two lowest are the index of its binaryType.
  BINARY_TYPE_BITS: 3,
  IS_SERVER: 1 << 2,
  PAUSED: 1 << 3,
  CLOSE_SENT: 1 << 4,
  CLOSE_RECEIVED: 1 << 5,
  ERROR_EMITTED: 1 << 6,
  /** The last fragment sent had no FIN: the next one is a continuation. */
  FRAGMENTING: 1 << 7,
  /** terminate() was called: no message is delivered any more. */
  TERMINATED: 1 << 8,
  /** `allowSynchronousEvents` is false: each event has a turn of the loop to itself. */
  STAGGERED: 1 << 9,
  /** permessage-deflate is in use: each send is asked whether to compress. */
  DEFLATES: 1 << 10,
  /** It has been open: there is, or was, a socket. */
  WAS_OPEN: 1 << 11,
  /** The user has called close() or terminate(): it does not come back. */
  ENDED: 1 << 12,
  /** Its opening was told to whoever watches, and its end will be. */
  ANNOUNCED: 1 << 13,
  /** The first Close frame was the peer's. */
  CLOSED_BY_PEER: 1 << 14,
  /** Its error was told to whoever watches. */
  ERROR_TOLD: 1 << 15,

  // Flags of a native send: the opcode in the low bits, then these.
  OPCODE_CONTINUATION: 0,
  OPCODE_TEXT: 1,
  OPCODE_BINARY: 2,
  FIN: 1 << 4,
  /** Asks for a SENT record once the frame has been given to the system. */
  NOTIFY: 1 << 5,
  /** Compresses the message that the frame begins. */
  COMPRESS: 1 << 6,
  /** Says that the data is a string, which saves finding that out. */
  STRING: 1 << 7,
  /** Of a message to many: a receiver that is too slow is dropped. */
  CLOSE_ON_OVERFLOW: 1 << 8,

  /** Answer of a native send that has ended the connection, as when too much was queued. */
  EXCESS: -2,

  // Kinds of records (src/context/outbox.rs).
  SLAB: 0,
  MESSAGE: 1,
  MESSAGE_OWN: 2,
  PING: 3,
  PONG: 4,
  PEER_CLOSE: 5,
  OPENED: 6,
  UPGRADE: 7,
  ERROR: 8,
  GONE: 9,
  DRAIN: 10,
  SENT: 11,
  LISTENING: 12,
  SERVER_ERROR: 13,
  SERVER_CLOSED: 14,
  WAIT_CANCELLED: 15,
  STATE: 16,
  DESTROYED: 17,
  BREACH: 18,
  OUTPUT: 19,
  OUTPUT_OWN: 20,
  OUTPUT_END: 21,
  INPUT: 22,
  INPUT_OWN: 23,
  INPUT_WANTED: 24,
  ACCEPTED: 25,
  CLIENT_ERROR: 26,
  HTTP: 27,
  REFUSED: 28,

  /** Default of `closeTimeout`, and of the `timeout` of `context.close()`, in milliseconds. */
  CLOSE_TIMEOUT: 30_000,
  /** Default of the server's `handshakeTimeout`, in milliseconds. */
  HANDSHAKE_TIMEOUT: 10_000,
  /** Default of `maxPayload`, in bytes: that of ws. */
  MAX_PAYLOAD: 100 * 1024 * 1024,
  /** Default of `maxControlFrames`, in frames a second. `ws` has no such limit. */
  MAX_CONTROL_FRAMES: 100,
  /** Default of `maxFragments`: that of ws. */
  MAX_FRAGMENTS: 16 * 1024,
  /** Default of the `maxBackpressure` of a message to many, in bytes. */
  MAX_BACKPRESSURE: 1024 * 1024,
  /** Default of `maxPendingHandshakes`: twice the usual backlog, and 16 MiB of heads at most. */
  MAX_PENDING_HANDSHAKES: 1024,
  /** Largest count of something: what fits into 32 bits. */
  MAX_COUNT: 2 ** 32 - 1,
  /** Longest timer, in milliseconds: what fits into 32 bits, some 49 days. */
  MAX_TIMEOUT: 2 ** 32 - 1,
};
