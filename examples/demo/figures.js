'use strict';

// What the context counts, once a second, for everybody who looks.

/** How many seconds a page that has just been opened can look back. */
const HISTORY = 60;

/** A viewer with more than this in its queue has stopped reading. */
const MAX_BUFFERED = 256 * 1024;

class Figures {
  #context;
  #viewers = new Set();
  #history = [];
  #last = null;

  constructor(context) {
    this.#context = context;
  }

  /** Starts to count. The timer does not keep the process alive. */
  start() {
    this.#last = this.#read();
    setInterval(() => this.#tick(), 1000).unref();
  }

  /** Sends the past minute to a connection, and from now on one point a second. */
  show(peer) {
    this.#viewers.add(peer);
    peer.on('close', () => this.#viewers.delete(peer));
    peer.send(
      JSON.stringify({
        type: 'history',
        points: this.#history,
        node: process.versions.node,
        libuv: process.versions.uv,
      }),
    );
  }

  #read() {
    const { user, system } = process.cpuUsage();
    return { ...this.#context.stats(), at: performance.now(), cpu: (user + system) / 1000 };
  }

  #tick() {
    const now = this.#read();
    const before = this.#last;
    this.#last = now;
    const seconds = (now.at - before.at) / 1000;
    const rate = (...names) =>
      names.reduce((sum, name) => sum + now[name] - before[name], 0) / seconds;
    const point = {
      at: Date.now(),
      messages: Math.round(rate('messagesReceived', 'messagesSent')),
      bytes: Math.round(rate('bytesReceived', 'bytesSent')),
      connections: now.connections,
      handles: now.handles,
      memory: process.memoryUsage.rss(),
      cpu: Math.round(rate('cpu')) / 10,
    };
    this.#history.push(point);
    if (this.#history.length > HISTORY) this.#history.shift();
    const text = JSON.stringify({ type: 'point', point });
    for (const viewer of this.#viewers) {
      if (viewer.bufferedAmount > MAX_BUFFERED) viewer.terminate();
      else viewer.send(text);
    }
  }
}

module.exports = { Figures };
