'use strict';

/**
 * Starting and ending the processes of a run.
 *
 * Every child is started by `launch`, which has the kernel end it if this process ends first, so
 * nothing is left running however the benchmark ends.
 */

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const path = require('node:path');
const { setTimeout: sleep } = require('node:timers/promises');
const { BENCH, commandFor } = require('./peers');

const PROGRAMS = path.join(BENCH, 'load', 'target', 'release');

/** A server that has not announced itself by then never will, in milliseconds. */
const START_LIMIT = 15_000;
/** What a load may take beside its warm-up and window: opening 10,000 connections, say. */
const LOAD_SLACK = 45_000;
/** How long the kernel may take to close a killed server's connections. */
const STOP_LIMIT = 10_000;

/** The programs of bench/load. */
const programs = {
  launch: path.join(PROGRAMS, 'launch'),
  load: path.join(PROGRAMS, 'load'),
};

/** @type {Set<import('node:child_process').ChildProcess>} */
const running = new Set();

/**
 * Starts a program; what it prints is kept.
 *
 * @param {string} program
 * @param {string[]} args
 */
function start(program, args) {
  const child = spawn(program, args, { cwd: BENCH, stdio: ['ignore', 'pipe', 'pipe'] });
  const output = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr']) {
    child[stream].setEncoding('utf8');
    child[stream].on('data', (text) => {
      output[stream] += text;
    });
  }
  running.add(child);
  const ended = new Promise((resolve) => {
    child.on('error', (error) => {
      output.stderr += error.message;
      resolve(-1);
    });
    child.on('close', (code, signal) => resolve(code ?? signal));
  }).finally(() => running.delete(child));
  return { child, output, ended };
}

/** Kills every child at once. */
function killAll() {
  for (const child of running) child.kill('SIGKILL');
}

/** A server says that it cannot do what it was asked for: that is no failure. */
class Unsupported extends Error {}

/**
 * Starts the server of a peer and waits until it listens.
 *
 * @param {string} peer
 * @param {import('../servers/announce').Work} work
 * @param {number} core
 */
async function startServer(peer, work, core) {
  const command = [...commandFor(peer, `${peer}.js`), JSON.stringify(work)];
  const args = ['--core', `${core}`, '--', ...command];
  const { child, output, ended } = start(programs.launch, args);
  const announced = (async () => {
    while (!output.stdout.includes('\n')) await once(child.stdout, 'data');
    return lineOf(output);
  })();
  announced.catch(() => {});
  const limit = new AbortController();
  const failed = Promise.race([
    ended.then((code) => `ended with ${code}`),
    sleep(START_LIMIT, 'did not start in time', { signal: limit.signal, ref: false }),
  ]).then((why) => {
    throw new Error(`${peer} ${why}: ${reasonIn(output.stderr)}`);
  });
  failed.catch(() => {});
  try {
    const { port, pid } = await Promise.race([announced, failed]);
    return {
      port,
      pid,
      /** What the server had to say, if anything. */
      complaint: () => reasonIn(output.stderr),
      stop: () => stopServer(child, pid, ended),
    };
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  } finally {
    limit.abort();
  }
}

async function stopServer(child, pid, ended) {
  child.kill('SIGKILL');
  await ended;
  // A server that is a child of the one started here follows it a moment later.
  const deadline = Date.now() + STOP_LIMIT;
  while (isAlive(pid) && Date.now() < deadline) await sleep(5);
}

function isAlive(pid) {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

/**
 * Runs the load generator once and returns what it measured.
 *
 * @param {string[]} args
 * @param {number} duration of warm-up and window, in milliseconds
 */
async function runLoad(args, duration) {
  const { child, output, ended } = start(programs.launch, ['--', programs.load, ...args]);
  const limit = setTimeout(() => {
    output.stderr += 'took too long';
    child.kill('SIGKILL');
  }, duration + LOAD_SLACK);
  const code = await ended;
  clearTimeout(limit);
  if (code !== 0) throw new Error(`load ended with ${code}: ${reasonIn(output.stderr)}`);
  return JSON.parse(output.stdout);
}

/**
 * Runs a file of servers/ that ends by itself, and returns what it measured.
 *
 * @param {string} peer
 * @param {string} file
 * @param {string} argument
 * @param {number} core
 * @param {number} duration what it is expected to take, in milliseconds
 */
async function runProgram(peer, file, argument, core, duration) {
  const args = ['--core', `${core}`, '--', ...commandFor(peer, file), argument];
  const { child, output, ended } = start(programs.launch, args);
  const limit = setTimeout(() => {
    output.stderr += 'took too long';
    child.kill('SIGKILL');
  }, duration + LOAD_SLACK);
  const code = await ended;
  clearTimeout(limit);
  if (code !== 0) throw new Error(`${file} ended with ${code}: ${reasonIn(output.stderr)}`);
  return lineOf(output);
}

/** Reads the line that a server or program prints. */
function lineOf({ stdout }) {
  const line = JSON.parse(stdout);
  if (line.unsupported) throw new Unsupported(line.unsupported);
  return line;
}

/** The line of a stack trace that says what happened, or the last line. */
function reasonIn(text) {
  const lines = text.trim().split('\n');
  return lines.find((line) => /^\w*Error\b/.test(line)) ?? lines.at(-1);
}

module.exports = { programs, startServer, runLoad, runProgram, killAll, Unsupported };
