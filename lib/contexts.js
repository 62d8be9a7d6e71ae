'use strict';

// The contexts that are not destroyed, by their names.
//
// What a context has counted outlasts it for as long as there are others of its name: a sum that becomes
// less is, for Prometheus, one that has begun anew.

/** The figures of `stats()` that only grow. */
const COUNTS = new Set([
  'connectionsOpened',
  'bytesReceived',
  'bytesSent',
  'messagesReceived',
  'messagesSent',
  'messagesDropped',
  'limits',
]);

/** @type {Map<string, { contexts: Set<import('./context')>, past: object | null }>} */
const groups = new Map();

/** Adds figures up, and the figures in them, where there are any. */
function sum(one, other) {
  const result = {};
  for (const name of Object.keys(one)) {
    const [a, b] = [one[name], other[name]];
    if (a === null || b === null) result[name] = a ?? b;
    else result[name] = typeof a === 'object' ? sum(a, b) : a + b;
  }
  return result;
}

/** Returns what is left of the figures of a context that is gone. */
function countsOf(stats) {
  const entries = Object.entries(stats).map(([name, value]) => {
    if (COUNTS.has(name)) return [name, value];
    return [name, typeof value === 'number' ? 0 : null];
  });
  return Object.fromEntries(entries);
}

/**
 * Takes a context in.
 *
 * @returns {boolean} Whether there was none
 */
function add(context) {
  const isFirst = groups.size === 0;
  const group = groups.get(context.name) ?? { contexts: new Set(), past: null };
  group.contexts.add(context);
  groups.set(context.name, group);
  return isFirst;
}

/**
 * Lets a context go, whose figures can be read for the last time.
 *
 * @returns {boolean} Whether there is none any more
 */
function remove(context) {
  const group = groups.get(context.name);
  group.contexts.delete(context);
  if (group.contexts.size === 0) {
    groups.delete(context.name);
  } else {
    const counts = countsOf(context.stats());
    group.past = group.past === null ? counts : sum(group.past, counts);
  }
  return groups.size === 0;
}

/** Returns pairs of each name and what the `stats()` of its contexts add up to. */
function statsByName() {
  return [...groups].map(([name, { contexts, past }]) => {
    const all = [...contexts].map((context) => context.stats());
    if (past !== null) all.push(past);
    return [name, all.reduce(sum)];
  });
}

module.exports = { add, remove, statsByName };
