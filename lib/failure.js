'use strict';

const native = require('./addon');

const CLASSES = { Error, RangeError, AggregateError };

/** Code of what the end of a context interrupts. */
const CONTEXT_CLOSED = 'ERR_UVWS_CONTEXT_CLOSED';

/** Makes an error of a native description. */
function describe(failure, cause) {
  const options = failure.code === CONTEXT_CLOSED && cause !== undefined ? { cause } : undefined;
  const Class = CLASSES[failure.name] ?? Error;
  const error =
    Class === AggregateError
      ? new AggregateError(
          failure.errors.map((each) => describe(each, cause)),
          failure.message,
          options,
        )
      : new Class(failure.message, options);
  const { errno, code, syscall, address, port } = failure;
  if (errno != null) error.errno = errno;
  if (code != null) error.code = code;
  if (syscall != null) error.syscall = syscall;
  // Node calls it `hostname` where a name could not be looked up.
  if (address != null) error[syscall === 'getaddrinfo' ? 'hostname' : 'address'] = address;
  if (port != null) error.port = port;
  return error;
}

/**
 * Makes the error by which a connection or a server failed.
 *
 * @param {number} id Number of the connection or server
 * @param {*} [cause] Why the context ended, for failures that are due to that
 * @returns {Error} The error
 */
function failureOf(id, cause) {
  const failure = native.connectionFailure(id);
  return failure ? describe(failure, cause) : new Error('The connection failed');
}

/**
 * Makes the error of a connection or server that its context does not let happen any more.
 *
 * @param {string} message What does not happen
 * @param {*} [cause] Why the context ended
 * @returns {Error} The error, with the code ERR_UVWS_CONTEXT_CLOSED
 */
function contextClosed(message, cause) {
  return describe({ name: 'Error', message, code: CONTEXT_CLOSED }, cause);
}

/**
 * Makes the error of something that is not supported.
 *
 * @param {string} message What is not
 * @returns {Error} The error, with the code ERR_UVWS_NOT_SUPPORTED
 */
function notSupported(message) {
  return Object.assign(new Error(message), { code: 'ERR_UVWS_NOT_SUPPORTED' });
}

module.exports = { contextClosed, failureOf, notSupported };
