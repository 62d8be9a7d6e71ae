'use strict';

const js = require('@eslint/js');
const globals = require('globals');

module.exports = [
  {
    ignores: [
      'build/',
      'coverage/',
      'prebuilds/',
      'target/',
      'bench/load/',
      'bench/results/',
      '**/node_modules/',
    ],
  },
  js.configs.recommended,
  {
    languageOptions: { ecmaVersion: 2023, sourceType: 'commonjs', globals: globals.node },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      eqeqeq: ['error', 'always', { null: 'ignore' }],
      'no-implicit-coercion': ['error', { allow: ['!!'] }],
      'no-throw-literal': 'error',
      'no-unused-vars': ['error', { argsIgnorePattern: '^_', caughtErrors: 'none' }],
      'no-var': 'error',
      'object-shorthand': 'error',
      'prefer-const': 'error',
      strict: ['error', 'global'],
    },
  },
  {
    files: ['**/*.mjs'],
    languageOptions: { sourceType: 'module' },
    rules: { strict: 'off' },
  },
  {
    files: ['__tests__/**'],
    languageOptions: { globals: { ...globals.jest, gc: 'readonly' } },
    rules: { strict: 'off' },
  },
  {
    files: ['examples/**'],
    rules: { strict: 'off' },
  },
  {
    // Scripts of the demo page run in a browser.
    files: ['examples/**/public/**', 'examples/**/*.browser.js'],
    languageOptions: { sourceType: 'script', globals: globals.browser },
  },
];
