'use strict';

// The client's way to a connection: reads the constructor's arguments as ws does and hands them to
// the native half, which looks the name up, connects and does the opening handshake.

const querystring = require('node:querystring');

const native = require('./addon');
const table = require('./table');
const Context = require('./context');
const { captureScope } = require('./async-scope');
const { detailsOf } = require('./details');
const { contextClosed, notSupported } = require('./failure');
const { formatHeader } = require('./head');
const { onNeverConnected } = require('./incoming');
const { abort } = require('./outgoing');
const { limitsOf } = require('./limits');
const { check, checkObject, checkSignal, isToken, received } = require('./validation');
const { CONNECTING } = require('./constants');

const DEFAULT_PORT = 80;

/** Headers that the handshake itself consists of: given ones are left out, as in ws. */
const OWN_HEADERS = new Set([
  'connection',
  'upgrade',
  'sec-websocket-extensions',
  'sec-websocket-key',
  'sec-websocket-version',
]);

/** Options of ws that change how the socket is made. */
const UNSUPPORTED = [
  'agent',
  'createConnection',
  'finishRequest',
  'followRedirects',
  'generateMask',
  'localAddress',
  'localPort',
  'lookup',
];

/** Reads the URL, with the errors of ws. */
function parseAddress(address) {
  let url = address;
  if (!(address instanceof URL)) {
    try {
      url = new URL(address);
    } catch {
      throw new SyntaxError(`Invalid URL: ${address}`);
    }
  }
  if (url.protocol === 'http:' || url.protocol === 'https:') {
    // A copy, because the given one is the caller's.
    url = new URL(url);
    url.protocol = url.protocol === 'http:' ? 'ws:' : 'wss:';
  }
  if (url.protocol !== 'ws:' && url.protocol !== 'wss:' && url.protocol !== 'ws+unix:') {
    throw new SyntaxError(
      'The URL\'s protocol must be one of "ws:", "wss:", "http:", "https:", or "ws+unix:"',
    );
  }
  if (url.protocol === 'ws+unix:' && !url.pathname) {
    throw new SyntaxError("The URL's pathname is empty");
  }
  if (url.hash) throw new SyntaxError('The URL contains a fragment identifier');
  if (url.protocol !== 'ws:') {
    throw notSupported(`URLs with the protocol "${url.protocol}" are not supported yet`);
  }
  return url;
}

/** Returns the offered subprotocols, joined, or undefined if there are none. */
function joinProtocols(protocols) {
  const list = Array.isArray(protocols) ? protocols : [protocols];
  for (const [index, protocol] of list.entries()) {
    if (!isToken(protocol) || list.indexOf(protocol) !== index) {
      throw new SyntaxError('An invalid or duplicated subprotocol was specified');
    }
  }
  return list.length === 0 ? undefined : list.join(',');
}

/** Sorts the given headers: the Host header, whether there is authorization, and lines. */
function readHeaders(headers) {
  const result = { host: undefined, isAuthorized: false, lines: '' };
  for (const name of Object.keys(headers)) {
    const lowerCase = name.toLowerCase();
    if (OWN_HEADERS.has(lowerCase) || headers[name] === undefined) continue;
    const lines = formatHeader(name, headers[name]);
    if (lowerCase === 'host') {
      result.host = String(headers[name]);
    } else {
      result.isAuthorized ||= lowerCase === 'authorization';
      result.lines += lines;
    }
  }
  return result;
}

/** Returns `user:password`: that of the URL counts more than the option. */
function readCredentials(url, auth) {
  if (url.username || url.password) {
    return `${querystring.unescape(url.username)}:${querystring.unescape(url.password)}`;
  }
  return check('string', auth, 'options.auth', '');
}

/** Reads all options, and returns what the native half needs: where to go, and limits. */
function readOptions(url, protocols, options) {
  const { protocolVersion = 13 } = options;
  if (protocolVersion !== 13 && protocolVersion !== 8) {
    throw new RangeError(
      `Unsupported protocol version: ${protocolVersion} (supported versions: 8, 13)`,
    );
  }
  for (const name of UNSUPPORTED) {
    if (options[name]) throw notSupported(`The option "${name}" is not supported yet`);
  }
  if (protocolVersion === 8) throw notSupported('Protocol version 8 is not supported yet');
  const { family = 0 } = options;
  if (family !== 0 && family !== 4 && family !== 6) {
    throw new RangeError(`"options.family" must be 0, 4 or 6, ${received(family)}`);
  }

  const headers = readHeaders(options.headers ?? {});
  const credentials = readCredentials(url, options.auth);
  let { lines } = headers;
  if (options.origin) lines += formatHeader('Origin', options.origin);
  if (credentials && !headers.isAuthorized) {
    lines += formatHeader('Authorization', `Basic ${Buffer.from(credentials).toString('base64')}`);
  }
  const destination = {
    hostname: url.hostname.startsWith('[') ? url.hostname.slice(1, -1) : url.hostname,
    port: url.port === '' ? DEFAULT_PORT : Number(url.port),
    family,
    hostHeader: headers.host ?? url.host,
    path: url.pathname + url.search,
    protocols: joinProtocols(protocols),
    headers: lines,
  };
  const limits = limitsOf(options, 0);
  return { destination, limits };
}

/** Gives up the handshake of `websocket` when `signal` aborts. */
function heed(websocket, signal) {
  const onAbort = () => {
    if (websocket._readyState !== CONNECTING) return;
    const error = new Error('The operation was aborted', { cause: signal.reason });
    abort(websocket, Object.assign(error, { name: 'AbortError', code: 'ABORT_ERR' }));
  };
  signal.addEventListener('abort', onAbort, { once: true });
  detailsOf(websocket).forgetSignal = () => signal.removeEventListener('abort', onAbort);
  if (signal.aborted) onAbort();
}

/** Starts the native connection, or fails on the next tick. */
function start(websocket, context, { destination, limits }) {
  let error;
  if (context.state === 'running' || context.state === 'draining') {
    try {
      const id = native.connect(context._id, destination, limits);
      websocket._id = id;
      table[id] = websocket;
      return;
    } catch (caught) {
      error = caught;
    }
  } else {
    error = contextClosed('The context is closed', context._cause);
  }
  process.nextTick(() => {
    new websocket._scope().runInAsyncScope(onNeverConnected, undefined, websocket, error);
  });
}

/**
 * Connects a new WebSocket; see its constructor for the arguments.
 *
 * @param {import('./websocket')} websocket The WebSocket
 */
function connect(websocket, address, protocols, options) {
  if (!Array.isArray(protocols) && typeof protocols === 'object' && protocols !== null) {
    options = protocols;
    protocols = undefined;
  }
  options ??= {};
  checkObject(options, 'options');
  if (protocols === undefined) protocols = options.protocols ?? [];

  const { context, signal } = options;
  if (context !== undefined && !(context instanceof Context)) {
    throw new TypeError(`"options.context" must be a Context, ${received(context)}`);
  }
  checkSignal(signal, 'options.signal');
  const url = parseAddress(address);
  const wanted = readOptions(url, protocols, options);

  detailsOf(websocket).url = url.href;
  websocket._scope = captureScope('WEBSOCKET');
  start(websocket, context ?? Context.default, wanted);
  if (signal !== undefined) heed(websocket, signal);
}

module.exports = connect;
