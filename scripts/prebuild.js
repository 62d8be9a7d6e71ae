'use strict';

// Puts the release binary where the published package carries it:
// prebuilds/<platform>-<arch>/uvws.node. npm runs this before it packs. The binary
// is stripped by the release profile of Cargo.toml. Binaries of other platforms that
// are already in prebuilds/ stay.

const path = require('node:path');

const { build, replaceFile, ROOT } = require('./build.js');
const { checkBinary } = require('./check-binary.js');

try {
  const binary = path.join(ROOT, 'uvws.node');
  build({ out: binary });
  const faults = checkBinary(binary);
  if (faults.length > 0) throw new Error(faults.join('\n'));
  const name = path.join('prebuilds', `${process.platform}-${process.arch}`, 'uvws.node');
  replaceFile(binary, path.join(ROOT, name));
  console.error(`uvws: wrote ${name}`);
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
