'use strict';

// EventTarget's methods and the on* properties on top of an EventEmitter. Each listener is
// registered as an ordinary one, in a wrapper that makes the event object of its arguments.

const { CloseEvent, ErrorEvent, Event, MessageEvent } = require('./events');
const { received } = require('./validation');

/** The listener inside a wrapper. */
const kListener = Symbol('listener');
/** Whether a wrapper belongs to an on* property. */
const kIsAttribute = Symbol('isAttribute');

/** Makes the event object of each type out of the emitter's arguments. */
const MAKE = {
  __proto__: null,
  open: () => new Event('open'),
  message: (target, data, isBinary) =>
    new MessageEvent('message', { data: isBinary ? data : data.toString() }),
  error: (target, error) => new ErrorEvent('error', { error, message: error.message }),
  close: (target, code, reason) =>
    new CloseEvent('close', {
      code,
      reason: reason.toString(),
      wasClean: target._closeFrameReceived && target._closeFrameSent,
    }),
};

/** Returns the wrapper of `listener` among those registered for `type`. */
function findWrapper(target, type, listener) {
  return target
    .listeners(type)
    .find((wrapper) => wrapper[kListener] === listener && !wrapper[kIsAttribute]);
}

function register(target, type, listener, once, isAttribute) {
  const make = MAKE[type];
  if (make === undefined) return;
  function wrapper(first, second) {
    const event = Event.aim(make(this, first, second), this);
    if (typeof listener === 'object' && listener.handleEvent) listener.handleEvent(event);
    else listener.call(this, event);
  }
  wrapper[kListener] = listener;
  wrapper[kIsAttribute] = isAttribute;
  if (once) target.once(type, wrapper);
  else target.on(type, wrapper);
}

/**
 * Registers a listener for 'open', 'message', 'error' or 'close'; other types are ignored, and so
 * is a listener that is registered already.
 *
 * @param {string} type The event
 * @param {Function | { handleEvent: Function }} listener What to call with the event object
 * @param {object} [options]
 * @param {boolean} [options.once=false] Whether to remove it when it is called
 * @throws {TypeError} If `listener` is neither a function nor an object. Nothing is none, as in the DOM
 */
function addEventListener(type, listener, options) {
  if (listener == null) return;
  if (typeof listener !== 'function' && typeof listener !== 'object') {
    throw new TypeError(`"listener" must be a function or an object, ${received(listener)}`);
  }
  if (findWrapper(this, type, listener) !== undefined) return;
  register(this, type, listener, Boolean(options?.once), false);
}

/** Removes a listener that addEventListener() has registered. */
function removeEventListener(type, listener) {
  const wrapper = findWrapper(this, type, listener);
  if (wrapper !== undefined) this.removeListener(type, wrapper);
}

/** Adds the methods, and the properties `onopen`, `onmessage`, `onerror` and `onclose`. */
function mixInto(prototype) {
  Object.assign(prototype, { addEventListener, removeEventListener });
  for (const type of Object.keys(MAKE)) {
    Object.defineProperty(prototype, `on${type}`, {
      configurable: true,
      enumerable: true,
      get() {
        const wrapper = this.listeners(type).find((each) => each[kIsAttribute]);
        return wrapper === undefined ? null : wrapper[kListener];
      },
      set(listener) {
        const wrapper = this.listeners(type).find((each) => each[kIsAttribute]);
        if (wrapper !== undefined) this.removeListener(type, wrapper);
        if (typeof listener === 'function') register(this, type, listener, false, true);
      },
    });
  }
}

module.exports = { kListener, mixInto };
