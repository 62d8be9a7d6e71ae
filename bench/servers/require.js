'use strict';

/**
 * Prints how long a fresh process takes to load a package, in milliseconds.
 */

const { print } = require('./announce');

const [, , name] = process.argv;
const cpu = process.cpuUsage();
const start = performance.now();
require(name);
const milliseconds = performance.now() - start;
const { user, system } = process.cpuUsage(cpu);
print({ milliseconds, cpu_milliseconds: (user + system) / 1000 });
