// Peers on plain sockets: a client and a server that speak the protocol, or break it, byte by byte.

const crypto = require('node:crypto');
const { once } = require('node:events');
const net = require('node:net');

const frames = require('./frames.js');

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
/** Milliseconds that a test waits for what is to happen at once: a machine may be slow, and busy. */
const PATIENCE = 20_000;

const KEY = 'dGhlIHNhbXBsZSBub25jZQ==';

/** A request that a server accepts; `lines` are more headers. */
function upgradeRequest({ host = 'localhost', path = '/', lines = [] } = {}) {
  return [
    `GET ${path} HTTP/1.1`,
    `Host: ${host}`,
    'Upgrade: websocket',
    'Connection: Upgrade',
    `Sec-WebSocket-Key: ${KEY}`,
    'Sec-WebSocket-Version: 13',
    ...lines,
    '',
    '',
  ].join('\r\n');
}

/** The same as Node's HTTP server hands it over; `headers` are more, or others. */
function upgradeMessage(headers, url = '/') {
  return {
    method: 'GET',
    url,
    headers: {
      upgrade: 'websocket',
      connection: 'Upgrade',
      'sec-websocket-key': KEY,
      'sec-websocket-version': '13',
      ...headers,
    },
  };
}

/** What a server answers to a key (RFC 6455 section 4.2.2). */
function acceptFor(key) {
  return crypto.createHash('sha1').update(`${key}${GUID}`).digest('base64');
}

/** One end of a connection, on a socket. Reads the head first and frames after it. */
class RawPeer {
  /** What has arrived: the head of the HTTP message, and its text so far. */
  head = null;
  text = '';
  frames = [];
  /** Whether the other end has sent its FIN, and whether everything is over. */
  hasEnded = false;
  hasClosed = false;
  error = null;

  #reader = new frames.FrameReader();
  #waiting = new Set();

  constructor(socket, { mask }) {
    this.socket = socket;
    this.mask = mask;
    socket.on('data', (chunk) => this.#receive(chunk));
    socket.on('end', () => this.#note(() => (this.hasEnded = true)));
    socket.on('error', (error) => this.#note(() => (this.error = error)));
    socket.on('close', () => this.#note(() => (this.hasClosed = true)));
  }

  #receive(chunk) {
    this.#note(() => {
      let rest = chunk;
      if (this.head === null) {
        this.text += chunk.toString('latin1');
        const end = this.text.indexOf('\r\n\r\n');
        if (end === -1) return;
        this.head = this.text.slice(0, end + 4);
        rest = Buffer.from(this.text.slice(end + 4), 'latin1');
      } else if (!this.isUpgraded) {
        this.text += chunk.toString('latin1');
      }
      if (this.isUpgraded && rest.length > 0) this.frames.push(...this.#reader.push(rest));
    });
  }

  #note(change) {
    change();
    for (const check of this.#waiting) check();
  }

  /** Whether frames follow: the server has said 101, or the client has asked for an upgrade. */
  get isUpgraded() {
    return this.head !== null && /^(HTTP\/1\.1 101 |GET )/.test(this.head);
  }

  /** The status of the answer, or undefined without one. */
  get status() {
    return this.head === null ? undefined : Number(this.head.split(' ')[1]);
  }

  /** Resolves when `condition(this)` holds; fails after some seconds. */
  when(condition, timeout = PATIENCE) {
    return new Promise((resolve, reject) => {
      const check = () => {
        if (!condition(this)) return;
        clearTimeout(timer);
        this.#waiting.delete(check);
        resolve(this);
      };
      const timer = setTimeout(() => {
        this.#waiting.delete(check);
        const state = `${this.frames.length} frames, ended: ${this.hasEnded}, error: ${this.error}`;
        reject(new Error(`a peer waited in vain for ${condition} (${state})`));
      }, timeout);
      this.#waiting.add(check);
      check();
    });
  }

  /** Resolves with the next frame that was not taken yet. */
  async nextFrame(timeout) {
    await this.when((peer) => peer.frames.length > 0, timeout);
    return this.frames.shift();
  }

  /** Resolves with what the first Close frame says. */
  async closing(timeout) {
    await this.when((peer) => peer.frames.some(({ opcode }) => opcode === frames.CLOSE), timeout);
    return frames.closeOf(this.frames.find(({ opcode }) => opcode === frames.CLOSE));
  }

  /** Writes bytes as they are. */
  write(bytes) {
    this.socket.write(bytes);
  }

  /** Writes one frame. */
  send(opcode, payload, options) {
    this.write(frames.frame(opcode, payload, { mask: this.mask, ...options }));
  }

  /** Writes a Close frame. */
  close(code, reason) {
    this.write(frames.closeFrame(code, reason, { mask: this.mask }));
  }

  /** Drops the connection and waits until it is gone. */
  async destroy() {
    if (this.hasClosed) return;
    this.socket.destroy();
    await this.when((peer) => peer.hasClosed);
  }
}

/** Connects to a port and sends nothing. */
async function rawConnect(port, options) {
  const socket = net.connect({ port, host: '127.0.0.1', ...options });
  const peer = new RawPeer(socket, { mask: true });
  await once(socket, 'connect');
  return peer;
}

/**
 * Connects to a server and upgrades. `after` is written together with the request; the server's
 * answer is waited for unless `wait` is false.
 */
async function rawClient(port, { path, lines, after = '', wait = true, ...options } = {}) {
  const peer = await rawConnect(port, options);
  const request = Buffer.from(upgradeRequest({ path, lines }), 'latin1');
  peer.write(Buffer.concat([request, Buffer.from(after)]));
  if (wait) {
    await peer.when(({ head, hasClosed }) => head !== null || hasClosed);
    if (peer.status !== 101) throw new Error(`the upgrade failed: ${peer.text}`);
  }
  return peer;
}

/** The answer to a client's request. */
function upgradeResponse(request, lines = []) {
  const key = /^sec-websocket-key: *(.*)\r$/im.exec(request)[1];
  return [
    'HTTP/1.1 101 Switching Protocols',
    'Upgrade: websocket',
    'Connection: Upgrade',
    `Sec-WebSocket-Accept: ${acceptFor(key)}`,
    ...lines,
    '',
    '',
  ].join('\r\n');
}

/**
 * A server on a plain socket. Without `respond` each client is answered by 101; `respond(peer)` is
 * called when a client's request is there and does what it wants.
 */
async function rawServer({ respond, onPeer, ...options } = {}) {
  const server = net.createServer({ allowHalfOpen: false });
  const list = [];
  server.on('connection', (socket) => {
    const peer = new RawPeer(socket, { mask: false });
    list.push(peer);
    onPeer?.(peer);
    peer
      .when(({ head, hasClosed }) => head !== null || hasClosed, 60_000)
      .then(
        () => {
          if (peer.head === null) return;
          if (respond) respond(peer);
          else peer.write(upgradeResponse(peer.head));
        },
        () => {},
      );
  });
  server.listen({ port: 0, host: '127.0.0.1', ...options });
  await once(server, 'listening');
  return {
    server,
    peers: list,
    port: server.address().port,
    url: `ws://127.0.0.1:${server.address().port}`,
    /** Resolves with the peer of the n-th client when its request is there. */
    async peer(index = 0) {
      while (list.length <= index) await once(server, 'connection');
      return list[index].when((peer) => peer.head !== null);
    },
    async close() {
      for (const { socket } of list) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** A port that nobody listens on now. */
async function freePort() {
  const server = net.createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

module.exports = {
  KEY,
  PATIENCE,
  RawPeer,
  acceptFor,
  freePort,
  rawClient,
  rawConnect,
  rawServer,
  upgradeMessage,
  upgradeRequest,
  upgradeResponse,
};
