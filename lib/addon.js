'use strict';

// Finds and loads the native half. A checkout has its own build at ./uvws.node;
// the published package carries prebuilds/<platform>-<arch>[-musl]/uvws.node.
// A checkout prefers its build, because a prebuilt file there is of older sources.

const fs = require('node:fs');
const path = require('node:path');

const ROOT = path.join(__dirname, '..');

/** Bytes at the start of an ELF file that contain the name of its dynamic linker. */
const ELF_HEAD = 4096;

/** Tells whether this Node is linked against musl instead of glibc. */
function isMusl() {
  if (process.platform !== 'linux') return false;
  let fd;
  try {
    fd = fs.openSync(process.execPath, 'r');
    const head = Buffer.alloc(ELF_HEAD);
    fs.readSync(fd, head, 0, ELF_HEAD, 0);
    return head.includes('/ld-musl-');
  } catch {
    return false;
  } finally {
    if (fd !== undefined) fs.closeSync(fd);
  }
}

/** Returns the name of the platform's directory in prebuilds/. */
function platformName() {
  return `${process.platform}-${process.arch}${isMusl() ? '-musl' : ''}`;
}

/** Returns an error with a stable code and a message of one line. */
function addonError(message, cause) {
  return Object.assign(new Error(`uvws: ${message}`, { cause }), { code: 'ERR_UVWS_ADDON' });
}

/** Returns the exports of the native half, or throws an error that says what to do. */
function load() {
  const local = path.join(ROOT, 'uvws.node');
  const name = platformName();
  const prebuilt = path.join(ROOT, 'prebuilds', name, 'uvws.node');
  const file = [local, prebuilt].find((candidate) => fs.existsSync(candidate));
  if (file === undefined) {
    throw addonError(
      `there is no binary for ${name}; in a checkout, \`npm run build\` makes one with Rust`,
    );
  }
  try {
    return require(file);
  } catch (error) {
    const reason = String(error?.message).split('\n', 1)[0];
    const runtime = process.versions.bun ? 'Bun' : process.versions.deno ? 'Deno' : null;
    if (runtime !== null) {
      throw addonError(`${runtime} does not provide libuv, which Node does (${reason})`, error);
    }
    throw addonError(`cannot load ${file}: ${reason}`, error);
  }
}

module.exports = load();
