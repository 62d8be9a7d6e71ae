'use strict';

const { isUtf8 } = require('node:buffer');
const { Writable } = require('node:stream');

const PerMessageDeflate = require('./permessage-deflate');
const { isValidStatusCode } = require('./validation');
const { EMPTY_BUFFER, kStatusCode } = require('./constants');

// What is read next.
const HEADER = 0;
const LENGTH_16 = 1;
const LENGTH_64 = 2;
const KEY = 3;
const PAYLOAD = 4;

const OPCODE_CONTINUATION = 0;
const OPCODE_TEXT = 1;
const OPCODE_BINARY = 2;
const OPCODE_CLOSE = 8;
const OPCODE_PING = 9;
const OPCODE_PONG = 10;

/** Largest payload of a control frame (RFC 6455 section 5.5). */
const MAX_CONTROL_PAYLOAD = 125;

const NO_STATUS_RECEIVED = 1005;

/** Makes an error with a stable code and the status code of the Close frame that it calls for. */
function failure(Class, message, statusCode, code) {
  return Object.assign(new Class(message), { code, [kStatusCode]: statusCode });
}

function invalid(message, code, Class = RangeError, statusCode = 1002) {
  return failure(Class, `Invalid WebSocket frame: ${message}`, statusCode, code);
}

/**
 * Reads frames that are written to it and emits 'message' (data, isBinary), 'ping' (data), 'pong'
 * (data), 'conclude' (code, reason) for a Close frame, and 'error'. For code that uses this class
 * of ws by itself. Connections do not: they read natively.
 *
 * @extends Writable
 */
class Receiver extends Writable {
  #options;
  #deflate;

  #chunks = [];
  #buffered = 0;
  #callback = null;
  #isWaiting = false;
  #isConcluded = false;

  // The current frame.
  #state = HEADER;
  #fin = false;
  #opcode = 0;
  #isMasked = false;
  #length = 0;
  #key = EMPTY_BUFFER;

  // The current message.
  #messageOpcode = 0;
  #isCompressed = false;
  #fragmentCount = 0;
  #fragments = [];
  /** Bytes of the message after decompression. */
  #messageLength = 0;

  /**
   * @param {object} [options]
   * @param {boolean} [options.allowSynchronousEvents=true] Whether several events may be emitted in
   *   one turn of the loop
   * @param {string} [options.binaryType='nodebuffer'] What binary messages are delivered as
   * @param {object} [options.extensions] The extensions agreed on
   * @param {boolean} [options.isServer=false] The role
   * @param {number} [options.maxBufferedChunks=0] Most chunks that wait for a frame's end
   * @param {number} [options.maxFragments=0] Most fragments of a message
   * @param {number} [options.maxPayload=0] Largest message in bytes; 0 for no limit
   * @param {boolean} [options.skipUTF8Validation=false] Whether text is not checked
   */
  constructor(options = {}) {
    super();
    this.#options = {
      allowSynchronousEvents: options.allowSynchronousEvents ?? true,
      isServer: Boolean(options.isServer),
      maxBufferedChunks: options.maxBufferedChunks | 0,
      maxFragments: options.maxFragments | 0,
      maxPayload: options.maxPayload | 0,
      skipUTF8Validation: Boolean(options.skipUTF8Validation),
    };
    /** Bytes of the message on the wire. */
    this._totalPayloadLength = 0;
    this._binaryType = options.binaryType || 'nodebuffer';
    this.#deflate = options.extensions?.[PerMessageDeflate.extensionName];
  }

  _write(chunk, encoding, callback) {
    // Nothing counts behind a Close frame (RFC 6455 section 5.5.1).
    if (this.#isConcluded) {
      callback();
      return;
    }
    const { maxBufferedChunks } = this.#options;
    if (maxBufferedChunks > 0 && this.#chunks.length >= maxBufferedChunks) {
      const code = 'WS_ERR_TOO_MANY_BUFFERED_PARTS';
      callback(failure(RangeError, 'Too many buffered chunks', 1008, code));
      return;
    }
    this.#chunks.push(chunk);
    this.#buffered += chunk.length;
    this.#callback = callback;
    this.#proceed();
  }

  /** Reads as much as there is; ends the current write, or waits for an event's turn. */
  #proceed() {
    let error = null;
    while (error === null && !this.#isWaiting && !this.#isConcluded) {
      const size = this.#wanted();
      if (this.#buffered < size) break;
      error = this.#step(size) ?? null;
    }
    if (!this.#isWaiting) this.#finish(error);
  }

  #finish(error) {
    const callback = this.#callback;
    this.#callback = null;
    if (error !== null) callback(error);
    else if (callback !== null) callback();
  }

  /** How many bytes the next step takes. */
  #wanted() {
    switch (this.#state) {
      case LENGTH_64:
        return 8;
      case KEY:
        return 4;
      case PAYLOAD:
        return this.#length;
      default:
        return 2;
    }
  }

  /** Takes `size` bytes and returns the error that they are, if so. */
  #step(size) {
    const bytes = size === 0 ? EMPTY_BUFFER : this.#take(size);
    switch (this.#state) {
      case HEADER:
        return this.#readHeader(bytes[0], bytes[1]);
      case LENGTH_16:
        this.#length = bytes.readUInt16BE(0);
        return this.#checkLength();
      case LENGTH_64: {
        const length = bytes.readBigUInt64BE(0);
        if (length > Number.MAX_SAFE_INTEGER) {
          return failure(
            RangeError,
            'Unsupported WebSocket frame: payload length > 2^53 - 1',
            1009,
            'WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH',
          );
        }
        this.#length = Number(length);
        return this.#checkLength();
      }
      case KEY:
        this.#key = bytes;
        this.#state = PAYLOAD;
        return undefined;
      default:
        return this.#readPayload(bytes);
    }
  }

  /** Takes bytes out of the chunks, without a copy if they are in one. */
  #take(size) {
    this.#buffered -= size;
    const [first] = this.#chunks;
    if (first.length === size) return this.#chunks.shift();
    if (first.length > size) {
      this.#chunks[0] = first.subarray(size);
      return first.subarray(0, size);
    }
    const target = Buffer.allocUnsafe(size);
    let filled = 0;
    while (filled < size) {
      const chunk = this.#chunks[0];
      const taken = chunk.subarray(0, size - filled);
      target.set(taken, filled);
      filled += taken.length;
      if (taken.length === chunk.length) this.#chunks.shift();
      else this.#chunks[0] = chunk.subarray(taken.length);
    }
    return target;
  }

  #readHeader(first, second) {
    if ((first & 0x30) !== 0) {
      return invalid('RSV2 and RSV3 must be clear', 'WS_ERR_UNEXPECTED_RSV_2_3');
    }
    const fin = (first & 0x80) !== 0;
    const rsv1 = (first & 0x40) !== 0;
    const opcode = first & 0x0f;
    const length = second & 0x7f;
    const isData = opcode === OPCODE_TEXT || opcode === OPCODE_BINARY;
    if (rsv1 && (!this.#deflate || !isData)) {
      return invalid('RSV1 must be clear', 'WS_ERR_UNEXPECTED_RSV_1');
    }
    if (opcode === OPCODE_CLOSE || opcode === OPCODE_PING || opcode === OPCODE_PONG) {
      if (!fin) return invalid('FIN must be set', 'WS_ERR_EXPECTED_FIN');
      if (length > MAX_CONTROL_PAYLOAD || (opcode === OPCODE_CLOSE && length === 1)) {
        const code = 'WS_ERR_INVALID_CONTROL_PAYLOAD_LENGTH';
        return invalid(`invalid payload length ${length}`, code);
      }
    } else {
      // A message is open if its first frame has come and its last one has not.
      const isExpected = this.#messageOpcode === 0 ? isData : opcode === OPCODE_CONTINUATION;
      if (!isExpected) return invalid(`invalid opcode ${opcode}`, 'WS_ERR_INVALID_OPCODE');
      if (isData) {
        this.#messageOpcode = opcode;
        this.#isCompressed = rsv1;
      }
    }
    this.#isMasked = (second & 0x80) !== 0;
    if (this.#isMasked !== this.#options.isServer) {
      return this.#isMasked
        ? invalid('MASK must be clear', 'WS_ERR_UNEXPECTED_MASK')
        : invalid('MASK must be set', 'WS_ERR_EXPECTED_MASK');
    }
    this.#fin = fin;
    this.#opcode = opcode;
    this.#length = length;
    if (length === 126) this.#state = LENGTH_16;
    else if (length === 127) this.#state = LENGTH_64;
    else return this.#checkLength();
    return undefined;
  }

  #tooLarge(length) {
    const { maxPayload } = this.#options;
    if (maxPayload < 1 || length <= maxPayload) return undefined;
    const code = 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH';
    return failure(RangeError, 'Max payload size exceeded', 1009, code);
  }

  #checkLength() {
    this.#state = this.#isMasked ? KEY : PAYLOAD;
    if (this.#opcode >= OPCODE_CLOSE) return undefined;
    this._totalPayloadLength += this.#length;
    return this.#length === 0 ? undefined : this.#tooLarge(this._totalPayloadLength);
  }

  #readPayload(bytes) {
    if (this.#isMasked) {
      const key = this.#key;
      for (let i = 0; i < bytes.length; i++) bytes[i] ^= key[i & 3];
    }
    this.#state = HEADER;
    if (this.#opcode === OPCODE_CLOSE) return this.#conclude(bytes);
    if (this.#opcode > OPCODE_CLOSE) {
      this.#emit(this.#opcode === OPCODE_PING ? 'ping' : 'pong', bytes);
      return undefined;
    }
    const { maxFragments } = this.#options;
    this.#fragmentCount++;
    if (maxFragments > 0 && this.#fragmentCount > maxFragments) {
      const code = 'WS_ERR_TOO_MANY_BUFFERED_PARTS';
      return failure(RangeError, 'Too many message fragments', 1008, code);
    }
    if (this.#isCompressed) {
      this.#decompress(bytes);
      return undefined;
    }
    return this.#addFragment(bytes);
  }

  #decompress(bytes) {
    this.#isWaiting = true;
    this.#deflate.decompress(bytes, this.#fin, (error, fragment) => {
      this.#isWaiting = false;
      const failed = error ?? this.#addFragment(fragment);
      if (failed) this.#finish(failed);
      else if (!this.#isWaiting) this.#proceed();
    });
  }

  #addFragment(fragment) {
    this.#messageLength += fragment.length;
    if (fragment.length > 0) {
      const error = this.#tooLarge(this.#messageLength);
      if (error !== undefined) return error;
      this.#fragments.push(fragment);
    }
    return this.#fin ? this.#endMessage() : undefined;
  }

  #endMessage() {
    const fragments = this.#fragments;
    const isBinary = this.#messageOpcode === OPCODE_BINARY;
    const length = this.#messageLength;
    this.#fragments = [];
    this.#fragmentCount = this._totalPayloadLength = this.#messageLength = this.#messageOpcode = 0;
    if (isBinary) {
      this.#emit('message', this.#convert(fragments, length), true);
      return undefined;
    }
    const text = join(fragments, length);
    if (!this.#isValidText(text)) return invalidText();
    this.#emit('message', text, false);
    return undefined;
  }

  #isValidText(bytes) {
    return this.#options.skipUTF8Validation || isUtf8(bytes);
  }

  #convert(fragments, length) {
    switch (this._binaryType) {
      case 'fragments':
        return fragments;
      case 'blob':
        return new Blob(fragments);
      case 'arraybuffer': {
        const { buffer, byteOffset, byteLength } = join(fragments, length);
        const isWhole = byteLength === buffer.byteLength;
        return isWhole ? buffer : buffer.slice(byteOffset, byteOffset + byteLength);
      }
      default:
        return join(fragments, length);
    }
  }

  #conclude(bytes) {
    let code = NO_STATUS_RECEIVED;
    let reason = EMPTY_BUFFER;
    if (bytes.length > 0) {
      code = bytes.readUInt16BE(0);
      if (!isValidStatusCode(code)) {
        return invalid(`invalid status code ${code}`, 'WS_ERR_INVALID_CLOSE_CODE');
      }
      reason = bytes.subarray(2);
      if (!this.#isValidText(reason)) return invalidText();
    }
    this.#isConcluded = true;
    this.emit('conclude', code, reason);
    this.end();
    return undefined;
  }

  /** Emits an event, in a turn of its own if that is asked for. */
  #emit(...event) {
    if (this.#options.allowSynchronousEvents) {
      this.emit(...event);
      return;
    }
    this.#isWaiting = true;
    setImmediate(() => {
      this.emit(...event);
      this.#isWaiting = false;
      this.#proceed();
    });
  }
}

function invalidText() {
  return invalid('invalid UTF-8 sequence', 'WS_ERR_INVALID_UTF8', Error, 1007);
}

function join(fragments, length) {
  if (fragments.length === 1) return fragments[0];
  return length === 0 ? EMPTY_BUFFER : Buffer.concat(fragments, length);
}

module.exports = Receiver;
