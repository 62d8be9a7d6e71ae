'use strict';

const { Context, WebSocketServer } = require('../..');
const { declare, readWork, HOST } = require('./announce');
const { measureCycles } = require('./cycles');
const { serve } = require('./serve');

async function cycle() {
  const context = new Context();
  const server = new WebSocketServer({ host: HOST, port: 0, context });
  await new Promise((resolve) => server.on('listening', resolve));
  await context.destroy();
}

const work = readWork();
if (work.task === 'publish' && !WebSocketServer.prototype.broadcast)
  declare('no server.broadcast()');

if (work.task === 'cycles') measureCycles(cycle, work);
else
  serve(WebSocketServer, work, (server, data, isBinary) =>
    server.broadcast(data, { binary: isBinary }),
  );
