'use strict';

const uws = require('@trufflesuite/uws-js-unofficial');
const { announce, assertNative, HOST, MAX_PAYLOAD } = require('./announce');

/** Above all that the benchmark has in flight: a message is never dropped for backpressure. */
const MAX_BACKPRESSURE = 2 * MAX_PAYLOAD;

assertNative('uWebSockets.js', uws.App);

uws
  .App()
  .ws('/*', {
    compression: uws.DISABLED,
    maxPayloadLength: MAX_PAYLOAD,
    maxBackpressure: MAX_BACKPRESSURE,
    // No timeouts and no pings, as `ws` has none.
    idleTimeout: 0,
    sendPingsAutomatically: false,
    message: (ws, message, isBinary) => {
      ws.send(message, isBinary, false);
    },
  })
  .listen(HOST, 0, (socket) => {
    if (!socket) throw new Error(`cannot listen on ${HOST}`);
    announce(uws.us_socket_local_port(socket));
  });
