'use strict';

/**
 * Prints how long a fresh process takes to load a package, in milliseconds.
 */

const { print } = require('./announce');

const [, , name] = process.argv;
const start = performance.now();
require(name);
print({ milliseconds: performance.now() - start });
