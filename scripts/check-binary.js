'use strict';

// Holds that the addon is a guest on Node's loop and carries no libuv:
//
//   1. it imports and exports no uv_* symbol: libuv is looked up in the host;
//   2. it names no function that creates, runs, stops, walks or closes a loop. The
//      names of what it looks up are in its data, so their absence is proof;
//   3. it contains none of the strings that libuv itself reads or prints;
//   4. it was built without the feature `faults`, by which calls can be made to fail.
//
//   node scripts/check-binary.js [FILE]

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

/** Functions that belong to the owner of a loop. */
const OWNER_ONLY =
  /uv_(?:run|stop|walk|default_loop|loop_(?:init|close|alive|configure|delete|fork|new|size|get_data|set_data))/g;

/** Names of environment variables and threads that only libuv's own code contains. */
const LIBUV_STRINGS = ['UV_THREADPOOL_SIZE', 'UV_USE_IO_URING', 'libuv-worker'];

/** What comes with the feature `faults`: an export (src/binding/faults.rs), and names of callbacks (src/uv/). */
const OF_FAULTS = ['faultPlan', 'panic:uv_'];

/** The dynamic symbols of a shared library, as nm prints them, or null without nm. */
function dynamicSymbols(file) {
  const args = process.platform === 'darwin' ? ['-g', file] : ['-D', file];
  const result = spawnSync('nm', args, { encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 });
  if (result.error?.code === 'ENOENT') return null;
  if (result.status !== 0) throw new Error(`nm failed on ${file}: ${result.stderr.trim()}`);
  return result.stdout
    .split('\n')
    .map((line) => line.trim().split(/\s+/).slice(-2))
    .filter((fields) => fields.length === 2)
    .map(([kind, name]) => ({ imported: kind === 'U' || kind === 'w', name: name.split('@')[0] }));
}

/** Returns one line for each thing wrong with the binary. */
function checkBinary(file) {
  const faults = [];
  const symbols = dynamicSymbols(file);
  if (symbols === null) console.error('uvws: nm is not installed: the symbol tables were not read');
  for (const { imported, name } of symbols ?? []) {
    if (/^_?uv_/.test(name)) faults.push(`${file}: ${imported ? 'imports' : 'exports'} ${name}`);
  }
  if (
    symbols &&
    !symbols.some(({ imported, name }) => !imported && /^_?napi_register_module_v1$/.test(name))
  ) {
    faults.push(`${file}: exports no napi_register_module_v1`);
  }
  const contents = fs.readFileSync(file, 'latin1');
  for (const name of new Set(contents.match(OWNER_ONLY))) {
    faults.push(`${file}: names ${name}, which is for the owner of the loop`);
  }
  for (const text of LIBUV_STRINGS) {
    if (contents.includes(text)) faults.push(`${file}: contains "${text}": a libuv is embedded`);
  }
  if (OF_FAULTS.some((text) => contents.includes(text))) {
    faults.push(`${file}: was built with the feature "faults"`);
  }
  return faults;
}

module.exports = { checkBinary };

if (require.main === module) {
  const file = process.argv[2] ?? path.join(__dirname, '..', 'uvws.node');
  const faults = checkBinary(file);
  for (const fault of faults) console.error(fault);
  if (faults.length > 0) process.exitCode = 1;
  else console.log(`${path.basename(file)}: a guest on the host's libuv, and none of its own`);
}
