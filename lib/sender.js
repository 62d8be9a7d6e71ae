'use strict';

const PerMessageDeflate = require('./permessage-deflate');
const { checkClose, isBlob } = require('./validation');
const { EMPTY_BUFFER } = require('./constants');

const OPCODE_CONTINUATION = 0;
const OPCODE_TEXT = 1;
const OPCODE_BINARY = 2;
const OPCODE_CLOSE = 8;
const OPCODE_PING = 9;
const OPCODE_PONG = 10;

/** Largest payload of a control frame (RFC 6455 section 5.5). */
const MAX_CONTROL_PAYLOAD = 125;

/** Random bytes for masking keys: asking for many at a time is cheaper. */
const POOL_SIZE = 8 * 1024;
let pool;
let pooled = 0;

/** On options of frame(): how many bytes a string has, which may then stay one. */
const kByteLength = Symbol('byte-length');

function randomKey() {
  if (pooled === 0) {
    pool ??= Buffer.allocUnsafeSlow(POOL_SIZE);
    // Loaded here because it takes long, and servers do not mask.
    require('node:crypto').randomFillSync(pool);
    pooled = POOL_SIZE;
  }
  pooled -= 4;
  return pool.subarray(pooled, pooled + 4);
}

/** Combines `source` with the key into `target`, which may be the same. */
function applyMask(source, key, target) {
  for (let i = 0; i < source.length; i++) target[i] = source[i] ^ key[i & 3];
}

/** Returns data as a Buffer, and whether its bytes are somebody else's. */
function toBuffer(data) {
  if (Buffer.isBuffer(data)) return { buffer: data, readOnly: true };
  if (data instanceof ArrayBuffer) return { buffer: Buffer.from(data), readOnly: true };
  if (ArrayBuffer.isView(data)) {
    const buffer = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
    return { buffer, readOnly: true };
  }
  return { buffer: Buffer.from(data), readOnly: false };
}

function sizeOf(data) {
  if (typeof data === 'string') return Buffer.byteLength(data);
  return isBlob(data) ? data.size : data.length;
}

/**
 * Frames messages and writes them to a stream, for code that uses this class of ws by itself.
 * Connections do not: they frame natively.
 */
class Sender {
  /** What waits for a Blob or for zlib in front of it, in order. */
  #jobs = [];
  #isBusy = false;
  #isFirstFragment = true;
  /** Whether the current message is compressed. */
  #compresses = false;
  #generateMask;

  /**
   * @param {import('node:stream').Duplex} socket Where frames are written
   * @param {object} [extensions] The extensions agreed on
   * @param {(mask: Buffer) => void} [generateMask] Fills the four bytes of a masking key
   */
  constructor(socket, extensions, generateMask) {
    this._socket = socket;
    this._extensions = extensions || {};
    this._bufferedBytes = 0;
    this.#generateMask = generateMask;
    /** Called when a Blob cannot be read. */
    this.onerror = () => {};
  }

  /**
   * Makes a frame (RFC 6455 section 5.2).
   *
   * @param {Buffer | string} data The payload
   * @param {object} options
   * @param {boolean} [options.fin=false] The FIN bit
   * @param {(mask: Buffer) => void} [options.generateMask] Fills the masking key
   * @param {boolean} [options.mask=false] Whether to mask the payload
   * @param {Buffer} [options.maskBuffer] Where the masking key is put
   * @param {number} options.opcode The opcode
   * @param {boolean} [options.readOnly=false] Whether the bytes of `data` must stay as they are
   * @param {boolean} [options.rsv1=false] The RSV1 bit
   * @returns {(Buffer | string)[]} What to write: the header and the payload, or both as one
   */
  static frame(data, options) {
    let key = null;
    if (options.mask) {
      key = options.maskBuffer ?? Buffer.allocUnsafe(4);
      if (options.generateMask) options.generateMask(key);
      else randomKey().copy(key);
    }
    const isPlain = key === null || key.readUInt32LE(0) === 0;
    const staysText = isPlain && typeof data === 'string' && options[kByteLength] !== undefined;
    const payload = typeof data === 'string' && !staysText ? Buffer.from(data) : data;
    const length = staysText ? options[kByteLength] : payload.length;

    const keyLength = key === null ? 0 : 4;
    const lengthBytes = length < 126 ? 0 : length < 65_536 ? 2 : 8;
    const headerLength = 2 + lengthBytes + keyLength;
    const isMerged = !isPlain && Boolean(options.readOnly);
    const target = Buffer.allocUnsafe(isMerged ? headerLength + length : headerLength);
    target[0] = options.opcode | (options.fin ? 0x80 : 0) | (options.rsv1 ? 0x40 : 0);
    target[1] = lengthBytes === 0 ? length : lengthBytes === 2 ? 126 : 127;
    if (lengthBytes === 2) {
      target.writeUInt16BE(length, 2);
    } else if (lengthBytes === 8) {
      target.writeUInt16BE(0, 2);
      target.writeUIntBE(length, 4, 6);
    }
    if (key !== null) {
      target[1] |= 0x80;
      key.copy(target, headerLength - 4);
    }
    if (isMerged) {
      applyMask(payload, key, target.subarray(headerLength));
      return [target];
    }
    if (!isPlain) applyMask(payload, key, payload);
    return [target, payload];
  }

  /**
   * Sends a Close frame.
   *
   * @param {number} [code] The status code
   * @param {string | Uint8Array} [reason] The reason
   * @param {boolean} [mask] Whether to mask
   * @param {Function} [callback] Called when it is written
   */
  close(code, reason, mask, callback) {
    let payload = EMPTY_BUFFER;
    if (code !== undefined) {
      checkClose(code, reason);
      const bytes = Buffer.from(reason ?? '');
      payload = Buffer.allocUnsafe(2 + bytes.length);
      payload.writeUInt16BE(code, 0);
      bytes.copy(payload, 2);
    }
    this.#add(payload, false, this.#control(OPCODE_CLOSE, mask, false), callback);
  }

  /**
   * Sends a PING frame.
   *
   * @param {*} data At most 125 bytes
   * @param {boolean} [mask] Whether to mask
   * @param {Function} [callback] Called when it is written
   */
  ping(data, mask, callback) {
    this.#sendControl(OPCODE_PING, data, mask, callback);
  }

  /** Sends a PONG frame; arguments as in ping(). */
  pong(data, mask, callback) {
    this.#sendControl(OPCODE_PONG, data, mask, callback);
  }

  /**
   * Sends a message or a fragment.
   *
   * @param {*} data The payload
   * @param {object} options
   * @param {boolean} [options.binary=false] Whether it is binary
   * @param {boolean} [options.compress=false] Whether to compress it
   * @param {boolean} [options.fin=false] Whether it is the last fragment
   * @param {boolean} [options.mask=false] Whether to mask it
   * @param {Function} [callback] Called when it is written
   */
  send(data, options, callback) {
    const { payload, readOnly } = prepare(data);
    let opcode = options.binary ? OPCODE_BINARY : OPCODE_TEXT;
    let rsv1 = false;
    if (this.#isFirstFragment) {
      this.#compresses = Boolean(options.compress) && this.#isWorthwhile(sizeOf(payload));
      rsv1 = this.#compresses;
    } else {
      opcode = OPCODE_CONTINUATION;
    }
    this.#isFirstFragment = Boolean(options.fin);
    const { fin, mask } = options;
    const frame = { fin, generateMask: this.#generateMask, mask, opcode, readOnly, rsv1 };
    this.#add(payload, this.#compresses, frame, callback);
  }

  /**
   * Writes a frame.
   *
   * @param {(Buffer | string)[]} list What frame() returned
   * @param {Function} [callback] Called when it is written
   */
  sendFrame(list, callback) {
    const { _socket: socket } = this;
    if (list.length === 1) {
      socket.write(list[0], callback);
      return;
    }
    socket.cork();
    socket.write(list[0]);
    socket.write(list[1], callback);
    socket.uncork();
  }

  get #deflate() {
    return this._extensions[PerMessageDeflate.extensionName];
  }

  /** Tells whether a message of `size` bytes is to be compressed. */
  #isWorthwhile(size) {
    const deflate = this.#deflate;
    if (deflate === undefined) return true;
    const role = deflate._isServer ? 'server' : 'client';
    // With a window even small messages gain from those before them.
    return !deflate.params[`${role}_no_context_takeover`] || size >= deflate._threshold;
  }

  #control(opcode, mask, readOnly) {
    return { fin: true, generateMask: this.#generateMask, mask, opcode, readOnly, rsv1: false };
  }

  #sendControl(opcode, data, mask, callback) {
    const { payload, readOnly } = prepare(data);
    if (sizeOf(payload) > MAX_CONTROL_PAYLOAD) {
      throw new RangeError('The data size must not be greater than 125 bytes');
    }
    this.#add(payload, false, this.#control(opcode, mask, readOnly), callback);
  }

  #add(payload, compress, frame, callback) {
    const size = sizeOf(payload);
    this.#jobs.push({ payload, compress, frame, size, callback });
    this._bufferedBytes += size;
    if (!this.#isBusy) this.#proceed();
  }

  /** Works on the first job, and on those behind it as long as none takes time. */
  #proceed() {
    while (this.#jobs.length > 0) {
      const [job] = this.#jobs;
      if (isBlob(job.payload)) {
        this.#isBusy = true;
        job.payload.arrayBuffer().then(
          (bytes) => this.#resume(() => this.#read(job, bytes)),
          (error) => this.#resume(() => this.#fail(error, true)),
        );
        return;
      }
      if (job.compress) {
        this.#isBusy = true;
        this.#deflate.compress(job.payload, job.frame.fin, (error, bytes) => {
          this.#compressed(job, error, bytes);
        });
        return;
      }
      this.#jobs.shift();
      this._bufferedBytes -= job.size;
      if (typeof job.payload === 'string') job.frame[kByteLength] = job.size;
      this.sendFrame(Sender.frame(job.payload, job.frame), job.callback);
    }
  }

  /** Goes on outside of promises: what a callback throws is not to become a rejection. */
  #resume(action) {
    process.nextTick(() => {
      this.#isBusy = false;
      action();
    });
  }

  #read(job, bytes) {
    if (this._socket.destroyed) {
      this.#fail(new Error('The socket was closed while the blob was being read'), false);
      return;
    }
    job.payload = Buffer.from(bytes);
    this.#proceed();
  }

  #compressed(job, error, bytes) {
    this.#isBusy = false;
    if (error || this._socket.destroyed) {
      this.#fail(new Error('The socket was closed while data was being compressed'), false);
      return;
    }
    job.payload = bytes;
    job.compress = false;
    job.frame.readOnly = false;
    this.#proceed();
  }

  /** Gives up what waits, and tells the callbacks why. */
  #fail(error, isReported) {
    for (const { callback } of this.#jobs.splice(0)) {
      if (typeof callback === 'function') callback(error);
    }
    if (isReported) this.onerror(error);
  }
}

function prepare(data) {
  if (typeof data === 'string' || isBlob(data)) return { payload: data, readOnly: false };
  const { buffer, readOnly } = toBuffer(data);
  return { payload: buffer, readOnly };
}

module.exports = Sender;
