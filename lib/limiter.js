'use strict';

// Bounds how many messages are compressed at the same time, where they are not compressed at once:
// what zlib takes up meanwhile is what they cost. The first one to decide decides for the process.

/** Most messages, unless somebody says otherwise: as in ws. */
const CONCURRENCY = 10;

let limit;
let running = 0;
const waiting = [];

/** Sets the limit, once. As in ws, what is no count is no limit. */
function decide(concurrencyLimit) {
  const wanted = concurrencyLimit ?? CONCURRENCY;
  limit ??= Number.isInteger(wanted) && wanted > 0 ? wanted : Infinity;
}

/** Runs `job(done)` once there is room. */
function run(job) {
  waiting.push(job);
  start();
}

function start() {
  while (running < limit && waiting.length > 0) {
    running++;
    waiting.shift()(() => {
      running--;
      start();
    });
  }
}

/** Returns the limit as the native half takes it, which bounds its own: 0 for none. */
function nativeLimit() {
  return limit === Infinity ? 0 : Math.min(limit, 2 ** 32 - 1);
}

module.exports = { decide, nativeLimit, run };
