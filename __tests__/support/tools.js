// What a piece of a test that runs in a process or thread of its own is given.

const assert = require('node:assert/strict');
const { once } = require('node:events');
const net = require('node:net');
const path = require('node:path');
const { Worker } = require('node:worker_threads');

const census = require('./census.js');
const frames = require('./frames.js');
const peers = require('./peers.js');

const { PATIENCE } = peers;

const ROOT = path.join(__dirname, '..', '..');
const WORKER_MAIN = path.join(__dirname, 'worker-main.js');

/** Resolves after some milliseconds. */
function delay(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** Resolves when the loop has turned. */
function turn() {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Waits until `condition()` holds. */
async function until(condition, what = String(condition), timeout = PATIENCE) {
  const limit = performance.now() + timeout;
  while (!condition()) {
    if (performance.now() > limit) throw new Error(`waited in vain for: ${what}`);
    await delay(2);
  }
}

/** Fails instead of waiting for ever. */
function within(promise, what = 'a promise', milliseconds = PATIENCE) {
  let timer;
  const limit = new Promise((_, reject) => {
    timer = setTimeout(
      () => reject(new Error(`${what} took more than ${milliseconds} ms`)),
      milliseconds,
    );
  });
  return Promise.race([promise, limit]).finally(() => clearTimeout(timer));
}

/**
 * How much what `measure()` says grows from one call to the next: the first growth that is under
 * `limit`, or else the least of four. What leaks grows each time; what the engine does with its own
 * memory passes.
 */
async function steadyGrowth(measure, limit) {
  let before = await measure();
  let least = Infinity;
  for (let round = 0; round < 4 && least >= limit; round++) {
    const after = await measure();
    least = Math.min(least, after - before);
    before = after;
  }
  return least;
}

/** Starts a thread that runs `body(tools)`; `input` is cloned into it. */
function startWorker(body, input = null) {
  return new Worker(WORKER_MAIN, {
    workerData: { source: String(body), input },
    execArgv: [],
  });
}

/** Random numbers that are the same in every run: a linear congruential generator. */
function generator(seed = 1) {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Everything that a piece may use; the package itself is loaded when it is first looked at. */
function create(input) {
  return {
    ROOT,
    assert,
    census,
    delay,
    frames,
    generator,
    input,
    net,
    once,
    require,
    startWorker,
    steadyGrowth,
    turn,
    until,
    within,
    ...peers,
    get uvws() {
      return require(ROOT);
    },
  };
}

/** Keeps the loop from turning. */
function block(milliseconds) {
  const end = performance.now() + milliseconds;
  while (performance.now() < end);
}

module.exports = {
  block,
  create,
  delay,
  generator,
  startWorker,
  steadyGrowth,
  turn,
  until,
  within,
};
