'use strict';

const uws = require('@trufflesuite/uws-js-unofficial');
const {
  announce,
  assertNative,
  certificate,
  readWork,
  HOST,
  MAX_PAYLOAD,
  TOPIC,
} = require('./announce');
const { measureCycles } = require('./cycles');

/** Above all that the benchmark has in flight: a message is never dropped for backpressure. */
const MAX_BACKPRESSURE = 2 * MAX_PAYLOAD;

/** Its level is fixed, at zlib's default. */
const COMPRESSION = {
  none: uws.DISABLED,
  'no-takeover': uws.SHARED_COMPRESSOR | uws.SHARED_DECOMPRESSOR,
  takeover: uws.DEDICATED_COMPRESSOR_256KB | uws.DEDICATED_DECOMPRESSOR_32KB,
};

assertNative('uWebSockets.js', uws.App);

/** @param {import('./announce').Work} work */
function serve({ task, repeat, deflate, tls }) {
  const app = tls
    ? uws.SSLApp({ key_file_name: certificate.key, cert_file_name: certificate.cert })
    : uws.App();
  const clients = new Set();
  const compress = deflate !== undefined;
  const handlers = {
    echo: {
      message: (ws, message, isBinary) => {
        ws.send(message, isBinary, compress);
      },
    },
    loop: {
      open: (ws) => {
        clients.add(ws);
      },
      close: (ws) => {
        clients.delete(ws);
      },
      message: (_ws, message, isBinary) => {
        for (let copy = 0; copy < repeat; copy++) {
          for (const client of clients) client.send(message, isBinary, false);
        }
      },
    },
    publish: {
      open: (ws) => {
        ws.subscribe(TOPIC);
      },
      message: (_ws, message, isBinary) => {
        for (let copy = 0; copy < repeat; copy++) app.publish(TOPIC, message, isBinary, false);
      },
    },
  };
  app
    .ws('/*', {
      compression: COMPRESSION[deflate ?? 'none'],
      maxPayloadLength: MAX_PAYLOAD,
      maxBackpressure: MAX_BACKPRESSURE,
      // No timeouts and no pings, as `ws` has none.
      idleTimeout: 0,
      sendPingsAutomatically: false,
      ...handlers[task],
    })
    .listen(HOST, 0, (socket) => {
      if (!socket) throw new Error(`cannot listen on ${HOST}`);
      announce(uws.us_socket_local_port(socket));
    });
}

function cycle() {
  uws
    .App()
    .ws('/*', { message: () => {} })
    .listen(HOST, 0, (socket) => uws.us_listen_socket_close(socket));
  // It closes what was closed when the loop turns.
  return new Promise(setImmediate);
}

const work = readWork();
if (work.task === 'cycles') measureCycles(cycle, work);
else serve(work);
