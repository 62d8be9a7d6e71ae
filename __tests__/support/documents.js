// The examples in the documents, and a stage on which they run as they are written: with ports that are
// free, hosts that are this one, and an end.

const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');

const { freePort } = require('./peers.js');

const ROOT = path.join(__dirname, '..', '..');

const AsyncFunction = (async () => {}).constructor;

/** The names of the documents, relative to the root. */
function documents() {
  const inDocs = fs.readdirSync(path.join(ROOT, 'docs')).filter((name) => name.endsWith('.md'));
  return ['README.md', 'CONTRIBUTING.md', ...inDocs.map((name) => `docs/${name}`)];
}

/** Returns the blocks of code of a document: `{ file, line, language, source }`. */
function blocksOf(file) {
  const lines = fs.readFileSync(path.join(ROOT, file), 'utf8').split(/\r?\n/);
  const blocks = [];
  let block = null;
  lines.forEach((text, index) => {
    if (!text.startsWith('```')) {
      block?.lines.push(text);
    } else if (block === null) {
      block = { file, line: index + 1, language: text.slice(3), lines: [] };
    } else {
      const { lines: content, ...rest } = block;
      blocks.push({ ...rest, source: `${content.join('\n')}\n` });
      block = null;
    }
  });
  return blocks;
}

/** Where examples run. What they make is known here, and is ended here. */
class Stage {
  servers = [];
  clients = [];
  contexts = [];
  /** What they print. */
  printed = [];
  /** Errors of clients, if examples are run that do not listen for them. */
  errors = [];

  #uvws;
  #ports = new Map();
  #options;
  #httpServers = [];

  /**
   * @param {object} uvws The package
   * @param {number[]} ports The ports that the examples name
   * @param {object} options
   * @param {object} [options.clientOptions] More options of clients
   * @param {boolean} [options.takesErrors] Whether clients may fail without a listener
   */
  static async create(uvws, ports, options = {}) {
    const stage = new Stage();
    for (const port of ports) stage.#ports.set(port, await freePort());
    stage.#options = options;
    stage.#uvws = { ...uvws, ...stage.#classes(uvws) };
    return stage;
  }

  #classes({ Context, WebSocket, WebSocketServer }) {
    const stage = this;
    class StagedServer extends WebSocketServer {
      constructor(options, ...rest) {
        const { port } = options;
        const place = port === undefined ? {} : { host: '127.0.0.1', port: stage.port(port) };
        super({ ...options, ...place }, ...rest);
        stage.servers.push(this);
      }
    }
    class StagedClient extends WebSocket {
      constructor(address, options = {}) {
        super(stage.locate(address), { ...options, ...stage.#options.clientOptions });
        stage.clients.push(this);
        if (stage.#options.takesErrors) this.on('error', (error) => stage.errors.push(error));
      }
    }
    class StagedContext extends Context {
      constructor(options) {
        super(options);
        stage.contexts.push(this);
      }
    }
    return { WebSocketServer: StagedServer, WebSocket: StagedClient, Context: StagedContext };
  }

  /** The port that stands for one that an example names. */
  port(port) {
    if (!this.#ports.has(port)) throw new Error(`the port ${port} is not expected`);
    return this.#ports.get(port);
  }

  /** The URL that stands for one that an example names: without a port it has that of its scheme. */
  locate(address) {
    const url = new URL(address);
    const port = Number(url.port) || (url.protocol === 'wss:' ? 443 : 80);
    return `${url.protocol}//localhost:${this.port(port)}${url.pathname}`;
  }

  #require(name, modules) {
    if (Object.hasOwn(modules, name)) return modules[name];
    if (name === 'uvws') return this.#uvws;
    if (name !== 'node:http') return require(name);
    const createServer = (...args) => {
      const server = http.createServer(...args);
      const { listen } = server;
      server.listen = (port) => listen.call(server, this.port(port), '127.0.0.1');
      this.#httpServers.push(server);
      return server;
    };
    return { ...http, createServer };
  }

  /**
   * Runs an example to its end.
   *
   * @param {string} source The example
   * @param {object} names What it takes for granted, by names; the classes of uvws are there if it does
   *   not require them
   * @param {object} [modules] What it is to get instead of other modules
   */
  async run(source, names = {}, modules = {}) {
    const print = (...values) => this.printed.push(values);
    const script = source.replace(
      /^import (\{[^}]*\}) from '([^']*)';$/gm,
      "const $1 = require('$2');",
    );
    const scope = {
      require: (name) => this.#require(name, modules),
      console: { log: print, warn: print, error: print },
      ...(script.includes("require('uvws')") ? {} : this.#uvws),
      ...names,
    };
    await new AsyncFunction(...Object.keys(scope), script)(...Object.values(scope));
  }

  /** Ends everything. */
  async end() {
    for (const client of this.clients) {
      client.on('error', () => {});
      client.terminate();
    }
    for (const server of this.servers) {
      for (const client of server.clients) client.terminate();
      await new Promise((resolve) => server.close(resolve));
    }
    for (const server of this.#httpServers) {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
    for (const context of this.contexts) await context.destroy();
  }
}

module.exports = { blocksOf, documents, Stage };
