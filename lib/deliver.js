'use strict';

const EventEmitter = require('node:events');

const { Emitter } = require('./emitter');
const Socket = require('./socket');
const table = require('./table');
const UpgradeMessage = require('./upgrade-message');
const { failureOf } = require('./failure');
const { Lent } = require('./http-beside');
const {
  detach,
  leave,
  onError,
  onFailed,
  onGone,
  onOpened,
  onPeerClose,
  onSent,
  tellSocket,
} = require('./incoming');
const { breached, NAMES } = require('./limits');
const { isStaggering, stagger } = require('./staggered');
const {
  ACCEPTED,
  BINARY_TYPES,
  BINARY_TYPE_BITS,
  CLIENT_ERROR,
  BREACH,
  DESTROYED,
  DRAIN,
  EMPTY_BUFFER,
  ERROR,
  GONE,
  HTTP,
  INPUT,
  INPUT_OWN,
  INPUT_WANTED,
  LISTENING,
  MESSAGE,
  MESSAGE_OWN,
  OPENED,
  OUTPUT,
  OUTPUT_END,
  OUTPUT_OWN,
  PEER_CLOSE,
  PING,
  PONG,
  REFUSED,
  SENT,
  SERVER_CLOSED,
  SERVER_ERROR,
  SLAB,
  STAGGERED,
  STATE,
  TERMINATED,
  UPGRADE,
  WAIT_CANCELLED,
} = require('./constants');

/** The class that all Buffers are of: constructed directly, one costs a third of Buffer.from(). */
const FastBuffer = Buffer[Symbol.species];
const { emit } = EventEmitter.prototype;

/** Records of one batch. A batch that is larger comes in several calls. */
const CAPACITY = 1024;
/** Elements of a record: kind and flags, number, and two operands. */
const RECORD = 4;
/** Elements in front of the first record. */
const HEADER = 4;

// Elements of the header.
const CURSOR = 0;
const COUNT = 1;
const MUTED = 2;

/** The array of a context that has ended, for the next one: a new one costs more than all else of a Delivery. */
let spare = null;

/** Which kinds are of no interest once the context is being destroyed. */
const IS_MUTABLE = new Array(REFUSED + 1).fill(false);
for (const kind of [
  MESSAGE,
  MESSAGE_OWN,
  PING,
  PONG,
  OPENED,
  UPGRADE,
  DRAIN,
  ACCEPTED,
  CLIENT_ERROR,
  REFUSED,
]) {
  IS_MUTABLE[kind] = true;
}

/**
 * Turns what the native half reports about one context into events.
 *
 * The native half writes records into `records` and calls `deliver` once per loop turn. The cursor
 * there moves past a record before its event is emitted: when a handler throws, the native half
 * reports the exception and calls again, and delivery goes on behind it. A handler may close or
 * destroy anything, so nothing is remembered from one record to the next but the cursor.
 */
class Delivery {
  /** @param {import('./context')} context Whose records these are */
  constructor(context) {
    /** `[cursor, count, muted, 0]`, then the records; shared with the native half. */
    this.records = spare ?? new Uint32Array(HEADER + RECORD * CAPACITY);
    this.records.fill(0, 0, HEADER);
    spare = null;
    this.context = context;
    /** The memory block that operands refer to; null before the first. */
    this.slab = null;
    /** Memory blocks that came with this batch, and which of them is next. */
    this.extras = undefined;
    this.nextExtra = 0;
  }

  /**
   * Takes a batch, or goes on with it.
   *
   * @param {ArrayBuffer[]} [extras] Memory blocks of a new batch
   */
  deliver(extras) {
    if (extras !== undefined) {
      this.extras = extras;
      this.nextExtra = 0;
    }
    const { records } = this;
    while (records[CURSOR] < records[COUNT]) {
      const at = HEADER + RECORD * records[CURSOR];
      const kind = records[at] & 0xff;
      if (kind === SLAB) {
        records[CURSOR]++;
        this.slab = this.extras[this.nextExtra++];
      } else if (kind >= ACCEPTED) {
        if (kind === ACCEPTED) this.deliverAccepted(at);
        else if (kind === HTTP) this.deliverHttp(at);
        else this.deliverText(at, kind === REFUSED ? '_refused' : '_clientFailed');
      } else if (kind <= SENT || kind >= OUTPUT) {
        this.deliverToConnection(records[at + 1], kind);
      } else {
        this.deliverToOwner(at, kind);
      }
    }
    if (this.extras !== undefined && this.nextExtra >= this.extras.length) {
      this.extras = undefined;
    }
  }

  /** Delivers the records of one connection that follow each other, in its async context. */
  deliverToConnection(id, kind) {
    const target = table[id];
    if (kind === UPGRADE) {
      this.deliverUpgrade(id);
    } else if (target === undefined || target._scope === undefined) {
      this.skip(id, kind, target);
    } else {
      new target._scope().runInAsyncScope(this.deliverRun, this, target, id);
    }
  }

  /** Delivers records from the cursor on, as long as they are those of `websocket`. */
  deliverRun(websocket, id) {
    const { records } = this;
    let cursor = records[CURSOR];
    do {
      const at = HEADER + RECORD * cursor;
      if (records[at + 1] !== id) return;
      const kind = records[at] & 0xff;
      if (kind === SLAB || kind === UPGRADE || (kind > SENT && kind < OUTPUT)) return;
      records[CURSOR] = cursor + 1;
      const flags = records[at] >>> 8;
      const a = records[at + 2];
      const b = records[at + 3];

      if (kind === MESSAGE) {
        if (records[MUTED] === 0) {
          deliverMessage(websocket, this.context, this.slab, a, b, flags !== 0);
        }
      } else if (kind === MESSAGE_OWN) {
        const own = this.extras[this.nextExtra++];
        if (records[MUTED] === 0) deliverMessage(websocket, this.context, own, 0, b, flags !== 0);
      } else if (records[MUTED] === 0 || !IS_MUTABLE[kind]) {
        this.deliverRare(websocket, kind, flags, a, b);
        if (kind === GONE) return;
      }
      cursor = records[CURSOR];
    } while (cursor < records[COUNT]);
  }

  /** Delivers a record that is no message. */
  deliverRare(websocket, kind, flags, a, b) {
    if ((websocket._flags & STAGGERED) !== 0 && this.stagger(websocket, kind, flags, a, b)) return;
    switch (kind) {
      case PING:
        if (mayEmit(websocket, 'ping')) websocket.emit('ping', this.view(a, b));
        break;
      case PONG:
        if (mayEmit(websocket, 'pong')) websocket.emit('pong', this.view(a, b));
        break;
      case PEER_CLOSE:
        onPeerClose(websocket, flags, this.view(a, b));
        break;
      case OPENED:
        onOpened(websocket, this.text(a, b), flags, this.context);
        break;
      case ERROR:
        onError(websocket, flags, this.context._cause);
        break;
      case GONE:
        onGone(websocket, a, this.context._cause);
        break;
      case DRAIN:
        websocket.emit('drain');
        break;
      case SENT:
        onSent(websocket, a);
        break;
      case OUTPUT:
        websocket._details.bridge.write(this.view(a, b));
        break;
      case OUTPUT_OWN:
        websocket._details.bridge.write(new FastBuffer(this.extras[this.nextExtra++], 0, b));
        break;
      case OUTPUT_END:
        websocket._details.bridge.end();
        break;
      case INPUT:
        websocket._socket?.emit('data', this.view(a, b));
        break;
      case INPUT_OWN:
        websocket._socket?.emit('data', new FastBuffer(this.extras[this.nextExtra++], 0, b));
        break;
      case INPUT_WANTED:
        websocket._details.bridge.resume();
        break;
      default:
    }
  }

  /**
   * Puts an event off until the loop has turned, for `allowSynchronousEvents: false`.
   *
   * @returns {boolean} Whether there is nothing to do now
   */
  stagger(websocket, kind, flags, a, b) {
    const { context } = this;
    const isEvent = kind === PING || kind === PONG;
    // What ends a connection waits behind the events in front of it.
    const isEnd = kind === PEER_CLOSE || kind === ERROR || kind === GONE;
    if (!isEvent && !(isEnd && isStaggering(websocket))) return false;
    if (isEvent) {
      const name = kind === PING ? 'ping' : 'pong';
      if (!mayEmit(websocket, name)) return true;
      const payload = this.view(a, b);
      stagger(websocket, context, () => {
        if (mayEmit(websocket, name)) websocket.emit(name, payload);
      });
      return true;
    }
    if (kind === PEER_CLOSE) {
      const reason = this.view(a, b);
      stagger(websocket, context, () => onPeerClose(websocket, flags, reason), true);
    } else if (kind === ERROR) {
      const error = failureOf(websocket._id, context._cause);
      stagger(websocket, context, () => onFailed(websocket, flags, error), true);
    } else {
      tellSocket(websocket);
      const bridge = detach(websocket, a);
      stagger(websocket, context, () => leave(websocket, bridge), true);
    }
    return true;
  }

  /** Delivers a connection that a listener has accepted, in front of its request. */
  deliverAccepted(at) {
    const { records } = this;
    const id = records[at + 1];
    const listener = table[records[at + 2]];
    records[CURSOR]++;
    if (records[MUTED] !== 0 || listener === undefined) return;
    const socket = new Socket(id);
    table[id] = socket;
    new listener._scope().runInAsyncScope(listener.emit, listener, 'connection', socket);
  }

  /** Delivers why a connection of a listener does not come about, to a method of the listener. */
  deliverText(at, method) {
    const { records } = this;
    const listener = table[records[at + 1]];
    const flags = records[at] >>> 8;
    const text = this.text(records[at + 2], records[at + 3]);
    records[CURSOR]++;
    if (records[MUTED] !== 0 || listener === undefined) return;
    new listener._scope().runInAsyncScope(listener[method], listener, text, flags);
  }

  /** Delivers a request that is none for a WebSocket. */
  deliverHttp(at) {
    const { records } = this;
    const id = records[at + 1];
    const listener = table[records[at + 2]];
    records[CURSOR]++;
    if (records[MUTED] !== 0 || listener === undefined) return;
    new listener._scope().runInAsyncScope(listener._leaveToHttp, listener, id);
  }

  /** Delivers a request that a server has to decide on. */
  deliverUpgrade(id) {
    const { records } = this;
    const at = HEADER + RECORD * records[CURSOR]++;
    if (records[MUTED] !== 0) return;
    const listener = table[records[at] >>> 11];
    if (listener === undefined) return;
    // There is a Socket already if somebody listens to connections.
    const source = table[id] ?? id;
    const request = UpgradeMessage.create(this.text(records[at + 2], records[at + 3]), source);
    table[id] = request;
    const flags = (records[at] >>> 8) & 7;
    new listener._scope().runInAsyncScope(listener._decide, listener, request, id, flags);
  }

  /** Passes a record of a connection that JavaScript has no WebSocket for. */
  skip(id, kind, owner) {
    this.records[CURSOR]++;
    if (kind === MESSAGE_OWN || kind === OUTPUT_OWN || kind === INPUT_OWN) this.nextExtra++;
    if (kind === GONE && owner !== undefined) {
      table[id] = undefined;
      if (owner instanceof Lent) owner.conclude();
      else UpgradeMessage.conclude(owner);
    }
  }

  /** Delivers a record of a server or of the context itself, or about one of them. */
  deliverToOwner(at, kind) {
    const { context, records } = this;
    const id = records[at + 1];
    const a = records[at + 2];
    records[CURSOR]++;
    if (kind === BREACH) {
      reportBreach(context, records[at] >>> 8, table[id], table[a]);
      return;
    }
    if (kind === LISTENING || kind === SERVER_ERROR || kind === SERVER_CLOSED) {
      const listener = table[id];
      if (listener !== undefined) {
        if (kind === SERVER_CLOSED) flushConnections(context, listener);
        listener._report(kind);
      }
      return;
    }
    context._run(reportToContext, undefined, context, kind, a);
    // It was the last record. The native half does not look behind it.
    if (kind === DESTROYED) spare = records;
  }

  /** Returns the bytes at a place of the current slab, without a copy. */
  view(offset, length) {
    return length === 0 ? EMPTY_BUFFER : new FastBuffer(this.slab, offset, length);
  }

  /** Returns the text of a head in the current slab. */
  text(offset, length) {
    return this.view(offset, length).latin1Slice(0, length);
  }
}

/** Tells whether somebody may see an event: there are listeners, or `emit` is not the usual one. */
function mayEmit(websocket, name) {
  if ((websocket._flags & TERMINATED) !== 0) return false;
  return websocket._events[name] !== undefined || websocket.emit !== emit;
}

/** Emits a message: `length` bytes at `offset` of `block`. */
function deliverMessage(websocket, context, block, offset, length, isBinary) {
  if (websocket._events.message === undefined && websocket.emit === emit) return;
  if ((websocket._flags & (TERMINATED | STAGGERED)) !== 0) {
    if ((websocket._flags & TERMINATED) !== 0) return;
    const payload = length === 0 ? EMPTY_BUFFER : new FastBuffer(block, offset, length);
    stagger(websocket, context, () => emitLater(websocket, payload, isBinary));
    return;
  }
  const buffer = length === 0 ? EMPTY_BUFFER : new FastBuffer(block, offset, length);
  if (isBinary && (websocket._flags & BINARY_TYPE_BITS) !== 0) {
    emitMessage(websocket, convert(buffer, websocket._flags & BINARY_TYPE_BITS), true);
  } else {
    emitMessage(websocket, buffer, isBinary);
  }
}

/** Emits 'message': as emit() does, without its detours where there is one listener. */
function emitMessage(websocket, data, isBinary) {
  const listener = websocket._events.message;
  const isPlain = typeof listener === 'function' && websocket.emit === emit;
  if (isPlain && !EventEmitter.captureRejections) listener.call(websocket, data, isBinary);
  else websocket.emit('message', data, isBinary);
}

/** Emits a message that had to wait for its turn. */
function emitLater(websocket, buffer, isBinary) {
  if ((websocket._flags & TERMINATED) !== 0) return;
  const type = websocket._flags & BINARY_TYPE_BITS;
  websocket.emit('message', isBinary && type !== 0 ? convert(buffer, type) : buffer, isBinary);
}

/** Converts a binary message to what `binaryType` asks for. */
function convert(buffer, type) {
  switch (BINARY_TYPES[type]) {
    case 'arraybuffer': {
      const { buffer: block, byteOffset, byteLength } = buffer;
      const isWhole = byteLength > 0 && byteLength === block.byteLength;
      return isWhole ? block : block.slice(byteOffset, byteOffset + byteLength);
    }
    case 'fragments':
      return [buffer];
    default:
      return new Blob([buffer]);
  }
}

/** Lets the connections of a listener that has closed end first. */
function flushConnections(context, listener) {
  for (const staggered of [...context._staggered]) {
    if (listener.isOf(staggered.server)) staggered.flush();
  }
}

/** Counts the breach of a limit by a connection, or at a listener. */
function reportBreach(context, limit, target, listener) {
  const websocket = target instanceof Emitter ? target : null;
  breached(NAMES[limit], context, websocket?._server ?? listener?.server ?? null, websocket);
}

function reportToContext(context, kind, a) {
  switch (kind) {
    case WAIT_CANCELLED:
      // One that had to wait until the context was destroyed is nobody's any more.
      if (!context.state.startsWith('destroy')) context.emit('waitCancelled');
      break;
    case STATE:
      context._entered(a);
      break;
    case DESTROYED:
      context._conclude();
      break;
    default:
  }
}

module.exports = Delivery;
