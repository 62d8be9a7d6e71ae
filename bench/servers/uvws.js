'use strict';

const { WebSocketServer } = require('../..');
const { serveEcho } = require('./echo');

serveEcho(WebSocketServer);
