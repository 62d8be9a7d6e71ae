'use strict';

// Makes calls of the system, of libuv and of Node-API fail that do not fail by themselves, one at a time,
// and holds that nothing crashes, hangs or leaks, and that everybody hears of it who is to
// (the laws are in scripts/faults/scene.js).
//
//   node scripts/faults.js                    every scenario, over sockets and over libuv's handles
//   node scripts/faults.js --only echo,tls    some scenarios
//   node scripts/faults.js --point recv       one point, or all whose names begin so: panic:
//   node scripts/faults.js --list             and say which calls there are, and how many of each
//
// The addon is built with the feature `faults` (faults/) beside a copy of the package, in build/faults. Each
// scenario is played in a process of its own: first without a fault, where its calls are counted, then with
// each of them failing. A process that crashes or hangs is followed by another one that goes on behind what
// it came to.

const { spawn, spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const { cargoBuild, replaceFile, ROOT } = require('./build.js');
const { functionsOfLibuv } = require('./faults/points.js');
const { SCENARIOS } = require('./faults/scenarios.js');

const PACKAGE = path.join(ROOT, 'build', 'faults', 'package');
const CHILD = path.join(__dirname, 'faults', 'play.js');

/** What carries connections: UVWS_TRANSPORT. */
const TRANSPORTS = ['', 'uv'];

/** Milliseconds without a line after which a process hangs. */
const PATIENCE = 60_000;

/** A scenario that ends so often without coming to its end is given up. */
const MOST_CRASHES = 10;

/** With assertions and checks of overflows, but not as slow as without any optimisation. */
const BUILD = [
  ...['--features', 'faults', '--config', 'profile.dev.opt-level=1'],
  ...['--config', 'profile.dev.package.zlib-rs.opt-level=3'],
];

/** Makes a copy of the package whose addon can be made to fail. */
function prepare(library = cargoBuild(BUILD)) {
  for (const name of ['index.js', 'package.json', 'lib']) {
    fs.cpSync(path.join(ROOT, name), path.join(PACKAGE, name), { recursive: true });
  }
  replaceFile(library, path.join(PACKAGE, 'uvws.node'));
}

/** What fails while the addon is loaded, and what is said of it. */
const LOADS = [
  ['uv_version', 2 << 16, /needs libuv 1\.x, and the host runs on 2\.0\.0$/],
  ['uv_handle_size', 1, /its uv_tcp_t is larger than expected$/],
  ['uv_req_size', 1, /its uv_write_t is larger than expected$/],
  ['napi_get_uv_event_loop', 9, /this one has no loop$/],
  ['napi_set_instance_data', 9, /could not attach to this environment$/],
  ['napi_add_async_cleanup_hook', 9, /could not register its cleanup hook$/],
];

/** Loads the package in a process of its own with one call failing; returns what is wrong with that. */
function faultOfLoad([point, fault, expected], env) {
  const program = `try { require(${JSON.stringify(PACKAGE)}) } catch (e) { console.log(e.code, e.message) }`;
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, ['-e', program], {
    encoding: 'utf8',
    env: { ...env, NODE_OPTIONS: '', UVWS_FAULT: `${point}=${fault}` },
    timeout: PATIENCE,
  });
  const text = stdout.trim();
  const isRight = status === 0 && stderr === '' && text.startsWith('ERR_UVWS_ADDON ');
  if (isRight && expected.test(text)) return [];
  return [`at load: ${point}: ${signal ?? `exited with ${status}`}: ${text} ${stderr}`];
}

/** Runs a child from an injection on; resolves with how it ended. */
function runChild(run, first) {
  return new Promise((resolve) => {
    const args = [CHILD, PACKAGE, run.name, String(first), run.point ?? ''];
    const env = {
      ...run.env,
      ...{ NODE_OPTIONS: '', RUST_BACKTRACE: '0', UVWS_TRANSPORT: run.transport },
    };
    const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    const state = { at: first - 1, where: 'at the start', isDone: false, why: null };
    let timer;
    const wait = () => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        state.why = state.isDone ? 'does not end by itself' : 'hangs';
        child.kill('SIGKILL');
      }, PATIENCE);
    };
    wait();
    let rest = '';
    child.stdout.setEncoding('utf8').on('data', (chunk) => {
      wait();
      const lines = (rest + chunk).split('\n');
      rest = lines.pop();
      for (const line of lines) read(run, state, line);
    });
    // A panic that was caught ends a connection; it is a fault all the same.
    const note = (text) => run.faults.push(`${state.where}: ${text.trim()}`);
    child.stderr.setEncoding('utf8').on('data', note);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      if (code !== 0) state.why ??= signal === null ? `exited with ${code}` : `ended by ${signal}`;
      if (state.why !== null) run.faults.push(`${state.where}: ${state.why}`);
      resolve(state);
    });
  });
}

/** Reads a line of a child. */
function read(run, state, line) {
  const [word, ...words] = line.split(' ');
  if (word === 'at') {
    state.at = Number(words[0]);
    state.where = words.slice(1).join(' ');
  } else if (word === 'point') run.points.set(words[0], Number(words[1]));
  else if (word === 'injected') run.injected++;
  else if (word === 'missed') run.missed++;
  else if (word === 'fault') run.faults.push(`${state.where}: ${words.join(' ')}`);
  else if (word === 'done') state.isDone = true;
}

/** Plays a scenario with everything in it failing. */
async function playAll(run) {
  const start = performance.now();
  let crashes = 0;
  for (let first = 0; ;) {
    const state = await runChild(run, first);
    if (state.isDone || state.at < first || ++crashes === MOST_CRASHES) break;
    first = state.at + 1;
  }
  run.seconds = (performance.now() - start) / 1000;
}

/**
 * Plays scenarios, two at a time for each processor: they wait more than they work.
 *
 * @returns {Promise<{ injected: number, points: Map<string, number>, faults: string[] }>} How many calls
 *   have failed, how many there were of each point, and what was against the laws
 */
async function injectAll({
  names = Object.keys(SCENARIOS),
  point,
  env = process.env,
  onRun = () => {},
} = {}) {
  const runs = names.flatMap((name) =>
    TRANSPORTS.filter((transport) => transport === '' || SCENARIOS[name].overHandles).map(
      (transport) => ({
        ...{ name, transport, point, env },
        ...{ points: new Map(), injected: 0, missed: 0, faults: [] },
      }),
    ),
  );
  const waiting = [...runs];
  const work = async () => {
    for (let run; (run = waiting.shift()) !== undefined;) {
      await playAll(run);
      onRun(run);
    }
  };
  await Promise.all(Array.from({ length: 2 * os.availableParallelism() }, work));
  const result = {
    injected: LOADS.length,
    points: new Map(LOADS.map(([key]) => [key, 1])),
    faults: [],
  };
  result.faults.push(...LOADS.flatMap((load) => faultOfLoad(load, env)));
  for (const { name, transport, injected, points, faults } of runs) {
    result.injected += injected;
    for (const [key, count] of points)
      result.points.set(key, (result.points.get(key) ?? 0) + count);
    const where = transport === '' ? name : `${name} over ${transport}`;
    result.faults.push(...faults.map((text) => `${where}: ${text}`));
  }
  if (names.length === Object.keys(SCENARIOS).length && point === undefined) {
    const functions = functionsOfLibuv();
    if (functions.length === 0) throw new Error('src/uv/symbols.rs has no function that can fail');
    const missed = functions.filter((name) => !result.points.has(name));
    result.faults.push(...missed.map((name) => `${name}: no scenario comes to it`));
  }
  return result;
}

/** Says how the injections of a scenario went. */
function report({ name, transport, injected, missed, faults, seconds }) {
  const over = transport === '' ? '' : ` over ${transport}`;
  const figures = `${injected} injected, ${missed} not come to, ${faults.length} faults`;
  console.log(`${name}${over}: ${figures}, ${seconds.toFixed(1)} s`);
}

module.exports = { injectAll, PACKAGE, prepare, report };

function option(name) {
  const index = process.argv.indexOf(name);
  return index === -1 ? undefined : process.argv[index + 1];
}

async function main() {
  prepare();
  const { injected, points, faults } = await injectAll({
    names: option('--only')?.split(','),
    point: option('--point'),
    onRun: report,
  });
  if (process.argv.includes('--list')) {
    for (const [point, count] of [...points].sort()) console.log(`${point} ${count}`);
  }
  for (const fault of faults) console.error(fault);
  console.log(`${injected} calls failed at ${points.size} points: ${faults.length} faults`);
  if (faults.length > 0 || injected === 0) process.exitCode = 1;
}

if (require.main === module) {
  if (process.platform === 'linux') main();
  else console.log('skipped: calls are intercepted on Linux only');
}
