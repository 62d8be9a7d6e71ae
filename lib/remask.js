'use strict';

/** Longest frame header behind which a masking key comes: RFC 6455 section 5.2. */
const LONGEST = 10;

/**
 * Returns a function that gives a client's frames other masking keys, for the `generateMask`
 * option. The native half makes its own keys; each frame's payload is masked with the combination
 * of the two. It takes the bytes of the frames in pieces, and changes them in place.
 *
 * @param {(mask: Buffer) => void} generateMask Fills the four bytes of a masking key
 * @returns {(bytes: Buffer) => Buffer} The function
 */
function remasker(generateMask) {
  const header = [];
  const difference = Buffer.alloc(4);
  let key = 0;
  let left = 0;
  let at = 0;

  /** Returns the payload's length, or -1 while the header is incomplete. */
  function lengthOf() {
    const short = header[1] & 0x7f;
    if (short < 126) return short;
    const size = short === 126 ? 4 : LONGEST;
    if (header.length < size) return -1;
    return header.slice(2, size).reduce((sum, byte) => sum * 256 + byte, 0);
  }

  return (bytes) => {
    for (let i = 0; i < bytes.length; i++) {
      if (key < 4 && left === 0 && header.length >= 2 && lengthOf() !== -1) {
        if (key === 0) {
          at = 0;
          difference.fill(0);
          generateMask(difference);
        }
        // The byte is one of the native key.
        const mine = difference[key];
        difference[key] ^= bytes[i];
        bytes[i] = mine;
        key++;
        if (key === 4) {
          left = lengthOf();
          header.length = 0;
          if (left === 0) key = 0;
        }
      } else if (left > 0) {
        bytes[i] ^= difference[at++ & 3];
        if (--left === 0) key = 0;
      } else {
        header.push(bytes[i]);
      }
    }
    return bytes;
  };
}

module.exports = { remasker };
