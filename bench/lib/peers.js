'use strict';

const fs = require('node:fs');
const path = require('node:path');

const BENCH = path.join(__dirname, '..');

/**
 * @typedef {object} Peer
 * @property {string} label for people
 * @property {string} [folder] of its package, below bench/
 * @property {string} [program] what runs its server, if not this Node; below bench/
 */

/** The servers, in the order in which they take turns. @type {Record<string, Peer>} */
const peers = {
  raw: { label: 'raw epoll echo' },
  uvws: { label: 'uvws', folder: '..' },
  uws: { label: 'uWebSockets.js', folder: 'node_modules/@trufflesuite/uws-js-unofficial' },
  bun: { label: 'Bun', folder: 'node_modules/bun', program: 'node_modules/bun/bin/bun.exe' },
  ws: { label: 'ws', folder: 'node_modules/ws' },
};

/** What people may do without: a run is complete if one of these does not work here. */
const OPTIONAL_PEERS = ['bun'];

/**
 * The command that runs a file of servers/ for a peer.
 *
 * @param {string} peer
 * @param {string} file
 * @returns {string[]}
 */
function commandFor(peer, file) {
  const { program } = peers[peer];
  const script = path.join(BENCH, 'servers', file);
  if (program) return [path.join(BENCH, program), script];
  return [process.execPath, '--expose-gc', script];
}

/** @param {string} peer */
function versionOf(peer) {
  const { folder } = peers[peer];
  if (!folder) return null;
  return JSON.parse(fs.readFileSync(path.join(BENCH, folder, 'package.json'), 'utf8')).version;
}

module.exports = { BENCH, peers, OPTIONAL_PEERS, commandFor, versionOf };
