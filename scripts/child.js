'use strict';

const { fork } = require('node:child_process');
const { once } = require('node:events');
const path = require('node:path');

/** A child process that is asked by IPC. */
class Child {
  #next = 0;
  #waiting = new Map();
  faults = [];

  constructor(file, args = [], execArgv = []) {
    this.process = fork(file, args, { execArgv });
    this.process.on('message', ({ id, result, fault }) => {
      if (fault !== undefined) this.faults.push(fault);
      this.#waiting.get(id)?.(result);
      this.#waiting.delete(id);
    });
    this.ended = once(this.process, 'exit');
    this.ended.then(([code, signal]) => {
      if (code !== 0) this.faults.push(`${path.basename(file)} ended with ${signal ?? code}`);
      for (const answer of this.#waiting.values()) answer(null);
    });
    this.ready = once(this.process, 'message').then(([message]) => message);
  }

  /** Resolves with the answer, or with null if the process has ended. */
  ask(request, value) {
    if (!this.process.connected) return null;
    const id = ++this.#next;
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve);
      this.process.send({ id, request, value });
    });
  }
}

module.exports = { Child };
