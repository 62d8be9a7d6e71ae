// A program as one writes it with @types/ws. It is compiled, not run: against the types of this
// package under the name ws (see tsconfig.json).

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
wss.broadcast('text', { binary: true, compress: false, maxBackpressure: delivered });
wss.clients.forEach((socket) => {
  const isSubscribed: boolean = socket.subscribe('topic') && socket.isSubscribed('topic');
  console.log(isSubscribed, socket.getTopics().length, wss.numSubscribers('topic'));
  console.log(socket.publish('topic', new ArrayBuffer(1)), socket.unsubscribe('topic'));
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
