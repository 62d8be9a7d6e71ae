'use strict';

const { announce, certificate, readWork, HOST, MAX_PAYLOAD, TOPIC } = require('./announce');
const { measureCycles } = require('./cycles');

const { Bun } = globalThis;

/** Above all that the benchmark has in flight: a message is never dropped for backpressure. */
const MAX_BACKPRESSURE = 2 * MAX_PAYLOAD;

/** Its level is fixed, at zlib's default. */
const COMPRESSION = {
  none: false,
  'no-takeover': { compress: 'shared', decompress: 'shared' },
  takeover: { compress: '256KB', decompress: '32KB' },
};

/** @param {import('./announce').Work} work */
function serve({ task, repeat, deflate, tls }) {
  const clients = new Set();
  const compress = deflate !== undefined;
  const handlers = {
    echo: {
      message(ws, message) {
        ws.send(message, compress);
      },
    },
    loop: {
      open(ws) {
        clients.add(ws);
      },
      close(ws) {
        clients.delete(ws);
      },
      message(_ws, message) {
        for (let copy = 0; copy < repeat; copy++) {
          for (const client of clients) client.send(message);
        }
      },
    },
    publish: {
      open(ws) {
        ws.subscribe(TOPIC);
      },
      message(_ws, message) {
        for (let copy = 0; copy < repeat; copy++) server.publish(TOPIC, message);
      },
    },
  };
  const server = Bun.serve({
    hostname: HOST,
    port: 0,
    tls: tls && { key: Bun.file(certificate.key), cert: Bun.file(certificate.cert) },
    fetch: (request) => (server.upgrade(request) ? undefined : new Response(null, { status: 426 })),
    websocket: {
      perMessageDeflate: COMPRESSION[deflate ?? 'none'],
      maxPayloadLength: MAX_PAYLOAD,
      backpressureLimit: MAX_BACKPRESSURE,
      // No timeouts and no pings, as `ws` has none.
      idleTimeout: 0,
      sendPings: false,
      ...handlers[task],
    },
  });
  globalThis.gc = () => Bun.gc(true);
  announce(server.port);
}

async function cycle() {
  const server = Bun.serve({
    hostname: HOST,
    port: 0,
    fetch: () => new Response(null, { status: 426 }),
    websocket: { message() {} },
  });
  await server.stop(true);
}

const work = readWork();
if (work.task === 'cycles') measureCycles(cycle, work);
else serve(work);
