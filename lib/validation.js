'use strict';

const { inspect } = require('node:util');

const { EMPTY_BUFFER, MAX_COUNT, MAX_TIMEOUT } = require('./constants');

/** One or more tchar (RFC 9110 section 5.6.2). */
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

/** Whether each ASCII character is a tchar. */
const IS_TOKEN = Uint8Array.from({ length: 128 }, (_, code) =>
  Number(TOKEN.test(String.fromCharCode(code))),
);

/** Tells whether the character may be in a token. */
function isTokenCode(code) {
  return IS_TOKEN[code] === 1;
}

/** Tells whether `text` is a token: the name of a header, a subprotocol or an extension. */
function isToken(text) {
  return typeof text === 'string' && TOKEN.test(text);
}

/**
 * Tells whether a Close frame may carry `code`: 1000 to 1014 as far as they are defined for it
 * (RFC 6455 section 7.4.1 and its registry), and 3000 to 4999.
 */
function isValidStatusCode(code) {
  if (code >= 3000 && code <= 4999) return true;
  return code >= 1000 && code <= 1014 && code !== 1004 && code !== 1005 && code !== 1006;
}

/** Tells whether `value` is a Blob or a File, of whatever realm. */
function isBlob(value) {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return false;
  const tag = value[Symbol.toStringTag];
  return (
    (tag === 'Blob' || tag === 'File') &&
    typeof value.arrayBuffer === 'function' &&
    typeof value.stream === 'function' &&
    typeof value.type === 'string'
  );
}

function received(value) {
  return `received ${inspect(value, { depth: 0, breakLength: Infinity })}`;
}

/** Throws unless `value` is a plain options object. */
function checkObject(value, name) {
  if (typeof value !== 'object' || value === null) {
    throw new TypeError(`"${name}" must be an object, ${received(value)}`);
  }
}

/** Throws unless `value` is of `type`. */
function checkType(type, value, name) {
  if (typeof value !== type) {
    throw new TypeError(`"${name}" must be a ${type}, ${received(value)}`);
  }
}

/** Throws unless `value` is of `type`, or falsy: what ws takes as not given. */
function checkIfAny(type, value, name) {
  if (value) checkType(type, value, name);
}

/** Returns `value`, or `fallback` if it is undefined or null. Throws unless it is of `type`. */
function check(type, value, name, fallback) {
  if (value == null) return fallback;
  checkType(type, value, name);
  return value;
}

/**
 * Returns the number that a string says, as ws calculates with what comes from the environment of a
 * process; anything else as it is, and '', which ws takes for 0.
 */
function numberOf(value) {
  return typeof value === 'string' && value !== '' ? Number(value) : value;
}

/** Returns `value`, a Buffer or another Uint8Array. As in ws, '' and [] are empty ones. Throws otherwise. */
function checkBytes(value, name) {
  if (isUint8Array(value)) return value;
  if (value === '' || (Array.isArray(value) && value.length === 0)) return EMPTY_BUFFER;
  throw new TypeError(`"${name}" must be a Buffer, ${received(value)}`);
}

/** Throws unless `value` has events, as `what` has. */
function checkEmitter(what, value, name) {
  if (typeof value?.on !== 'function') {
    throw new TypeError(`"${name}" must be ${what}, ${received(value)}`);
  }
}

/** Returns a number from 0 to `max`. */
function checkNumber(value, name, fallback, max = Infinity) {
  const number = check('number', value, name, fallback);
  if (!(number >= 0 && number <= max)) {
    const range = max === Infinity ? '0 or more' : `from 0 to ${max}`;
    throw new RangeError(`"${name}" must be ${range}, ${received(value)}`);
  }
  return number;
}

/**
 * Returns a duration in whole milliseconds, at most MAX_TIMEOUT, which also stands for Infinity.
 */
function checkTimeout(value, name, fallback, min = 0) {
  const timeout = check('number', value, name, fallback);
  if (timeout === Infinity) return MAX_TIMEOUT;
  if (!(timeout >= min && timeout <= MAX_TIMEOUT)) {
    throw new RangeError(
      `"${name}" must be a number of milliseconds from ${min} to ${MAX_TIMEOUT}, or Infinity, ${received(value)}`,
    );
  }
  return Math.ceil(timeout);
}

/**
 * Returns a limit for the native half, where 0 means none. Infinity and, as in ws, 0 and negative
 * numbers mean none.
 */
function checkLimit(value, name, fallback) {
  const limit = check('number', numberOf(value), name, fallback);
  if (Number.isNaN(limit)) {
    throw new RangeError(
      `"${name}" must be a number of 0 or more, or Infinity, ${received(value)}`,
    );
  }
  return limit > 0 && limit <= Number.MAX_SAFE_INTEGER ? Math.floor(limit) : 0;
}

/**
 * Returns a count for the native half, where 0 means no limit, as Infinity does here. Unlike those of
 * ws, these limits are never coerced: 0 and less would let nothing in.
 */
function checkCount(value, name, fallback, max = MAX_COUNT) {
  const count = check('number', value, name, fallback);
  if (count === Infinity) return 0;
  if (!Number.isInteger(count) || count < 1 || count > max) {
    throw new RangeError(
      `"${name}" must be an integer from 1 to ${max}, or Infinity, ${received(value)}`,
    );
  }
  return count;
}

/** Throws unless `value` is an AbortSignal, of whatever realm, or undefined. */
function checkSignal(value, name) {
  if (value === undefined) return;
  const isSignal =
    typeof value === 'object' &&
    value !== null &&
    typeof value.aborted === 'boolean' &&
    typeof value.addEventListener === 'function';
  if (!isSignal) throw new TypeError(`"${name}" must be an AbortSignal, ${received(value)}`);
}

/**
 * Throws unless a Close frame may carry `code` and `reason`, with the messages of ws.
 *
 * @param {*} code The status code
 * @param {*} reason The reason: a string or a Uint8Array of at most 123 bytes
 */
function checkClose(code, reason) {
  if (typeof code !== 'number' || !isValidStatusCode(code) || !Number.isInteger(code)) {
    throw new TypeError('First argument must be a valid error code number');
  }
  if (reason === undefined || reason === '') return;
  if (typeof reason !== 'string' && !isUint8Array(reason)) {
    throw new TypeError('Second argument must be a string or a Uint8Array');
  }
  // A control frame's payload has at most 125 bytes (RFC 6455 section 5.5), two for the code.
  if (Buffer.byteLength(reason) > 123) {
    throw new RangeError('The message must not be greater than 123 bytes');
  }
}

/** Tells whether `value` is a Uint8Array or a Buffer, of whatever realm. */
function isUint8Array(value) {
  return ArrayBuffer.isView(value) && value[Symbol.toStringTag] === 'Uint8Array';
}

module.exports = {
  check,
  checkBytes,
  checkClose,
  checkCount,
  checkEmitter,
  checkIfAny,
  checkLimit,
  checkNumber,
  checkObject,
  checkSignal,
  checkTimeout,
  checkType,
  isBlob,
  isToken,
  isTokenCode,
  isUint8Array,
  isValidStatusCode,
  numberOf,
  received,
};
