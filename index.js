'use strict';

const WebSocket = require('./lib/websocket');
const WebSocketServer = require('./lib/websocket-server');

WebSocket.Context = require('./lib/context');
WebSocket.closeOnSignals = require('./lib/close-on-signals');
WebSocket.createWebSocketStream = require('./lib/stream');
WebSocket.extension = require('./lib/extension');
WebSocket.PerMessageDeflate = require('./lib/permessage-deflate');
WebSocket.Receiver = require('./lib/receiver');
WebSocket.Sender = require('./lib/sender');
WebSocket.Server = WebSocketServer;
WebSocket.subprotocol = require('./lib/subprotocol');
WebSocket.wake = require('./lib/wake');
WebSocket.WebSocket = WebSocket;
WebSocket.WebSocketServer = WebSocketServer;

module.exports = WebSocket;
