'use strict';

const { AsyncResource } = require('node:async_hooks');

/**
 * Captures the current async context and returns a class of scopes in it.
 *
 * `new Scope().runInAsyncScope(fn)` runs `fn` in the captured context, so that an
 * AsyncLocalStorage shows the store of the moment of the capture. Each scope is an object of its
 * own that inherits from the one AsyncResource: what `enterWith` leaves on a scope ends with it,
 * although all connections of a server share the captured context. It costs as much as running in
 * the AsyncResource itself.
 *
 * @param {string} type Name of the resource, for async_hooks
 * @returns {new () => AsyncResource} The class of scopes
 */
function captureScope(type) {
  // Without `requireManualDestroy` a destroy hook would watch for garbage collection.
  const resource = new AsyncResource(type, { requireManualDestroy: true });
  function Scope() {}
  Scope.prototype = resource;
  return Scope;
}

module.exports = { captureScope };
