'use strict';

// Counts what is unsafe in src/ and faults/, and holds that each place says why it is sound: a
// block and an implementation by a SAFETY note in front of it, a function and a trait
// by a Safety section. A note cites invariants by their tags (U1, N2), which a module's
// head defines as "**U1 name**", or gives its reason in words.
//
//   node scripts/unsafe.js

const fs = require('node:fs');
const path = require('node:path');

const { rustFiles, SOURCE, withoutCommentsAndStrings } = require('./rust-source.js');

const KINDS = [
  ['block', /\bunsafe\s*\{/g, /\/\/ SAFETY: (.*)/],
  ['impl', /\bunsafe\s+impl\b/g, /\/\/ SAFETY: (.*)/],
  // Functions that libuv or Node calls are unsafe by their type. They are not called
  // from here, and each operation in them is a block with a note of its own.
  ['callback', /\bunsafe\s+extern\s+"\s*"\s+fn\s+\w/g, null],
  ['function', /\bunsafe\s+fn\s+\w/g, /\/\/\/ # Safety(.*)/],
  ['trait', /\bunsafe\s+trait\b/g, /\/\/\/ # Safety(.*)/],
];

const ROOT = path.dirname(SOURCE);

const TAG = /\b[A-Z]\d\b/g;

/** Fewest words of a reason that cites no invariant: "as above" is none. */
const REASON_WORDS = 4;

/** The comments in front of a line, as one text; a statement may begin between. */
function notesBefore(lines, index) {
  const notes = [];
  for (let at = index - 1; at >= 0; at--) {
    const line = lines[at].trim();
    if (line.startsWith('//') || line.startsWith('#[')) notes.unshift(line);
    else if (notes.length > 0 || /[;{}]$/.test(line) || line === '') break;
  }
  return notes.join('\n');
}

/** The invariants that a text defines. */
function tagsDefinedIn(text) {
  return [...text.matchAll(/\*\*([A-Z]\d) /g)].map(([, tag]) => tag);
}

/**
 * @returns {{ counts: Record<string, number>, faults: string[], cited: number }} What is
 *   unsafe in a file by kind, what of it lacks a reason, and how many notes cite an invariant
 */
function inspect(file, tags, text = fs.readFileSync(file, 'utf8')) {
  const lines = text.split('\n');
  // The names of ABIs are strings: what is left of them is blank.
  const source = withoutCommentsAndStrings(text).replace(/(unsafe\s+extern)\s{3}/g, '$1 ""');
  const counts = {};
  const faults = [];
  let cited = 0;
  for (const [kind, pattern, note] of KINDS) {
    for (const { index } of source.matchAll(pattern)) {
      counts[kind] = (counts[kind] ?? 0) + 1;
      if (note === null) continue;
      const line = source.slice(0, index).split('\n').length;
      const where = `${path.relative(ROOT, file)}:${line}`;
      const notes = notesBefore(lines, line - 1);
      const start = notes.search(note);
      if (start === -1) {
        faults.push(`${where}: ${kind} without a note on its safety`);
        continue;
      }
      const reason = notes.slice(start).replace(/\/\/\/? ?(SAFETY:|# Safety)?/g, '');
      const found = reason.match(TAG) ?? [];
      const unknown = found.filter((tag) => !tags.has(tag));
      if (unknown.length > 0) faults.push(`${where}: ${unknown} is defined nowhere`);
      if (found.length > 0) cited += 1;
      else if (reason.trim().split(/\s+/).length < REASON_WORDS)
        faults.push(`${where}: the note gives no reason`);
    }
  }
  return { counts, faults, cited };
}

module.exports = { inspect, tagsDefinedIn };

if (require.main === module) {
  const files = [...rustFiles(), ...rustFiles(path.join(ROOT, 'faults'))];
  const defined = files.flatMap((file) => tagsDefinedIn(fs.readFileSync(file, 'utf8')));
  const tags = new Set(defined);
  const total = {};
  const faults = defined
    .filter((tag, index) => defined.indexOf(tag) !== index)
    .map((tag) => `${tag} is defined twice`);
  let cited = 0;
  for (const file of files) {
    const result = inspect(file, tags);
    cited += result.cited;
    faults.push(...result.faults);
    const counts = Object.entries(result.counts);
    if (counts.length === 0) continue;
    for (const [kind, count] of counts) total[kind] = (total[kind] ?? 0) + count;
    const name = path.relative(ROOT, file);
    console.log(`${name}: ${counts.map(([kind, count]) => `${count} ${kind}`).join(', ')}`);
  }
  const sum = Object.entries(total).map(([kind, count]) => `${count} ${kind}`);
  console.log(`unsafe in src/ and faults/: ${sum.join(', ')}; ${cited} notes cite an invariant`);
  for (const fault of faults) console.error(fault);
  if (faults.length > 0) process.exitCode = 1;
}
