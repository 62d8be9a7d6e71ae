'use strict';

const WebSocket = require('./lib/websocket');
const WebSocketServer = require('./lib/websocket-server');

WebSocket.Context = require('./lib/context');
WebSocket.closeOnSignals = require('./lib/close-on-signals');
WebSocket.createWebSocketStream = require('./lib/stream');
WebSocket.Server = WebSocketServer;
WebSocket.wake = require('./lib/wake');
WebSocket.WebSocket = WebSocket;
WebSocket.WebSocketServer = WebSocketServer;

module.exports = WebSocket;
