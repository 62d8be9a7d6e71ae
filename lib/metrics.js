'use strict';

// The figures of stats() in the text format of Prometheus, version 0.0.4, with its names: base units, and
// `_total` for what only grows.

const { statsByName } = require('./contexts');

/** Name, type and meaning of each metric, and the way to its figure. */
const METRICS = [
  ['connections', 'gauge', 'Open connections.'],
  ['connections_opened_total', 'counter', 'Connections that were opened.', 'connectionsOpened'],
  ['listeners', 'gauge', 'Servers that listen on a port of their own.'],
  ['pending_connects', 'gauge', 'Clients that are not open yet.', 'pendingConnects'],
  [
    'pending_handshakes',
    'gauge',
    'Accepted connections that are not open yet.',
    'pendingHandshakes',
  ],
  ['handles', 'gauge', 'Handles on the event loop.'],
  ['closing_handles', 'gauge', 'Handles on the event loop that are being closed.', 'closing'],
  ['buffered_bytes', 'gauge', 'Bytes of partial messages and of send queues.', 'bytesBuffered'],
  ['memory_budget_bytes', 'gauge', 'Bytes that may be held for peers.', 'memory.budget'],
  ['memory_used_bytes', 'gauge', 'Bytes of that budget that are used.', 'memory.used'],
  ['memory_peak_bytes', 'gauge', 'The most of that budget that was used.', 'memory.peak'],
  ['received_bytes_total', 'counter', 'Bytes that were received.', 'bytesReceived'],
  ['sent_bytes_total', 'counter', 'Bytes that were sent.', 'bytesSent'],
  ['messages_received_total', 'counter', 'Messages that were received.', 'messagesReceived'],
  ['messages_sent_total', 'counter', 'Messages that were sent.', 'messagesSent'],
  [
    'messages_dropped_total',
    'counter',
    'Messages to many that slow receivers did not get.',
    'messagesDropped',
  ],
  ['limit_breaches_total', 'counter', 'Breaches of limits, by their names.', 'limits'],
];

const ESCAPES = { '\\': '\\\\', '"': '\\"', '\n': '\\n' };

/** Returns labels as they stand behind a name. */
function labelsOf(labels) {
  const pairs = Object.entries(labels).map(([name, value]) => {
    return `${name}="${value.replace(/[\\"\n]/g, (character) => ESCAPES[character])}"`;
  });
  return `{${pairs.join(',')}}`;
}

/** Returns a figure of `stats`; undefined where there is none. */
function figureOf(stats, way) {
  return way.split('.').reduce((value, name) => value?.[name], stats);
}

/** Returns pairs of labels and values. */
function samplesOf(context, value) {
  if (value === undefined) return [];
  if (typeof value === 'number') return [[{ context }, value]];
  return Object.entries(value).map(([limit, count]) => [{ context, limit }, count]);
}

/**
 * Returns the figures of all contexts of this thread, in the text format of Prometheus. Contexts of the
 * same name are added up.
 *
 * @returns {string} Lines, each of which ends with a line feed; '' without a context
 */
function metrics() {
  const all = statsByName();
  let text = '';
  for (const [name, type, help, way = name] of METRICS) {
    const samples = all.flatMap(([context, stats]) => samplesOf(context, figureOf(stats, way)));
    if (samples.length === 0) continue;
    text += `# HELP uvws_${name} ${help}\n# TYPE uvws_${name} ${type}\n`;
    for (const [labels, value] of samples) text += `uvws_${name}${labelsOf(labels)} ${value}\n`;
  }
  return text;
}

/** The value of the Content-Type header that belongs to it. */
metrics.contentType = 'text/plain; version=0.0.4; charset=utf-8';

module.exports = metrics;
