'use strict';

// Two contexts on one loop, and one of them under attack: how late are timers, and the echo of the
// other one? Prints milliseconds for each attack.
//
//   node scripts/tenants.js
//   node scripts/tenants.js 'PING frames'
//
// "busy" is what the process used of the processor between two timers: unlike the others it does not
// depend on what else the machine does.

const { fork } = require('node:child_process');
const { once } = require('node:events');
const path = require('node:path');

const { prefer } = require('./priority.js');

const SETTLING = 1500;
const MEASURED = 4000;
const ATTACKS = [
  'nothing',
  'tiny frames',
  'tiny frames, echoed',
  'PING frames',
  'messages to all',
  'huge messages',
  'huge messages, echoed',
  'deflate bombs',
  'medium bombs',
  'small bombs',
  'handshakes',
];

const sleep = (time) => new Promise((resolve) => setTimeout(resolve, time));
const start = (name, ...args) =>
  fork(path.join(__dirname, 'tenants', `${name}.js`), args, { serialization: 'advanced' });

async function ask(child) {
  child.send('figures');
  const [answer] = await once(child, 'message');
  return answer;
}

function percentiles(values) {
  const sorted = Float64Array.from(values).sort();
  const at = (p) => sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * p) / 100))] ?? 0;
  return [50, 99, 100].map((p) => at(p).toFixed(1).padStart(7)).join('');
}

async function measure(name) {
  const server = start('server');
  const [{ victim, attacked }] = await once(server, 'message');
  const probe = start('probe', victim);
  const attackers = start('attackers', attacked, name);
  // Attackers have machines of their own, in the world.
  prefer(server, probe);
  await Promise.all([once(probe, 'message'), once(attackers, 'message')]);
  await sleep(SETTLING);
  await Promise.all([ask(server), ask(probe)]);
  await sleep(MEASURED);
  const [{ late, busy, messages }, echoes] = await Promise.all([ask(server), ask(probe)]);
  const line = [late, busy, echoes].map(percentiles).join(' |');
  console.log(`${name.padEnd(24)}${line} | ${Math.round((messages / MEASURED) * 1000)} messages/s`);
  for (const child of [attackers, probe, server]) {
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }
}

async function main() {
  const asked = process.argv.slice(2);
  console.log(
    `${''.padEnd(24)}${'timers'.padEnd(21)} |${' busy'.padEnd(22)}|${' echo'.padEnd(22)}|`,
  );
  console.log(`${''.padEnd(24)}${'    p50    p99    max |'.repeat(3)}`);
  for (const name of asked.length > 0 ? asked : ATTACKS) await measure(name);
}

main();
