'use strict';

const { Duplex } = require('node:stream');

const { checkEmitter, checkObject } = require('./validation');
const { CLOSED, CONNECTING } = require('./constants');

function emitClose(stream) {
  stream.emit('close');
}

/**
 * Shows a WebSocket as a Duplex stream. Each chunk that is written is one message; each message is
 * one chunk to read, a Buffer, or with `readableObjectMode` a string if it is text. While nobody
 * reads, the WebSocket is paused. Ending the stream closes the WebSocket, destroying it terminates
 * the WebSocket.
 *
 * @param {import('./websocket')} websocket The WebSocket
 * @param {import('node:stream').DuplexOptions} [options] Options of the stream
 * @returns {Duplex} The stream
 * @throws {TypeError} If an argument is not that
 */
function createWebSocketStream(websocket, options) {
  checkEmitter('a WebSocket', websocket, 'websocket');
  if (options) checkObject(options, 'options');
  // A WebSocket that failed is already ending: terminating it would cut its Close frame off.
  let terminates = true;

  const duplex = new Duplex({
    ...options,
    autoDestroy: false,
    emitClose: false,
    objectMode: false,
    writableObjectMode: false,
  });

  function whenOpen(action) {
    // A client that comes back takes messages while it is away, or tells why it does not.
    const isPatient = websocket._details?.reconnection != null;
    if (websocket.readyState === CONNECTING && !isPatient) websocket.once('open', action);
    else action();
  }

  websocket.on('message', (message, isBinary) => {
    const chunk = !isBinary && duplex.readableObjectMode ? message.toString() : message;
    if (!duplex.push(chunk)) websocket.pause();
  });

  websocket.once('error', (error) => {
    if (duplex.destroyed) return;
    terminates = false;
    duplex.destroy(error);
  });

  websocket.once('close', () => {
    if (!duplex.destroyed) duplex.push(null);
  });

  duplex._read = () => {
    if (websocket.isPaused) websocket.resume();
  };

  duplex._write = (chunk, encoding, callback) => {
    whenOpen(() => websocket.send(chunk, callback));
  };

  duplex._final = (callback) => {
    whenOpen(() => {
      if (websocket.readyState === CLOSED) {
        callback();
        return;
      }
      websocket.once('close', () => callback());
      websocket.close();
    });
  };

  duplex._destroy = (error, callback) => {
    if (websocket.readyState === CLOSED) {
      callback(error);
      process.nextTick(emitClose, duplex);
      return;
    }
    let isCalled = false;
    websocket.once('error', (websocketError) => {
      isCalled = true;
      callback(websocketError);
    });
    websocket.once('close', () => {
      if (!isCalled) callback(error);
      process.nextTick(emitClose, duplex);
    });
    if (terminates) websocket.terminate();
  };

  // autoDestroy is off because the stream's end is the WebSocket's.
  duplex.on('end', () => {
    if (!duplex.destroyed && duplex.writableFinished) duplex.destroy();
  });
  duplex.on('finish', () => {
    if (!duplex.destroyed && duplex.readableEnded) duplex.destroy();
  });
  duplex.on('error', function onError(error) {
    duplex.removeListener('error', onError);
    duplex.destroy();
    // An error that nobody listens to is to be thrown, as ever.
    if (duplex.listenerCount('error') === 0) duplex.emit('error', error);
  });

  return duplex;
}

module.exports = createWebSocketStream;
