'use strict';

const WebSocket = require('./lib/websocket');

/** Makes a property of the class whose value is loaded when it is asked for. */
function define(name, load) {
  const set = (value) => {
    const property = { configurable: true, enumerable: true, value, writable: true };
    Object.defineProperty(WebSocket, name, property);
    return value;
  };
  const get = () => set(load());
  Object.defineProperty(WebSocket, name, { configurable: true, enumerable: true, get, set });
}

// Each file is named where it is required, so that bundlers find it.
define('closeOnSignals', () => require('./lib/close-on-signals'));
define('createWebSocketStream', () => require('./lib/stream'));
define('extension', () => require('./lib/extension'));
define('metrics', () => require('./lib/metrics'));
define('PerMessageDeflate', () => require('./lib/permessage-deflate'));
define('Receiver', () => require('./lib/receiver'));
define('Sender', () => require('./lib/sender'));
define('subprotocol', () => require('./lib/subprotocol'));
define('wake', () => require('./lib/wake'));

WebSocket.Context = require('./lib/context');
WebSocket.Server = require('./lib/websocket-server');
WebSocket.WebSocket = WebSocket;
WebSocket.WebSocketServer = WebSocket.Server;

module.exports = WebSocket;
