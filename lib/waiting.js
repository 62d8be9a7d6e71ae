'use strict';

// Clients that have been made in this tick. They start in the next one, because listeners that are
// added behind the constructor decide how.

/** @type {{ start: () => void }[]} */
let waiting = [];

/** Starts everything that waits. Called early by whoever wants to see it started. */
function settle() {
  if (waiting.length === 0) return;
  const entries = waiting;
  waiting = [];
  for (const entry of entries) entry.start();
}

/** Calls `entry.start()`, which may not throw, on the next tick or when somebody asks for it. */
function defer(entry) {
  waiting.push(entry);
  if (waiting.length === 1) process.nextTick(settle);
}

module.exports = { defer, settle };
