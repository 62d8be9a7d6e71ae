'use strict';

// The events that listeners of addEventListener() and on* properties get: those of the WHATWG
// WebSocket standard, reduced to what ws gives.

/** Makes accessors enumerable, as those of the platform's interfaces are. */
function makeEnumerable(Class, ...names) {
  for (const name of names) {
    Object.defineProperty(Class.prototype, name, { enumerable: true });
  }
}

/** Something that happened to a WebSocket. */
class Event {
  #type;
  #target = null;

  /** @param {string} type The name of the event */
  constructor(type) {
    this.#type = type;
  }

  /** The name of the event. */
  get type() {
    return this.#type;
  }

  /** The WebSocket that it happened to. */
  get target() {
    return this.#target;
  }

  /** Sets the target; for event-target.js only. */
  static aim(event, target) {
    event.#target = target;
    return event;
  }
}

/** The connection is closed. */
class CloseEvent extends Event {
  #code;
  #reason;
  #wasClean;

  /**
   * @param {string} type The name of the event
   * @param {object} [options]
   * @param {number} [options.code=0] The status code of the peer's Close frame, 1005 or 1006
   * @param {string} [options.reason=''] The reason of the peer's Close frame
   * @param {boolean} [options.wasClean=false] Whether both sides sent a Close frame
   */
  constructor(type, { code = 0, reason = '', wasClean = false } = {}) {
    super(type);
    this.#code = code;
    this.#reason = reason;
    this.#wasClean = wasClean;
  }

  get code() {
    return this.#code;
  }

  get reason() {
    return this.#reason;
  }

  get wasClean() {
    return this.#wasClean;
  }
}

/** The connection failed. */
class ErrorEvent extends Event {
  #error;
  #message;

  /**
   * @param {string} type The name of the event
   * @param {object} [options]
   * @param {*} [options.error=null] The error
   * @param {string} [options.message=''] Its message
   */
  constructor(type, { error = null, message = '' } = {}) {
    super(type);
    this.#error = error;
    this.#message = message;
  }

  get error() {
    return this.#error;
  }

  get message() {
    return this.#message;
  }
}

/** A message has come. */
class MessageEvent extends Event {
  #data;

  /**
   * @param {string} type The name of the event
   * @param {object} [options]
   * @param {*} [options.data=null] The message: a string, or what `binaryType` says
   */
  constructor(type, { data = null } = {}) {
    super(type);
    this.#data = data;
  }

  get data() {
    return this.#data;
  }
}

makeEnumerable(Event, 'target', 'type');
makeEnumerable(CloseEvent, 'code', 'reason', 'wasClean');
makeEnumerable(ErrorEvent, 'error', 'message');
makeEnumerable(MessageEvent, 'data');

module.exports = { CloseEvent, ErrorEvent, Event, MessageEvent };
