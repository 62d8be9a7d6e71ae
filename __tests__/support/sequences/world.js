// What a sequence of calls has made, and the laws that hold for it whatever is called
// (docs/lifecycle.md):
//
//   a context's state is never left for an earlier one, and is at least what was asked for;
//   `closed` is one promise, which resolves behind the context's one 'close';
//   a connection emits 'open' or is announced once, then messages, at most one error, and one 'close';
//   'close' of each connection comes before that of its server, and both before the context's;
//   from destroy() on nothing is delivered but endings;
//   messages arrive whole and in order, and none is left out in between;
//   each callback of send() is called once;
//   each init() of a protocol has one destroy(), in front of the server's 'close' and behind those of its
//   connections;
//   each error has a code of index.d.ts, or one of the system, or is one of those that ws makes.

const STATES = ['running', 'draining', 'closing', 'destroying', 'destroyed'];

/** The message of what handlers throw because a step says so. */
const THROWN = 'thrown by a step';

/** Errors without a code, by their messages: those of ws. */
const MESSAGES = [
  /^WebSocket was closed before the connection was established$/,
  /^WebSocket is not open: readyState \d /,
  /^Opening handshake has timed out$/,
  /^Unexpected server response: (200|400|421|503)$/,
  /^Server sent no subprotocol$/,
  /^The socket was closed while data was being compressed$/,
];

/** Codes of the system that a peer, or a port that nobody listens on, may cause. */
const SYSTEM_CODES = [
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'EADDRINUSE',
  'ENOTFOUND',
  'EAI_AGAIN',
];

/** Codes that a peer or a context may cause here. */
const CODES = [
  'ABORT_ERR',
  'ERR_STREAM_DESTROYED',
  'ERR_UVWS_CONTEXT_CLOSED',
  'ERR_UVWS_MEMORY_BUDGET',
  'ERR_UVWS_OFFLINE',
];

/** Codes that a peer which breaks the protocol may cause. */
const PROTOCOL_CODE = /^(WS_ERR_[A-Z0-9_]+|ERR_UVWS_LENGTH_NOT_MINIMAL)$/;

/** Messages of one connection in one direction. */
class Flow {
  sent = 0;
  received = 0;
}

class World {
  /** What is against the laws, in words. */
  faults = [];
  /** Calls of the API. */
  calls = 0;
  contexts = [];
  servers = [];
  sockets = [];
  peers = [];
  httpServers = [];
  workers = [];
  /** Callbacks of sends that were not called yet. */
  awaited = new Set();
  /** The steps are over, but for those that wait for an event: no context is made any more. */
  isEnding = false;
  /** Exceptions that are to come up as uncaught. */
  thrown = 0;

  constructor(uvws, play) {
    this.uvws = uvws;
    /** Plays a step, for those that wait for an event. */
    this.play = play;
    this.onUncaught = (error) => {
      if (error?.message === THROWN && this.thrown > 0) this.thrown--;
      else this.fault(`uncaught: ${error?.stack ?? error}`);
    };
    this.onUnhandled = (error) => this.fault(`unhandled rejection: ${error?.stack ?? error}`);
    process.on('uncaughtException', this.onUncaught);
    process.on('unhandledRejection', this.onUnhandled);
  }

  fault(text) {
    if (this.faults.length < 20) this.faults.push(text);
  }

  expect(condition, text) {
    if (!condition) this.fault(text);
  }

  /** Chooses one of a list, or nothing of an empty one. */
  pick(list, number) {
    return list.length === 0 ? undefined : list[number % list.length];
  }

  /** Does what is to happen within the handler of an event. */
  reenter(it, event) {
    const steps = it.pending.get(event);
    if (steps === undefined || steps.length === 0) return;
    const step = steps.shift();
    if (step !== null) {
      this.play(this, step);
      return;
    }
    this.thrown++;
    throw new Error(THROWN);
  }

  checkError(error, where, isOfRaw = false) {
    const { code, message } = error;
    if (error.errors !== undefined) {
      for (const one of error.errors) this.checkError(one, where);
      return;
    }
    const isKnown =
      code === undefined
        ? MESSAGES.some((pattern) => pattern.test(message))
        : CODES.includes(code) ||
          SYSTEM_CODES.includes(code) ||
          (isOfRaw && PROTOCOL_CODE.test(code));
    this.expect(isKnown, `${where}: an unknown error: ${code} ${error.stack}`);
  }

  // ---- contexts

  watchContext(context, controller) {
    const it = { context, controller, rank: 0, asked: 0, closes: 0, isSettled: false };
    it.kind = 'context';
    it.name = `context ${this.contexts.length}`;
    it.closed = context.closed;
    it.pending = new Map();
    it.drainings = 0;
    this.contexts.push(it);
    for (const event of ['draining', 'waitCancelled', 'close']) {
      context.on(event, () => {
        this.expect(it.closes === 0, `${it.name}: '${event}' behind 'close'`);
        if (event === 'draining') {
          this.expect(++it.drainings === 1, `${it.name}: a second 'draining'`);
        }
        if (event === 'close') this.contextClosed(it);
        this.reenter(it, event);
      });
    }
    context.closed.then(() => {
      it.isSettled = true;
      this.expect(it.closes === 1, `${it.name}: closed is resolved, but for ${it.closes} 'close'`);
      this.expect(context.state === 'destroyed', `${it.name}: closed in state ${context.state}`);
    });
    return it;
  }

  contextClosed(it) {
    it.closes++;
    for (const socket of this.sockets.filter(({ owner }) => owner === it)) {
      // What was made just now for a context that has ended is told of it later.
      const isDone = socket.closes === 1 || socket.isLate;
      this.expect(isDone, `${socket.name}: not closed before its context`);
    }
    for (const server of this.servers.filter(({ owner }) => owner === it)) {
      const isDone = server.closes === 1 || server.isLate;
      this.expect(isDone, `${server.name}: not closed before its context`);
    }
  }

  /** That the state of each context has only moved on. */
  checkStates() {
    for (const it of this.contexts) {
      const { state } = it.context;
      const rank = STATES.indexOf(state);
      this.expect(rank >= it.rank, `${it.name}: ${state} after ${STATES[it.rank]}`);
      this.expect(rank >= it.asked, `${it.name}: ${state}, but ${STATES[it.asked]} was asked for`);
      this.expect(it.context.closed === it.closed, `${it.name}: another promise`);
      it.rank = rank;
    }
  }

  // ---- servers

  watchServer(server, owner, port) {
    const it = { server, owner, port, closes: 0, errors: 0, listenings: 0 };
    it.kind = 'server';
    it.name = `server ${this.servers.length} of ${owner.name}`;
    it.isListening = false;
    it.isLate = owner.rank >= 3;
    it.pending = new Map();
    this.servers.push(it);
    server.on('listening', () => {
      this.expect(it.closes === 0, `${it.name}: 'listening' behind 'close'`);
      this.expect(++it.listenings === 1, `${it.name}: a second 'listening'`);
      it.isListening = true;
      it.port ??= server.address()?.port;
      this.reenter(it, 'listening');
    });
    server.on('connection', (ws, request) => {
      this.expect(it.closes === 0, `${it.name}: 'connection' behind 'close'`);
      this.expectRunning(owner, `${it.name} 'connection'`);
      this.watchAccepted(ws, request, it);
      this.reenter(it, 'connection');
    });
    server.on('error', (error) => {
      this.checkError(error, it.name);
      this.expect(++it.errors === 1, `${it.name}: a second error`);
    });
    server.on('close', () => {
      this.expect(++it.closes === 1, `${it.name}: a second 'close'`);
      if (it.life !== undefined) this.checkLife(it);
      this.expect(
        owner.closes === 0 || it.isLate,
        `${it.name}: 'close' behind that of its context`,
      );
      this.reenter(it, 'close');
    });
    return it;
  }

  /** Handlers that hold the law of init() and destroy(). */
  protocolOf(life) {
    return {
      init: () => {
        life.inits++;
        return life;
      },
      open: (ws) => this.expect(ws.state === life, 'open() with another state'),
      destroy: (server, state) => {
        life.destroys++;
        this.expect(state === life, 'destroy() with another state');
        const isOver = [...(server.clients ?? [])].every(({ readyState }) => readyState === 3);
        this.expect(isOver, 'destroy() in front of the end of a connection');
      },
    };
  }

  /** That what was begun for a server has ended. */
  checkLife({ life: { inits, destroys }, name }) {
    this.expect(
      inits === destroys && inits <= 1,
      `${name}: ${inits} init(), ${destroys} destroy()`,
    );
  }

  /** That a message of a context may be delivered. */
  expectRunning(owner, what) {
    this.expect(owner.asked < 3, `${what} behind destroy()`);
  }

  // ---- connections

  watchClient(ws, owner, number, { isLossy = false } = {}) {
    const it = this.watchSocket(ws, owner, `client ${number}`);
    it.isClient = true;
    it.out = new Flow();
    it.in = new Flow();
    it.number = number;
    it.isLossy = isLossy;
    ws.on('open', () => {
      this.expect(ws.readyState === 1, `${it.name}: 'open' in state ${ws.readyState}`);
      this.expect(++it.opens === 1, `${it.name}: a second 'open'`);
      this.expect(it.closes === 0 && it.errors === 0, `${it.name}: 'open' at the end`);
      this.expectRunning(owner, `${it.name} 'open'`);
      this.reenter(it, 'open');
    });
    return it;
  }

  watchAccepted(ws, request, server) {
    const number = Number(/^\/c(\d+)/.exec(request.url)?.[1]);
    const client = this.sockets.find((it) => it.isClient && it.number === number);
    const it = this.watchSocket(ws, server.owner, `connection of ${server.name} to ${request.url}`);
    it.opens = 1;
    it.accepting = server;
    it.isOfRaw = client === undefined;
    it.isLossy = client?.isLossy ?? true;
    it.in = client?.out ?? new Flow();
    it.out = client?.in ?? new Flow();
    return it;
  }

  watchSocket(ws, owner, name) {
    const it = { ws, owner, opens: 0, errors: 0, closes: 0 };
    it.kind = 'socket';
    it.name = `${name} (${owner.name})`;
    // What is made for a context that has ended is told so by itself.
    it.isLate = owner.rank >= 3;
    it.pending = new Map();
    this.sockets.push(it);
    for (const event of ['message', 'ping', 'pong', 'drain']) {
      ws.on(event, (data, isBinary) => {
        this.expect(it.opens === 1, `${it.name}: '${event}' before it is open`);
        this.expect(it.closes === 0, `${it.name}: '${event}' behind 'close'`);
        this.expectRunning(owner, `${it.name} '${event}'`);
        if (event === 'message') this.checkMessage(it, data, isBinary);
        this.reenter(it, event);
      });
    }
    ws.on('error', (error) => {
      this.checkError(error, it.name, it.isOfRaw);
      this.expect(++it.errors === 1, `${it.name}: a second error`);
      this.expect(it.closes === 0, `${it.name}: an error behind 'close'`);
      this.reenter(it, 'error');
    });
    ws.on('close', (code) => {
      this.expect(++it.closes === 1, `${it.name}: a second 'close'`);
      this.expect(ws.readyState === 3, `${it.name}: 'close' in state ${ws.readyState}`);
      this.expect(Number.isInteger(code) && code >= 1000, `${it.name}: code ${code}`);
      this.expect(it.isLate || owner.closes === 0, `${it.name}: 'close' behind its context's`);
      const server = it.accepting;
      const isOver = server !== undefined && server.port !== null && server.closes > 0;
      this.expect(!isOver || server.isHttp, `${it.name}: 'close' behind that of its server`);
      this.reenter(it, 'close');
    });
    return it;
  }

  /** Messages are `number:length:padding`, those to many begin with `many:`. */
  checkMessage(it, data, isBinary) {
    if (it.isOfRaw) return;
    const text = Buffer.from(data).toString('latin1');
    const [number, length] = text.slice(0, 40).split(':');
    this.expect(text.length === Number(length), `${it.name}: ${text.length} bytes, not ${length}`);
    this.expect(typeof isBinary === 'boolean', `${it.name}: isBinary is ${isBinary}`);
    if (number === 'many' || it.isLossy) return;
    it.in.received++;
    this.expect(
      Number(number) === it.in.received,
      `${it.name}: message ${number}, not ${it.in.received}`,
    );
  }

  /** The next message of a connection, of some length. */
  nextMessage(it, length) {
    it.out.sent++;
    return messageOf(it.out.sent, length);
  }

  /** A callback that is to be called once. */
  callback(it, how) {
    const callback = (error) => {
      this.expect(this.awaited.delete(callback), `${it.name}: a callback is called again`);
      if (error) this.checkError(error, `${it.name}, a callback`);
    };
    callback.what = `${it.name}, ${how}`;
    this.awaited.add(callback);
    return callback;
  }

  // ---- the end

  /** What has to be true when everything is over. */
  conclude() {
    for (const it of this.contexts) {
      this.expect(it.closes === 1, `${it.name}: ${it.closes} 'close'`);
      this.expect(it.isSettled, `${it.name}: closed is pending`);
      // How often a limit was breached remains known.
      const left = Object.entries(it.context.stats()).filter(
        ([name, value]) => name !== 'limits' && value !== 0 && value !== null,
      );
      this.expect(left.length === 0, `${it.name}: ${left} left`);
    }
    for (const it of this.servers) {
      this.expect(it.closes === 1 || it.isLate, `${it.name}: ${it.closes} 'close'`);
      if (it.life !== undefined) this.checkLife(it);
    }
    for (const it of this.sockets) {
      this.expect(it.closes === 1, `${it.name}: ${it.closes} 'close', state ${it.ws.readyState}`);
    }
    for (const { what } of this.awaited) this.fault(`a callback is not called: ${what}`);
    this.expect(this.thrown === 0, `${this.thrown} exceptions are not reported`);
    process.removeListener('uncaughtException', this.onUncaught);
    process.removeListener('unhandledRejection', this.onUnhandled);
  }
}

/** A message that says its number and its length. */
function messageOf(number, length) {
  let text = `${number}:${length}:`;
  // The length counts itself.
  if (text.length > length) text = `${number}:${text.length}:`;
  return text.padEnd(length, 'x');
}

module.exports = { STATES, World, messageOf };
