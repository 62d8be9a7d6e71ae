'use strict';

// Counts the instructions that the protocol core takes to echo a message, under
// valgrind's callgrind, and fails where they are 3 % more than benches/instructions.json
// says. Unlike time they are the same in each run.
//
//   node scripts/instructions.js             compares
//   node scripts/instructions.js --write     takes today's counts as the budget
//
// Another compiler or processor may count otherwise: the file names those that it was
// written with.

const { execFileSync, spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const { ensureValgrind } = require('./valgrind.js');

const ROOT = path.join(__dirname, '..');
const BUDGET = path.join(ROOT, 'benches', 'instructions.json');

/** How much more than its budget a message may take. */
const TOLERANCE = 0.03;
/** The difference of two runs leaves out what starting takes. */
const FEW = 1_000;
const MANY = 11_000;

/** Builds benches/echo.rs and returns the path of the program. */
function buildProgram() {
  const args = ['bench', '--locked', '--no-default-features', '--bench', 'echo', '--no-run'];
  const output = execFileSync('cargo', [...args, '--message-format=json'], {
    cwd: ROOT,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const artifacts = output
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line));
  return artifacts.find((artifact) => artifact.target?.name === 'echo').executable;
}

/** Runs a case some times; returns the instructions of the whole program. */
function collect(program, name, count) {
  const { status, stderr } = spawnSync(
    'valgrind',
    ['--tool=callgrind', '--callgrind-out-file=/dev/null', program, name, String(count)],
    { encoding: 'utf8', timeout: 120_000 },
  );
  const collected = /Collected : (\d+)/.exec(stderr);
  if (status !== 0 || !collected) throw new Error(`valgrind of ${name} failed:\n${stderr}`);
  return Number(collected[1]);
}

/** Returns the instructions per message of each case. */
function count() {
  const program = buildProgram();
  const names = execFileSync(program, ['--list'], { encoding: 'utf8' }).trim().split('\n');
  return Object.fromEntries(
    names.map((name) => {
      const difference = collect(program, name, MANY) - collect(program, name, FEW);
      return [name, Math.round(difference / (MANY - FEW))];
    }),
  );
}

/** Compares with the budget; returns how many cases keep it and what the others say. */
function checkInstructions() {
  const { instructions: budget } = JSON.parse(fs.readFileSync(BUDGET, 'utf8'));
  const counted = count();
  const faults = [];
  for (const name of new Set([...Object.keys(budget), ...Object.keys(counted)])) {
    const [now, then] = [counted[name], budget[name]];
    console.log(`${name.padEnd(16)} ${String(now).padStart(6)} (budget ${then})`);
    if (now === undefined || then === undefined) {
      faults.push(`${name} is not in both the program and the budget`);
    } else if (now > then * (1 + TOLERANCE)) {
      faults.push(`${name} takes ${now} instructions per message, ${then} is its budget`);
    }
  }
  return { passed: Object.keys(counted).length - faults.length, faults };
}

module.exports = { checkInstructions };

if (require.main === module) {
  if (!ensureValgrind()) throw new Error('valgrind is not installed');
  if (process.argv.includes('--write')) {
    const compiler = execFileSync('rustc', ['--version'], { encoding: 'utf8' }).trim();
    const budget = { compiler, architecture: process.arch, instructions: count() };
    fs.writeFileSync(BUDGET, `${JSON.stringify(budget, null, 2)}\n`);
  } else {
    const { faults } = checkInstructions();
    for (const fault of faults) console.error(fault);
    process.exitCode = faults.length === 0 ? 0 : 1;
  }
}
