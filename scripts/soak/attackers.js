'use strict';

// The attackers of the soak: as many as the honest peers, of every class in attacks.js. Each does its
// attack, on a new connection, again and again. The parent has them begin, pause and end.

const net = require('node:net');
const os = require('node:os');

const { ATTACKS, REQUEST } = require('./attacks.js');
const { FrameReader, CLOSE, closeOf } = require('../../__tests__/support/frames.js');

const port = Number(process.argv[2]);
const count = Number(process.argv[3]);
const LONGEST = 30_000;
/** Between two attacks from one place. */
const BREAK = 1000;

// What is measured is the server: its attackers are not to take the processor from it.
os.setPriority(Math.min(19, os.getPriority() + 5));

const figures = {};
let isWorking = false;
const live = new Set();

/** One attacker's connection. */
class Peer {
  isClosed = false;
  status = null;
  code = null;
  #head = '';
  #reader = null;
  #ends = [];
  #sleeps = new Set();

  constructor() {
    this.socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    this.socket.on('data', (bytes) => this.#read(bytes));
    this.socket.on('error', () => {});
    this.socket.on('end', () => this.socket.end());
    this.socket.on('close', () => {
      this.isClosed = true;
      for (const end of this.#ends) end();
      for (const wake of this.#sleeps) wake();
    });
    live.add(this);
  }

  #read(bytes) {
    if (this.#reader !== null) {
      for (const frame of this.#reader.push(bytes)) {
        if (frame.opcode === CLOSE) this.code ??= closeOf(frame).code;
      }
      return;
    }
    this.#head += bytes.toString('latin1');
    const end = this.#head.indexOf('\r\n\r\n');
    if (end === -1) return;
    this.status = Number(this.#head.split(' ')[1]);
    const rest = Buffer.from(this.#head.slice(end + 4), 'latin1');
    if (this.status !== 101) return;
    this.#reader = new FrameReader();
    this.upgraded?.();
    if (rest.length > 0) this.#read(rest);
  }

  get backlog() {
    return this.socket.writableLength;
  }

  write(bytes) {
    if (!this.isClosed) this.socket.write(bytes);
  }

  /** Writes, and waits until the system has taken it. */
  written(bytes) {
    if (this.isClosed) return undefined;
    const taken = new Promise((resolve) => this.socket.write(bytes, resolve));
    return Promise.race([taken, this.closed()]);
  }

  end(bytes) {
    this.socket.end(bytes);
  }

  pause() {
    this.socket.pause();
  }

  /** Resets the connection. What was written and not sent would be waited for: then it just goes. */
  reset() {
    if (this.socket.destroyed || this.socket.writableLength > 0) this.socket.destroy();
    else this.socket.resetAndDestroy();
  }

  async upgrade(lines = []) {
    const text = REQUEST.toString('latin1').replace(
      /\r\n$/,
      [...lines, ''].map((line) => `${line}\r\n`).join(''),
    );
    this.write(Buffer.from(text, 'latin1'));
    await Promise.race([new Promise((resolve) => (this.upgraded = resolve)), this.closed()]);
  }

  closed() {
    if (this.isClosed) return undefined;
    return new Promise((resolve) => this.#ends.push(resolve));
  }

  /** Resolves after some time, or when the connection is gone. */
  sleep(time) {
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        this.#sleeps.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, time);
      if (!this.isClosed) this.#sleeps.add(wake);
    });
  }
}

const answers = (expected, seen) => [expected].flat().includes(seen);

async function attack(name) {
  const figure = (figures[name] ??= { attacks: 0, answered: 0, otherwise: {} });
  const peer = new Peer();
  const timer = setTimeout(() => peer.socket.destroy(), LONGEST);
  const expected = await ATTACKS[name](peer);
  clearTimeout(timer);
  peer.socket.destroy();
  live.delete(peer);
  if (!isWorking) return;
  figure.attacks++;
  if (expected === undefined) return;
  const isAnswered = expected.code
    ? answers(expected.code, peer.code)
    : answers(expected.status, peer.status);
  if (isAnswered) {
    figure.answered++;
  } else {
    const what = expected.code ? `code ${peer.code}` : `status ${peer.status}`;
    figure.otherwise[what] = (figure.otherwise[what] ?? 0) + 1;
  }
}

async function keepAttacking(name) {
  await new Promise((resolve) => setTimeout(resolve, Math.random() * BREAK));
  while (isWorking) {
    await attack(name);
    await new Promise((resolve) => setTimeout(resolve, Math.random() * BREAK));
  }
}

let places = [];

const requests = {
  go() {
    isWorking = true;
    const names = Object.keys(ATTACKS);
    places = Array.from({ length: count }, (_, index) =>
      keepAttacking(names[index % names.length]),
    );
  },
  async pause() {
    isWorking = false;
    for (const { socket } of live) socket.destroy();
    await Promise.all(places);
    places = [];
  },
  look: () => figures,
};

process.on('message', async ({ id, request }) => {
  process.send({ id, result: (await requests[request]()) ?? null });
});
process.on('disconnect', () => process.exit(0));
process.send({ isReady: true });
