'use strict';

// What the tests play against that npm does not bring: Python's websockets, Chromium, proxies on
// either side, and promtool.

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const { aptInstall, isOnPath } = require('./libclang.js');

const ROOT = path.join(__dirname, '..');
const FOLDER = path.join(ROOT, 'build', 'python');
const PYTHON = path.join(FOLDER, 'bin', 'python');
const PACKAGE = 'websockets==15.*';

/** Makes a Python environment with `websockets` in build/, if there is none. */
function ensurePython() {
  const works = () => {
    try {
      execFileSync(PYTHON, ['-c', 'import websockets'], { stdio: 'ignore' });
      return true;
    } catch {
      return false;
    }
  };
  if (works()) return;
  fs.rmSync(FOLDER, { recursive: true, force: true });
  fs.mkdirSync(path.dirname(FOLDER), { recursive: true });
  execFileSync('python3', ['-m', 'venv', FOLDER], { stdio: 'inherit' });
  const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--no-input'];
  execFileSync(PYTHON, [...pip, PACKAGE], { stdio: 'inherit' });
}

/** Installs Chromium where that needs no question. Without it the test of the page says so. */
function ensureChromium() {
  if (process.env.UVWS_CHROMIUM || isOnPath('chromium') || process.platform !== 'linux') return;
  aptInstall('chromium');
}

/** Installs the proxies of the tests where that needs no question. Without one its test says so. */
function ensureProxies() {
  if (process.platform !== 'linux') return;
  // The package tinyproxy would start it as a service.
  const packages = {
    tinyproxy: 'tinyproxy-bin',
    microsocks: 'microsocks',
    nginx: 'nginx-light',
    haproxy: 'haproxy',
  };
  const missing = Object.keys(packages).filter((program) => !isOnPath(program));
  if (missing.length > 0) aptInstall(...missing.map((program) => packages[program]));
}

/** Installs Prometheus, whose promtool reads what metrics() says, where that needs no question. */
function ensurePromtool() {
  if (process.platform === 'linux' && !isOnPath('promtool')) aptInstall('prometheus');
}

module.exports = { ensureChromium, ensurePromtool, ensureProxies, ensurePython };
