'use strict';

const EventEmitter = require('node:events');

const { ownKeys } = Reflect;

/**
 * An EventEmitter that costs nothing until it is used.
 *
 * EventEmitter's constructor gives each object a dictionary of some 150 bytes, and listeners in
 * a dictionary are slower to find. A subclass sets `_events` to a Listeners and `_eventsCount`
 * to 0 instead, which is all that the methods of EventEmitter need.
 *
 * @extends EventEmitter
 */
function Emitter() {}

Object.setPrototypeOf(Emitter, EventEmitter);
Emitter.prototype = Object.create(EventEmitter.prototype, {
  constructor: { value: Emitter, writable: true, configurable: true },
  // A Listeners names events that have no listener.
  eventNames: {
    value: function eventNames() {
      return ownKeys(this._events).filter((name) => this._events[name] !== undefined);
    },
    writable: true,
    configurable: true,
  },
});

/** Listeners by event, with room for the events that most connections listen to. */
function Listeners() {
  this.message = undefined;
  this.close = undefined;
  this.error = undefined;
}

// As in EventEmitter itself, so that an event named 'constructor' has no listener.
Listeners.prototype = Object.create(null);

module.exports = { Emitter, Listeners };
