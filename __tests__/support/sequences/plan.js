// Random sequences of calls, as lists of steps that can be cut anywhere: a step names what to do and
// carries numbers, which choose among whatever there is when it is played.

const { generator } = require('../tools.js');

/** What a step may do, and how often it does: see actions.js. */
const WEIGHTS = {
  abort: 1,
  bufferedAmount: 1,
  close: 6,
  closeContext: 2,
  closeServer: 2,
  connect: 14,
  connectNowhere: 1,
  context: 3,
  destroy: 2,
  drain: 1,
  fragments: 2,
  large: 3,
  pause: 3,
  ping: 3,
  publish: 4,
  rawConnect: 3,
  rawEnd: 1,
  rawReset: 2,
  rawWrite: 4,
  ref: 1,
  resume: 4,
  send: 14,
  serve: 5,
  serveHttp: 2,
  stats: 1,
  subscribe: 3,
  terminate: 4,
  throwIn: 3,
  turn: 16,
  unref: 1,
  wait: 5,
  wake: 2,
  when: 12,
  worker: 1,
};

const NAMES = Object.keys(WEIGHTS);
const TOTAL = NAMES.reduce((sum, name) => sum + WEIGHTS[name], 0);

/** What may be done from within a handler. */
const WITHIN = NAMES.filter(
  (name) => !['turn', 'wait', 'when', 'throwIn', 'worker'].includes(name),
);

/** Numbers of a step: what it acts on, and how. */
const NUMBERS = 4;

/** Steps of a sequence, at most. */
const MAX_STEPS = 60;

/** The sequence of a seed: always the same one. */
function planOf(seed, { withWorkers = true } = {}) {
  const random = generator(seed);
  // The first numbers of neighbouring seeds are alike.
  for (let i = 0; i < 8; i++) random();
  const below = (limit) => Math.floor(random() * limit);
  const numbers = () => Array.from({ length: NUMBERS }, () => below(1 << 16));
  const choose = () => {
    let left = below(TOTAL);
    return NAMES.find((name) => (left -= WEIGHTS[name]) < 0);
  };
  const steps = [
    ['context', ...numbers()],
    ['serve', ...numbers()],
    ['turn', ...numbers()],
  ];
  const length = 3 + below(MAX_STEPS - 2);
  while (steps.length < length) {
    const name = choose();
    if (name === 'worker' && !withWorkers) continue;
    const step = [name, ...numbers()];
    if (name === 'when') step.push([WITHIN[below(WITHIN.length)], ...numbers()]);
    steps.push(step);
  }
  return steps;
}

/**
 * Cuts a sequence down to steps that still fail: halves first, then smaller pieces.
 *
 * @param {(steps: Array[]) => Promise<boolean>} fails
 */
async function shrink(steps, fails, attempts = 200) {
  for (let size = steps.length >> 1; size >= 1 && attempts > 0;) {
    let isShorter = false;
    for (let at = 0; at < steps.length && attempts > 0; attempts--) {
      const shorter = [...steps.slice(0, at), ...steps.slice(at + size)];
      if (await fails(shorter)) {
        steps = shorter;
        isShorter = true;
      } else {
        at += size;
      }
    }
    if (!isShorter || size > steps.length) size = Math.min(size >> 1, steps.length);
  }
  return steps;
}

module.exports = { planOf, shrink };
