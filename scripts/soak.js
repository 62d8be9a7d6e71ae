'use strict';

// A long run: a server, honest peers, and as many attackers. Prints what was measured and whether the
// law held, which the exit code tells as well, and writes all of it to build/soak.json.
//
//   node scripts/soak.js                 an hour
//   node scripts/soak.js --minutes 6     shorter: the law of memory wants an hour
//   node scripts/soak.js --counted       with the addon of scripts/faults.js, whose allocator counts: what has
//                                        been allocated and not freed, on all threads, to the byte
//
// A round is a minute. The first twelfth of them and then each sixth are the baseline, without attackers:
// so whatever else the machine does falls on both. After each everybody leaves but forty residents, and
// the server is sampled after collecting garbage. The law:
//
// - the latency of honest echoes under attack, p50, p99 and p99.9, is at most twice the baseline's
//   (medians of the rounds);
// - after a warm-up of a sixth under attack the objects on the heap (soak/heap.js), malloc's memory of the main
//   thread, what is neither malloc's nor the engine's nor of files (soak/maps.js), and what the addon has
//   allocated, if it counts, grow by less than 1 KiB a minute (the floor under the samples, for each of which
//   garbage was collected while nobody worked);
// - each connection has one 'close'; no exception; honest peers get each reply, and no error;
// - at the end there is no connection, handle or descriptor that was not there at the start.

const fs = require('node:fs');
const path = require('node:path');

const { Child } = require('./child.js');
const { PACKAGE, prepare } = require('./faults.js');
const { prefer } = require('./priority.js');
const { ATTACKS } = require('./soak/attacks.js');
const { bytesOfObjects } = require('./soak/heap.js');
const { residentOf } = require('./soak/maps.js');
const { median, rise } = require('./soak/statistics.js');

const HONEST = 200;
const RESIDENTS = 40;
const ROUND = 60_000;
/** How much of the time the baseline takes at first, and which round is quiet later on. */
const BASELINE = 1 / 12;
const QUIET_EVERY = 6;
const SETTLING = 5000;
const SETTLE_LIMIT = 20_000;
const BUILD = path.join(__dirname, '..', 'build');
const REPORT = path.join(BUILD, 'soak.json');
const SNAPSHOT = path.join(BUILD, 'soak.heapsnapshot');
const KIB = 1024;

const program = (name) => path.join(__dirname, 'soak', `${name}.js`);
const sleep = (time) => new Promise((resolve) => setTimeout(resolve, time));

function minutesAsked() {
  const index = process.argv.indexOf('--minutes');
  const minutes = index === -1 ? 60 : Number(process.argv[index + 1]);
  if (!(minutes >= 3)) throw new Error('--minutes takes a number of at least 3');
  return minutes;
}

/** Waits until the server has nobody but the residents; tells how many others there are. */
async function settle(server) {
  const limit = performance.now() + SETTLE_LIMIT;
  for (;;) {
    const { connections, pendingHandshakes } = await server.ask('look');
    const others = connections + pendingHandshakes - RESIDENTS;
    if (others <= 0 || performance.now() > limit) return others;
    await sleep(100);
  }
}

async function play(minutes, isCounted) {
  const folder = isCounted ? PACKAGE : path.join(__dirname, '..');
  const server = new Child(program('server'), [folder], ['--expose-gc']);
  const { port } = await server.ready;
  const honest = new Child(program('honest'), [port]);
  const attackers = new Child(program('attackers'), [port, HONEST]);
  await Promise.all([honest.ready, attackers.ready]);
  const children = [server, honest, attackers];
  prefer(server.process, honest.process);

  const start = performance.now();
  const minute = () => (performance.now() - start) / 60_000;
  const samples = [];
  const phases = { baseline: [], attack: [] };
  let stayed = 0;

  /** A round of work, and then a sample without it. */
  async function round(phase) {
    await honest.ask('go');
    if (phase === 'attack') await attackers.ask('go');
    // What comes together at the start is not measured.
    await sleep(SETTLING);
    await Promise.all([honest.ask('figures'), server.ask('delay')]);
    const before = await server.ask('look');
    const from = performance.now();
    await sleep(Math.min(ROUND, (minutes - minute()) * 60_000) - SETTLING);
    const [latency, delay, after] = await Promise.all([
      honest.ask('figures'),
      server.ask('delay'),
      server.ask('look'),
    ]);
    if (hasDied()) return;
    const cpu = (after.cpu - before.cpu) / (performance.now() - from);
    if (phase === 'attack') await attackers.ask('pause');
    await honest.ask('pause');
    const others = await settle(server);
    stayed = Math.max(stayed, others);
    const sample = { minute: minute(), phase, ...(await server.ask('sample')) };
    sample.resident = residentOf(server.process.pid);
    sample.objects = (await server.ask('snapshot', SNAPSHOT)) && bytesOfObjects(SNAPSHOT);
    samples.push(sample);
    phases[phase].push({ latency, delay, cpu, loadRss: after.rss, clients: after.clients });
    console.log(
      `${sample.minute.toFixed(1)} ${phase}: p50 ${latency.small.p50} p99 ${latency.small.p99} ` +
        `p99.9 ${latency.small['p99.9']} ms, cpu ${cpu.toFixed(2)}, objects ${kib(sample.objects)}, ` +
        `rss ${kib(sample.rss)}, ${sample.addon === null ? '' : `addon ${sample.addon}, `}${sample.counts.connections} connections, ${others} stayed`,
    );
  }

  const hasDied = () => children.some((child) => !child.process.connected);
  while (minute() < minutes * BASELINE && !hasDied()) await round('baseline');
  const attackedFrom = minute();
  for (let count = 1; minutes - minute() > 0.2 && !hasDied(); count++) {
    await round(count % QUIET_EVERY === 0 ? 'baseline' : 'attack');
  }

  const attacks = await attackers.ask('look');
  attackers.process.disconnect();
  await attackers.ended;
  const peers = await honest.ask('end');
  await sleep(1000);
  const end = await server.ask('end');
  await Promise.race([Promise.all([server.ended, honest.ended]), sleep(10_000)]);
  if (server.process.exitCode === null) server.faults.push('the server did not end by itself');
  for (const child of children) child.process.kill('SIGKILL');
  const faults = [...children.flatMap((child) => child.faults), ...(end?.faults ?? [])];
  return { minutes, isCounted, attackedFrom, samples, phases, attacks, peers, end, faults, stayed };
}

const kib = (bytes) => `${Math.round(bytes / KIB)} KiB`;

/** The latency in a phase: medians of its rounds, which other work on the machine disturbs least. */
function latencyOf(rounds, kind = 'small') {
  const figures = rounds.map(({ latency }) => latency[kind]).filter((figure) => figure);
  const of = (key) => median(figures.map((figure) => figure[key]));
  const count = figures.reduce((sum, figure) => sum + figure.count, 0);
  return { count, p50: of('p50'), p99: of('p99'), 'p99.9': of('p99.9') };
}

function judge(run) {
  const { samples, phases, attackedFrom, minutes, end, peers } = run;
  const verdicts = [];
  const hold = (law, isHeld, measured) => verdicts.push({ law, isHeld, measured });

  const before = latencyOf(phases.baseline);
  const during = latencyOf(phases.attack);
  for (const p of ['p50', 'p99', 'p99.9']) {
    const ratio = during[p] / before[p];
    const measured = `${before[p].toFixed(2)} -> ${during[p].toFixed(2)} ms, ${ratio.toFixed(2)} x`;
    hold(`latency ${p} at most twice the baseline`, ratio <= 2, measured);
  }

  const warm = attackedFrom + (minutes - attackedFrom) / 6;
  run.warm = warm;
  const late = samples.filter(({ minute }) => minute > warm);
  const memory = {
    'what objects have': ({ objects, external }) => objects + external,
    'what malloc has for the main thread': ({ resident }) => resident.malloc,
    "what is neither malloc's nor the engine's nor of files": ({ resident }) => resident.rest,
  };
  if (run.isCounted) memory['what the addon has allocated'] = ({ addon }) => addon;
  hold('there are samples after the warm-up', late.length >= 3, `${late.length} of them`);
  run.rises = {};
  for (const [name, of] of Object.entries(memory)) {
    const points = late.map((sample) => [sample.minute, of(sample)]);
    const growth = rise(points) / KIB;
    run.rises[name] = growth;
    hold(
      `${name} grows by less than 1 KiB a minute`,
      growth < 1,
      `${growth.toFixed(2)} KiB a minute`,
    );
  }

  if (end === null) {
    hold('the server lives', false, 'it ended');
    return verdicts;
  }
  const { connections, closes, repeatedCloses } = end.counts;
  hold(
    "each connection has one 'close'",
    connections === closes && repeatedCloses === 0 && peers.repeatedCloses === 0,
    `${connections} connections, ${closes} closes`,
  );
  hold('no exception', run.faults.length === 0, run.faults.join('; ') || 'none');
  const lost = peers.wrong + peers.late + peers.errors;
  hold(
    'honest peers get each reply, and no error',
    lost === 0 && Object.keys(peers.unexpected).length === 0,
    `${peers.echoes} echoes, ${lost} faults ${JSON.stringify(peers.unexpected)}`,
  );
  hold('nobody stayed behind in a pause', run.stayed <= 0, String(run.stayed));
  const left = [
    end.connections,
    end.pendingHandshakes,
    end.bytesBuffered,
    end.clients,
    end.handlesAfter,
  ];
  hold(
    'nothing is left at the end',
    left.every((count) => count === 0) && end.left.length === 0,
    [...left, ...end.left].join(', '),
  );
  const unanswered = Object.entries(run.attacks).filter(
    ([, { otherwise }]) => Object.keys(otherwise).length > 0,
  );
  hold(
    'each attack is answered as it is due',
    unanswered.length === 0,
    JSON.stringify(Object.fromEntries(unanswered)),
  );
  const missing = Object.keys(ATTACKS).filter((name) => !run.attacks[name]?.attacks);
  hold('each class has attacked', missing.length === 0, missing.join(', ') || 'all');
  return verdicts;
}

async function main() {
  fs.mkdirSync(BUILD, { recursive: true });
  const isCounted = process.argv.includes('--counted');
  if (isCounted) prepare();
  const run = await play(minutesAsked(), isCounted);
  const verdicts = judge(run);
  console.log();
  for (const [kind, { attacks, answered, otherwise }] of Object.entries(run.attacks)) {
    console.log(`${kind}: ${attacks} attacks, ${answered} answered, ${JSON.stringify(otherwise)}`);
  }
  console.log();
  for (const kind of Object.keys(run.samples[0]?.resident ?? {})) {
    const points = run.samples.map(({ minute, resident }) => [minute, resident[kind]]);
    const warm = points.filter(([minute]) => minute > run.warm);
    const [first, last] = [points[0][1], points.at(-1)[1]].map(kib);
    console.log(
      `resident, ${kind}: ${first} -> ${last}, ${(rise(warm) / KIB).toFixed(2)} KiB a minute`,
    );
  }
  for (const phase of ['baseline', 'attack']) {
    for (const kind of ['resident', 'visitor', 'deflater', 'large']) {
      const { count, p50, p99, 'p99.9': p999 } = latencyOf(run.phases[phase], kind);
      const [a, b, c] = [p50, p99, p999].map((value) => value.toFixed(2));
      console.log(`${phase}, ${kind}: ${count} echoes, p50 ${a} p99 ${b} p99.9 ${c} ms`);
    }
  }
  console.log(`errors that the server saw: ${JSON.stringify(run.end?.errorCodes)}`);
  console.log();
  for (const { law, isHeld, measured } of verdicts) {
    console.log(`${isHeld ? 'held' : 'BROKEN'}: ${law}: ${measured}`);
  }
  fs.rmSync(SNAPSHOT, { force: true });
  fs.writeFileSync(REPORT, JSON.stringify({ verdicts, ...run }, null, 1));
  process.exitCode = verdicts.every(({ isHeld }) => isHeld) ? 0 : 1;
}

main();
