const { WebSocketServer, WebSocket } = require('..');

const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
server.on('connection', (peer) => {
  peer.on('message', (data, isBinary) => peer.send(data, { binary: isBinary }));
});
server.on('listening', () => {
  const client = new WebSocket(`ws://127.0.0.1:${server.address().port}`);
  client.on('open', () => client.send('hello'));
  client.on('message', (data) => console.log(`echoed: ${data}`));
  client.on('message', () => client.close(1000));
  client.on('close', () => server.close());
});
