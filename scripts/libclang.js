'use strict';

// Finds what the build needs besides Rust: libclang, which bindgen loads to read
// libuv's headers, and pkg-config, which libuv-sys2's build script asks for
// libuv (see vendor/pkgconfig/libuv.pc). What is missing is installed where that
// needs no question: with apt-get as root, or from PyPI into build/libclang.
// Otherwise one line says what to do.
//
// `cargoEnvironment()` returns the environment for cargo. Run as a program, this
// file prints the variables as `export` lines:
//
//   eval "$(node scripts/libclang.js)" && cargo build

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const ROOT = path.join(__dirname, '..');
const LOCAL = path.join(ROOT, 'build', 'libclang');
const STUB_PKG_CONFIG = path.join(__dirname, 'pkg-config.sh');

/** The names under which libclang can be loaded, as clang-sys looks for them. */
const LIBRARY =
  {
    darwin: /^libclang\.dylib$/,
    win32: /^libclang\.dll$/,
  }[process.platform] || /^libclang(-[\d.]+)?\.so(\.[\d.]+)?$/;

/** Runs a program; returns its trimmed output, or null when it fails. */
function capture(program, args) {
  const result = spawnSync(program, args, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  return result.status === 0 ? result.stdout.trim() : null;
}

/** Runs a program whose output is shown only if it fails; returns whether it succeeded. */
function attempt(program, args, options = {}) {
  const result = spawnSync(program, args, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    ...options,
  });
  return result.status === 0;
}

function isFile(file) {
  return fs.statSync(file, { throwIfNoEntry: false })?.isFile() === true;
}

function list(folder) {
  try {
    return fs.readdirSync(folder);
  } catch {
    return [];
  }
}

/** Whether a program of this name is on PATH. */
function isOnPath(program) {
  const suffixes = process.platform === 'win32' ? ['.exe', '.cmd', '.bat'] : [''];
  return (process.env.PATH || '')
    .split(path.delimiter)
    .some((folder) => suffixes.some((suffix) => isFile(path.join(folder, program + suffix))));
}

/** The folders where distributions and installers put libclang, newest LLVM first. */
function commonFolders() {
  const versioned = (parent, pattern, ...rest) =>
    list(parent)
      .filter((name) => pattern.test(name))
      .sort((a, b) => b.localeCompare(a, 'en', { numeric: true }))
      .map((name) => path.join(parent, name, ...rest));
  if (process.platform === 'darwin') {
    return [
      '/Library/Developer/CommandLineTools/usr/lib',
      '/Applications/Xcode.app/Contents/Developer/Toolchains/XcodeDefault.xctoolchain/usr/lib',
      '/opt/homebrew/opt/llvm/lib',
      '/usr/local/opt/llvm/lib',
    ];
  }
  if (process.platform === 'win32') {
    return ['C:\\Program Files\\LLVM\\bin', 'C:\\Program Files (x86)\\LLVM\\bin'];
  }
  return [
    ...versioned('/usr/lib', /^llvm-?\d/, 'lib'),
    ...versioned('/usr/lib/llvm', /^\d+$/, 'lib64'),
    ...versioned('/usr/lib', /-linux-(gnu|musl)/),
    '/usr/lib64',
    '/usr/lib',
    '/usr/local/lib',
  ];
}

/** The folder of a libclang that is already on the machine, or null. */
function findLibclang() {
  const fromVariable = process.env.LIBCLANG_PATH;
  if (fromVariable) {
    const folder = isFile(fromVariable) ? path.dirname(fromVariable) : fromVariable;
    return list(folder).some((name) => LIBRARY.test(name)) ? folder : null;
  }
  const fromLlvm = isOnPath('llvm-config') ? capture('llvm-config', ['--libdir']) : null;
  const folders = [
    ...(fromLlvm ? [fromLlvm] : []),
    ...commonFolders(),
    path.join(LOCAL, 'clang', 'native'),
  ];
  return folders.find((folder) => list(folder).some((name) => LIBRARY.test(name))) ?? null;
}

/**
 * Extra arguments for clang, or null: a libclang without its resource headers
 * (stddef.h and the like) borrows those of gcc.
 */
function extraClangArguments(libraryFolder) {
  if (process.platform === 'win32') return null;
  const real = list(libraryFolder)
    .filter((name) => LIBRARY.test(name))
    .map((name) => path.dirname(fs.realpathSync(path.join(libraryFolder, name))));
  const hasHeaders = [libraryFolder, ...real].some((folder) =>
    list(path.join(folder, 'clang')).some((version) =>
      isFile(path.join(folder, 'clang', version, 'include', 'stddef.h')),
    ),
  );
  if (hasHeaders) return null;
  const include =
    capture('gcc', ['-print-file-name=include']) ?? capture('cc', ['-print-file-name=include']);
  return include && path.isAbsolute(include) ? `-isystem ${include}` : null;
}

/** Whether apt-get can install without asking: Debian or a relative, as root. */
function canUseApt() {
  return process.platform === 'linux' && process.getuid() === 0 && isOnPath('apt-get');
}

let aptListsUpdated = false;

/** What Debian's packages ask whether they may start their services. */
const SERVICE_POLICY = '/usr/sbin/policy-rc.d';

/** Installs by `install` without starting anything. */
function withoutServices(install) {
  if (fs.existsSync(SERVICE_POLICY)) return install();
  fs.writeFileSync(SERVICE_POLICY, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  try {
    return install();
  } finally {
    fs.rmSync(SERVICE_POLICY, { force: true });
  }
}

/** Installs Debian packages, refreshing the package lists once if that is needed. */
function aptInstall(...packages) {
  if (!canUseApt()) return false;
  const environment = { env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } };
  const install = () =>
    withoutServices(() =>
      attempt(
        'apt-get',
        ['install', '-y', '-q', '--no-install-recommends', ...packages],
        environment,
      ),
    );
  if (install()) return true;
  if (aptListsUpdated) return false;
  aptListsUpdated = true;
  attempt('apt-get', ['update', '-q'], environment);
  return install();
}

/** Debian's two packages for the newest libclang that the package lists know. */
function aptLibclangPackages() {
  const search = () => {
    const output = capture('apt-cache', ['search', '--names-only', '^libclang1-[0-9]+$']) ?? '';
    const versions = [...output.matchAll(/^libclang1-(\d+) /gm)].map((match) => Number(match[1]));
    return versions.sort((a, b) => b - a);
  };
  let versions = search();
  if (versions.length === 0 && !aptListsUpdated) {
    aptListsUpdated = true;
    attempt('apt-get', ['update', '-q']);
    versions = search();
  }
  if (versions.length === 0) return null;
  // An LLVM that is partly there already decides the version: its libraries are shared.
  const version =
    versions.find((candidate) => fs.existsSync(`/usr/lib/llvm-${candidate}`)) ?? versions[0];
  return [`libclang1-${version}`, `libclang-common-${version}-dev`];
}

/** Unpacks PyPI's libclang wheel into build/libclang. */
function installFromPypi() {
  const python = ['python3', 'python'].find(isOnPath);
  if (!python) return false;
  return attempt(python, [
    '-m',
    'pip',
    'install',
    '--quiet',
    '--disable-pip-version-check',
    '--no-input',
    '--only-binary',
    ':all:',
    '--no-deps',
    '--upgrade',
    '--target',
    LOCAL,
    'libclang',
  ]);
}

/** The folder of libclang, which is installed if it is missing; throws with one line if that fails. */
function ensureLibclang() {
  let folder = findLibclang();
  if (folder) return folder;
  if (process.env.LIBCLANG_PATH) {
    throw new Error(
      `uvws: LIBCLANG_PATH is ${process.env.LIBCLANG_PATH}, but no libclang is there.`,
    );
  }
  if (canUseApt()) {
    console.error('uvws: installing libclang with apt-get');
    const packages = aptLibclangPackages();
    if (packages && aptInstall(...packages) && (folder = findLibclang())) return folder;
  }
  console.error('uvws: installing libclang from PyPI into build/libclang');
  if (installFromPypi() && (folder = findLibclang())) return folder;
  throw new Error(
    'uvws: the build needs libclang: install it (Debian: apt-get install libclang-dev; Fedora: dnf install clang-libs; ' +
      'macOS: xcode-select --install; anywhere: pip install libclang) and set LIBCLANG_PATH if it is in an unusual place.',
  );
}

/**
 * The program that libuv-sys2's build script runs as pkg-config, or null for the
 * default. Without one it would compile a libuv of its own.
 */
function ensurePkgConfig() {
  if (process.env.PKG_CONFIG || isOnPath('pkg-config') || process.platform === 'win32') return null;
  return STUB_PKG_CONFIG;
}

/** The environment for running cargo on this project. */
function cargoEnvironment() {
  const environment = { ...process.env };
  const folder = ensureLibclang();
  const pkgConfig = ensurePkgConfig();
  environment.LIBCLANG_PATH = folder;
  if (!environment.BINDGEN_EXTRA_CLANG_ARGS) {
    const extra = extraClangArguments(folder);
    if (extra) environment.BINDGEN_EXTRA_CLANG_ARGS = extra;
  }
  if (pkgConfig) environment.PKG_CONFIG = pkgConfig;
  return environment;
}

module.exports = { aptInstall, canUseApt, capture, cargoEnvironment, isFile, isOnPath };

if (require.main === module) {
  try {
    const environment = cargoEnvironment();
    for (const name of ['LIBCLANG_PATH', 'BINDGEN_EXTRA_CLANG_ARGS', 'PKG_CONFIG']) {
      if (environment[name]) console.log(`export ${name}='${environment[name]}'`);
    }
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
}
