// The program of a thread that tools.startWorker() starts.

const vm = require('node:vm');
const { workerData } = require('node:worker_threads');

const tools = require('./tools.js');

const body = vm.runInThisContext(`(${workerData.source})`, { filename: 'worker-body.js' });

Promise.resolve(body(tools.create(workerData.input))).catch((error) => {
  process.nextTick(() => {
    throw error;
  });
});
