'use strict';

// What is alive on a heap, exactly: `heapUsed` counts buffers that the engine allocates from as used, by
// a fifth of a mebibyte more or less from one collection to the next.

const fs = require('node:fs');

/** Kinds of nodes that the engine makes for itself, of which there are more the longer a program runs. */
const OF_THE_ENGINE = new Set(['code', 'hidden', 'object shape']);

/** Bytes of the objects in a heap snapshot, but for code and other things that the engine keeps for itself. */
function bytesOfObjects(file) {
  const { snapshot, nodes } = JSON.parse(fs.readFileSync(file, 'utf8'));
  const { node_fields: fields, node_types: types } = snapshot.meta;
  const [type, size] = ['type', 'self_size'].map((field) => fields.indexOf(field));
  let bytes = 0;
  for (let i = 0; i < nodes.length; i += fields.length) {
    if (!OF_THE_ENGINE.has(types[type][nodes[i + type]])) bytes += nodes[i + size];
  }
  return bytes;
}

module.exports = { bytesOfObjects };
