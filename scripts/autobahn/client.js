'use strict';

// The echo client that plays the cases of a fuzzing server: client.js URL AGENT

const { WebSocket } = require('../..');

const [url, agent] = process.argv.slice(2);

const options = {
  maxPayload: 64 * 1024 * 1024,
  maxFragments: 0,
  perMessageDeflate: true,
};

/** Resolves with the last message when the connection has closed. */
function play(target, isEcho) {
  return new Promise((resolve) => {
    let last = '';
    const ws = new WebSocket(target, options);
    ws.on('error', () => {});
    ws.on('message', (data, isBinary) => {
      if (isEcho) ws.send(data, { binary: isBinary });
      else last = data.toString();
    });
    ws.on('close', () => resolve(last));
  });
}

async function main() {
  const count = Number(await play(`${url}/getCaseCount`, false));
  for (let number = 1; number <= count; number++) {
    await play(`${url}/runCase?case=${number}&agent=${agent}`, true);
  }
  await play(`${url}/updateReports?agent=${agent}`, false);
}

main();
