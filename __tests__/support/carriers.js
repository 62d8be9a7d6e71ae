// Servers whose connections are carried in each of the ways: by a native listener, of TLS or not, taken
// over from Node's HTTP server, and by a stream of Node's.

const { once } = require('node:events');
const http = require('node:http');
const https = require('node:https');
const tls = require('node:tls');

const { closeServer, defer, serve } = require('./fixtures.js');
const { makeCertificate } = require('./certificate.js');
const { RawPeer, rawConnect, upgradeRequest } = require('./peers.js');
const { WebSocketServer } = require('./uvws.js');

async function serveBehind(server, options) {
  const wss = new WebSocketServer({ server, ...options });
  defer(async () => {
    await closeServer(wss);
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { wss, server, port: server.address().port };
}

async function connectSecurely(port) {
  const socket = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false });
  const peer = new RawPeer(socket, { mask: true });
  await once(socket, 'secureConnect');
  return peer;
}

/** Each with `start(options)`, which resolves with `{ wss, port }`, and `connect(port)`. */
const CARRIERS = {
  'a native listener': { start: serve, connect: rawConnect },
  'a native listener of TLS': {
    start: (options) => serve({ tls: makeCertificate(), ...options }),
    connect: connectSecurely,
  },
  'an adopted socket': {
    start: (options) => serveBehind(http.createServer(), options),
    connect: rawConnect,
  },
  'a bridged stream': {
    start: (options) => serveBehind(https.createServer(makeCertificate()), options),
    connect: connectSecurely,
  },
};

/** Starts a server, and returns it with what upgrades plain peers. */
async function carry(name, options) {
  const { start, connect } = CARRIERS[name];
  const started = await start(options);
  const upgrade = async ({ lines } = {}) => {
    const peer = await connect(started.port);
    defer(() => peer.destroy());
    peer.write(Buffer.from(upgradeRequest({ lines }), 'latin1'));
    await peer.when(({ head, hasClosed }) => head !== null || hasClosed);
    return peer;
  };
  /** Resolves with both ends of a connection. */
  const pair = async () => {
    const connected = once(started.wss, 'connection');
    const peer = await upgrade();
    const [server, request] = await connected;
    return { peer, server, request };
  };
  return { ...started, pair, upgrade };
}

module.exports = { CARRIERS: Object.keys(CARRIERS), carry };
