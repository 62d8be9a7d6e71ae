'use strict';

// Measures which lines, regions and branches of src/ the tests run: those of the
// protocol core by cargo's tests, those of the layers to libuv by jest, and by calls that
// are made to fail (scripts/faults.js), on an addon that counts. Needs nightly Rust with
// its llvm-tools:
//
//   rustup +nightly component add llvm-tools
//   node scripts/coverage.js            the protocol core
//   node scripts/coverage.js --addon    the rest; it leaves the counting addon in place

const { execFileSync, spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const faults = require('./faults.js');
const { cargoEnvironment } = require('./libclang.js');

const ROOT = path.join(__dirname, '..');
const COVERAGE = path.join(ROOT, 'build', 'coverage');
const PROFILES = path.join(COVERAGE, 'profiles');
const PROFILE = path.join(COVERAGE, 'all.profdata');

const ENVIRONMENT = {
  ...cargoEnvironment(),
  CARGO_TARGET_DIR: path.join(COVERAGE, 'target'),
  RUSTFLAGS: '-C instrument-coverage -Z coverage-options=branch',
  LLVM_PROFILE_FILE: path.join(PROFILES, '%p-%m.profraw'),
};

/** The path of one of the toolchain's own LLVM tools: others do not read its profiles. */
function llvm(name) {
  const args = ['+nightly', '--print', 'target-libdir'];
  const libraries = execFileSync('rustc', args, { encoding: 'utf8' }).trim();
  return path.join(libraries, '..', 'bin', name);
}

/** Runs cargo and returns the files of the artifacts that `select` takes. */
function cargo(args, select) {
  const result = spawnSync('cargo', ['+nightly', ...args, '--message-format=json'], {
    cwd: ROOT,
    encoding: 'utf8',
    env: ENVIRONMENT,
    maxBuffer: 1 << 28,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (result.status !== 0) throw new Error(`cargo ${args[0]} exited with ${result.status}`);
  const artifacts = result.stdout
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line));
  return artifacts.flatMap((artifact) => select(artifact) ?? []);
}

function measureProtocol() {
  return cargo(['test', '--locked', '--no-default-features'], ({ executable, profile }) =>
    profile?.test && executable ? [executable] : [],
  );
}

async function measureAddon() {
  // Optimised a little, as the tests are in a hurry.
  const selection = ['--features', 'faults', '--config', 'profile.dev.opt-level=1'];
  const build = ['build', '--locked', '--lib', ...selection];
  const libraries = cargo(build, ({ target, filenames }) =>
    target?.name === 'uvws' ? filenames.filter((file) => /\.(so|dylib|dll)$/.test(file)) : [],
  );
  faults.prepare(libraries[0]);
  await faults.injectAll({ env: ENVIRONMENT, onRun: faults.report });
  const addon = path.join(ROOT, 'uvws.node');
  fs.copyFileSync(libraries[0], addon);
  const jest = path.join(ROOT, 'node_modules', 'jest', 'bin', 'jest.js');
  const args = ['--expose-gc', jest, '--ci', '--forceExit'];
  for (const transport of ['', 'uv']) {
    const env = { ...ENVIRONMENT, UVWS_TRANSPORT: transport };
    // A test that is late because of the counting is no matter here.
    spawnSync(process.execPath, args, { cwd: ROOT, env, stdio: 'inherit' });
  }
  return [addon];
}

function report(objects, sources) {
  const profiles = fs.readdirSync(PROFILES).map((name) => path.join(PROFILES, name));
  execFileSync(llvm('llvm-profdata'), ['merge', '-sparse', ...profiles, '-o', PROFILE]);
  const args = ['report', '--show-branch-summary', `-instr-profile=${PROFILE}`];
  for (const object of objects) args.push('-object', object);
  const options = { cwd: ROOT, stdio: 'inherit' };
  execFileSync(llvm('llvm-cov'), [...args, '--sources', ...sources], options);
}

async function main() {
  if (!fs.existsSync(llvm('llvm-cov'))) {
    console.error('rustup +nightly component add llvm-tools');
    process.exitCode = 1;
    return;
  }
  fs.rmSync(PROFILES, { recursive: true, force: true });
  fs.mkdirSync(PROFILES, { recursive: true });
  if (process.argv.includes('--addon')) {
    report(await measureAddon(), ['src/context', 'src/uv']);
  } else {
    report(measureProtocol(), ['src/protocol']);
  }
}

main();
