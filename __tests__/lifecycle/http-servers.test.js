// What a context leaves at an HTTP server that its servers took upgrades of: nothing.

const { inChild } = require('../support/child.js');

test.each(['drain', 'close', 'destroy'])(
  '%s() ends the server of a context on an HTTP server, whose upgrades another one can take then',
  (method) =>
    inChild(
      async ({ uvws, assert, once, input, rawClient }) => {
        const http = require('node:http');
        const server = http.createServer();
        const counts = () => server.eventNames().map((name) => server.listenerCount(name));
        const before = counts();
        const context = new uvws.Context();
        const wss = new uvws.WebSocketServer({ server, context });
        const events = [];
        for (const name of ['listening', 'close', 'error']) wss.on(name, () => events.push(name));
        await context[input]();
        assert.deepEqual(events, ['close']);
        assert.deepEqual(counts(), before);

        server.listen(0, '127.0.0.1');
        await once(server, 'listening');
        assert.deepEqual(events, ['close']);
        const next = new uvws.Context();
        const other = new uvws.WebSocketServer({ server, context: next });
        const peer = await rawClient(server.address().port);
        assert.equal(peer.status, 101);
        await next.destroy();
        other.removeAllListeners();
        await peer.destroy();
        await new Promise((resolve) => server.close(resolve));
      },
      { input: method },
    ),
);

test.each(['drain', 'close', 'destroy'])(
  'no kind of server can join a context behind %s(), and an HTTP server gets no listener of it',
  (method) =>
    inChild(
      async ({ uvws, assert, once, input }) => {
        const http = require('node:http');
        const server = http.createServer();
        const before = server.eventNames();
        const context = new uvws.Context();
        const ws = new uvws.WebSocket('ws://127.0.0.1:1', { context });
        ws.on('error', () => {});
        context[input]();
        const servers = [{ port: 0 }, { server }, { noServer: true }].map(
          (options) => new uvws.WebSocketServer({ ...options, context }),
        );
        const errors = await Promise.all(servers.map((wss) => once(wss, 'error')));
        for (const [error] of errors) assert.equal(error.code, 'ERR_UVWS_CONTEXT_CLOSED');
        assert.deepEqual(server.eventNames(), before);
        await context.closed;
      },
      { input: method },
    ),
);
