'use strict';

// Clients of the tenant that is not attacked: they measure the echo from the time a message was due.

const WebSocket = require('ws');

const CLIENTS = 4;
const INTERVAL = 5;

let latencies = [];

for (let i = 0; i < CLIENTS; i++) {
  const client = new WebSocket(`ws://127.0.0.1:${process.argv[2]}/`, { perMessageDeflate: false });
  client.on('open', () => {
    let due = performance.now() + (INTERVAL * i) / CLIENTS;
    const send = () => {
      for (; due <= performance.now(); due += INTERVAL) client.send(String(due));
      setTimeout(send, due - performance.now());
    };
    send();
  });
  client.on('message', (data) => latencies.push(performance.now() - Number(data)));
}

process.on('message', () => {
  process.send(latencies);
  latencies = [];
});
process.on('disconnect', () => process.exit(0));
process.send('ready');
