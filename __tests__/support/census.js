// Counts what a process holds: the handles on its loop, whoever made them, and its file
// descriptors. A diagnostic report walks the loop, so handles that an addon made are in it too.

const fs = require('node:fs');

/**
 * The number of handles on the main thread's loop, by type. Timers that do not keep the loop alive
 * are left out, because the engine has some for work that it puts off; those of a context come with
 * handles of other types.
 */
function handles() {
  const counts = {};
  for (const handle of process.report.getReport().libuv) {
    const { type, is_referenced: isReferenced } = handle;
    if (type === 'loop' || (type === 'timer' && !isReferenced)) continue;
    counts[type] = (counts[type] ?? 0) + 1;
  }
  return counts;
}

/** The open file descriptors, by what they are: {"socket:[1]": 1, "/dev/null": 1}. */
function descriptors() {
  const counts = {};
  for (const name of fs.readdirSync('/proc/self/fd')) {
    let target;
    try {
      target = fs.readlinkSync(`/proc/self/fd/${name}`);
    } catch {
      continue; // the descriptor by which the directory was read
    }
    // What libuv holds in reserve, to shed a connection when there is no other descriptor.
    if (target === '/') continue;
    counts[target] = (counts[target] ?? 0) + 1;
  }
  return counts;
}

/** What there is now. */
function take() {
  return { handles: handles(), descriptors: descriptors() };
}

/** Returns one line for each kind of thing of which there is more than in `baseline`. */
function excess(baseline) {
  const now = take();
  const lines = [];
  for (const group of ['handles', 'descriptors']) {
    for (const [name, count] of Object.entries(now[group])) {
      const before = baseline[group][name] ?? 0;
      if (count > before) lines.push(`${group}: ${name} was ${before}, is ${count}`);
    }
  }
  return lines;
}

/** Waits until nothing is left that was not in `baseline`; throws when that does not come true. */
async function settled(baseline, timeout = 15_000) {
  const limit = performance.now() + timeout;
  let lines = excess(baseline);
  while (lines.length > 0) {
    if (performance.now() > limit) throw new Error(`left over after the end:\n${lines.join('\n')}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
    lines = excess(baseline);
  }
}

module.exports = { descriptors, excess, handles, settled, take };
