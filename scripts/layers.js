'use strict';

// Holds the one direction of dependencies in src/ (docs/architecture.md): reads the
// paths that each file names and compares them with the table below.
//
//   node scripts/layers.js

const fs = require('node:fs');
const path = require('node:path');

const { rustFiles, SOURCE, withoutCommentsAndStrings } = require('./rust-source.js');

/** For each layer, the layers that it may name. */
const MAY_USE = {
  binding: ['endpoint', 'transport', 'context', 'uv', 'protocol'],
  endpoint: ['transport', 'context', 'protocol'],
  transport: ['context', 'uv'],
  context: ['uv'],
  uv: [],
  protocol: [],
  allocator: [],
};

/** For each foreign crate, the layers that may name it; `lib` is src/lib.rs. */
const CRATE_USERS = {
  napi: ['binding', 'lib'],
  napi_derive: ['binding', 'lib'],
  napi_sys: ['binding', 'lib'],
  libuv_sys2: ['uv'],
  rustls: ['transport'],
  uvws_faults: ['binding', 'context', 'lib', 'uv'],
};

/** Splits the inside of a brace group at its outermost commas. */
function splitGroup(text) {
  const parts = [''];
  let depth = 0;
  for (const character of text) {
    if (character === '{') depth += 1;
    if (character === '}') depth -= 1;
    if (character === ',' && depth === 0) parts.push('');
    else parts[parts.length - 1] += character;
  }
  return parts.map((part) => part.trim()).filter((part) => part !== '');
}

/** The first segments that a path tail names: one, or those of a `{a::b, c}` group. */
function firstSegments(tail) {
  if (!tail.startsWith('{')) return [/^\w*/.exec(tail)[0]];
  let depth = 0;
  let end = 0;
  for (; end < tail.length; end += 1) {
    if (tail[end] === '{') depth += 1;
    if (tail[end] === '}' && (depth -= 1) === 0) break;
  }
  return splitGroup(tail.slice(1, end)).map((part) => /^\w*/.exec(part)[0]);
}

/** The layer of a file: the name of its folder or file directly under src/. */
function layerOf(file) {
  return path.relative(SOURCE, file).split(path.sep)[0].replace(/\.rs$/, '');
}

/** How many modules below the crate root the module of a file is. */
function depthOf(file) {
  const segments = path.relative(SOURCE, file).split(path.sep);
  return /^(mod|lib|main)\.rs$/.test(segments.at(-1)) ? segments.length - 1 : segments.length;
}

/** One line for each path in a file that points against the direction. */
function faultsIn(file, text = fs.readFileSync(file, 'utf8')) {
  const faults = [];
  const layer = layerOf(file);
  const source = withoutCommentsAndStrings(text);
  const report = (index, what) => {
    const line = source.slice(0, index).split('\n').length;
    faults.push(
      `${path.relative(path.dirname(SOURCE), file)}:${line}: ${layer} must not use ${what}`,
    );
  };
  for (const [name, users] of Object.entries(CRATE_USERS)) {
    if (users.includes(layer)) continue;
    for (const match of source.matchAll(
      new RegExp(`(?<![\\w:])(?:::)?${name}\\b\\s*(?:::|;|\\bas\\b)`, 'g'),
    )) {
      report(match.index, name);
    }
  }
  if (layer === 'lib') return faults;
  for (const match of source.matchAll(/(?<![\w:])(crate\s*::|(?:super\s*::\s*)+)\s*/g)) {
    const supers = match[1].match(/super/g)?.length ?? 0;
    if (supers > 0 && supers < depthOf(file)) continue;
    for (const target of firstSegments(source.slice(match.index + match[0].length))) {
      if (target in MAY_USE && target !== layer && !MAY_USE[layer]?.includes(target)) {
        report(match.index, target);
      }
    }
  }
  return faults;
}

module.exports = { faultsIn };

if (require.main === module) {
  const files = rustFiles();
  const faults = files.flatMap((file) => faultsIn(file));
  for (const fault of faults) console.error(fault);
  if (faults.length > 0) process.exitCode = 1;
  else console.log(`the layers of ${files.length} files point one way`);
}
