'use strict';

// A context joins an event loop that is not its own, serves on it, and leaves it as
// it was found. The twin of libwebsockets' minimal example for foreign event loops.
//
// The foreign part of the loop is a Node timer. It ticks alone; then a context, a
// server and a client are created within its callback; messages are echoed; the
// context is ended within its callback; it ticks alone again; the process ends by
// itself, because nothing is left that could keep it alive.

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const net = require('node:net');
const { parseArgs } = require('node:util');
const { Worker, isMainThread, workerData } = require('node:worker_threads');

const { Context, WebSocket, WebSocketServer, closeOnSignals } = require('../..');

const USAGE = `usage: node examples/foreign-loop [options]

A WebSocket server and client join a loop that belongs to somebody else, and leave it
as they found it. Exits with 0 if every check holds, with 1 if one does not.

  --cycles N   attach, serve and leave N times on one port          (default 1)
  --graceful   leave by context.close() instead of context.destroy()
  --worker     do it in a worker, which has to end by itself
  --serve      serve until interrupted, then close gracefully
  --sigint     do that in a child, and interrupt it
  --late MS    how late the foreign timer may be                    (default 100)
  --help       this text

Try first: node examples/foreign-loop --graceful --cycles 3`;

const HOST = '127.0.0.1';

/** The period of the foreign timer in milliseconds. */
const TICK = 10;

/** How many ticks it has the loop for itself, before and after each service. */
const TICKS_ALONE = 5;

/** How many ticks the service lasts, counted from the first that finds the client open. */
const TICKS_SERVING = 10;

/** The payload sizes sent at each tick: all three length forms, and more than one segment. */
const PAYLOAD_SIZES = [0, 1, 125, 126, 1024, 65_535, 65_536, 200_000];

/** A phase that lasts longer than this has hung: the timer then gives up. */
const PATIENCE = 10_000;

/** The close code and reason of a graceful end: 1001 is "going away". */
const CLOSE_CODE = 1001;
const REASON = 'the foreign loop goes on alone';

/** How many cycles are traced one by one. */
const TRACED_CYCLES = 3;

/** Tells what one run found: each failed check, and figures over all cycles. */
class Findings {
  failures = [];
  checks = 0;
  messages = 0;
  worstLateness = 0;
  worstEnd = 0;

  check(what, holds, detail = '') {
    this.checks += 1;
    if (!holds) this.failures.push(detail ? `${what}: ${detail}` : what);
    return holds;
  }

  checkEqual(what, actual, expected) {
    const [a, e] = [JSON.stringify(actual), JSON.stringify(expected)];
    return this.check(what, a === e, `${a} instead of ${e}`);
  }
}

/** The open file descriptors of this process, where the system lists them. */
function openDescriptors() {
  try {
    return fs.readdirSync('/proc/self/fd').length;
  } catch {
    return null;
  }
}

/**
 * What of Node's own keeps the loop alive. A worker's output takes the way by a port, and now and then
 * has an immediate, which is over with the turn.
 */
function nodeResources() {
  const passing = ['MessagePort', 'Immediate'];
  return process
    .getActiveResourcesInfo()
    .filter((kind) => !passing.includes(kind))
    .sort()
    .join(', ');
}

/**
 * Every handle on libuv's loop, of whoever it is, by kind. The diagnostic report walks
 * the whole loop, so it also sees what an addon put there behind Node's back. Timers
 * that do not keep the loop alive are left out: V8 has some, which come and go.
 */
function loopHandles() {
  const counts = {};
  for (const { type, is_referenced: isReferenced } of process.report.getReport().libuv) {
    if (type === 'loop' || (type === 'timer' && !isReferenced)) continue;
    counts[type] = (counts[type] ?? 0) + 1;
  }
  const kinds = Object.entries(counts).map(([type, count]) => `${count} ${type}`);
  return kinds.sort().join(', ');
}

/** Waits until all close callbacks of this turn of the loop have run: they are its last phase. */
async function nextTurn() {
  await new Promise(setImmediate);
  await new Promise(setImmediate);
}

function ms(time) {
  return `${time.toFixed(1)} ms`;
}

/** Binds the port, lets go of it, and tells its number. Port 0 is any free one. */
async function bindOnce(port) {
  const server = net.createServer();
  server.listen(port, HOST);
  await once(server, 'listening');
  const bound = server.address().port;
  server.close();
  await once(server, 'close');
  return bound;
}

/** A context with an echo server and a client, and a record of what they went through. */
class Service {
  sent = 0;
  received = 0;
  echoed = 0;
  differing = 0;
  events = [];

  constructor(port) {
    this.context = new Context({ name: 'guest', data: this });
    this.context.on('close', () => this.events.push('context close'));
    this.server = new WebSocketServer({ context: this.context, host: HOST, port });
    this.server.on('error', (error) => this.events.push(`server error ${error.message}`));
    this.server.on('close', () => this.events.push('server close'));
    this.server.on('connection', (peer) => {
      peer.on('message', (data, isBinary) => {
        this.received += 1;
        peer.send(data, { binary: isBinary });
      });
      peer.on('error', (error) => this.events.push(`peer error ${error.message}`));
      peer.on('close', (code) => this.events.push(`peer close ${code}`));
    });
    // The server listens once its constructor has returned: the client may connect.
    this.client = new WebSocket(`ws://${HOST}:${port}/`, { context: this.context });
    this.client.on('message', (data, isBinary) => this.#receive(data, isBinary));
    this.client.on('error', (error) => this.events.push(`client error ${error.message}`));
    this.client.on('close', (code, reason) =>
      this.events.push(`client close ${code}${reason.length > 0 ? ` ${reason}` : ''}`),
    );
  }

  /** Whether both ends have opened. */
  get isOpen() {
    return this.client.readyState === WebSocket.OPEN && this.server.clients.size > 0;
  }

  /** Sends one message of each size. Its bytes are the low half of its number. */
  sendRound() {
    for (const size of PAYLOAD_SIZES) {
      this.client.send(Buffer.alloc(size, this.sent & 0xff));
      this.sent += 1;
    }
  }

  #receive(data, isBinary) {
    const size = PAYLOAD_SIZES[this.echoed % PAYLOAD_SIZES.length];
    const expected = Buffer.alloc(size, this.echoed & 0xff);
    if (!isBinary || !expected.equals(data)) this.differing += 1;
    this.echoed += 1;
  }
}

/** One cycle: alone, attach, serve, end, alone. Everything happens in the timer's callback. */
function runCycle({ port, graceful, trace, findings }) {
  return new Promise((resolve) => {
    let service = null;
    let phase = 'alone';
    let phaseStart = performance.now();
    let ticks = 0;
    let worst = 0;
    let due = phaseStart + TICK;
    const timer = setInterval(tick, TICK);

    function tick() {
      const now = performance.now();
      ticks += 1;
      worst = Math.max(worst, now - due);
      findings.worstLateness = Math.max(findings.worstLateness, now - due);
      try {
        if (now - phaseStart > PATIENCE) throw new Error(`no progress in ${PATIENCE / 1000} s`);
        step();
      } catch (error) {
        findings.check(`phase "${phase}"`, false, `${error.stack}\n${service?.events.join('\n')}`);
        clearInterval(timer);
        Promise.resolve(service?.context.destroy()).then(leave);
      }
      // Node arms an interval again when its callback has returned.
      due = performance.now() + TICK;
    }

    function step() {
      if (phase === 'alone' && ticks === TICKS_ALONE) {
        enter('connecting', 'attach', 'context, server and client created in a timer callback');
        service = new Service(port);
        findings.checkEqual('state after creation', service.context.state, 'running');
      } else if (phase === 'connecting' && service.isOpen) {
        enter('serving');
      } else if (phase === 'serving') {
        service.sendRound();
        if (ticks === TICKS_SERVING) end();
      } else if (phase === 'alone again' && ticks === TICKS_ALONE) {
        enter('left');
        leave();
      }
    }

    // The last round has only just been sent: what ends is a context under traffic.
    function end() {
      const { context } = service;
      const name = graceful ? 'close' : 'destroy';
      enter(
        'ending',
        name,
        `context.${name}() in a timer callback, ${service.echoed} echoes so far`,
      );
      const asked = performance.now();
      const closed = graceful
        ? context.close({ code: CLOSE_CODE, reason: REASON, timeout: PATIENCE / 2 })
        : context.destroy();
      findings.check(`${name}() returns context.closed`, closed === context.closed);
      findings.checkEqual(`events before ${name}() returns`, service.events, []);
      closed.then(() => {
        const took = performance.now() - asked;
        findings.worstEnd = Math.max(findings.worstEnd, took);
        findings.checkEqual('state at the end', context.state, 'destroyed');
        findings.checkEqual('the last event', service.events.at(-1), 'context close');
        if (phase !== 'ending') return;
        enter('alone again', 'closed', `${took.toFixed(1)} ms later: ${service.events.join(', ')}`);
      });
    }

    /** Traces the phase that is over, and what begins the next one. */
    function enter(next, mark, text) {
      trace(`  ${phase.padEnd(11)} ${ticks} ticks, the latest by ${worst.toFixed(1)} ms`);
      if (mark) trace(`> ${mark.padEnd(11)} ${text}`);
      [phase, phaseStart, ticks, worst] = [next, performance.now(), 0, 0];
    }

    function leave() {
      clearInterval(timer);
      resolve(service);
    }
  });
}

/** What has to hold after a cycle, of the service and of the loop that it has left. */
async function checkCycle({ service, port, graceful, before, findings }) {
  if (!service) return;
  const { context, events } = service;
  findings.messages += service.echoed;
  const expected = graceful
    ? [`client close ${CLOSE_CODE} ${REASON}`, 'context close', `peer close ${CLOSE_CODE}`]
    : ['client close 1006', 'context close', 'peer close 1006'];
  findings.checkEqual('each event once', [...events].sort(), [...expected, 'server close']);
  findings.check('messages were echoed', service.echoed > 0);
  findings.checkEqual('echoes that differ', service.differing, 0);
  // The Close frame goes behind what is already queued.
  if (graceful) findings.checkEqual('messages received', service.received, service.sent);
  const { handles, closing, connections, listeners } = context.stats();
  findings.checkEqual('handles left', [handles, closing], [0, 0]);
  findings.checkEqual('connections and listeners left', [connections, listeners], [0, 0]);
  findings.checkEqual('wake() afterwards', context.wake(), false);
  findings.checkEqual("Node's own resources", nodeResources(), before.resources);
  findings.checkEqual('file descriptors', openDescriptors(), before.descriptors);
  try {
    findings.checkEqual('the port bound again', await bindOnce(port), port);
  } catch (error) {
    findings.check('the port bound again', false, error.message);
  }
}

/** Runs the cycles on this thread's loop, and reports. */
async function runCycles({ cycles, graceful, late }) {
  const findings = new Findings();
  const port = await bindOnce(0);
  const { node, uv } = process.versions;
  console.log(
    `${isMainThread ? 'main thread' : 'worker'}: Node ${node}, libuv ${uv}, port ${port}`,
  );
  // What is made once, on first use, is made before anything is counted.
  await new Context().destroy();
  await nextTurn();
  const before = {
    descriptors: openDescriptors(),
    handles: loopHandles(),
    resources: nodeResources(),
  };

  for (let cycle = 1; cycle <= cycles && findings.failures.length === 0; cycle += 1) {
    const isTraced = cycle <= TRACED_CYCLES;
    if (isTraced) console.log(`cycle ${cycle}`);
    else if (cycle === TRACED_CYCLES + 1)
      console.log(`cycles ${cycle} to ${cycles}, without a trace`);
    const trace = isTraced ? console.log : () => {};
    const service = await runCycle({ port, graceful, trace, findings });
    await checkCycle({ service, port, graceful, before, findings });
  }

  await nextTurn();
  findings.checkEqual('handles on the loop', loopHandles(), before.handles);
  findings.check(
    'the foreign timer is on time',
    findings.worstLateness <= late,
    `late by ${ms(findings.worstLateness)}`,
  );
  console.log(`echoed   ${findings.messages} messages`);
  console.log(`ended    within ${ms(findings.worstEnd)}`);
  console.log(`timer    late by ${ms(findings.worstLateness)} at most (${late} ms are allowed)`);
  console.log(`loop     ${loopHandles()}`);
  return findings;
}

/** Serves until a signal ends the context, and tells what its connections went through. */
async function serve() {
  const port = await bindOnce(0);
  let service = null;
  const timer = setInterval(() => {
    if (!service) start();
    else if (service.isOpen && service.context.state === 'running') service.sendRound();
  }, TICK);

  function start() {
    service = new Service(port);
    const { context, events } = service;
    closeOnSignals(context, { signals: ['SIGINT', 'SIGTERM'], timeout: PATIENCE / 2 });
    context.on('close', () => {
      clearInterval(timer);
      console.log(`echoed ${service.echoed} messages`);
      for (const event of events) console.log(event);
    });
    console.log(`serving on ws://${HOST}:${port}, interrupt with Ctrl-C`);
  }
}

/** Interrupts a serving child, and looks at its end from both sides of a connection. */
async function interruptChild() {
  const findings = new Findings();
  if (process.platform === 'win32') {
    console.log('skipped: Windows has no SIGINT to send');
    return findings;
  }
  const child = spawn(process.execPath, [__filename, '--serve'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const watch = setTimeout(() => {
    findings.check('the child ends in time', false);
    child.kill('SIGKILL');
  }, PATIENCE);
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text) => {
    process.stdout.write(text.replace(/^(?=.)/gm, '  child: '));
    output += text;
    const [url] = (!peer && /ws:\S+\d/.exec(output)) || [];
    if (url) connect(url);
  });

  let peer = null;
  let end = null;
  function connect(url) {
    peer = new WebSocket(url);
    peer.on('error', (error) => findings.check('a connection to the child', false, error.message));
    peer.on('open', () => peer.send('1'));
    peer.on('message', (data) => {
      const round = Number(data);
      if (round < TICKS_SERVING) {
        setTimeout(() => peer.send(`${round + 1}`), TICK);
      } else {
        console.log('> SIGINT      sent to the child, while it serves');
        child.kill('SIGINT');
      }
    });
    peer.on('close', (code, reason) => {
      end = `closed with ${code}${reason.length > 0 ? ` ${reason}` : ''}`;
      console.log(`  peer        ${end}`);
    });
  }

  const [code, signal] = await once(child, 'close');
  clearTimeout(watch);
  const status = signal ?? code;
  console.log(`  exit status ${status}`);
  // A shell shows a death by SIGINT as 128 + 2.
  findings.check("the child's exit status", status === 'SIGINT' || status === 130, `${status}`);
  findings.check('its peer was told', /^closed with 1001\b/.test(end), end ?? 'not closed');
  for (const event of ['client close 1001', 'peer close 1001', 'server close', 'context close']) {
    findings.check(`in the child: ${event}`, output.includes(event));
  }
  return findings;
}

/** Runs the cycles in a worker, which has to end by itself and to leave nothing behind. */
async function runWorker(options) {
  const findings = new Findings();
  // A worker writes through the main thread's streams, which Node opens on first use.
  void [process.stdout, process.stderr];
  await nextTurn();
  const before = { handles: loopHandles(), descriptors: openDescriptors() };
  const worker = new Worker(__filename, { workerData: options });
  worker.on('error', (error) => findings.check('no exception in the worker', false, error.stack));
  const [code] = await once(worker, 'exit');
  console.log(`worker ended by itself, exit code ${code}`);
  findings.checkEqual("the worker's exit code", code, 0);
  await nextTurn();
  findings.checkEqual('file descriptors', openDescriptors(), before.descriptors);
  findings.checkEqual("handles on the main thread's loop", loopHandles(), before.handles);
  return findings;
}

/** Says what was found, once the loop has run dry: nothing here calls process.exit(). */
function reportAtEnd(findings) {
  let isDry = false;
  // Neither keeps the loop alive: if the timer fires, something else does.
  const watch = setTimeout(() => {
    console.error(`FAILED  the loop does not end: ${loopHandles()}; ${nodeResources()}`);
    process.exit(1);
  }, PATIENCE).unref();
  process.once('beforeExit', () => {
    isDry = true;
    clearTimeout(watch);
    for (const failure of findings.failures) console.error(`FAILED  ${failure}`);
    if (findings.failures.length > 0) process.exitCode = 1;
    else console.log(`ok       ${findings.checks} checks, and the loop ended by itself`);
  });
  process.once('exit', () => {
    if (!isDry) process.exitCode ||= 1;
  });
}

function parseOptions() {
  const flag = { type: 'boolean', default: false };
  const { values } = parseArgs({
    options: {
      cycles: { type: 'string', default: '1' },
      graceful: flag,
      help: flag,
      late: { type: 'string', default: '100' },
      serve: flag,
      sigint: flag,
      worker: flag,
    },
  });
  const { cycles, graceful, late, worker, ...mode } = values;
  const options = { cycles: Number(cycles), graceful, late: Number(late) };
  for (const name of ['cycles', 'late']) {
    if (!Number.isSafeInteger(options[name]) || options[name] < 1) {
      throw new TypeError(`--${name} takes a whole number above 0`);
    }
  }
  return { options, worker, ...mode };
}

async function main() {
  if (!isMainThread) return reportAtEnd(await runCycles(workerData));
  let choice;
  try {
    choice = parseOptions();
  } catch (error) {
    console.error(`${error.message}\n\n${USAGE}`);
    process.exitCode = 2;
    return;
  }
  const { options, help, serve: isServing, sigint, worker } = choice;
  if (help) console.log(USAGE);
  else if (isServing) await serve();
  else if (sigint) reportAtEnd(await interruptChild());
  else if (worker) reportAtEnd(await runWorker(options));
  else reportAtEnd(await runCycles(options));
}

main();
