// Random sequences of calls, a few of them. `node scripts/sequences.js` plays more.

const { inChild } = require('../support/child.js');

/** Of these seeds the sequences are always the same. */
const FIXED = Array.from({ length: 150 }, (_, index) => index + 1);
/** More, from a random seed on, or from the one in the environment. */
const MORE = 50;
const FIRST = Number(process.env.UVWS_SEQUENCE_SEED ?? Math.floor(Math.random() * 2 ** 31));

const play = async ({ uvws, assert, input, require, ROOT }) => {
  const { playSeeds } = require('./sequences/run.js');
  const { seed, faults, sequences, calls } = await playSeeds(uvws, ROOT, input);
  assert.deepEqual(faults, [], `seed ${seed}: ${faults.join('\n')}`);
  return { sequences, calls };
};

test('sequences of calls keep to the laws of the lifecycle', async () => {
  const { sequences, calls } = await inChild(play, { input: FIXED, timeout: 60_000 });
  expect(sequences).toBe(FIXED.length);
  expect(calls).toBeGreaterThan(FIXED.length);
}, 70_000);

// The name says the seed: UVWS_SEQUENCE_SEED plays it again.
test(`so do those from seed ${FIRST} on`, async () => {
  const input = Array.from({ length: MORE }, (_, index) => FIRST + index);
  const { sequences } = await inChild(play, { input, timeout: 60_000 });
  expect(sequences).toBe(MORE);
}, 70_000);
