'use strict';

const Context = require('./context');
const { notSupported } = require('./failure');
const { checkObject, checkTimeout, received } = require('./validation');
const { CLOSE_TIMEOUT } = require('./constants');

const DEFAULT_SIGNALS = ['SIGINT', 'SIGTERM'];

/** Returns the contexts as an array. */
function toContexts(contexts) {
  if (contexts instanceof Context) return [contexts];
  const isIterable = typeof contexts === 'object' && contexts?.[Symbol.iterator] !== undefined;
  const list = isIterable ? [...contexts] : [contexts];
  for (const context of list) {
    if (!(context instanceof Context)) {
      throw new TypeError(`"contexts" must be a Context or several, ${received(context)}`);
    }
  }
  return list;
}

/**
 * Ends contexts when the process gets a signal: the first one closes them, a second one destroys
 * them. When they are destroyed the signal is raised again without these handlers, so that the exit
 * status is 128 + n, as if it had not been handled.
 *
 * @param {Context | Iterable<Context>} contexts What to end
 * @param {object} [options]
 * @param {string[]} [options.signals=['SIGINT', 'SIGTERM']] The signals
 * @param {number} [options.timeout=30000] Milliseconds for closing, as in Context.close()
 * @returns {() => void} Removes the handlers
 * @throws {Error} In a worker, which gets no signals
 */
function closeOnSignals(contexts, options = {}) {
  const list = toContexts(contexts);
  checkObject(options, 'options');
  const { signals = DEFAULT_SIGNALS } = options;
  if (!Array.isArray(signals) || signals.some((signal) => typeof signal !== 'string')) {
    throw new TypeError(`"options.signals" must be an array of names, ${received(signals)}`);
  }
  const timeout = checkTimeout(options.timeout, 'options.timeout', CLOSE_TIMEOUT);
  const { isMainThread } = require('node:worker_threads');
  if (!isMainThread) throw notSupported('Signals arrive in the main thread only');

  // A name that is no signal would be an ordinary event.
  const { signals: known } = require('node:os').constants;
  for (const signal of signals) {
    if (known[signal] === undefined) {
      throw new TypeError(`"options.signals" must name signals, ${received(signal)}`);
    }
  }

  let isClosing = false;

  function onSignal(signal) {
    if (isClosing) {
      for (const context of list) context.destroy();
      return;
    }
    isClosing = true;
    Promise.all(list.map((context) => context.close({ timeout }))).then(() => {
      remove();
      process.kill(process.pid, signal);
    });
  }

  function remove() {
    for (const signal of signals) process.removeListener(signal, onSignal);
  }

  for (const signal of signals) process.on(signal, onSignal);
  return remove;
}

module.exports = closeOnSignals;
