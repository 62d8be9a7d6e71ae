// Frames of RFC 6455 section 5.2 in plain JavaScript: written for tests, so that it can also make
// each mistake that a peer can make.

const zlib = require('node:zlib');

const CONTINUATION = 0;
const TEXT = 1;
const BINARY = 2;
const CLOSE = 8;
const PING = 9;
const PONG = 10;

/**
 * One frame. Everything that is left out is as the standard wants it.
 *
 * @param {number} opcode
 * @param {Buffer | string} [payload]
 * @param {object} [options]
 * @param {boolean} [options.fin]
 * @param {boolean} [options.mask] clients mask, servers do not
 * @param {number} [options.rsv] the three reserved bits: 4 is RSV1, 1 is RSV3
 * @param {number | bigint} [options.length] the length that the header announces
 * @param {7 | 16 | 64} [options.lengthBits] the size of the length field
 */
function frame(opcode, payload = '', options = {}) {
  const bytes = Buffer.from(payload);
  const { fin = true, mask = true, rsv = 0, length = bytes.length } = options;
  const { lengthBits = length < 126 ? 7 : length < 65536 ? 16 : 64 } = options;
  const first = (fin ? 0x80 : 0) | (rsv << 4) | opcode;
  const maskBit = mask ? 0x80 : 0;
  let head;
  if (lengthBits === 7) {
    head = Buffer.from([first, maskBit | Number(length)]);
  } else if (lengthBits === 16) {
    head = Buffer.from([first, maskBit | 126, 0, 0]);
    head.writeUInt16BE(Number(length), 2);
  } else {
    head = Buffer.alloc(10);
    head[0] = first;
    head[1] = maskBit | 127;
    head.writeBigUInt64BE(BigInt(length), 2);
  }
  if (!mask) return Buffer.concat([head, bytes]);
  const key = Buffer.from([0x12, 0x34, 0x56, 0x78]);
  return Buffer.concat([head, key, Buffer.from(bytes.map((byte, index) => byte ^ key[index & 3]))]);
}

/** What stands at the end of a message that was compressed, and is left out (RFC 7692 section 7.2.1). */
const TAIL = Buffer.from([0, 0, 0xff, 0xff]);

/** The payload of a message that is compressed. */
function deflated(payload) {
  const flush = { finishFlush: zlib.constants.Z_SYNC_FLUSH };
  return zlib.deflateRawSync(payload, flush).subarray(0, -TAIL.length);
}

/** A message in one frame, compressed (RFC 7692). */
function compressed(payload, opcode = BINARY) {
  return frame(opcode, deflated(payload), { rsv: 4 });
}

/** A Close frame; without a code its payload is empty. */
function closeFrame(code, reason = '', options) {
  if (code === undefined) return frame(CLOSE, '', options);
  const payload = Buffer.alloc(2 + Buffer.byteLength(reason));
  payload.writeUInt16BE(code);
  payload.write(reason, 2);
  return frame(CLOSE, payload, options);
}

/** Cuts a stream of bytes into frames. */
class FrameReader {
  /** What has arrived, in pieces: joining them each time would take as long as copying all again. */
  #pieces = [];
  #length = 0;
  /** Bytes without which there is no whole frame. */
  #due = 2;

  constructor() {
    this.buffered = Buffer.alloc(0);
  }

  /** Takes bytes and returns the frames that are whole now. */
  push(bytes) {
    this.#pieces.push(bytes);
    this.#length += bytes.length;
    if (this.buffered.length + this.#length < this.#due) return [];
    this.buffered = Buffer.concat([this.buffered, ...this.#pieces.splice(0)]);
    this.#length = 0;
    this.#due = 2;
    const frames = [];
    for (;;) {
      const next = this.#next();
      if (next === null) return frames;
      frames.push(next);
    }
  }

  #next() {
    const { buffered } = this;
    if (buffered.length < 2) return null;
    const isMasked = (buffered[1] & 0x80) !== 0;
    let length = buffered[1] & 0x7f;
    let offset = 2;
    if (length === 126) {
      if (buffered.length < 4) return null;
      length = buffered.readUInt16BE(2);
      offset = 4;
    } else if (length === 127) {
      if (buffered.length < 10) return null;
      length = Number(buffered.readBigUInt64BE(2));
      offset = 10;
    }
    const start = offset + (isMasked ? 4 : 0);
    if (buffered.length < start + length) {
      this.#due = start + length;
      return null;
    }
    const payload = Buffer.from(buffered.subarray(start, start + length));
    if (isMasked) {
      for (let i = 0; i < length; i++) payload[i] ^= buffered[offset + (i & 3)];
    }
    this.buffered = buffered.subarray(start + length);
    return {
      fin: (buffered[0] & 0x80) !== 0,
      rsv: (buffered[0] >> 4) & 7,
      opcode: buffered[0] & 15,
      isMasked,
      payload,
    };
  }
}

/** What a Close frame says: its code (1005 without one) and reason. */
function closeOf({ payload }) {
  if (payload.length === 0) return { code: 1005, reason: '' };
  return { code: payload.readUInt16BE(0), reason: payload.toString('utf8', 2) };
}

module.exports = {
  BINARY,
  CLOSE,
  CONTINUATION,
  FrameReader,
  PING,
  PONG,
  TAIL,
  TEXT,
  closeFrame,
  closeOf,
  compressed,
  deflated,
  frame,
};
