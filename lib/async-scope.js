'use strict';

const { AsyncResource } = require('node:async_hooks');

// Without this a destroy hook would watch for garbage collection.
const OPTIONS = { requireManualDestroy: true };

/**
 * Captures the current async context.
 *
 * @param {string} type Name of the resource, for async_hooks
 * @returns {AsyncResource} What runs functions in it: by scopesOf() or runOnce()
 */
function capture(type) {
  return new AsyncResource(type, OPTIONS);
}

/**
 * Returns a class of scopes in a captured context, for what happens often. To make the class costs as
 * much as to make a hundred scopes.
 *
 * `new Scope().runInAsyncScope(fn)` runs `fn` in the captured context, so that an
 * AsyncLocalStorage shows the store of the moment of the capture. Each scope is an object of its
 * own that inherits from the one AsyncResource: what `enterWith` leaves on a scope ends with it,
 * although all connections of a server share the captured context. It costs as much as running in
 * the AsyncResource itself.
 *
 * @param {AsyncResource} captured The captured context
 * @returns {new () => AsyncResource} The class of scopes
 */
function scopesOf(captured) {
  function Scope() {}
  Scope.prototype = captured;
  return Scope;
}

/** Runs a function in a captured context, as in a scope of scopesOf(), for what happens once or twice. */
function runOnce(captured, run, self, ...values) {
  captured.runInAsyncScope(runInResource, null, run, self, values);
}

/**
 * Binds the callback of a send to the current async context, as that of a write to a net.Socket is.
 * AsyncResource.bind() would have garbage collection watch for each, and costs a hundred times as much.
 *
 * @param {Function} [callback] The callback, if there is one
 * @returns {Function | undefined} What calls it in the context that is the current one now
 */
function bind(callback) {
  if (typeof callback !== 'function') return undefined;
  const resource = new AsyncResource('UVWSSEND', OPTIONS);
  return (...values) => {
    try {
      resource.runInAsyncScope(callback, undefined, ...values);
    } finally {
      resource.emitDestroy();
    }
  };
}

function runInResource(run, self, values) {
  const resource = new AsyncResource('UVWSSCOPE', OPTIONS);
  try {
    resource.runInAsyncScope(run, self, ...values);
  } finally {
    resource.emitDestroy();
  }
}

module.exports = { bind, capture, runOnce, scopesOf };
