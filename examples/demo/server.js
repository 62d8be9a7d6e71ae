'use strict';

// The demo that `npm start` runs: one page and its WebSockets on one port.
//
//   /echo   sends back what it gets; the page measures the way there and back
//   /chat   one room for everybody who has the page open (room.js)
//   /stats  the context's figures once a second (figures.js)

const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');

const { Context, WebSocketServer, closeOnSignals } = require('../..');
const { Figures } = require('./figures.js');
const { Room } = require('./room.js');

const USAGE = `Try: npm start, open the page in two tabs, chat, then press "Start load".

usage: node examples/demo/server.js [port]

The port may also come from the environment as PORT; without either it is 8080, and 0
takes any free one. HOST limits the server to one address, such as 127.0.0.1.`;

/** The page's load button opens up to 150; the rest is for other tabs and people. */
const MAX_CONNECTIONS = 1000;

/** The largest message: an echo of 64 KiB shows that size matters little. */
const MAX_PAYLOAD = 64 * 1024;

/** A peer that has not answered a ping by the next one is gone. */
const PING_INTERVAL = 30_000;

/** How long Ctrl-C waits for closing handshakes. A second one does not wait. */
const CLOSE_TIMEOUT = 3000;

const PUBLIC = path.join(__dirname, 'public');

/** What the page may load and talk to: nothing but this server. */
const HEADERS = {
  'Cache-Control': 'no-cache',
  'Content-Security-Policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; " +
    "worker-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; " +
    "frame-ancestors 'none'",
  // An isolated page has a clock of 5 instead of 100 microseconds, for round trips.
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
};

const FILES = new Map(
  [
    ['/', 'index.html', 'text/html'],
    ['/style.css', 'style.css', 'text/css'],
    ['/app.js', 'app.js', 'text/javascript'],
    ['/chart.js', 'chart.js', 'text/javascript'],
    ['/load.js', 'load.js', 'text/javascript'],
  ].map(([url, name, type]) => [
    url,
    { body: fs.readFileSync(path.join(PUBLIC, name)), type: `${type}; charset=utf-8` },
  ]),
);

function pathOf(request) {
  return request.url.split('?', 1)[0];
}

function servePage(request, response) {
  const file = FILES.get(pathOf(request));
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.writeHead(405, { Allow: 'GET, HEAD' }).end();
  } else if (!file) {
    response.writeHead(404, { ...HEADERS, 'Content-Type': 'text/plain' }).end('Not found\n');
  } else {
    response.writeHead(200, {
      ...HEADERS,
      'Content-Type': file.type,
      'Content-Length': file.body.length,
    });
    response.end(request.method === 'HEAD' ? undefined : file.body);
  }
}

/**
 * Whether an upgrade comes from this server's own page, or from no page at all. Browsers
 * let every page open a WebSocket to every server, and leave it to the server to refuse.
 */
function isFromOwnPage({ origin, req }) {
  if (!origin) return true;
  const hosts = [req.headers.host, req.headers['x-forwarded-host']];
  return URL.canParse(origin) && hosts.includes(new URL(origin).host);
}

function echo(peer) {
  peer.on('message', (data, isBinary) => peer.send(data, { binary: isBinary }));
}

/** Pings all peers now and then, and drops those that have not answered. */
function watchPeers(server) {
  const answered = new WeakSet();
  server.on('connection', (peer) => {
    answered.add(peer);
    peer.on('pong', () => answered.add(peer));
  });
  setInterval(() => {
    for (const peer of server.clients) {
      if (answered.delete(peer)) peer.ping();
      else peer.terminate();
    }
  }, PING_INTERVAL).unref();
}

/** Says in one line why the server does not start. */
function explain(error, port) {
  switch (error.code) {
    case 'EADDRINUSE':
      return `Port ${port} is in use. Another one: npm start -- ${port < 65_535 ? port + 1 : 8080}`;
    case 'EACCES':
      return `Port ${port} needs more rights. Another one: npm start -- 8080`;
    default:
      return `The server does not start: ${error.message}`;
  }
}

function start(port, host) {
  const context = new Context({ name: 'demo' });
  const server = http.createServer(servePage);
  const sockets = new WebSocketServer({
    context,
    maxPayload: MAX_PAYLOAD,
    server,
    verifyClient: isFromOwnPage,
  });
  const room = new Room();
  const figures = new Figures(context);
  const paths = new Map([
    ['/chat', (peer) => room.enter(peer)],
    ['/echo', echo],
    ['/stats', (peer) => figures.show(peer)],
  ]);

  watchPeers(sockets);
  sockets.on('connection', (peer, request) => {
    // What a peer does wrong closes its connection and nothing else.
    peer.on('error', () => {});
    const serve = paths.get(pathOf(request));
    if (!serve) peer.close(4404, 'no such path');
    else if (sockets.clients.size > MAX_CONNECTIONS) peer.close(1013, 'too many connections');
    else serve(peer);
  });

  // The WebSocketServer passes on the errors of the server that it is given.
  sockets.on('error', (error) => {
    console.error(explain(error, port));
    process.exitCode = 1;
    server.close();
    context.destroy();
  });

  server.listen(port, host, () => {
    const shown = !host || host === '0.0.0.0' || host === '::' ? 'localhost' : host;
    const url = `http://${shown.includes(':') ? `[${shown}]` : shown}:${server.address().port}/`;
    console.log(`uvws demo: ${url}`);
    console.log('Try: open it in two tabs, chat, then press "Start load". Ctrl-C ends it.');
    figures.start();
  });

  closeOnSignals(context, { signals: ['SIGINT', 'SIGTERM'], timeout: CLOSE_TIMEOUT });
  for (const signal of ['SIGINT', 'SIGTERM']) {
    process.once(signal, () => {
      const { connections } = context.stats();
      console.log(`\nClosing ${connections} connection${connections === 1 ? '' : 's'}.`);
      server.close();
    });
  }
}

function main() {
  const [argument = process.env.PORT || '8080', ...rest] = process.argv.slice(2);
  if (argument === '--help' || argument === '-h') {
    console.log(USAGE);
  } else if (rest.length > 0 || !/^\d{1,5}$/.test(argument) || Number(argument) > 65_535) {
    console.error(`Not a port: ${[argument, ...rest].join(' ')}\n\n${USAGE}`);
    process.exitCode = 2;
  } else {
    start(Number(argument), process.env.HOST);
  }
}

main();
