'use strict';

/**
 * The benchmark: `npm run bench` in the project's root, or `node run.js` here; see README.md.
 *
 * It builds what it needs, starts itself again in a network of its own where the system allows
 * that, and there runs every row: each round gives each server one run, in turn, so that whatever
 * else the machine does falls on all of them.
 */

const { spawnSync, spawn } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { readOptions, USAGE } = require('./lib/options');
const {
  programs,
  startServer,
  runLoad,
  runProgram,
  killAll,
  Unsupported,
} = require('./lib/processes');
const { BENCH, OPTIONAL_PEERS, versionOf } = require('./lib/peers');
const { rows } = require('./lib/rows');
const { summarize, judge } = require('./lib/summary');
const { rowTable, overview, verdictTable, countVerdicts } = require('./lib/tables');
const { publish } = require('./lib/publish');
const { certificate } = require('./servers/announce');
const { makeCertificate } = require('../__tests__/support/certificate');

/** What `launch` exits with when it could not do what was asked. */
const LAUNCH_FAILED = 125;
/** What a run takes beside warm-up and window, in seconds: starting and ending a server... */
const RUN_OVERHEAD = 0.5;
/** ...opening a connection... */
const CONNECTION_OVERHEAD = 0.00015;
/** ...and what holding connections has by way of pauses. */
const IDLE_OVERHEAD = 2;
/** A run of the row `require` is the median of so many processes, each of which takes so long. */
const PROCESSES = 5;
const PROCESS_OVERHEAD = 0.1;

async function main() {
  const options = readOptions(process.argv.slice(2));
  if (options.help) return console.log(USAGE);
  if (options.list)
    return console.log(rows.map(({ name, title }) => `${name.padEnd(22)} ${title}`).join('\n'));
  if (options.from) return show(JSON.parse(fs.readFileSync(options.from, 'utf8')), options);
  if (!options['own-network']) {
    prepare();
    if (!options['shared-network'] && (await againInOwnNetwork())) return;
    console.log(
      'note: measured in the network of this machine, whose settings may favour some sizes\n',
    );
  }
  await measure(options);
}

/** Installs the peers and builds the load generator, if that has not been done; makes a certificate. */
function prepare() {
  const run = (command, args) => {
    const { status, error } = spawnSync(command, args, {
      cwd: BENCH,
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    if (status !== 0)
      throw new Error(`${command} ${args.join(' ')} failed${error ? `: ${error.message}` : ''}`);
  };
  if (!isInstalled()) run('npm', ['ci']);
  // The programs are looked for below bench/load, wherever other crates are built.
  const target = path.join('load', 'target');
  run('cargo', [
    'build',
    '--release',
    '--quiet',
    '--manifest-path',
    'load/Cargo.toml',
    '--target-dir',
    target,
  ]);
  const made = makeCertificate();
  for (const [name, file] of Object.entries(certificate)) {
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(file, made[name], { mode: 0o600 });
  }
}

/** Tells whether the peers were installed after the list of them was last changed. */
function isInstalled() {
  const modified = (...names) => fs.statSync(path.join(BENCH, ...names)).mtimeMs;
  // npm writes this file when it is done.
  const installed = path.join('node_modules', '.package-lock.json');
  return (
    fs.existsSync(path.join(BENCH, installed)) &&
    modified(installed) >= modified('package-lock.json')
  );
}

/**
 * Runs this benchmark in a network of its own; resolves to false if the system does not allow that.
 */
async function againInOwnNetwork() {
  const args = [
    '--network',
    '--',
    process.execPath,
    __filename,
    ...process.argv.slice(2),
    '--own-network',
  ];
  const child = spawn(programs.launch, args, { stdio: ['ignore', 'inherit', 'pipe'] });
  let complaint = '';
  child.stderr.setEncoding('utf8').on('data', (text) => {
    if (text.startsWith('launch: ')) complaint += text;
    else process.stderr.write(text);
  });
  // Ctrl-C reaches both; other signals are passed on, and the child cleans up.
  process.on('SIGINT', () => {});
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  const code = await new Promise((resolve) => child.on('close', (status) => resolve(status ?? 1)));
  if (code === LAUNCH_FAILED) {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.removeAllListeners(signal);
    process.stderr.write(complaint);
    return false;
  }
  process.exitCode = code;
  return true;
}

async function measure(options) {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(signal, () => {
      killAll();
      process.exit(128 + os.constants.signals[signal]);
    });
  }
  const { peers, notes } = await findPeers(options);
  const estimate = estimateSeconds(options, peers);
  const host = describeHost(options);
  console.log(
    `${host.cpu}, ${host.cores} cores, Linux ${host.kernel}, Node ${host.node}, ${host.congestionControl}`,
  );
  console.log(
    `server on core ${options.serverCore}, load on core ${options.loadCore}; about ${minutes(estimate)}\n`,
  );
  if (options.serverCore === options.loadCore)
    console.log('warning: server and load share a core\n');

  const deadline = Date.now() + (2 * estimate + 60) * 1000;
  const report = {
    date: new Date().toISOString(),
    command: `npm run bench${options.full ? ' -- --full' : ''}`,
    host,
    pace: options.pace,
    versions: Object.fromEntries(peers.map((peer) => [peer, versionOf(peer)])),
    notes,
    rows: [],
  };
  for (const row of options.rows) {
    const result = await measureRow(row, options, peers, deadline);
    report.rows.push(result);
    console.log(`${row.name}: ${result.title}\n\n${rowTable(result)}\n`);
    if (result.errors.length) process.exitCode = 1;
  }
  const file = writeResults(report);
  show(report, options);
  console.log(`written to ${file}`);
}

/** Prints what sums a run up, and publishes it if that is wanted. */
function show(report, options) {
  const { all, met } = countVerdicts(report.rows);
  console.log(`${overview(report.rows)}\n\nmedians of ${report.pace.rounds} rounds`);
  if (all) console.log(`\n${verdictTable(report.rows)}\n\n${met} of ${all} targets are met`);
  if (options.publish) publish(report);
}

/** Starts each server once: those that cannot run are left out, unless they were asked for. */
async function findPeers(options) {
  const found = [];
  const notes = [];
  for (const peer of options.peers) {
    try {
      const server = await startServer(peer, { task: 'echo' }, options.serverCore);
      await server.stop();
      found.push(peer);
    } catch (error) {
      if (options.explicitPeers) throw error;
      notes.push(`Without ${peer}, which does not run here.`);
      console.log(`note: without ${peer}, which does not run here (${error.message})`);
      if (!OPTIONAL_PEERS.includes(peer)) process.exitCode = 1;
    }
  }
  return { peers: found, notes };
}

/** @returns {Promise<import('./lib/summary').Result>} */
async function measureRow(row, options, peers, deadline) {
  const { name, section, mode, figure } = row;
  const contenders = row.contenders.filter(({ peer }) => peers.includes(peer));
  const runs = Object.fromEntries(contenders.map((contender) => [contender.name, []]));
  const missing = {};
  const errors = [];
  let { title, load } = row;
  try {
    if (row.halfOfWs) {
      const rate = await halfOfWs(row, options);
      load = [...load, '--rate', rate];
      title += `: ${rate.toLocaleString('en-US')} a second`;
    }
    for (let round = 1; round <= options.pace.rounds; round++) {
      for (const contender of contenders) {
        if (contender.name in missing) continue;
        if (Date.now() > deadline) throw new Error('out of time');
        progress(`${name}: round ${round} of ${options.pace.rounds}, ${contender.name}`);
        try {
          runs[contender.name].push(await measureOnce({ ...row, load }, options, contender));
        } catch (error) {
          if (error instanceof Unsupported) missing[contender.name] = error.message;
          else errors.push(`${name}, round ${round}, ${contender.name}: ${error.message}`);
        }
      }
    }
  } catch (error) {
    errors.push(`${name}: ${error.message}`);
  }
  progress('');
  const summaries = {};
  for (const [contender, own] of Object.entries(runs)) {
    if (own.length) summaries[contender] = { ...summarize(figure, own), runs: own };
  }
  const verdicts = judge(row, summaries);
  return { name, title, section, mode, figure, contenders: summaries, missing, verdicts, errors };
}

/** One run: a fresh server, one load. */
async function measureOnce(row, options, { peer, work }) {
  const warmup = warmupOf(row, options.pace);
  const window = windowOf(row, options.pace);
  const duration = (warmup + window) * 1000;
  const core = options.serverCore;
  if (row.mode === 'cycles') {
    const argument = JSON.stringify({ ...work, warmup, seconds: window });
    return runProgram(peer, `${peer}.js`, argument, core, duration);
  }
  if (row.mode === 'require') return timeRequire(peer, core);
  const server = await startServer(peer, work, core);
  try {
    const { port, pid } = server;
    const args = ['--mode', row.mode, '--port', port, '--pid', pid, '--core', options.loadCore];
    args.push('--connections', row.connections, '--warmup', warmup, '--seconds', window);
    return await runLoad([...args, ...row.load].map(String), duration);
  } catch (error) {
    // A server that crashes closes its connections; why is more telling than that.
    const complaint = server.complaint();
    throw complaint ? new Error(`${error.message}; server: ${complaint}`) : error;
  } finally {
    await server.stop();
  }
}

/** Half the messages that `ws` echoes in a second, with one in flight per connection. */
async function halfOfWs(row, options) {
  const contender = { name: 'ws', peer: 'ws', work: { task: 'echo' } };
  const { per_second: most } = await measureOnce({ ...row, mode: 'echo' }, options, contender);
  // A round number, to be repeated in words.
  const step = 10 ** Math.floor(Math.log10(most / 2) - 1);
  return Math.round(most / 2 / step) * step;
}

async function timeRequire(peer, core) {
  const name = { uvws: '../..', uws: '@trufflesuite/uws-js-unofficial' }[peer] ?? peer;
  const runs = [];
  for (let count = 0; count < PROCESSES; count++) {
    runs.push(await runProgram(peer, 'require.js', name, core, PROCESS_OVERHEAD * 1000));
  }
  return summarize('milliseconds', runs).medians;
}

function warmupOf(row, pace) {
  return pace.warmup * (row.warmups ?? 1);
}

function windowOf(row, pace) {
  return row.mode === 'idle' ? pace.settle : pace.seconds * (row.windows ?? 1);
}

function estimateSeconds({ rows, pace }, peers) {
  const oneRun = (row) => {
    if (row.mode === 'require') return PROCESSES * PROCESS_OVERHEAD;
    const opening = (row.connections ?? 0) * CONNECTION_OVERHEAD;
    const pauses = row.mode === 'idle' ? IDLE_OVERHEAD : warmupOf(row, pace);
    return RUN_OVERHEAD + opening + pauses + windowOf(row, pace);
  };
  const oneRound = (row) =>
    oneRun(row) * row.contenders.filter(({ peer }) => peers.includes(peer)).length;
  return rows.reduce((sum, row) => sum + oneRound(row), 0) * pace.rounds;
}

function describeHost(options) {
  const congestionControl = '/proc/sys/net/ipv4/tcp_congestion_control';
  return {
    cpu: os.cpus()[0].model.trim(),
    cores: os.cpus().length,
    kernel: os.release(),
    node: process.version,
    congestionControl: fs.readFileSync(congestionControl, 'utf8').trim(),
    ownNetwork: options['own-network'],
  };
}

/** Returns the name of the file that holds the results. */
function writeResults(report) {
  const text = `${JSON.stringify(report, null, 2)}\n`;
  const folder = path.join(BENCH, 'results');
  fs.mkdirSync(folder, { recursive: true });
  const name = `${report.date.replace(/[:.]/g, '-')}.json`;
  for (const file of [name, 'latest.json']) fs.writeFileSync(path.join(folder, file), text);
  return path.join('bench', 'results', name);
}

/** On a terminal, shows what is being done in a line that the next output replaces. */
function progress(text) {
  if (process.stdout.isTTY) process.stdout.write(`\r\x1b[K${text}`);
}

function minutes(seconds) {
  return seconds < 90 ? `${Math.ceil(seconds)} seconds` : `${Math.ceil(seconds / 60)} minutes`;
}

main().catch((error) => {
  killAll();
  console.error(error.message);
  process.exitCode = 1;
});
