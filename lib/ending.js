'use strict';

/**
 * The end of a client that has no connection: it is told so in the next tick, or by the end of its
 * context if that comes first. It may, as an exception in one tick puts off those behind it.
 */
class Ending {
  #context;
  #tell;

  /**
   * @param {import('./context')} context The client's context
   * @param {() => void} tell Concludes the client
   */
  constructor(context, tell) {
    this.#context = context;
    this.#tell = tell;
    context._handshakes.add(this);
    process.nextTick(endNow, this);
  }

  /** The context is closing. The client ends by itself. */
  interrupt() {}

  /** The context has ended; for lib/context.js. */
  conclude() {
    const tell = this.#tell;
    if (tell === null) return;
    this.#tell = null;
    this.#context._finished(this);
    tell();
  }
}

function endNow(ending) {
  ending.conclude();
}

/** Concludes a client by `tell`, soon. */
function endSoon(context, tell) {
  new Ending(context, tell);
}

module.exports = { endSoon };
