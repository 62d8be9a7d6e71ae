'use strict';

// Measures which lines, regions and branches of src/ the tests run: those of the
// protocol core by cargo's tests, those of the layers to libuv by jest on an addon that
// counts. Needs nightly Rust with its llvm-tools:
//
//   rustup +nightly component add llvm-tools
//   node scripts/coverage.js            the protocol core
//   node scripts/coverage.js --addon    the rest; it leaves the counting addon in place

const { execFileSync, spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

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

function measureAddon() {
  const libraries = cargo(['build', '--locked', '--lib'], ({ target, filenames }) =>
    target?.name === 'uvws' ? filenames.filter((file) => /\.(so|dylib|dll)$/.test(file)) : [],
  );
  const addon = path.join(ROOT, 'uvws.node');
  fs.copyFileSync(libraries[0], addon);
  const jest = path.join(ROOT, 'node_modules', 'jest', 'bin', 'jest.js');
  const args = ['--expose-gc', jest, '--ci', '--forceExit'];
  // A test that is late because of the counting is no matter here.
  spawnSync(process.execPath, args, { cwd: ROOT, env: ENVIRONMENT, stdio: 'inherit' });
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

if (!fs.existsSync(llvm('llvm-cov'))) {
  console.error('rustup +nightly component add llvm-tools');
  process.exit(1);
}
fs.rmSync(PROFILES, { recursive: true, force: true });
fs.mkdirSync(PROFILES, { recursive: true });
if (process.argv.includes('--addon')) {
  report(measureAddon(), ['src/context', 'src/uv']);
} else {
  report(measureProtocol(), ['src/protocol']);
}
