'use strict';

/**
 * Starts the raw echo server, which is a program of its own and announces itself.
 */

const { spawn } = require('node:child_process');
const path = require('node:path');

const program = path.join(__dirname, '..', 'load', 'target', 'release', 'rawecho');
const child = spawn(program, { stdio: 'inherit' });
child.on('error', (error) => {
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
});
child.on('exit', (code) => {
  process.exitCode = code ?? 1;
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill());
