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
const { BENCH, programs, startServer, runLoad, killAll } = require('./lib/processes');
const { rows, figures } = require('./lib/rows');
const { summarize, rowTable, overview } = require('./lib/summary');

/** What `launch` exits with when it could not do what was asked. */
const LAUNCH_FAILED = 125;
/** What a run takes beside warm-up and window, in seconds: starting, connecting, ending. */
const RUN_OVERHEAD = 0.6;
const IDLE_OVERHEAD = 4;

async function main() {
  const options = readOptions(process.argv.slice(2));
  if (options.help) return console.log(USAGE);
  if (options.list)
    return console.log(rows.map(({ name, title }) => `${name.padEnd(18)} ${title}`).join('\n'));
  if (!options['own-network']) {
    prepare();
    if (!options['shared-network'] && (await againInOwnNetwork())) return;
    console.log(
      'note: measured in the network of this machine, whose settings may favour some sizes\n',
    );
  }
  await measure(options);
}

/** Installs the peers and builds the load generator, if that has not been done. */
function prepare() {
  const run = (command, args) => {
    const { status, error } = spawnSync(command, args, {
      cwd: BENCH,
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    if (status !== 0)
      throw new Error(`${command} ${args.join(' ')} failed${error ? `: ${error.message}` : ''}`);
  };
  if (!fs.existsSync(path.join(BENCH, 'node_modules'))) run('npm', ['ci']);
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
  const peers = await findPeers(options);
  const estimate = estimateSeconds(options, peers.length);
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
  const results = [];
  for (const row of options.rows) {
    const { runs, errors } = await measureRow(row, options, peers, deadline);
    const summaries = new Map();
    for (const peer of peers)
      if (runs[peer].length) summaries.set(peer, summarize(row, runs[peer]));
    results.push({ row, runs, errors, summaries });
    console.log(`${row.name}: ${row.title}\n\n${rowTable(row, summaries)}\n`);
    for (const error of errors) console.log(`failed: ${error}\n`);
    if (errors.length) process.exitCode = 1;
  }
  console.log(
    `${overview(results, peers)}\n\nCPU us per message or connection; idle: resident bytes per connection`,
  );
  console.log(`medians of ${options.pace.rounds} rounds`);
  writeResults(host, options, peers, results);
}

/** Starts each server once: those that cannot run are left out, unless they were asked for. */
async function findPeers(options) {
  const found = [];
  for (const peer of options.peers) {
    try {
      const server = await startServer(peer, options.serverCore);
      await server.stop();
      found.push(peer);
    } catch (error) {
      if (options.explicitPeers) throw error;
      console.log(`note: without ${peer}, which does not run here (${error.message})`);
      process.exitCode = 1;
    }
  }
  return found;
}

async function measureRow(row, options, peers, deadline) {
  const runs = Object.fromEntries(peers.map((peer) => [peer, []]));
  const errors = [];
  for (let round = 1; round <= options.pace.rounds; round++) {
    for (const peer of peers) {
      if (Date.now() > deadline) return { runs, errors: [...errors, `${row.name}: out of time`] };
      progress(`${row.name}: round ${round} of ${options.pace.rounds}, ${peer}`);
      try {
        runs[peer].push(await measureOnce(row, options, peer));
      } catch (error) {
        errors.push(`${row.name}, round ${round}, ${peer}: ${error.message}`);
      }
    }
  }
  progress('');
  return { runs, errors };
}

/** One run: a fresh server, one load. */
async function measureOnce(row, options, peer) {
  const server = await startServer(peer, options.serverCore);
  try {
    const { seconds, settle } = options.pace;
    const warmup = warmupOf(row, options.pace);
    const window = row.mode === 'idle' ? settle : seconds;
    const args = [
      '--mode',
      row.mode,
      '--port',
      server.port,
      '--pid',
      server.pid,
      '--core',
      options.loadCore,
    ];
    args.push('--warmup', warmup, '--seconds', window, ...row.load);
    return await runLoad(args.map(String), (warmup + window) * 1000);
  } catch (error) {
    // A server that crashes closes its connections; why is more telling than that.
    const complaint = server.complaint();
    throw complaint ? new Error(`${error.message}; server: ${complaint}`) : error;
  } finally {
    await server.stop();
  }
}

function warmupOf(row, pace) {
  return pace.warmup * (row.warmups ?? 1);
}

function estimateSeconds({ rows, pace }, peers) {
  const oneRun = (row) =>
    row.mode === 'idle'
      ? pace.settle + IDLE_OVERHEAD
      : warmupOf(row, pace) + pace.seconds + RUN_OVERHEAD;
  const oneRound = rows.reduce((sum, row) => sum + oneRun(row), 0);
  return oneRound * pace.rounds * peers;
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

function writeResults(host, options, peers, results) {
  const date = new Date().toISOString();
  const versions = Object.fromEntries(peers.map((peer) => [peer, versionOf(peer)]));
  const measured = results.map(({ row, runs, errors, summaries }) => ({
    name: row.name,
    title: row.title,
    unit: figures[row.mode].unit,
    targets: row.targets,
    errors,
    peers: Object.fromEntries(
      [...summaries].map(([peer, summary]) => [peer, { ...summary, runs: runs[peer] }]),
    ),
  }));
  const text = `${JSON.stringify({ date, host, pace: options.pace, versions, rows: measured }, null, 2)}\n`;
  const folder = path.join(BENCH, 'results');
  fs.mkdirSync(folder, { recursive: true });
  const name = `${date.replace(/[:.]/g, '-')}.json`;
  for (const file of [name, 'latest.json']) fs.writeFileSync(path.join(folder, file), text);
  console.log(`written to ${path.join('bench', 'results', name)}`);
}

function versionOf(peer) {
  const packages = {
    uvws: '..',
    ws: 'node_modules/ws',
    uws: 'node_modules/@trufflesuite/uws-js-unofficial',
  };
  if (!(peer in packages)) return null;
  const file = path.join(BENCH, packages[peer], 'package.json');
  return JSON.parse(fs.readFileSync(file, 'utf8')).version;
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
