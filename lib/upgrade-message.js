'use strict';

const { inspect } = require('node:util');

const Socket = require('./socket');
const { NONE } = require('./constants');
const { detailsOf } = require('./details');
const { findHeader, parseHead } = require('./head');

/** Node's class, which takes long to load: set by create(). */
let IncomingMessage;

/** The head's text, then what was read of it, then undefined once the object is a real message. */
const kHead = Symbol('head');
/** Where the socket comes from: a number, a WebSocket, or a Socket. */
const kSource = Symbol('source');

/**
 * The request of a server connection, or the response of a client one: an `http.IncomingMessage`
 * that is made when it is looked at.
 *
 * Most servers look at the URL, if at anything, so three stages exist. At first there is the text
 * of the head. The properties of the head itself read that text. Any other property of an
 * IncomingMessage, and any assignment, turns the object into a real one: its constructor runs, the
 * prototype becomes IncomingMessage's, and nothing of this class is left.
 *
 * Made by UpgradeMessage.create().
 *
 * @param {string} head The head, as latin1
 * @param {number | import('./websocket') | Socket} source The connection
 * @extends http.IncomingMessage
 */
function UpgradeMessage(head, source) {
  this[kHead] = head;
  this[kSource] = source;
}

/** What a head says. */
class Head {
  /** @param {string} text The head */
  constructor(text) {
    const { startLine, rawHeaders } = parseHead(text);
    const words = startLine.split(' ');
    const isResponse = words[0].startsWith('HTTP/');
    this.rawHeaders = rawHeaders;
    this.method = isResponse ? null : words[0];
    this.url = isResponse ? '' : words[1];
    this.statusCode = isResponse ? Number(words[1]) : null;
    this.statusMessage = isResponse ? words.slice(2).join(' ') : null;
    const version = isResponse ? words[0] : words[2];
    this.httpVersionMajor = Number(version.charAt(5));
    this.httpVersionMinor = Number(version.charAt(7));
    this.httpVersion = version.slice(5);
    this.headers = undefined;
  }
}

/** Returns what the head says, reading it the first time. */
function headOf(message) {
  let head = message[kHead];
  if (typeof head === 'string') {
    head = new Head(head);
    message[kHead] = head;
  }
  return head;
}

/** Returns the headers as IncomingMessage joins them: names in lower case, most repeated ones once. */
function headersOf(message) {
  const head = headOf(message);
  if (head.headers === undefined) {
    head.headers = {};
    const { rawHeaders } = head;
    for (let i = 0; i < rawHeaders.length; i += 2) {
      message._addHeaderLine(rawHeaders[i], rawHeaders[i + 1], head.headers);
    }
  }
  return head.headers;
}

/** Returns the socket's facade, which the WebSocket keeps once there is one. */
function socketOf(message) {
  const source = message[kSource];
  if (typeof source === 'number') {
    message[kSource] = new Socket(source);
    return message[kSource];
  }
  return source instanceof Socket ? source : source._socket;
}

/** Turns the object into a real IncomingMessage and returns it. */
function realize(message) {
  const head = headOf(message);
  const socket = socketOf(message);
  Object.setPrototypeOf(message, IncomingMessage.prototype);
  message[kHead] = undefined;
  IncomingMessage.call(message, socket);
  message.httpVersionMajor = head.httpVersionMajor;
  message.httpVersionMinor = head.httpVersionMinor;
  message.httpVersion = head.httpVersion;
  message.url = head.url;
  message.method = head.method;
  message.statusCode = head.statusCode;
  message.statusMessage = head.statusMessage;
  message.upgrade = true;
  message._addHeaderLines(head.rawHeaders, head.rawHeaders.length);
  if (head.headers !== undefined) message.headers = head.headers;
  message.complete = true;
  // An upgrade has no body.
  message.push(null);
  return message;
}

/** Properties that do without a real message. */
const LIGHT = {
  url: (message) => headOf(message).url,
  method: (message) => headOf(message).method,
  httpVersion: (message) => headOf(message).httpVersion,
  httpVersionMajor: (message) => headOf(message).httpVersionMajor,
  httpVersionMinor: (message) => headOf(message).httpVersionMinor,
  rawHeaders: (message) => headOf(message).rawHeaders,
  headers: headersOf,
  statusCode: (message) => headOf(message).statusCode,
  statusMessage: (message) => headOf(message).statusMessage,
  socket: socketOf,
  client: socketOf,
  connection: socketOf,
  complete: () => true,
  upgrade: () => true,
  aborted: () => false,
  joinDuplicateHeaders: () => false,
};

/** Makes the prototype, for the first message. */
function inherit() {
  ({ IncomingMessage } = require('node:http'));
  // A class would have to run IncomingMessage's constructor.
  Object.setPrototypeOf(UpgradeMessage, IncomingMessage);
  UpgradeMessage.prototype = Object.create(IncomingMessage.prototype, {
    constructor: { value: IncomingMessage, writable: true, configurable: true },
    [inspect.custom]: {
      value(depth, options) {
        return inspect(realize(this), { ...options, depth });
      },
      configurable: true,
    },
  });
  // Own properties of an IncomingMessage differ from version to version of Node: a sample has them.
  const names = new Set([...Reflect.ownKeys(new IncomingMessage()), ...Object.keys(LIGHT)]);
  for (const name of names) {
    const light = Object.hasOwn(LIGHT, name) ? LIGHT[name] : undefined;
    Object.defineProperty(UpgradeMessage.prototype, name, {
      configurable: true,
      enumerable: typeof name === 'string',
      get() {
        return light === undefined ? realize(this)[name] : light(this);
      },
      set(value) {
        realize(this)[name] = value;
      },
    });
  }
}

/** Makes a message; see the class for the arguments. */
UpgradeMessage.create = function create(head, source) {
  if (IncomingMessage === undefined) inherit();
  return new UpgradeMessage(head, source);
};

/** Returns the value of a header without making the message real. */
UpgradeMessage.header = function header(message, name) {
  const head = headOf(message);
  return head === undefined ? message.headers[name] : findHeader(head.rawHeaders, name);
};

/** Ties the request of a connection that has been accepted to its WebSocket. */
UpgradeMessage.attach = function attach(message, websocket) {
  const source = message[kSource];
  if (source instanceof Socket) detailsOf(websocket).socket = source;
  message[kSource] = websocket;
};

/**
 * Ends the socket's facade of a connection that has gone before it was accepted.
 *
 * @param {UpgradeMessage | Socket} owner Its request, or the facade if there was none yet
 */
UpgradeMessage.conclude = function conclude(owner) {
  const socket = owner instanceof Socket ? owner : owner[kSource];
  if (socket instanceof Socket) Socket.conclude(socket);
  else owner[kSource] = NONE;
};

module.exports = UpgradeMessage;
