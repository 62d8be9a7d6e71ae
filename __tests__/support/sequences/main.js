// The program of a thread that plays sequences until it is terminated.

const { parentPort, workerData } = require('node:worker_threads');

const { useCertificate } = require('./actions.js');
const { playSeeds } = require('./run.js');

function* seedsFrom(seed) {
  for (;;) yield seed++;
}

const { certificate, root, seed } = workerData;
useCertificate(certificate);
const uvws = require(root);
playSeeds(uvws, root, seedsFrom(seed), { withWorkers: false }).then(({ faults, seed: at }) => {
  parentPort.postMessage(faults.map((fault) => `seed ${at}: ${fault}`));
});
