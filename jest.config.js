'use strict';

module.exports = {
  testEnvironment: 'node',
  testMatch: ['<rootDir>/__tests__/**/*.test.js'],
  // The lifecycle tests measure time and count the handles of the process: they run
  // one file after the other, in one process.
  maxWorkers: 1,
  // Only what hangs comes to it: a machine may be slow, and busy with something else.
  testTimeout: 60_000,
  // A handle that outlives its context keeps jest from exiting. That is a failure, so
  // nothing here ends the process by force; scripts/test.js has a time limit.
  forceExit: false,
  // Copies of the package that tests, benchmarks and builds leave behind are not it.
  modulePathIgnorePatterns: ['<rootDir>/build/', '<rootDir>/bench/', '<rootDir>/target/'],
};
