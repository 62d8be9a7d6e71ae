// Peers in a process of their own, on plain sockets, which answer each PING whatever the tests' process does.

const { rawClient } = require('./peers.js');
const frames = require('./frames.js');

const [port, count] = process.argv.slice(2).map(Number);

async function connect() {
  const peer = await rawClient(port);
  const answer = () => {
    for (const { opcode, payload } of peer.frames.splice(0)) {
      if (opcode === frames.PING) peer.send(frames.PONG, payload);
    }
  };
  peer.socket.on('data', answer);
  answer();
}

async function run() {
  for (let i = 0; i < count; i++) await connect();
  process.send('connected');
}

run();
