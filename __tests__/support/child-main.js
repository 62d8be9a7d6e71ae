// The program of support/child.js: runs the function whose source is the first argument, proves
// that what it made is gone, tells the result, and leaves the end of the process to the loop.

const vm = require('node:vm');

const { RESULT } = require('./child.js');
const census = require('./census.js');
const tools = require('./tools.js');

const [source, input] = process.argv.slice(2);

async function main() {
  // The piece is evaluated as a script: what a module has, it has by this.
  globalThis.require = require;
  // Node makes its standard streams when they are first looked at: before the count.
  process.stdout.write('');
  process.stderr.write('');
  const body = vm.runInThisContext(`(${source})`, { filename: 'body.js' });
  const baseline = census.take();
  const value = await body(tools.create(JSON.parse(input)));
  await census.settled(baseline);
  process.stdout.write(`${RESULT}${JSON.stringify({ value: value ?? null })}\n`);
}

main().catch((error) => {
  process.stderr.write(`${error?.stack ?? error}\n`);
  process.exit(1);
});
// The channel to the parent is there for tests that talk to it; it is no reason to live.
process.channel?.unref();
