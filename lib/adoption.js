'use strict';

// Takes a connection over from Node: `net.Socket` becomes a native connection.

const native = require('./addon');
const { notSupported } = require('./failure');

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
 * Moves a connection into a context. Node's socket is destroyed without ending the connection: the
 * native half has a descriptor of its own for it by then.
 *
 * @param {import('./context')} context The context
 * @param {import('node:net').Socket} socket The socket; it must have no unsent data
 * @param {Buffer} head What came behind the upgrade request
 * @param {string} response The response that opens the connection
 * @param {object} limits The limits of the connection
 * @param {boolean} [isServer=true] Whether this is the server's end
 * @returns {number} The number of the native connection, which is open
 */
function adopt(context, socket, head, response, limits, isServer = true) {
  const descriptor = descriptorOf(socket);
  // All in one turn of the loop: what the kernel gets meanwhile is read by the native half.
  socket.pause();
  const unread = takeUnread(socket, head);
  const stream = { descriptor, isServer, response };
  const id = native.attach(context._id, stream, unread, limits);
  release(socket);
  return id;
}

/** Lets go of Node's socket. Closing one of two descriptors does not end the connection. */
function release(socket) {
  // Asked for once, they are remembered: `request.socket.remoteAddress` goes on to work.
  void socket.remoteAddress;
  void socket.localAddress;
  socket.destroy();
}

module.exports = { adopt, descriptorOf, isAdoptable };
