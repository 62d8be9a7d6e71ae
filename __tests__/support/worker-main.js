// The program of a thread that tools.startWorker() starts.

const vm = require('node:vm');
const { workerData } = require('node:worker_threads');

const tools = require('./tools.js');

// The piece is evaluated as a script: what a module has, it has by this.
globalThis.require = require;

const body = vm.runInThisContext(`(${workerData.source})`, { filename: 'worker-body.js' });

Promise.resolve(body(tools.create(workerData.input))).catch((error) => {
  process.nextTick(() => {
    throw error;
  });
});
