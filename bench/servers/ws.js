'use strict';

const bufferutil = require('bufferutil');
const isValidUTF8 = require('utf-8-validate');
const { WebSocketServer } = require('ws');
const { assertNative, readWork, HOST } = require('./announce');
const { measureCycles } = require('./cycles');
const { serve } = require('./serve');

// `ws` uses both where they are installed, and is measured with them.
assertNative('bufferutil', bufferutil.mask);
assertNative('utf-8-validate', isValidUTF8);

function cycle() {
  return new Promise((resolve) => {
    const server = new WebSocketServer({ host: HOST, port: 0 });
    server.on('listening', () => server.close(resolve));
  });
}

const work = readWork();
if (work.task === 'cycles') measureCycles(cycle, work);
else serve(WebSocketServer, work);
