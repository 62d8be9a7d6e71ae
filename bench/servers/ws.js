'use strict';

const bufferutil = require('bufferutil');
const isValidUTF8 = require('utf-8-validate');
const { WebSocketServer } = require('ws');
const { assertNative } = require('./announce');
const { serveEcho } = require('./echo');

// `ws` uses both where they are installed, and is measured with them.
assertNative('bufferutil', bufferutil.mask);
assertNative('utf-8-validate', isValidUTF8);

serveEcho(WebSocketServer);
