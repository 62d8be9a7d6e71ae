'use strict';

// What a scenario has made, and the laws that hold for it whatever fails:
//
//   a connection has one 'close', which is its last event, and at most one 'error' before it, behind which
//   no message comes;
//   a server has one 'close', and at most one 'error' before it;
//   each callback of send() is called once;
//   each error has a code, or is one of those without one that ws makes, and none says that the context has
//   closed where it has not;
//   whoever waits for something gets it, or hears that it failed: nothing stalls;
//   the context ends, and nothing is left of it.

/** Milliseconds that a scenario waits for anything. Whoever waits longer has stalled. */
const PATIENCE = 10_000;

/** Errors without a code, by their messages: those of ws. */
const WITHOUT_CODE = [
  /^WebSocket was closed before the connection was established$/,
  /^WebSocket is not open: readyState \d /,
  /^Opening handshake has timed out$/,
  /^Unexpected server response: \d+$/,
  /^The socket was closed while data was being compressed$/,
];

/** What only the end of a context is to bring. */
const CONTEXT_CLOSED = 'ERR_UVWS_CONTEXT_CLOSED';

const CODE = /^(E[A-Z0-9_]+|ERR_[A-Z0-9_]+|WS_ERR_[A-Z0-9_]+|ABORT_ERR|HPE_[A-Z_]+)$/;

class Scene {
  /** What is against the laws, in words. */
  faults = [];
  /** Errors that came up: none are to without a fault, before the scenario brings some about. */
  errors = [];
  isAbrupt = false;
  contexts = [];
  servers = [];
  sockets = [];
  #awaited = 0;
  #waiting = new Set();

  constructor(uvws, root, tools, codes) {
    this.uvws = uvws;
    /** Codes that errors may have, if not all. */
    this.codes = codes;
    /** Where it was loaded from. */
    this.root = root;
    this.tools = tools;
  }

  fault(text) {
    this.faults.push(text);
  }

  error(where, error) {
    if (!this.isAbrupt) this.errors.push(`${where}: ${error?.code} ${error?.message}`);
    if (error?.errors?.length > 0) {
      for (const each of error.errors) this.error(where, each);
      return;
    }
    const isKnown =
      error instanceof Error &&
      (typeof error.code === 'string'
        ? CODE.test(error.code)
        : WITHOUT_CODE.some((pattern) => pattern.test(error.message)));
    const code = error?.code;
    if (this.codes && code !== undefined && !this.isAbrupt && !this.codes.includes(code)) {
      this.fault(`${where}: ${code} is another code`);
    }
    const isRunning = this.contexts.every(({ context }) => context.state === 'running');
    if (code === CONTEXT_CLOSED && isRunning) this.fault(`${where}: no context has closed`);
    if (!isKnown) this.fault(`${where}: no code: ${error?.stack ?? error}`);
  }

  /** Something has happened: whoever waits looks again. */
  changed() {
    for (const look of this.#waiting) look();
  }

  /** Waits until `condition()` holds; it is looked at whenever something happens. */
  until(what, condition) {
    return new Promise((resolve) => {
      const conclude = () => {
        clearTimeout(timer);
        this.#waiting.delete(look);
        resolve();
      };
      const look = () => condition() && conclude();
      const timer = setTimeout(() => {
        this.fault(`stalled: ${what}`);
        conclude();
      }, PATIENCE);
      this.#waiting.add(look);
      look();
    });
  }

  /** Calls what may throw, as when there is no memory for a handle. */
  attempt(where, call) {
    try {
      return call();
    } catch (error) {
      this.error(where, error);
      return null;
    }
  }

  /** Makes a context; null if that fails. */
  context(options) {
    const context = this.attempt('Context', () => new this.uvws.Context(options));
    if (context === null) return null;
    const it = { context, closes: 0, isSettled: false };
    context.on('close', () => {
      it.closes++;
      this.changed();
    });
    context.closed.then(() => {
      it.isSettled = true;
      this.changed();
    });
    this.contexts.push(it);
    return context;
  }

  /** Makes a server and waits until it listens; null if it does not. */
  async server(options, onConnection = () => {}) {
    const server = this.attempt('WebSocketServer', () => new this.uvws.WebSocketServer(options));
    if (server === null) return null;
    const it = { server, closes: 0, errors: 0, isListening: false };
    this.servers.push(it);
    server.on('error', (error) => {
      this.error('server', error);
      if (++it.errors > 1) this.fault('server: a second error');
      this.changed();
    });
    server.on('close', () => {
      if (++it.closes > 1) this.fault('server: a second close');
      this.changed();
    });
    server.on('wsClientError', (error) => this.error('wsClientError', error));
    server.on('tlsClientError', (error) => this.error('tlsClientError', error));
    server.on('listening', () => {
      it.isListening = true;
      this.changed();
    });
    server.on('connection', (ws, request) => {
      this.watch(ws, `connection ${this.sockets.length}`);
      onConnection(ws, request);
      this.changed();
    });
    if (options.port === undefined) return server;
    await this.until('listening', () => it.isListening || it.errors > 0 || it.closes > 0);
    return it.isListening ? server : null;
  }

  /** Makes a client; null if the constructor throws. */
  client(url, options) {
    const ws = this.attempt('WebSocket', () => new this.uvws.WebSocket(url, options));
    return ws === null ? null : this.watch(ws, `client ${this.sockets.length}`);
  }

  /** Holds the laws of a connection, and counts what it receives. */
  watch(ws, name) {
    const it = { ws, name, opens: 0, closes: 0, errors: 0, messages: 0, bytes: 0 };
    this.sockets.push(it);
    const happened = (event) => {
      if (it.closes > 0) this.fault(`${name}: '${event}' after 'close'`);
      it[event]++;
    };
    ws.on('open', () => {
      happened('opens');
      this.changed();
    });
    ws.on('message', (data) => {
      happened('messages');
      if (it.errors > 0) this.fault(`${name}: a message after 'error'`);
      it.bytes += data.length;
      this.changed();
    });
    ws.on('error', (error) => {
      this.error(name, error);
      happened('errors');
      if (it.errors > 1) this.fault(`${name}: a second error`);
      this.changed();
    });
    ws.on('close', () => {
      happened('closes');
      if (ws.readyState !== 3) this.fault(`${name}: closed in state ${ws.readyState}`);
      this.changed();
    });
    return it;
  }

  /** Sends, and holds that the callback is called once. */
  send(it, data, options = {}) {
    if (it.ws.readyState !== 1) return;
    this.#awaited++;
    let calls = 0;
    const callback = (error) => {
      this.#awaited--;
      if (++calls > 1) this.fault(`${it.name}: a second call of a callback`);
      if (error) this.error(`${it.name}: send`, error);
      this.changed();
    };
    this.attempt(`${it.name}: send`, () => it.ws.send(data, options, callback));
  }

  /** Waits until each of some connections has what it waits for, or is closed. */
  all(what, sockets, condition) {
    return this.until(what, () => sockets.every((it) => it.closes > 0 || condition(it)));
  }

  /** Ends everything that is left, and holds what is to be true then. */
  async end(how = 'destroy') {
    this.isAbrupt = true;
    for (const { context } of this.contexts) {
      if (how === 'close') context.close({ timeout: 200 });
      else context.destroy();
      // Asked for twice it is the same end.
      context.close();
    }
    await this.until('the end of the contexts', () => this.contexts.every((it) => it.isSettled));
    await this.until('all closed', () => this.sockets.every(({ closes }) => closes > 0));
    await this.until('callbacks', () => this.#awaited === 0);
    for (const { closes } of this.contexts) {
      if (closes !== 1) this.fault(`a context with ${closes} 'close'`);
    }
    for (const { closes } of this.servers) {
      if (closes !== 1) this.fault(`a server with ${closes} 'close'`);
    }
    for (const { context } of this.contexts) {
      const { handles } = context.stats();
      if (handles !== 0) this.fault(`${handles} handles of a context that has ended`);
    }
  }
}

module.exports = { Scene };
