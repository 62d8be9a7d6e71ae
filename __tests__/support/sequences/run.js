// Plays sequences, one after the other, and proves after each that everything has ended.

const census = require('../census.js');
const { within } = require('../tools.js');
const { play, turns } = require('./actions.js');
const { planOf, shrink } = require('./plan.js');
const { World } = require('./world.js');

/** Milliseconds for the end of everything. Closing handshakes take 150 at most. */
const END = 10_000;

/** Turns of the loop after the end of the last context, at most. */
const MOST_TURNS = 200;

/** After so many sequences the handles and descriptors of the process are counted. */
const CENSUS_EVERY = 100;

/** Plays one sequence; resolves with the calls that were made and what was against the laws. */
async function playSteps(uvws, root, steps, seed) {
  const world = new World(uvws, play);
  world.root = root;
  for (const step of steps) await play(world, step);
  try {
    await within(end(world, seed), 'the end', END);
  } catch (error) {
    const open = world.contexts.filter(({ isSettled }) => !isSettled);
    const left = open.map(({ name, context }) => `${name} ${JSON.stringify(context.stats())}`);
    world.fault(`${error.message}: ${left.join(', ')}`);
  }
  world.conclude();
  return { calls: world.calls, faults: world.faults };
}

async function end(world, seed) {
  world.isEnding = true;
  world.contexts.forEach((it, index) => {
    const isAbrupt = (seed + index) % 2 === 0;
    it.asked = Math.max(it.asked, isAbrupt ? 3 : 2);
    if (isAbrupt) it.context.destroy();
    else it.context.close({ timeout: 50 });
  });
  await Promise.all(world.contexts.map(({ closed }) => closed));
  for (const peer of world.peers) peer.destroy();
  for (const server of world.httpServers) {
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
  }
  for (const { worker, hasExited } of world.workers) {
    if (!hasExited) await worker.terminate();
  }
  // What was made for a context that had ended is told of it in the next turns, and each exception
  // puts off what else is to come in its own.
  const isOver = () =>
    world.thrown === 0 &&
    world.peers.every(({ closed }) => closed) &&
    world.sockets.every(({ closes }) => closes > 0);
  for (let i = 0; i < MOST_TURNS && (i < 3 || !isOver()); i++) await turns(1);
}

/**
 * Plays the sequences of some seeds. `onSeed` hears of each before it is played.
 *
 * @returns {Promise<{ sequences: number, calls: number, faults: string[], seed?: number }>} Up to the
 *   first sequence that breaks a law
 */
async function playSeeds(uvws, root, seeds, { withWorkers = true, onSeed, until } = {}) {
  // Node makes its standard streams when they are first looked at: before the count.
  for (const stream of [process.stdout, process.stderr]) stream.write('');
  const baseline = withWorkers ? census.take() : null;
  let [sequences, calls] = [0, 0];
  for (const seed of seeds) {
    if (until?.()) break;
    onSeed?.(seed, { sequences, calls });
    const steps = planOf(seed, { withWorkers });
    const outcome = await playSteps(uvws, root, steps, seed);
    sequences++;
    calls += outcome.calls;
    const { faults } = outcome;
    if (baseline !== null && sequences % CENSUS_EVERY === 0) {
      await census.settled(baseline).catch((error) => faults.push(error.message));
    }
    if (faults.length > 0) return { sequences, calls, faults, seed, steps };
  }
  if (baseline !== null) {
    try {
      await census.settled(baseline);
    } catch (error) {
      return { sequences, calls, faults: [error.message] };
    }
  }
  return { sequences, calls, faults: [] };
}

/** Cuts a sequence that breaks a law down to the steps that matter. */
function shrinkSteps(uvws, root, steps, seed) {
  return shrink(
    steps,
    async (shorter) => (await playSteps(uvws, root, shorter, seed)).faults.length > 0,
  );
}

module.exports = { playSeeds, playSteps, shrinkSteps };
