'use strict';

// Installs packages that build on ws, with this package in its place (npm's `overrides`), and runs
// smoke tests of them: __tests__/dependents/*.js; and the tests that a package brings along itself. A
// package of the name uvws satisfies any range of ws that way.
//
//   node scripts/dependents.js               all
//   node scripts/dependents.js mqtt          some, by the name of a test or of a package

const { execFileSync, spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const ROOT = path.join(__dirname, '..');
const TESTS = path.join(ROOT, '__tests__', 'dependents');
const HOME = path.join(ROOT, 'build', 'dependents');

/** Whole versions: a release of theirs must not fail a check of ours. */
const DEPENDENCIES = {
  '@fastify/websocket': '11.3.6',
  express: '5.3.0',
  fastify: '5.12.8',
  'graphql-ws': '6.4.2',
  graphql: '16.15.0',
  mqtt: '5.16.0',
  'socket.io': '4.8.4',
  'socket.io-client': '4.8.4',
  // The tests of @fastify/websocket use it.
  split2: '4.2.0',
  'y-websocket': '3.1.0',
  yjs: '13.6.33',
};

/** Packages whose tarballs contain tests, and where. */
const SUITES = { '@fastify/websocket': 'test' };

const INSTALL_LIMIT = 240_000;
const TEST_LIMIT = 90_000;
const SUITE_LIMIT = 180_000;

/** Makes a tarball of the package with the binary that is built. Returns its path. */
function pack() {
  const copy = path.join(HOME, 'uvws');
  fs.rmSync(copy, { recursive: true, force: true });
  const prebuilt = path.join(copy, 'prebuilds', `${process.platform}-${process.arch}`);
  fs.mkdirSync(prebuilt, { recursive: true });
  for (const name of ['index.js', 'index.mjs', 'index.d.ts', 'lib', 'package.json']) {
    fs.cpSync(path.join(ROOT, name), path.join(copy, name), { recursive: true });
  }
  fs.copyFileSync(path.join(ROOT, 'uvws.node'), path.join(prebuilt, 'uvws.node'));
  const output = npm(['pack', '--ignore-scripts', '--json'], copy);
  return path.join(copy, JSON.parse(output)[0].filename);
}

function npm(args, cwd) {
  return execFileSync('npm', args, {
    cwd,
    encoding: 'utf8',
    shell: process.platform === 'win32',
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: INSTALL_LIMIT,
  });
}

/** Installs the dependents with `ws` overridden, and checks that there is no other one. */
function install() {
  fs.mkdirSync(HOME, { recursive: true });
  const tarball = `file:${path.relative(HOME, pack())}`;
  fs.writeFileSync(
    path.join(HOME, 'package.json'),
    JSON.stringify({
      name: 'dependents',
      private: true,
      dependencies: { ...DEPENDENCIES, ws: tarball },
      overrides: { ws: '$ws' },
    }),
  );
  // What was packed before under the same name is not to be taken from a lock.
  fs.rmSync(path.join(HOME, 'package-lock.json'), { force: true });
  fs.rmSync(path.join(HOME, 'node_modules', 'ws'), { recursive: true, force: true });
  npm(['install', '--no-audit', '--no-fund', '--ignore-scripts', '--prefer-offline'], HOME);
  const { name } = JSON.parse(
    fs.readFileSync(path.join(HOME, 'node_modules', 'ws', 'package.json'), 'utf8'),
  );
  if (name !== 'uvws') throw new Error(`ws is ${name}`);
  const listed = npm(['ls', 'ws', '--all', '--parseable'], HOME).trim().split('\n');
  if (listed.length !== 1) throw new Error(`there is more than one ws:\n${listed.join('\n')}`);
}

/** Runs test files, and tells whether they pass; shows what they print only if they do not. */
function pass(name, files, timeout) {
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, ['--test', ...files], {
    cwd: HOME,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout,
    killSignal: 'SIGKILL',
  });
  if (status === 0) {
    console.log(`${name}: ok, ${/^# pass (\d+)$/m.exec(stdout)?.[1]} tests`);
  } else {
    console.error(`${stdout}${stderr}`);
    console.error(`${name}: ${signal ? `ended by ${signal}` : `exited with ${status}`}`);
  }
  return status === 0;
}

/** Runs one of our tests. */
function runTest(name) {
  const file = path.join(HOME, `${name}.js`);
  // Run from where the dependents are installed, so that `require` finds them.
  fs.copyFileSync(path.join(TESTS, `${name}.js`), file);
  return pass(name, [file], TEST_LIMIT);
}

/** Runs the tests that a package contains. */
function runSuite(name) {
  const directory = path.join(HOME, 'node_modules', name, SUITES[name]);
  const files = fs.readdirSync(directory).filter((file) => file.endsWith('.test.js'));
  if (files.length === 0) throw new Error(`${name} contains no tests`);
  return pass(
    name,
    files.map((file) => path.join(directory, file)),
    SUITE_LIMIT,
  );
}

/** Installs and runs; for scripts/test.js. Returns how many pass, and the names of the others. */
function checkDependents(wanted = []) {
  install();
  const isWanted = (name) => wanted.length === 0 || wanted.includes(name);
  const tests = fs.readdirSync(TESTS).map((file) => path.basename(file, '.js'));
  const failed = [
    ...tests.filter((name) => isWanted(name) && !runTest(name)),
    ...Object.keys(SUITES).filter((name) => isWanted(name) && !runSuite(name)),
  ];
  const count = [...tests, ...Object.keys(SUITES)].filter(isWanted).length;
  return { passed: count - failed.length, failed };
}

module.exports = { checkDependents };

if (require.main === module) {
  const { passed, failed } = checkDependents(process.argv.slice(2));
  console.log(`${passed} passed, ${failed.length} failed`);
  process.exitCode = failed.length === 0 ? 0 : 1;
}
