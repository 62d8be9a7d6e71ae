'use strict';

// The honest peers of the soak: they echo at fixed times whatever the server does, and come and go.
// The parent lets them work, has them pause (only residents stay connected), and asks for figures.

const { createHistogram } = require('node:perf_hooks');

const uvws = require('../..');
const ws = require('ws');

const port = Number(process.argv[2]);

/** How many of each kind there are, and what they do. */
const KINDS = {
  // Stay for the whole run, also through the pauses.
  resident: { count: 40, interval: 250, size: [20, 400], stays: Infinity },
  visitor: { count: 100, interval: 250, size: [20, 400], stays: 10_000 },
  deflater: { count: 20, interval: 500, size: [2000, 8000], stays: 20_000, deflate: true },
  large: { count: 10, interval: 5000, size: [100_000, 1_000_000], stays: 30_000 },
  // Subscribe to what the server publishes, and read it in gulps.
  slow: { count: 30, interval: 1000, size: [20, 400], stays: 20_000, path: '/news', isSlow: true },
};
const REPLY_LIMIT = 10_000;
const TEXT = 'The quick brown fox jumps over the lazy dog. Żółć, 東京, Ελλάδα. ';

const counts = {
  opened: 0,
  closed: 0,
  repeatedCloses: 0,
  errors: 0,
  wrong: 0,
  late: 0,
  echoes: 0,
  news: 0,
  unexpected: {},
};
const latencies = {};
for (const name of [...Object.keys(KINDS), 'small'])
  latencies[name] = createHistogram({ figures: 3 });

let isWorking = false;
const live = new Set();

const between = (low, high) => low + Math.random() * (high - low);
const textOf = (size) => TEXT.repeat(Math.ceil(size / TEXT.length)).slice(0, size);
const TEXTS = textOf(1_000_000);

/** One peer's place: it is filled, emptied, and filled again. */
class Seat {
  constructor(kind, index) {
    Object.assign(this, KINDS[kind], { kind, index });
    this.pending = [];
    this.sequence = 0;
  }

  join() {
    if (live.has(this) || (!isWorking && this.kind !== 'resident')) return;
    const { WebSocket } = this.index % 2 === 0 ? uvws : ws;
    const client = new WebSocket(`ws://127.0.0.1:${port}${this.path ?? '/'}`, {
      perMessageDeflate: this.deflate === true,
    });
    let isClosed = false;
    this.client = client;
    this.pending = [];
    live.add(this);
    client.on('open', () => {
      counts.opened++;
      this.timer = setInterval(() => this.echo(), this.interval * between(0.9, 1.1));
      if (this.isSlow) this.gulp();
      if (this.stays !== Infinity) {
        const stay = -Math.log(1 - Math.random()) * this.stays;
        this.leaving = setTimeout(() => this.leave(), stay);
      }
    });
    client.on('message', (data) => this.received(data));
    client.on('error', (error) => {
      counts.errors++;
      this.note(`${this.kind}: ${error.code ?? error.message}`);
    });
    client.on('close', (code) => {
      if (isClosed) counts.repeatedCloses++;
      isClosed = true;
      counts.closed++;
      clearInterval(this.timer);
      clearTimeout(this.leaving);
      clearTimeout(this.gulping);
      live.delete(this);
      if (!this.isLeaving) this.note(`${this.kind}: closed with ${code}`);
      this.isLeaving = false;
      setTimeout(() => this.join(), between(0, 1000));
    });
  }

  note(what) {
    counts.unexpected[what] = (counts.unexpected[what] ?? 0) + 1;
  }

  echo() {
    const { client } = this;
    if (!isWorking || client.readyState !== 1) return;
    const now = performance.now();
    if (this.pending.length > 0 && now - this.pending[0].at > REPLY_LIMIT) {
      counts.late++;
      this.pending.shift();
    }
    const size = Math.floor(between(...this.size));
    const text = `${this.sequence++} ${TEXTS.slice(0, size)}`;
    this.pending.push({ text, at: now });
    client.send(text);
  }

  received(data) {
    if (data.length === 300 && data[0] === 0x6e) {
      counts.news++;
      return;
    }
    const sent = this.pending.shift();
    if (sent === undefined || String(data) !== sent.text) {
      counts.wrong++;
      return;
    }
    counts.echoes++;
    // Those who read in gulps wait for themselves.
    if (this.isSlow) return;
    const micros = Math.max(1, Math.round((performance.now() - sent.at) * 1000));
    latencies[this.kind].record(micros);
    if (this.kind === 'resident' || this.kind === 'visitor') latencies.small.record(micros);
  }

  /** Stops reading for a while, again and again. */
  gulp() {
    const { client } = this;
    if (client.readyState !== 1) return;
    if (client.isPaused) client.resume();
    else client.pause();
    this.gulping = setTimeout(() => this.gulp(), between(200, 1500));
  }

  leave() {
    const { client } = this;
    this.isLeaving = true;
    clearInterval(this.timer);
    clearTimeout(this.leaving);
    if (client.isPaused) client.resume();
    if (Math.random() < 0.1) client.terminate();
    else client.close(1000, 'bye');
  }
}

const seats = Object.entries(KINDS).flatMap(([kind, { count }]) =>
  Array.from({ length: count }, (_, index) => new Seat(kind, index)),
);

const requests = {
  go() {
    isWorking = true;
    for (const seat of seats) seat.join();
  },
  /** Everybody but the residents leaves. Resolves when they have. */
  async pause() {
    isWorking = false;
    // What is under way comes back first.
    await new Promise((resolve) => setTimeout(resolve, 500));
    const leaving = () => [...live].filter(({ kind }) => kind !== 'resident');
    for (const seat of leaving()) seat.leave();
    while (leaving().length > 0) await new Promise((resolve) => setTimeout(resolve, 20));
  },
  figures() {
    const figures = {};
    for (const [name, histogram] of Object.entries(latencies)) {
      if (histogram.count === 0) continue;
      figures[name] = { count: histogram.count, max: histogram.max / 1000 };
      for (const p of [50, 99, 99.9]) figures[name][`p${p}`] = histogram.percentile(p) / 1000;
      histogram.reset();
    }
    return figures;
  },
  look: () => counts,
  async end() {
    isWorking = false;
    for (const seat of [...live]) {
      seat.leave();
      seat.join = () => {};
    }
    while (live.size > 0) await new Promise((resolve) => setTimeout(resolve, 20));
    return counts;
  },
};

process.on('message', async ({ id, request }) => {
  process.send({ id, result: (await requests[request]()) ?? null });
  if (request === 'end') {
    process.off('disconnect', abandon);
    process.disconnect();
  }
});
/** Without the parent there is nothing to do. */
function abandon() {
  process.exit(1);
}
process.on('disconnect', abandon);
process.send({ isReady: true });
