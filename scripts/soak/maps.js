'use strict';

// What the resident memory of a process consists of (Linux, glibc).

const fs = require('node:fs');

/** Each thread but the main one has malloc's memory in mappings that begin at a multiple of this. */
const ARENA = 64 * 1024 * 1024;
/** The engine chooses the addresses of its heap itself, below this. */
const PLACED_BY_KERNEL = 0x400000000000;

const MAPPING = /^([0-9a-f]+)-[0-9a-f]+ (\S+) \S+ \S+ \d+ *(.*)$/;

function kindOf(start, permissions, name) {
  if (name === '[heap]') return 'malloc';
  if (name !== '' && !name.startsWith('[')) return 'files';
  if (permissions.includes('x')) return 'code';
  if (start < PLACED_BY_KERNEL) return 'engine';
  return start % ARENA === 0 ? 'threads' : 'rest';
}

/**
 * @param {number} pid A process
 * @returns {Record<string, number>} Resident bytes: `malloc` of the main thread and `threads` of the others,
 *   the heap of the `engine` and its machine `code`, `files` such as programs and libraries, and the `rest`, in
 *   which, and in `threads`, are some pages of data that the engine keeps beside its code
 */
function residentOf(pid) {
  const bytes = { malloc: 0, threads: 0, engine: 0, code: 0, files: 0, rest: 0 };
  let kind = 'rest';
  for (const line of fs.readFileSync(`/proc/${pid}/smaps`, 'latin1').split('\n')) {
    const mapping = MAPPING.exec(line);
    if (mapping !== null) kind = kindOf(Number.parseInt(mapping[1], 16), mapping[2], mapping[3]);
    else if (line.startsWith('Rss:')) bytes[kind] += 1024 * Number.parseInt(line.slice(4), 10);
  }
  return bytes;
}

module.exports = { residentOf };
