'use strict';

// Two tenants on one loop: a server in a context of its own that is attacked, and one that is not. It
// measures how late timers are and how much of the processor the loop spends between two of them.

const { Context, WebSocketServer } = require('../..');

/** Time between two timers. */
const TICK = 1;

const victim = new WebSocketServer({ port: 0, host: '127.0.0.1', context: new Context() });
victim.on('connection', (ws) =>
  ws.on('message', (data, isBinary) => ws.send(data, { binary: isBinary })),
);

const attacked = new WebSocketServer({
  port: 0,
  host: '127.0.0.1',
  context: new Context(),
  perMessageDeflate: true,
});
attacked.on('connection', (ws, { url }) => {
  ws.on('error', () => {});
  if (url === '/echo') ws.on('message', (data) => ws.send(data, { binary: true }));
  if (url === '/all') ws.on('message', (data) => attacked.broadcast(data));
});

/** Lateness of timers and processor time between them, in milliseconds, of each tick that was due. */
let late = [];
let busy = [];
let messages = 0;
let due = performance.now();
let cpu = process.cpuUsage();

function tick() {
  const now = performance.now();
  const used = process.cpuUsage(cpu);
  const spent = (used.user + used.system) / 1000;
  cpu = process.cpuUsage();
  // Whoever came due while the loop was held up was late as well.
  for (let lateness = now - due; lateness > 0; lateness -= TICK) late.push(lateness);
  for (let time = spent; time > 0; time -= TICK) busy.push(time);
  due = performance.now() + TICK;
  setTimeout(tick, TICK);
}
tick();

process.on('message', () => {
  const received = attacked.options.context.stats().messagesReceived;
  process.send({ late, busy, messages: received - messages });
  messages = received;
  late = [];
  busy = [];
});
process.on('disconnect', () => process.exit(0));

let listening = 0;
for (const server of [victim, attacked]) {
  server.on('listening', () => {
    if (++listening === 2) {
      process.send({ victim: victim.address().port, attacked: attacked.address().port });
    }
  });
}
