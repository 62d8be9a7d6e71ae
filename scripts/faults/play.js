'use strict';

// The child of scripts/faults.js: plays one scenario, without a fault at first, then with each of its calls
// failing in turn. Tells on each line what comes next, so that the parent knows what it was when this
// process crashes or hangs.
//
//   node play.js PACKAGE SCENARIO FIRST [POINT]     from the injection with that number on; of points whose
//                                                   names begin so

const fs = require('node:fs');
const path = require('node:path');

const census = require('../../__tests__/support/census.js');
const { codesOf, faultsOf, numbersOf } = require('./points.js');
const { SCENARIOS } = require('./scenarios.js');
const { Scene } = require('./scene.js');

const [root, name, first, only] = process.argv.slice(2);
const uvws = require(root);
const native = require(path.join(root, 'uvws.node'));

/** After so many injections the handles of the process are counted. */
const CENSUS_EVERY = 20;

// Written at once, so that it is there when the process crashes.
const say = (...words) => fs.writeSync(1, `${words.join(' ')}\n`);

let current = null;
const onStray = (error) => current?.fault(`uncaught: ${error?.stack ?? error}`);
process.on('uncaughtException', onStray);
process.on('unhandledRejection', onStray);

/** Plays the scenario once, with `point` failing. */
async function play(tools, point) {
  const scene = new Scene(uvws, root, tools, codesOf(point));
  current = scene;
  await SCENARIOS[name].play(scene);
  // What is late is an event too many.
  await new Promise((resolve) => setImmediate(resolve));
  return scene;
}

/** Everything that is to be injected, in order. */
function injections(calls) {
  const { most, without = [] } = SCENARIOS[name];
  return calls.flatMap(([point, count]) =>
    faultsOf(point)
      .filter(({ label }) => !without.includes(label))
      .flatMap(({ fault, label }) =>
        numbersOf(point, count, most).map((number) => ({ point, number, fault, label })),
      ),
  );
}

async function main() {
  process.stderr.write('');
  const tools = await SCENARIOS[name].prepare?.();
  // Node opens what it opens once; then it is counted.
  await play(tools);
  const baseline = census.take();
  // A machine that is busy may be too late for a time limit once, and not again.
  let clean = null;
  const isLate = () => clean?.errors.some((text) => text.includes('timed out')) ?? true;
  for (let attempt = 0; attempt < 3 && isLate(); attempt++) {
    native.faultPlan('', 0, 0, 0);
    clean = await play(tools);
  }
  const calls = native.faultCalls().map((line) => line.split('='));
  for (const [point, count] of calls) say('point', point, count);
  for (const fault of [...clean.faults, ...clean.errors]) say('fault', `without a fault: ${fault}`);
  await census.settled(baseline);

  const wanted = SCENARIOS[name].points;
  const isWanted = (point) => (only ? point.startsWith(only) : (wanted?.includes(point) ?? true));
  const points = calls.filter(([point]) => isWanted(point));
  const all = injections(points.map(([point, count]) => [point, Number(count)]));
  for (let i = Number(first); i < all.length; i++) {
    const { point, number, fault, label } = all[i];
    say('at', i, `${point}#${number}`, label);
    native.faultPlan(point, number, 1, fault);
    const { faults } = await play(tools, point);
    say(native.faultInjected() > 0 ? 'injected' : 'missed');
    native.faultPlan('', 0, 0, 0);
    const isCounted = faults.length > 0 || i % CENSUS_EVERY === 0 || i === all.length - 1;
    if (isCounted) await census.settled(baseline).catch(({ message }) => faults.push(message));
    for (const text of faults) say('fault', text.replaceAll(/\n\s*/g, ' | '));
  }
  current = null;
  await SCENARIOS[name].clean?.(tools);
  say('done');
}

main().catch((error) => {
  say('fault', error.stack.replaceAll(/\n\s*/g, ' | '));
  process.exitCode = 1;
});
