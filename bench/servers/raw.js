'use strict';

/**
 * Starts the raw echo server, which is a program of its own and announces itself.
 */

const { spawn } = require('node:child_process');
const path = require('node:path');
const { declare, readWork } = require('./announce');

const { task, deflate, repeat } = readWork();
if (deflate || task === 'cycles') declare('only moves bytes');

const program = path.join(__dirname, '..', 'load', 'target', 'release', 'rawecho');
const args = task === 'echo' ? [] : ['--broadcast', `${repeat}`];
const child = spawn(program, args, { stdio: 'inherit' });
child.on('error', (error) => {
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
});
child.on('exit', (code) => {
  process.exitCode = code ?? 1;
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
