// Runs a piece of a test in a Node process of its own, where it can be proved that nothing is left
// and that the process ends by itself. The piece is a function that is written where the test
// is; its source is what the child gets, so it sees nothing but its parameter (support/tools.js).

const { spawn } = require('node:child_process');
const path = require('node:path');

const MAIN = path.join(__dirname, 'child-main.js');

/** The line by which the child tells that the piece is done and everything is as it was before. */
const RESULT = 'uvws-test-result: ';

/** Time from that line to the end of the process. What still holds the loop then is a leak. */
const EXIT_LIMIT = 10_000;

/**
 * Runs `body(tools)` in a child process; resolves with how that went.
 *
 * @param {Function} body the piece; what it returns is JSON and becomes `result`
 * @param {object} [options]
 * @param {unknown} [options.input] JSON that the piece sees as `tools.input`
 * @param {number} [options.timeout] milliseconds after which the child is killed
 * @param {string[]} [options.nodeArgs] options for node
 * @param {object} [options.env] more environment variables
 * @param {string[]} [options.wrapper] a program and its arguments that run node
 * @param {(child: import('node:child_process').ChildProcess) => void} [options.onSpawn]
 */
function runChild(body, options = {}) {
  const { input = null, timeout = 50_000, nodeArgs = [], env, wrapper = [], onSpawn } = options;
  const command = [
    ...wrapper,
    process.execPath,
    ...nodeArgs,
    MAIN,
    String(body),
    JSON.stringify(input),
  ];
  return new Promise((resolve, reject) => {
    const child = spawn(command[0], command.slice(1), {
      stdio: ['pipe', 'pipe', 'pipe', 'ipc'],
      // A process ends behind its last look-up: a name server that does not answer is given up soon.
      env: { ...process.env, NODE_OPTIONS: '', RES_OPTIONS: 'timeout:1 attempts:2', ...env },
    });
    const outcome = { code: null, signal: null, stdout: '', stderr: '', isLate: false };
    let exitTimer;
    const kill = (why) => {
      outcome.isLate = true;
      outcome.stderr += `\n${why}: killed`;
      child.kill('SIGKILL');
    };
    const timer = setTimeout(() => kill(`still running after ${timeout} ms`), timeout);
    child.stdout.setEncoding('utf8').on('data', (text) => {
      outcome.stdout += text;
      if (exitTimer === undefined && outcome.stdout.includes(RESULT)) {
        exitTimer = setTimeout(
          () => kill(`done, but still running ${EXIT_LIMIT} ms later`),
          EXIT_LIMIT,
        );
      }
    });
    child.stderr.setEncoding('utf8').on('data', (text) => (outcome.stderr += text));
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      clearTimeout(exitTimer);
      outcome.code = code;
      outcome.signal = signal;
      const line = outcome.stdout.split('\n').find((text) => text.startsWith(RESULT));
      if (line) outcome.result = JSON.parse(line.slice(RESULT.length)).value;
      outcome.isDone = line !== undefined;
      resolve(outcome);
    });
    onSpawn?.(child);
  });
}

/**
 * Runs `body(tools)` in a child process and returns its result. Throws unless the piece got to its
 * end, nothing was left over, no panic had to be caught, and the process then ended by itself, with
 * status 0.
 */
async function inChild(body, options) {
  const outcome = await runChild(body, options);
  const hasPanicked = outcome.stderr.includes('panicked at');
  if (outcome.isDone && outcome.code === 0 && !outcome.isLate && !hasPanicked)
    return outcome.result;
  const end = outcome.signal ? `was ended by ${outcome.signal}` : `exited with ${outcome.code}`;
  const progress = outcome.isDone ? 'got to its end' : 'did not get to its end';
  throw new Error(
    `the child ${progress} and ${end}\n--- stdout\n${outcome.stdout}\n--- stderr\n${outcome.stderr}`,
  );
}

module.exports = { RESULT, inChild, runChild };
