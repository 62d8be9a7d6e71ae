'use strict';

// Attackers that take all they can get: each writes as fast as the server reads.

const net = require('node:net');

const { BINARY, PING, TEXT, compressed, frame } = require('../../__tests__/support/frames.js');
const { upgradeRequest } = require('../../__tests__/support/peers.js');

const [, , port, name] = process.argv;

const repeated = (bytes, count) => Buffer.concat(new Array(count).fill(bytes));
const bomb = (size) => compressed(Buffer.alloc(size));

/** What each attacker writes again and again, how many there are, and whether they read. */
const FLOODS = {
  nothing: { count: 0 },
  'tiny frames': { count: 50, bytes: repeated(frame(BINARY, ''), 20_000) },
  'tiny frames, echoed': { count: 50, path: '/echo', bytes: repeated(frame(TEXT, 'x'), 20_000) },
  'PING frames': { count: 50, bytes: repeated(frame(PING, 'p'), 20_000) },
  'messages to all': {
    count: 200,
    senders: 20,
    path: '/all',
    bytes: repeated(frame(TEXT, 'x'), 1000),
  },
  'huge messages': { count: 20, bytes: frame(BINARY, Buffer.alloc(16 * 1024 * 1024)) },
  'huge messages, echoed': {
    count: 20,
    path: '/echo',
    bytes: frame(BINARY, Buffer.alloc(4 * 1024 * 1024)),
  },
  'deflate bombs': {
    count: 20,
    deflate: true,
    bytes: bomb(90 * 1024 * 1024),
  },
  'medium bombs': {
    count: 20,
    deflate: true,
    bytes: bomb(30 * 1024 * 1024),
  },
  'small bombs': {
    count: 20,
    deflate: true,
    bytes: repeated(bomb(16 * 1024), 500),
  },
  handshakes: { count: 50, isChurn: true },
};

const flood = FLOODS[name];

function request({ path, deflate }) {
  const lines = deflate ? ['Sec-WebSocket-Extensions: permessage-deflate'] : [];
  return upgradeRequest({ path, lines });
}

function churn() {
  const socket = net.connect(port, '127.0.0.1');
  socket.write(request({}));
  socket.on('data', () => socket.resetAndDestroy());
  socket.on('error', () => {});
  socket.on('close', churn);
}

function attack(isSender) {
  const socket = net.connect(port, '127.0.0.1');
  socket.write(request(flood));
  socket.on('error', () => {});
  socket.once('data', () => {
    socket.on('data', () => {});
    if (!isSender) return;
    const write = () => {
      while (socket.write(flood.bytes));
    };
    socket.on('drain', write);
    write();
  });
}

for (let i = 0; i < flood.count; i++) {
  if (flood.isChurn) churn();
  else attack(i < (flood.senders ?? flood.count));
}

process.on('disconnect', () => process.exit(0));
process.send('ready');

module.exports = { FLOODS };
