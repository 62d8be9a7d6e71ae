'use strict';

// Runs every check of the project, the fast ones first, and closes with one line
// that counts the tests: "N passed, N failed".
//
//   node scripts/test.js                     everything
//   node scripts/test.js --only lint,rust    some steps, by name
//   node scripts/test.js --skip valgrind     all but some
//   node scripts/test.js --list              the names
//
// A step that fails does not stop the others, except that nothing can run on an
// addon that does not build.

const { spawn } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const { build } = require('./build.js');
const { checkBinary } = require('./check-binary.js');
const { checkDependents } = require('./dependents.js');
const faults = require('./faults.js');
const { checkInstructions } = require('./instructions.js');
const { cargoEnvironment } = require('./libclang.js');
const nodes = require('./node-versions.js');
const autobahn = require('./autobahn/index.js');
const peers = require('./peers.js');
const valgrind = require('./valgrind.js');

const ROOT = path.join(__dirname, '..');
const BINARY = path.join(ROOT, 'uvws.node');
const FUZZ = path.join(ROOT, 'fuzz', 'Cargo.toml');

/** A step that runs longer has hung: the slowest takes a few minutes. */
const TIME_LIMIT = 12 * 60_000;

const counts = { passed: 0, failed: 0, skipped: 0 };

/** Why tests failed, to be said again at the end: much is printed after them. */
const reasons = [];

/** A step has failed and has already said why. */
class Failure extends Error {}

/** Ends the program that runs now, and what it started. */
let endCurrent = () => {};

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => {
    endCurrent();
    process.kill(process.pid, signal);
  });
}

/**
 * Runs a program without input and shows its output; ends it and what it started
 * when the time is over. Returns its output; throws when it does not exit with 0.
 */
function run(program, args, { env = process.env, check = true } = {}) {
  return new Promise((resolve, reject) => {
    const detached = process.platform !== 'win32';
    const child = spawn(program, args, {
      cwd: ROOT,
      detached,
      env,
      shell: process.platform === 'win32' && !path.isAbsolute(program),
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    endCurrent = () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      if (detached) process.kill(-child.pid, 'SIGKILL');
      else child.kill('SIGKILL');
    };
    let output = '';
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      endCurrent();
    }, TIME_LIMIT);
    for (const stream of ['stdout', 'stderr']) {
      child[stream].setEncoding('utf8').on('data', (text) => {
        output += text;
        process[stream].write(text);
      });
    }
    child.on('error', (error) => {
      clearTimeout(timer);
      reject(new Failure(`${program}: ${error.message}`));
    });
    child.on('close', (status, signal) => {
      clearTimeout(timer);
      const command = [path.basename(program), ...args].join(' ');
      if (isLate)
        reject(new Failure(`${command}: still running after ${TIME_LIMIT / 60_000} minutes`));
      else if (status === 0 || !check) resolve({ output, status });
      else
        reject(
          new Failure(`${command}: ${signal ? `ended by ${signal}` : `exited with ${status}`}`),
        );
    });
  });
}

/** The path of a development dependency's program. */
function bin(name, file) {
  return path.join(ROOT, 'node_modules', name, file);
}

/** Runs several checks, all of them even if one fails. */
async function all(...checks) {
  const failures = [];
  for (const check of checks) {
    try {
      await check();
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      failures.push(error.message);
    }
  }
  if (failures.length > 0) throw new Failure(failures.join('\n'));
}

function clippy(...selection) {
  return run('cargo', ['clippy', '--quiet', '--locked', ...selection, '--', '-D', 'warnings'], {
    env: cargoEnvironment(),
  });
}

async function lint() {
  const node = process.execPath;
  await all(
    () => run(node, [path.join(__dirname, 'layers.js')]),
    () => run(node, [path.join(__dirname, 'unsafe.js')]),
    () => run(node, [bin('prettier', 'bin/prettier.cjs'), '--check', '--log-level', 'warn', '.']),
    () => run(node, [bin('eslint', 'bin/eslint.js'), '--max-warnings', '0', '.']),
    () => run(node, [bin('typescript', 'bin/tsc'), '--noEmit']),
    () => run('cargo', ['fmt', '--all', '--check']),
    () => run('cargo', ['fmt', '--check', '--manifest-path', FUZZ]),
    () => clippy('--no-default-features', '--all-targets'),
    () => clippy('--no-default-features', '--all-targets', '--manifest-path', FUZZ),
    // Without its test targets: what napi exports is unused in them, and they do not link.
    () => clippy('--lib'),
    () => clippy('--lib', '--features', 'faults'),
    () => clippy('--package', 'uvws-faults'),
  );
}

/** Runs cargo's tests, and adds them up. */
async function cargoTests(...selection) {
  const { output, status } = await run(
    'cargo',
    ['test', '--locked', '--no-default-features', '--no-fail-fast', ...selection],
    { check: false, env: cargoEnvironment() },
  );
  let isAny = false;
  for (const [, passed, failed, ignored] of output.matchAll(
    /^test result: .*? (\d+) passed; (\d+) failed; (\d+) ignored/gm,
  )) {
    isAny ||= Number(passed) > 0;
    counts.passed += Number(passed);
    counts.failed += Number(failed);
    counts.skipped += Number(ignored);
  }
  if (status !== 0) throw new Failure(`cargo test exited with ${status}`);
  if (!isAny) throw new Failure('cargo ran no test');
}

/** Runs jest with one Node, and adds up its tests: all, or those in some files. */
async function jest(node, { files = [], env = {} } = {}) {
  peers.ensurePython();
  peers.ensureChromium();
  peers.ensureProxies();
  peers.ensurePromtool();
  const report = path.join(ROOT, 'build', 'jest.json');
  fs.mkdirSync(path.dirname(report), { recursive: true });
  fs.rmSync(report, { force: true });
  const args = [
    '--expose-gc',
    bin('jest', 'bin/jest.js'),
    '--ci',
    '--json',
    '--outputFile',
    report,
    ...files,
  ];
  const environment = { ...process.env, ...env };
  const { status, output } = await run(node, args, { check: false, env: environment });
  if (!fs.existsSync(report)) throw new Failure('jest ended without a report');
  const result = JSON.parse(fs.readFileSync(report, 'utf8'));
  counts.passed += result.numPassedTests;
  counts.failed += result.numFailedTests;
  counts.skipped += result.numPendingTests;
  for (const { assertionResults } of result.testResults) {
    for (const { status: outcome, fullName, failureMessages } of assertionResults) {
      if (outcome === 'failed') reasons.push(`${fullName}\n${failureMessages.join('\n')}`);
    }
  }
  if (result.numTotalTests === 0) throw new Failure('jest ran no test');
  if (status !== 0 || !result.success) throw new Failure(`jest exited with ${status}`);
  // It is caught where C begins, and no test need have noticed.
  const panic = /panicked at .*/.exec(output);
  if (panic !== null) throw new Failure(`jest passed, but the addon ${panic[0]}`);
}

/** On Linux sockets are not libuv's. What depends on them is tested over libuv's as well. */
async function jestOverHandles() {
  if (process.platform !== 'linux') {
    console.log("skipped: the other tests run over libuv's handles here");
    return;
  }
  const names = [
    'adopt',
    'backpressure',
    'client',
    'close',
    'context',
    'fairness',
    'limits',
    'memory-budget',
    'send',
    'server',
    'socket',
  ];
  const files = ['lifecycle', ...names.map((name) => `${name}.test.js`)];
  const paths = files.map((file) => path.join(ROOT, '__tests__', file));
  await jest(process.execPath, { files: paths, env: { UVWS_TRANSPORT: 'uv' } });
}

async function jestOn(major) {
  const node = nodes.ensureNode(major);
  if (node) await jest(node);
  else console.log(`skipped: no Node ${major} for ${process.platform}-${process.arch} to install`);
}

function valgrindScripts() {
  if (!valgrind.ensureValgrind()) {
    if (process.env.CI) throw new Failure('valgrind is not installed');
    console.log('skipped: valgrind is not installed');
    return;
  }
  const scripts = valgrind.defaultScripts();
  if (scripts.length === 0) throw new Failure('no script in __tests__/valgrind');
  const failures = [];
  for (const script of scripts) {
    const faults = valgrind.checkScript(script);
    console.log(`${path.relative(ROOT, script)}: ${faults.length} faults`);
    if (faults.length === 0) counts.passed += 1;
    failures.push(...faults);
  }
  if (failures.length > 0) throw new Failure(failures.join('\n'));
}

/** What a message costs in the protocol core. */
function instructions() {
  if (!valgrind.ensureValgrind()) {
    if (process.env.CI) throw new Failure('valgrind is not installed');
    console.log('skipped: valgrind is not installed');
    return;
  }
  const { passed, faults } = checkInstructions();
  counts.passed += passed;
  counts.failed += faults.length;
  if (faults.length > 0) throw new Failure(faults.join('\n'));
}

/** Calls that are made to fail, and what is held of memory. */
async function injectFaults() {
  if (process.platform !== 'linux') {
    console.log('skipped: calls are intercepted on Linux only');
    return;
  }
  faults.prepare();
  const result = await faults.injectAll({ onRun: faults.report });
  counts.passed += result.injected;
  counts.failed += result.faults.length;
  if (result.faults.length > 0) throw new Failure(result.faults.join('\n'));
  if (result.injected === 0) throw new Failure('no call failed');
  // It prepares what its attackers write: not for other steps.
  const { passed, broken } = await require('./amplification.js').playAll();
  counts.passed += passed;
  counts.failed += broken.length;
  if (broken.length > 0) throw new Failure(broken.join('\n'));
}

/** Smoke tests of packages that build on ws, with this one in its place. */
function dependents() {
  const { passed, failed } = checkDependents();
  counts.passed += passed;
  if (failed.length > 0) throw new Failure(`failed: ${failed.join(', ')}`);
}

async function conformance() {
  const { passed, failures } = await autobahn.playAll(false);
  counts.passed += passed;
  counts.failed += failures.length;
  if (failures.length > 0) throw new Failure(failures.join('\n'));
  if (passed === 0) throw new Failure('no case was played');
}

/** The steps in order: those that need the built addon say so. */
const STEPS = [
  { name: 'lint', body: lint },
  { name: 'rust', body: () => cargoTests() },
  { name: 'fuzz', body: () => cargoTests('--manifest-path', FUZZ) },
  { name: 'instructions', body: instructions },
  {
    name: 'build',
    body: () => console.log(build() ? 'built uvws.node' : 'uvws.node is up to date'),
  },
  {
    name: 'binary',
    needsAddon: true,
    body() {
      const faults = checkBinary(BINARY);
      if (faults.length > 0) throw new Failure(faults.join('\n'));
    },
  },
  { name: 'jest', needsAddon: true, body: () => jest(process.execPath) },
  { name: 'jest-uv', needsAddon: true, body: jestOverHandles },
  { name: 'faults', body: injectFaults },
  ...nodes.OTHERS.map((major) => ({
    name: `jest-node-${major}`,
    needsAddon: true,
    body: () => jestOn(major),
  })),
  { name: 'dependents', needsAddon: true, body: dependents },
  { name: 'conformance', needsAddon: true, body: conformance },
  { name: 'valgrind', needsAddon: true, body: valgrindScripts },
];

/** The step names after a command line option, or null without it. */
function namesAfter(option) {
  const index = process.argv.indexOf(option);
  if (index === -1) return null;
  const names = (process.argv[index + 1] ?? '').split(',');
  const unknown = names.filter((name) => !STEPS.some((step) => step.name === name));
  if (unknown.length > 0) {
    console.error(
      `no such step: ${unknown.join(', ')} (there are: ${STEPS.map((step) => step.name).join(', ')})`,
    );
    process.exit(2);
  }
  return names;
}

async function main() {
  if (process.argv.includes('--list')) {
    for (const { name } of STEPS) console.log(name);
    return;
  }
  const only = namesAfter('--only');
  const skip = namesAfter('--skip') ?? [];
  const failures = [];
  for (const step of STEPS) {
    const { name } = step;
    if ((only && !only.includes(name)) || skip.includes(name)) continue;
    console.log(`\n== ${name}`);
    const start = performance.now();
    const failedBefore = counts.failed;
    try {
      if (step.needsAddon && !fs.existsSync(BINARY)) throw new Failure('uvws.node is not built');
      if (step.needsAddon && failures.includes('build'))
        throw new Failure('the addon does not build');
      await step.body();
    } catch (error) {
      failures.push(name);
      // A step whose failed tests are counted is not counted a second time.
      if (counts.failed === failedBefore) counts.failed += 1;
      const reason = error instanceof Failure ? error.message : (error.stack ?? error);
      console.error(reason);
      reasons.push(`${name}: ${reason}`);
    }
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    console.log(`== ${name}: ${failures.includes(name) ? 'FAILED' : 'ok'} in ${seconds} s`);
  }
  for (const reason of reasons) console.log(`\n${reason}`);
  if (failures.length > 0) console.log(`\nfailed steps: ${failures.join(', ')}`);
  const skipped = counts.skipped > 0 ? `, ${counts.skipped} skipped` : '';
  console.log(`\n${counts.passed} passed, ${counts.failed} failed${skipped}`);
  process.exitCode = failures.length > 0 ? 1 : 0;
}

main();
