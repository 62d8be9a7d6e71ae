'use strict';

// What is told to programs that watch uvws: the channels of node:diagnostics_channel, and the lines that
// NODE_DEBUG=uvws asks for. docs/observability.md is the reference of both.
//
// What a subscriber throws is Node's to report: publish() does not throw.

const { channel } = require('node:diagnostics_channel');
const { debuglog } = require('node:util');

const { ANNOUNCED, CLOSE_SENT, CLOSED_BY_PEER, ERROR_TOLD } = require('./constants');

// Kept for good: Node forgets a channel that nobody holds.
const connections = channel('uvws:connection');
const closes = channel('uvws:close');
const errors = channel('uvws:error');
const limits = channel('uvws:limit');

const log = debuglog('uvws');

/** Numbers of the things that lines are about. */
const numbers = new WeakMap();
let latest = 0;

function numberOf(thing) {
  if (!numbers.has(thing)) numbers.set(thing, ++latest);
  return numbers.get(thing);
}

function nameOf(websocket) {
  const role = websocket._isServer ? 'connection' : 'client';
  return `${role} ${numberOf(websocket)}`;
}

/** Writes a line about a context. What has come from a peer is written as JSON. */
function logOf(context, format, ...values) {
  const name = context.name === '' ? '' : ` ${JSON.stringify(context.name)}`;
  log(`context %d%s: ${format}`, numberOf(context), name, ...values);
}

/** The place of a URL or a request target. What follows it may be a secret, and so may a user's name. */
function placeOf(url) {
  return String(url)
    .replace(/[?#].*$/s, '')
    .replace(/\/\/[^/]*@/, '//');
}

function contextOf(websocket) {
  const server = websocket._server;
  return server === null ? websocket._details.context : server.context;
}

/** Who has sent the first Close frame: 'local', 'remote', or null if there was none. */
function initiatorOf({ _flags: flags }) {
  if ((flags & CLOSED_BY_PEER) !== 0) return 'remote';
  return (flags & CLOSE_SENT) === 0 ? null : 'local';
}

const BY = { local: 'by this end', remote: 'by the peer', null: 'without a Close frame' };

/** A connection is open; its events follow. `request` is null for a client. */
function tellConnection(websocket, request) {
  const { _server: server } = websocket;
  const context = contextOf(websocket);
  websocket._flags |= ANNOUNCED;
  context._remember();
  if (connections.hasSubscribers) connections.publish({ websocket, server, context, request });
  if (!log.enabled) return;
  if (server === null) {
    logOf(context, '%s is open: %j', nameOf(websocket), placeOf(websocket.url ?? 'a stream'));
  } else {
    const place = placeOf(request?.url);
    logOf(context, '%s of server %d is open: %j', nameOf(websocket), numberOf(server), place);
  }
}

/** A connection has ended. Nothing is told of one that was never open. */
function tellClose(websocket, code, reason) {
  if ((websocket._flags & ANNOUNCED) === 0) return;
  websocket._flags &= ~ANNOUNCED;
  if (closes.hasSubscribers) {
    const { _server: server } = websocket;
    const initiator = initiatorOf(websocket);
    const context = contextOf(websocket);
    closes.publish({ websocket, server, context, code, reason, initiator });
  }
  if (log.enabled) {
    const how = BY[initiatorOf(websocket)];
    logOf(
      contextOf(websocket),
      '%s is closed: %d %j, %s',
      nameOf(websocket),
      code,
      `${reason}`,
      how,
    );
  }
}

/** A connection, or a client's attempt at one, has failed. It is told of once. */
function tellError(websocket, error) {
  if ((websocket._flags & ERROR_TOLD) !== 0) return;
  websocket._flags |= ERROR_TOLD;
  const { _server: server } = websocket;
  const context = contextOf(websocket);
  if (errors.hasSubscribers) errors.publish({ websocket, server, context, error });
  if (log.enabled) logOf(context, '%s has failed: %j', nameOf(websocket), describe(error));
}

/** A server has failed. */
function tellServerError(server, error) {
  const { context } = server;
  if (errors.hasSubscribers) errors.publish({ websocket: null, server, context, error });
  if (log.enabled) logOf(context, 'server %d has failed: %j', numberOf(server), describe(error));
}

/** A connection to a server has failed before its request. */
function tellClientError(server, error) {
  const { context } = server;
  if (errors.hasSubscribers) errors.publish({ websocket: null, server, context, error });
  if (!log.enabled) return;
  logOf(context, 'a connection to server %d has failed: %j', numberOf(server), describe(error));
}

function describe(error) {
  const { code, message } = Object(error);
  // It may quote a URL.
  const text = `${message}`.replace(/\/\/.*/s, placeOf);
  return code === undefined ? text : `${text} (${code})`;
}

/** A limit was breached: by a connection, or by a peer that has none, at a server. */
function tellLimit(limit, context, server, websocket) {
  if (limits.hasSubscribers) limits.publish({ limit, websocket, server, context });
  if (!log.enabled) return;
  if (websocket !== null) {
    logOf(context, '%s has breached %s', nameOf(websocket), limit);
  } else {
    logOf(context, '%s was breached at %s', limit, server && `server ${numberOf(server)}`);
  }
}

// What is only written.

/** A server listens. */
function logListening(server) {
  if (!log.enabled) return;
  const address = server.address();
  const place = typeof address === 'object' ? `${address?.address}:${address?.port}` : address;
  logOf(server.context, 'server %d listens: %j', numberOf(server), place);
}

/** A server has refused a request. */
function logRefusal(server, request, status, message) {
  if (!log.enabled) return;
  const values = [numberOf(server), placeOf(request.url), status, `${message ?? ''}`];
  logOf(server.context, 'server %d has refused %j: %d %j', ...values);
}

/** A client waits for its next attempt. */
function logReconnection(websocket, attempt, delay) {
  if (!log.enabled) return;
  const values = [nameOf(websocket), attempt, Math.round(delay)];
  logOf(contextOf(websocket), '%s makes attempt %d in %d ms', ...values);
}

/** A context has entered a state. */
function logState(context, state) {
  if (log.enabled) logOf(context, '%s', state);
}

module.exports = {
  /** Whether lines are written. */
  isLogging: log.enabled,
  logListening,
  logReconnection,
  logRefusal,
  logState,
  tellClientError,
  tellClose,
  tellConnection,
  tellError,
  tellLimit,
  tellServerError,
};
