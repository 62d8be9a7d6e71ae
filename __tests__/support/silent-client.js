// A client in a process of its own, which can be stopped: tells its parent how it has ended.

const { WebSocket } = require('../..');

const client = new WebSocket(process.argv[2]);
client.on('close', (code) => {
  process.send(code);
  process.disconnect();
});
