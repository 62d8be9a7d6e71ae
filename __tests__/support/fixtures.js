// Servers and clients for the tests of behaviour. They are ended after each test, and it is proved
// that nothing of them is left.

const { once } = require('node:events');

const uvws = require('./uvws.js');
const peers = require('./peers.js');

const { WebSocket, WebSocketServer } = uvws;

/** What ends the things that the running test has made, the newest first. */
let ends = [];

afterEach(async () => {
  const list = ends.reverse();
  ends = [];
  for (const end of list) await end();
  // With ws as the subject there are no contexts.
  if (uvws.Context === undefined) return;
  const { connections, listeners, pendingConnects } = uvws.Context.default.stats();
  expect({ connections, listeners, pendingConnects }).toEqual({
    connections: 0,
    listeners: 0,
    pendingConnects: 0,
  });
});

afterAll(async () => {
  if (uvws.Context === undefined) return;
  const context = uvws.Context.default;
  await context.destroy();
  expect(context.stats().handles).toBe(0);
});

/** A test of what ws does otherwise, or does not do. */
const testOurs = uvws.Context === undefined ? test.skip : test;

/**
 * Returns what `body` throws. Errors of Node's own are of classes that this realm does not have: they
 * are told by their names.
 */
function thrownBy(body) {
  try {
    body();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}

/** Calls `end` when the test is over. */
function defer(end) {
  ends.push(end);
}

/** Drops a connection and waits for its end. */
async function drop(ws) {
  if (ws.readyState === WebSocket.CLOSED) return;
  ws.on('error', () => {});
  const closed = new Promise((resolve) => ws.on('close', resolve));
  ws.terminate();
  await closed;
}

/** Closes a server, and drops the connections of it. */
async function closeServer(wss) {
  const connections = [...(wss.clients ?? [])];
  const closed = new Promise((resolve) => wss.close(resolve));
  await Promise.all(connections.map(drop));
  await closed;
}

/** Starts a server on a port of its own; resolves when it listens. */
async function serve(options) {
  const wss = new WebSocketServer({ port: 0, host: '127.0.0.1', ...options });
  defer(() => closeServer(wss));
  await once(wss, 'listening');
  const { port } = wss.address();
  return { wss, port, url: `ws://127.0.0.1:${port}` };
}

/** Makes a client. */
function dial(url, ...rest) {
  const ws = new WebSocket(url, ...rest);
  defer(() => drop(ws));
  return ws;
}

/** Makes a client and resolves when it is open. */
async function open(url, ...rest) {
  const ws = dial(url, ...rest);
  await once(ws, 'open');
  return ws;
}

/** A server, and both ends of a connection to it. */
async function pair(serverOptions, clientOptions) {
  const { wss, port, url } = await serve(serverOptions);
  const connected = once(wss, 'connection');
  const client = await open(url, clientOptions);
  const [server, request] = await connected;
  server.on('error', () => {});
  return { wss, port, url, client, server, request };
}

/** A server of the subject, and a connection to it from a plain socket. */
async function rawPair(serverOptions, clientOptions) {
  const { wss, port, url } = await serve(serverOptions);
  const connected = once(wss, 'connection');
  const peer = await rawClient(port, clientOptions);
  const [server, request] = await connected;
  return { wss, port, url, peer, server, request };
}

/** A client on a plain socket, which is dropped after the test. */
async function rawClient(port, options) {
  const peer = await peers.rawClient(port, options);
  defer(() => peer.destroy());
  return peer;
}

/** A connection that has sent nothing, which is dropped after the test. */
async function rawConnect(port, options) {
  const peer = await peers.rawConnect(port, options);
  defer(() => peer.destroy());
  return peer;
}

/** A server on a plain socket, which is closed after the test. */
async function rawServer(options) {
  const server = await peers.rawServer(options);
  defer(() => server.close());
  return server;
}

/** A client of the subject, open, and the plain socket that is its server. */
async function rawPairOfClient(clientOptions, serverOptions) {
  const server = await rawServer(serverOptions);
  const client = dial(server.url, clientOptions);
  const opened = once(client, 'open');
  const peer = await server.peer();
  await opened;
  return { client, peer };
}

/** Resolves with the error and the close event of a connection that fails. */
function failure(ws) {
  return new Promise((resolve) => {
    const seen = { errors: [] };
    ws.on('error', (error) => seen.errors.push(error));
    ws.on('close', (code, reason) => {
      const { errors } = seen;
      resolve({ error: errors[0], count: errors.length, code, reason: String(reason) });
    });
  });
}

/** Resolves with the arguments of a close event. */
function closing(ws) {
  return new Promise((resolve) => {
    ws.on('close', (code, reason) => resolve({ code, reason: String(reason) }));
  });
}

/** Collects messages: strings for text, Buffers for the rest. */
function collect(ws) {
  const messages = [];
  ws.on('message', (data, isBinary) => messages.push(isBinary ? data : String(data)));
  return messages;
}

module.exports = {
  closeServer,
  closing,
  collect,
  defer,
  dial,
  drop,
  failure,
  open,
  pair,
  rawClient,
  rawConnect,
  rawPair,
  rawPairOfClient,
  rawServer,
  serve,
  testOurs,
  thrownBy,
};
