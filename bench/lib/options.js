'use strict';

const { parseArgs } = require('node:util');
const { peers } = require('./peers');
const { rows } = require('./rows');

const PEERS = Object.keys(peers);

const USAGE = `\
usage: npm run bench -- [options]
  --full           all rows, longer windows, 5 rounds (about 50 minutes; without it about 12)
  --row NAME       only this row; may be repeated, or a list with commas
  --peers A,B      only these servers, of ${PEERS.join(', ')}
  --rounds N       how often each server takes its turn
  --seconds S      the measured window of each run
  --warmup S       what comes before it
  --publish        write docs/benchmarks.md and its charts from what is measured
  --from FILE      measure nothing: show, or publish, the results of an earlier run
  --cores A,B      the server's core and the load's (0,1)
  --shared-network measure in this machine's own network, not in a fresh one
  --list           print the rows and end
  --help           print this and end`;

/** How long and how often, in seconds. `settle` is how long idle connections are left alone. */
const QUICK = { rounds: 3, warmup: 0.5, seconds: 0.6, settle: 1.5 };
const FULL = { rounds: 5, warmup: 0.8, seconds: 1.2, settle: 2 };

/**
 * Reads the command line; throws an Error with a message for people if it makes no sense.
 *
 * @param {string[]} args
 */
function readOptions(args) {
  const { values } = parseArgs({
    args,
    options: {
      full: { type: 'boolean', default: false },
      row: { type: 'string', multiple: true },
      peers: { type: 'string' },
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      warmup: { type: 'string' },
      publish: { type: 'boolean', default: false },
      from: { type: 'string' },
      cores: { type: 'string', default: '0,1' },
      'shared-network': { type: 'boolean', default: false },
      // Tells the second of two processes that it has a network of its own.
      'own-network': { type: 'boolean', default: false },
      list: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const pace = { ...(values.full ? FULL : QUICK) };
  for (const name of ['rounds', 'seconds', 'warmup']) {
    if (values[name] !== undefined) pace[name] = positive(name, values[name]);
  }
  if (values.seconds !== undefined) pace.settle = pace.seconds;
  const [serverCore, loadCore = serverCore] = values.cores.split(',').map(Number);
  const names = values.row?.flatMap((value) => value.split(','));
  return {
    ...values,
    pace,
    serverCore,
    loadCore,
    rows: names
      ? names.map((name) => known('row', name, rows, (row) => row.name))
      : rows.filter((row) => values.full || !row.fullOnly),
    peers: values.peers
      ? values.peers.split(',').map((name) => known('peer', name, PEERS, (peer) => peer))
      : PEERS,
    explicitPeers: values.peers !== undefined,
  };
}

function positive(name, text) {
  const value = Number(text);
  if (!(value > 0)) throw new Error(`--${name} ${text}: not a positive number`);
  return value;
}

function known(what, name, all, nameOf) {
  const found = all.find((one) => nameOf(one) === name);
  if (!found) throw new Error(`no ${what} ${name}; there are ${all.map(nameOf).join(', ')}`);
  return found;
}

module.exports = { readOptions, USAGE };
