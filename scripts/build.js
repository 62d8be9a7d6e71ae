'use strict';

// Builds the addon and puts it at ./uvws.node, where lib/addon.js looks first.
// npm runs this as `prepare` in a checkout. It is not part of the published
// package, which carries prebuilt binaries and needs neither Rust nor clang.
//
//   node scripts/build.js [--force] [--out FILE]
//
// A stamp of the sources makes a build of unchanged sources a matter of
// milliseconds. The file is replaced by a rename: a process that has the old
// addon mapped keeps the old file, and never sees a half-written one.

const { spawnSync } = require('node:child_process');
const crypto = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');

const { cargoEnvironment } = require('./libclang.js');

const ROOT = path.join(__dirname, '..');
const STAMP = path.join(ROOT, 'build', 'uvws.stamp');

/** Everything that decides the contents of the binary, relative to the root. */
const INPUTS = [
  'src',
  'build.rs',
  'Cargo.toml',
  'Cargo.lock',
  '.cargo/config.toml',
  'rust-toolchain.toml',
  'vendor',
];
const INPUT_VARIABLES = [
  'RUSTFLAGS',
  'CARGO_ENCODED_RUSTFLAGS',
  'CARGO_BUILD_TARGET',
  'RUSTUP_TOOLCHAIN',
];

/** The files under a path, sorted, or the path itself if it is a file. */
function filesUnder(name) {
  const file = path.join(ROOT, name);
  const stat = fs.statSync(file, { throwIfNoEntry: false });
  if (!stat) return [];
  if (stat.isFile()) return [name];
  return fs
    .readdirSync(file)
    .sort()
    .flatMap((child) => filesUnder(path.join(name, child)));
}

function digest(...chunks) {
  const hash = crypto.createHash('sha256');
  for (const chunk of chunks) hash.update(chunk);
  return hash.digest('hex');
}

/** A digest of the sources and of the variables that change what cargo makes of them. */
function sourceDigest() {
  const chunks = [process.platform, process.arch];
  for (const name of INPUT_VARIABLES) chunks.push(`\0${name}=${process.env[name] ?? ''}`);
  for (const name of INPUTS.flatMap(filesUnder)) {
    const contents = fs.readFileSync(path.join(ROOT, name));
    chunks.push(`\0${name}\0${contents.length}\0`, contents);
  }
  return digest(...chunks);
}

/** Whether `out` is what the last build made, and the sources are still the same. */
function isCurrent(out) {
  try {
    const stamp = JSON.parse(fs.readFileSync(STAMP, 'utf8'));
    return stamp.sources === sourceDigest() && stamp.binary === digest(fs.readFileSync(out));
  } catch {
    return false;
  }
}

/** Runs cargo with some more arguments; returns the path of the shared library that it made. */
function cargoBuild(selection) {
  const locked = fs.existsSync(path.join(ROOT, 'Cargo.lock')) ? ['--locked'] : [];
  const cargo = process.env.CARGO || 'cargo';
  const result = spawnSync(
    cargo,
    ['build', '--lib', '--message-format=json-render-diagnostics', ...locked, ...selection],
    {
      cwd: ROOT,
      env: cargoEnvironment(),
      encoding: 'utf8',
      maxBuffer: 256 * 1024 * 1024,
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  if (result.error?.code === 'ENOENT') {
    throw new Error(
      'uvws: the build needs Rust: install a stable toolchain with rustup, so that cargo is on PATH.',
    );
  }
  if (result.error) throw result.error;
  if (result.status !== 0) throw new Error('uvws: cargo build failed.');
  const library = result.stdout
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line))
    .filter(
      (message) => message.reason === 'compiler-artifact' && message.target.kind.includes('cdylib'),
    )
    .filter((message) => message.target.name === 'uvws')
    .flatMap((message) => message.filenames)
    .find((file) => /\.(so|dylib|dll)$/.test(file));
  if (!library) throw new Error('uvws: cargo built no shared library named uvws.');
  return library;
}

/** Copies a file so that the destination is at all times either the old file or the new one. */
function replaceFile(from, to) {
  const temporary = `${to}.${process.pid}.tmp`;
  fs.mkdirSync(path.dirname(to), { recursive: true });
  try {
    fs.copyFileSync(from, temporary);
    fs.renameSync(temporary, to);
  } finally {
    fs.rmSync(temporary, { force: true });
  }
}

/** Builds the addon into `out` unless it is current. Returns whether anything was built. */
function build({ out = path.join(ROOT, 'uvws.node'), force = false } = {}) {
  if (!force && isCurrent(out)) return false;
  // Taken before the build: an edit made meanwhile must not count as built.
  const sources = sourceDigest();
  const lockExists = fs.existsSync(path.join(ROOT, 'Cargo.lock'));
  replaceFile(cargoBuild(['--release']), out);
  fs.mkdirSync(path.dirname(STAMP), { recursive: true });
  const stamp = {
    sources: lockExists ? sources : sourceDigest(),
    binary: digest(fs.readFileSync(out)),
  };
  fs.writeFileSync(STAMP, JSON.stringify(stamp));
  return true;
}

module.exports = { build, cargoBuild, replaceFile, ROOT };

if (require.main === module) {
  try {
    const built = build({ force: process.argv.includes('--force') });
    // Standard output belongs to npm: `npm pack --json` prints JSON there.
    console.error(built ? 'uvws: built uvws.node' : 'uvws: uvws.node is up to date');
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
}
