// Proxies for the tests: small ones of our own, which remember what they were asked for, and the
// processes of others.

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const http = require('node:http');
const https = require('node:https');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');

const { freePort } = require('./peers.js');
const { delay } = require('./tools.js');

/** Lets two sockets be one connection. */
function join(one, other) {
  one.pipe(other);
  other.pipe(one);
  for (const [socket, partner] of [
    [one, other],
    [other, one],
  ]) {
    socket.on('error', () => {});
    socket.on('close', () => partner.destroy());
  }
}

/** Starts `server` on a port of its own; `close` drops what is connected to it. */
async function listen(server) {
  const sockets = new Set();
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    server,
    sockets,
    port: server.address().port,
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/**
 * An HTTP proxy that makes tunnels. `refuse(request)` may return an answer to give instead; `tls` is
 * the certificate of one that is reached over TLS.
 */
async function httpProxy({ refuse = () => null, tls = null } = {}) {
  const requests = [];
  const server = tls === null ? http.createServer() : https.createServer(tls);
  server.on('connect', (request, socket, head) => {
    requests.push(request);
    const refusal = refuse(request);
    if (refusal !== null) {
      socket.end(refusal);
      return;
    }
    const { hostname, port } = new URL(`http://${request.url}`);
    const target = net.connect(port, hostname.replace(/^\[|\]$/g, ''), () => {
      socket.write('HTTP/1.1 200 Connection established\r\nX-Proxy: ours\r\n\r\n');
      target.write(head);
      join(socket, target);
    });
    target.on('error', () => socket.destroy());
  });
  return { ...(await listen(server)), requests };
}

/**
 * A proxy that is no more than a script. `script(socket, index)` is called with each connection. What
 * has come is in `socket.received`.
 */
async function rawProxy(script) {
  const server = net.createServer((socket) => {
    socket.received = Buffer.alloc(0);
    socket.on('data', (chunk) => {
      socket.received = Buffer.concat([socket.received, chunk]);
    });
    script(socket);
  });
  return listen(server);
}

/**
 * A SOCKS5 proxy that connects to `port` of this machine, whatever it is asked for. `requests` has
 * what came behind the greeting: `{ credentials, request }` in bytes.
 */
async function socksProxy(
  port,
  { method = 0, status = 0, reply = [5, 0, 0, 1, 0, 0, 0, 0, 0, 0] } = {},
) {
  const requests = [];
  const proxy = await listen(
    net.createServer(async (socket) => {
      const seen = { greeting: null, credentials: null, request: null };
      requests.push(seen);
      [seen.greeting] = await once(socket, 'data');
      socket.write(Buffer.from([5, method]));
      if (method === 0xff) return;
      if (method === 2) {
        [seen.credentials] = await once(socket, 'data');
        socket.write(Buffer.from([1, status]));
        if (status !== 0) return;
      }
      [seen.request] = await once(socket, 'data');
      const target = net.connect(port, '127.0.0.1', () => {
        // A byte at a time, as a network might bring it.
        for (const byte of reply) socket.write(Buffer.from([byte]));
        join(socket, target);
      });
    }),
  );
  return { ...proxy, requests };
}

/** The path of a program that the tests need. */
function programPath(name) {
  const folders = (process.env.PATH ?? '').split(path.delimiter).concat('/usr/sbin');
  const found = folders
    .map((folder) => path.join(folder, name))
    .find((file) => fs.existsSync(file));
  if (!found) throw new Error(`no ${name} on PATH: install it (Debian: apt-get install ${name})`);
  return found;
}

/** Starts a program that listens on a port; resolves when it does, with how to end it. */
async function startProgram(name, args, port) {
  const detached = true;
  const child = spawn(programPath(name), args, { detached, stdio: 'ignore' });
  const ended = once(child, 'close');
  const end = async () => {
    // With the processes that it has started.
    if (child.exitCode === null && child.signalCode === null) process.kill(-child.pid, 'SIGKILL');
    await ended;
  };
  for (let attempt = 0; ; attempt++) {
    try {
      const socket = net.connect(port, '127.0.0.1');
      await once(socket, 'connect');
      socket.destroy();
      return { child, end };
    } catch (error) {
      if (attempt === 400 || child.exitCode !== null) {
        await end();
        throw error;
      }
      await delay(50);
    }
  }
}

/** Starts tinyproxy, which asks for `user` and `pass`. */
async function tinyproxy() {
  const port = await freePort();
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'uvws-proxy-'));
  const configuration = path.join(directory, 'tinyproxy.conf');
  const lines = [
    `Port ${port}`,
    'Listen 127.0.0.1',
    'Timeout 60',
    'Allow 127.0.0.1',
    'BasicAuth user pass',
    'MaxClients 20',
  ];
  fs.writeFileSync(configuration, `${lines.join('\n')}\n`);
  const { end } = await startProgram('tinyproxy', ['-d', '-c', configuration], port);
  return {
    port,
    async close() {
      await end();
      fs.rmSync(directory, { recursive: true });
    },
  };
}

/** Starts microsocks, which asks for `user` and `pass`. */
async function microsocks() {
  const port = await freePort();
  const args = ['-i', '127.0.0.1', '-p', String(port), '-u', 'user', '-P', 'pass'];
  const { end } = await startProgram('microsocks', args, port);
  return { port, close: end };
}

module.exports = { httpProxy, microsocks, rawProxy, socksProxy, startProgram, tinyproxy };
