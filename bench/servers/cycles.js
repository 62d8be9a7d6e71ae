'use strict';

const fs = require('node:fs');
const { print } = require('./announce');

/**
 * Runs `cycle` for a while, once after the other, and prints what one of them takes. Fails if
 * descriptors are left open.
 *
 * @param {() => void | Promise<void>} cycle starts a server that listens, and ends it
 * @param {import('./announce').Work} work
 */
async function measureCycles(cycle, { warmup, seconds }) {
  await runFor(warmup, cycle);
  const descriptors = openDescriptors();
  const cpu = process.cpuUsage();
  const start = performance.now();
  const count = await runFor(seconds, cycle);
  const elapsed = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  await new Promise((resolve) => setTimeout(resolve, 10));
  if (openDescriptors() > descriptors) throw new Error('descriptors are left open');
  print({ count, per_second: count / elapsed, server_cpu_us: (user + system) / count });
}

/** Returns how often `cycle` ran in so many seconds. */
async function runFor(seconds, cycle) {
  const end = performance.now() + seconds * 1000;
  let count = 0;
  while (performance.now() < end) {
    await cycle();
    count++;
  }
  return count;
}

function openDescriptors() {
  return fs.readdirSync('/proc/self/fd').length;
}

module.exports = { measureCycles };
