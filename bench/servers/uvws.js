'use strict';

const { Context, WebSocketServer } = require('../..');
const { declare, readWork, HOST, TOPIC } = require('./announce');
const { measureCycles } = require('./cycles');
const { serve } = require('./serve');

async function cycle() {
  const context = new Context();
  const server = new WebSocketServer({ host: HOST, port: 0, context });
  await new Promise((resolve) => server.on('listening', resolve));
  await context.destroy();
}

const publish = {
  publish: (server, data, isBinary) => server.broadcast(data, { binary: isBinary }),
  topic: (server, data, isBinary) => server.publish(TOPIC, data, { binary: isBinary }),
};

const work = readWork();
if (publish[work.task] && !WebSocketServer.prototype.broadcast) declare('no server.broadcast()');

if (work.task === 'cycles') measureCycles(cycle, work);
else serve(WebSocketServer, work, { publish, tls: true });
