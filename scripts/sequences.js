'use strict';

// Plays random sequences of calls of the API on contexts, servers, clients, peers and workers, and holds
// what docs/lifecycle.md says of them (the laws are in __tests__/support/sequences/world.js).
//
//   node scripts/sequences.js                    for a minute, from a random seed on
//   node scripts/sequences.js --minutes 60
//   node scripts/sequences.js --seed 7           that sequence, cut down to what breaks a law
//
// Each sequence is made from its seed, and neighbouring ones are played in one process. Ends with 1 and
// the seed when a law is broken or the process crashes.

const { spawn } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const ROOT = path.join(__dirname, '..');
const SEQUENCES = path.join(ROOT, '__tests__', 'support', 'sequences', 'run.js');

/** Sequences of one process. Then another one begins, which also shows that the former ends by itself. */
const PER_PROCESS = 1000;

/** Milliseconds without a new sequence after which the process has hung. */
const PATIENCE = 60_000;

function option(name, preset) {
  const index = process.argv.indexOf(name);
  return index === -1 ? preset : Number(process.argv[index + 1]);
}

/** The child: plays `count` sequences from `first` on, and says on each line how far it has come. */
async function playAll(first, count, deadline) {
  const { playSeeds, shrinkSteps } = require(SEQUENCES);
  const uvws = require(ROOT);
  // Written at once, so that it is there when the process crashes.
  const say = (line) => fs.writeSync(1, `${line}\n`);
  const seeds = Array.from({ length: count }, (_, index) => first + index);
  const outcome = await playSeeds(uvws, ROOT, seeds, {
    onSeed: (seed, { sequences, calls }) => say(`at ${seed} ${sequences} ${calls}`),
    until: () => Date.now() > deadline,
  });
  say(`done ${outcome.sequences} ${outcome.calls}`);
  if (outcome.faults.length === 0) return;
  for (const fault of outcome.faults) say(`fault ${fault.replaceAll('\n', '\n      ')}`);
  process.exitCode = 1;
  if (count > 1 || outcome.steps === undefined) return;
  const steps = await shrinkSteps(uvws, ROOT, outcome.steps, outcome.seed);
  for (const step of steps) say(`step ${JSON.stringify(step)}`);
}

/** Runs a child; resolves with what it has done. */
function runChild(first, count, deadline) {
  return new Promise((resolve) => {
    const args = [__filename, '--play', first, '--count', count, '--deadline', deadline];
    const child = spawn(process.execPath, args.map(String), { stdio: ['ignore', 'pipe', 'pipe'] });
    const done = { seed: first, sequences: 0, calls: 0, text: '', why: null };
    let rest = '';
    let timer;
    const wait = () => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        done.why = `nothing for ${PATIENCE / 1000} s`;
        child.kill('SIGKILL');
      }, PATIENCE);
    };
    wait();
    child.stdout.setEncoding('utf8').on('data', (chunk) => {
      wait();
      const lines = (rest + chunk).split('\n');
      rest = lines.pop();
      for (const line of lines) {
        const [word, ...numbers] = line.split(' ');
        if (word === 'at') [done.seed, done.sequences, done.calls] = numbers.map(Number);
        else if (word === 'done') [done.sequences, done.calls] = numbers.map(Number);
        else done.text += `${line}\n`;
      }
    });
    child.stderr.setEncoding('utf8').on('data', (chunk) => (done.text += chunk));
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      if (code !== 0) done.why ??= signal === null ? `exited with ${code}` : `ended by ${signal}`;
      resolve(done);
    });
  });
}

async function main() {
  const only = option('--seed', null);
  const start = Date.now();
  const deadline = only === null ? start + option('--minutes', 1) * 60_000 : Infinity;
  let seed = only ?? Math.floor(Math.random() * 2 ** 31);
  let [sequences, calls] = [0, 0];
  console.log(`from seed ${seed} on`);
  do {
    const done = await runChild(seed, only === null ? PER_PROCESS : 1, deadline);
    sequences += done.sequences;
    calls += done.calls;
    if (done.why !== null) {
      console.error(`${done.text}seed ${done.seed}: ${done.why}`);
      console.error(`node scripts/sequences.js --seed ${done.seed}`);
      process.exitCode = 1;
      break;
    }
    seed += PER_PROCESS;
  } while (only === null && Date.now() < deadline);
  const minutes = ((Date.now() - start) / 60_000).toFixed(1);
  console.log(`${sequences} sequences, ${calls} calls in ${minutes} minutes`);
}

if (process.argv.includes('--play')) {
  playAll(option('--play'), option('--count'), option('--deadline'));
} else {
  main();
}
