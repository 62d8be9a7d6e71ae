// A program as one writes it with @types/ws. It is compiled, not run: against the types of this
// package under the name ws (see tsconfig.json).

import * as diagnosticsChannel from 'node:diagnostics_channel';
import * as http from 'node:http';
import * as https from 'node:https';
import { Duplex } from 'node:stream';
import WebSocket = require('ws');

import ClientOptions = WebSocket.ClientOptions;
import ServerOptions = WebSocket.ServerOptions;

const options: ServerOptions = {
  port: 8080,
  backlog: 10,
  perMessageDeflate: {
    serverNoContextTakeover: true,
    clientMaxWindowBits: 10,
    zlibDeflateOptions: { level: 3, memLevel: 7, chunkSize: 1024 },
    zlibInflateOptions: { chunkSize: 10 * 1024 },
    concurrencyLimit: 10,
    threshold: 1024,
  },
  handleProtocols: (protocols, request) => (request.url === '/' ? false : [...protocols][0]!),
  verifyClient: (info, callback) => {
    callback(info.secure && info.origin !== '', 401, 'no', { 'X-Header': 'value' });
  },
  maxPayload: 1024,
  skipUTF8Validation: false,
};
const wss = new WebSocket.Server(options, () => {
  console.log(wss.address());
});
const fromHttps = new WebSocket.WebSocketServer({ server: https.createServer() });
const noServer: WebSocket.WebSocketServer = new WebSocket.WebSocketServer({ noServer: true });
fromHttps.path = '/path';

wss.on('connection', (socket, request: http.IncomingMessage) => {
  const address: string | undefined = request.socket.remoteAddress;
  socket.on('message', (data: WebSocket.RawData, isBinary: boolean) => {
    for (const client of wss.clients) {
      if (client.readyState === WebSocket.OPEN) client.send(data, { binary: isBinary });
    }
    if (Array.isArray(data)) console.log(data.length, address);
  });
  socket.on('close', (code: number, reason: Buffer) => console.log(code, reason.toString()));
  socket.on('pong', (data: Buffer) => console.log(data));
});
const patient = new WebSocket('wss://localhost', {
  proxy: {
    url: 'https://proxy',
    username: 'user',
    tls: { ca: '' },
    headers: { 'X-Header': 'value' },
  },
  connectTimeout: 1000,
  reconnect: { delays: [1000], jitter: 20, offline: 'refuse', retry: (cause) => !cause.wasOpen },
});
patient.on('reconnecting', (attempt, delay, { code, error }) => {
  const upgrade: number | null | undefined = patient.timings?.upgrade;
  console.log(attempt + delay, code, error?.message, upgrade);
});
patient.once('reconnected', () => patient.send(''));
const delivered: number = wss.publish('topic', Buffer.alloc(1), { overflow: 'close' });
const { memory, limits: breaches } = new WebSocket.Context({ memoryBudget: 2 ** 20 }).stats();
console.log((memory?.used ?? 0) + breaches.memoryBudget, {
  maxBackpressure: 1,
} satisfies ClientOptions);
wss.broadcast('text', { binary: true, compress: false, maxBackpressure: delivered });
wss.clients.forEach((socket) => {
  const isSubscribed: boolean = socket.subscribe('topic') && socket.isSubscribed('topic');
  console.log(isSubscribed, socket.getTopics().length, wss.numSubscribers('topic'));
  console.log(socket.publish('topic', new ArrayBuffer(1)), socket.unsubscribe('topic'));
});
const { bytesReceived, transport, limits }: WebSocket.ConnectionStats & WebSocket.ContextStats = {
  ...patient.stats(),
  ...wss.context.stats(),
};
console.log(bytesReceived, transport === 'tls', limits.maxPayload, wss.stats().connectionsOpened);
http.createServer((_request, response) => {
  response.setHeader('Content-Type', WebSocket.metrics.contentType);
  response.end(WebSocket.metrics());
});
diagnosticsChannel.subscribe('uvws:close', (message) => {
  const { websocket, server, code, initiator } =
    message as WebSocket.DiagnosticsMessages['uvws:close'];
  if (initiator === 'remote') console.log(code, websocket.stats().duration, server?.data);
});
diagnosticsChannel.subscribe('uvws:limit', (message) => {
  const { limit, context } = message as WebSocket.DiagnosticsMessages['uvws:limit'];
  console.log(context.stats().limits[limit]);
});
wss.on('headers', (headers: string[]) => headers.push('X-Header: value'));
wss.off('error', (error: Error) => console.log(error.message));
wss.addListener('connection', (socket) => socket.terminate());
wss.removeListener('wsClientError', (error, socket: Duplex) => socket.destroy(error));

const server = http.createServer();
server.on('upgrade', (request, socket, head) => {
  if (!noServer.shouldHandle(request)) return;
  noServer.handleUpgrade(request, socket, head, (client) => noServer.emit('connection', client));
});

const clientOptions: ClientOptions = {
  agent: new http.Agent(),
  followRedirects: true,
  handshakeTimeout: 1000,
  headers: { 'X-Header': 'value' },
  perMessageDeflate: false,
  rejectUnauthorized: false,
  finishRequest: (request) => request.end(),
};
const client = new WebSocket('ws://localhost:8080', ['a', 'b'], clientOptions);
client.binaryType = 'arraybuffer';
client.addEventListener('message', (event: WebSocket.MessageEvent) => console.log(event.data));
client.onclose = (event: WebSocket.CloseEvent) => console.log(event.wasClean, event.code);
client.onerror = ({ error, message }) => console.log(error, message);
client.once('upgrade', (response: http.IncomingMessage) => console.log(response.headers));
client.on('unexpected-response', (request, response) => console.log(request.path, response.url));
client.send('text', (error?: Error) => console.log(error));
client.send(new Uint8Array(1), { compress: true, fin: false, mask: true });
client.ping('', true, () => {});
client.close(1000, 'done');
const stream: Duplex = WebSocket.createWebSocketStream(client, { encoding: 'utf8' });
stream.pipe(process.stdout);

class Socket extends WebSocket {
  isAlive = true;
}
const typed = new WebSocket.Server({ noServer: true, WebSocket: Socket });
typed.on('connection', (socket) => console.log(socket.isAlive));
typed.clients.forEach((socket) => (socket.isAlive = false));

interface Rooms {
  count: number;
}
interface Member {
  name: string;
}
const chat: WebSocket.ProtocolHandlers<Rooms, { start: number }, Member> = {
  options: { start: 0 },
  init: (server, options) => ({ count: options.start + server.clients.size }),
  open(ws, request) {
    ws.data = { name: request.url ?? '' };
  },
  message(ws, data, isBinary) {
    const count: number = ws.state.count;
    ws.send(isBinary ? data.toString() : `${ws.data.name} ${count}`);
  },
  close: (ws, code, reason) => console.log(ws.data.name, code, reason.toString()),
  destroy: (_server, state) => console.log(state.count),
};
const shared: ServerOptions = { port: 8080, hostname: '*.example.org', data: 1 };
new WebSocket.Server({ ...shared, strictHost: true, protocols: { chat }, defaultProtocol: 'chat' });

// Each way to listen knows the events, and what they bring: nothing of it is any.
patient.off('reconnecting', (attempt, _delay, cause) => console.log(attempt + cause.code));
// @ts-expect-error
patient.addListener('unexpected-response', (_request, response) => console.log(response.nothing));
// @ts-expect-error
patient.prependOnceListener('ping', (data) => console.log(data.nothing));
// @ts-expect-error
patient.removeListener('upgrade', (response) => console.log(response.nothing));
patient.on('of mine', (...anything) => console.log(anything[0].something));
wss.prependListener('tlsClientError', ({ code, remoteAddress }) =>
  console.log(code, remoteAddress),
);
// @ts-expect-error
wss.removeListener('tlsClientError', (error) => console.log(error.nothing));
wss.context.off('connection', (socket, request, { path }) => socket.send(`${request.url} ${path}`));
// @ts-expect-error
wss.context.addListener('listening', (server) => console.log(server.nothing));

patient.ping((error) => console.log(error?.message));
patient.pong('data', (error) => console.log(error?.message));
// Options of http.request() are taken, as with @types/ws.
const requestOptions: http.ClientRequestArgs = { timeout: 1000, auth: null };
new WebSocket('ws://localhost', requestOptions);
new WebSocket('wss://localhost', [], { ALPNProtocols: ['http/1.1'], host: 'ignored' });
// @ts-expect-error
new WebSocket('ws://localhost', { maxPayLoad: 1 });
new WebSocket(null, undefined, {}).setSocket(stream, Buffer.alloc(0), {
  generateMask: (mask) => mask.fill(0),
});
