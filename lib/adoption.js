'use strict';

// Takes a connection over from Node: `net.Socket` becomes a native connection.
//
// Node's object stays, without its handle, until the connection is gone: a server counts it, and
// others wait for its 'close' or destroy it to end the connection.

const native = require('./addon');
const table = require('./table');
const { notSupported } = require('./failure');
const { terminate } = require('./outgoing');
const { NONE } = require('./constants');

/** Node's sockets of the connections that were taken over, by number. */
const shells = new Map();

/** On such a socket: the number of its connection. */
const kId = Symbol('id');

/** Tells whether this is a plain TCP socket of Node's. */
function isPlain(socket) {
  const { _handle: handle } = socket;
  // A TLSSocket shows the descriptor of the TCP connection below it: speaking there would be
  // plaintext inside TLS.
  return (
    socket.encrypted !== true &&
    handle !== null &&
    typeof handle === 'object' &&
    handle.constructor?.name === 'TCP' &&
    typeof handle.fd === 'number'
  );
}

/** Tells whether adopt() can take a socket over. */
function isAdoptable(socket) {
  return isPlain(socket) && socket._handle.fd >= 0 && socket.writableLength === 0;
}

/** Returns the file descriptor of a plain TCP socket of Node's; throws if it is anything else. */
function descriptorOf(socket) {
  const { _handle: handle } = socket;
  if (!isPlain(socket)) {
    throw notSupported('Only connections of a plain net.Socket can be upgraded');
  }
  if (handle.fd < 0) {
    throw notSupported('This platform has no file descriptors for sockets');
  }
  return handle.fd;
}

/** Returns `head` and whatever Node has read behind it. */
function takeUnread(socket, head) {
  const chunks = [head];
  while (socket.readableLength > 0) {
    const chunk = socket.read();
    if (chunk === null) break;
    chunks.push(chunk);
  }
  return chunks.length === 1 ? head : Buffer.concat(chunks);
}

/**
 * Moves a connection into a context. The native half has a descriptor of its own for it, so closing
 * Node's does not end it.
 *
 * @param {import('./context')} context The context
 * @param {import('node:net').Socket} socket The socket; it must have no unsent data
 * @param {Buffer} head What came behind the upgrade request
 * @param {string} response The response that opens the connection
 * @param {object} limits The limits of the connection
 * @param {boolean} [isServer=true] Whether this is the server's end
 * @returns {number} The number of the native connection, which is open; or NONE if it cannot be made,
 *   as when no descriptor is left: Node's socket is as it was then, and can carry a bridge
 */
function adopt(context, socket, head, response, limits, isServer = true) {
  const descriptor = descriptorOf(socket);
  // All in one turn of the loop: what the kernel gets meanwhile is read by the native half.
  socket.pause();
  const unread = takeUnread(socket, head);
  const stream = { descriptor, isServer, response };
  let id;
  try {
    id = native.attach(context._id, stream, unread, limits);
  } catch {
    if (unread.length > head.length) socket.unshift(unread.subarray(head.length));
    socket.resume();
    return NONE;
  }
  hollow(socket);
  socket[kId] = id;
  shells.set(id, socket);
  return id;
}

/** Takes the handle from Node's socket. */
function hollow(socket) {
  // Asked for once, they are remembered: `request.socket.remoteAddress` goes on to work.
  void socket.remoteAddress;
  void socket.localAddress;
  socket.setTimeout(0);
  const { _handle: handle } = socket;
  socket._handle = null;
  handle.onread = ignore;
  handle.close();
  socket.on('error', ignore);
  socket.on('close', onShellClosed);
}

function ignore() {}

/** Somebody has destroyed Node's socket. */
function onShellClosed() {
  const id = this[kId];
  if (shells.get(id) !== this) return;
  shells.delete(id);
  terminate(table[id]);
}

/** Closes Node's socket of a connection that is gone, if there is one. */
function closeShell(id) {
  const socket = shells.get(id);
  if (socket === undefined) return;
  shells.delete(id);
  socket.destroy();
}

module.exports = { adopt, closeShell, descriptorOf, isAdoptable };
