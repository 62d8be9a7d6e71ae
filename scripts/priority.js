'use strict';

// Attackers have machines of their own, in the world. Here they share the processor with what they attack
// and with who measures it.

const fs = require('node:fs');
const os = require('node:os');

/** Lets processes run before others that want the processor, where that can be had (Linux, as root). */
function prefer(...children) {
  if (process.platform !== 'linux') return;
  // A thread has a priority of its own on Linux; those of the engine hold locks that the loop waits for.
  for (const thread of children.flatMap(({ pid }) => fs.readdirSync(`/proc/${pid}/task`))) {
    try {
      os.setPriority(Number(thread), os.constants.priority.PRIORITY_HIGH);
    } catch (error) {
      if (error.code !== 'ERR_SYSTEM_ERROR') throw error;
      console.warn(`the attackers take part of the processor: ${error.message}`);
    }
  }
}

module.exports = { prefer };
