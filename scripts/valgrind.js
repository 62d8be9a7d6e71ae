'use strict';

// Runs the scripts of __tests__/valgrind/ in Node under valgrind's memcheck, and
// fails on each error in which the addon takes part: invalid reads, writes and
// frees, also of memory that the addon freed and libuv still touches, and memory
// that is definitely lost. Each script must also exit with 0.
//
//   node scripts/valgrind.js [FILE...]
//
// Checks of undefined values are off: V8's own code gives thousands of false ones.
// For line numbers in the stacks, build with symbols first:
//
//   CARGO_PROFILE_RELEASE_STRIP=none CARGO_PROFILE_RELEASE_DEBUG=1 node scripts/build.js --force

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const { aptInstall, isOnPath } = require('./libclang.js');

const ROOT = path.join(__dirname, '..');
const SCRIPTS = path.join(ROOT, '__tests__', 'valgrind');

/** Valgrind is some thirty times slower than the machine. */
const TIME_LIMIT = 10 * 60_000;

/** Whether valgrind can be run; installs it where that needs no question. */
function ensureValgrind() {
  if (isOnPath('valgrind')) return true;
  if (process.platform !== 'linux') return false;
  return aptInstall('valgrind', 'libc6-dbg') && isOnPath('valgrind');
}

/** The scripts that are run by default. */
function defaultScripts() {
  if (!fs.existsSync(SCRIPTS)) return [];
  return fs
    .readdirSync(SCRIPTS)
    .filter((name) => name.endsWith('.js'))
    .sort()
    .map((name) => path.join(SCRIPTS, name));
}

function tag(xml, name) {
  return new RegExp(`<${name}>([\\s\\S]*?)</${name}>`).exec(xml)?.[1];
}

/**
 * Node allocates forty bytes for an external value, which it frees when that is collected; a worker that
 * is terminated collects nothing. The addon has no pointer to them; what the value stands for is finalized.
 */
function isLossOfNode(error) {
  const [first, second] = [...error.matchAll(/<fn>([^<]*)<\/fn>/g)].map(([, name]) => name);
  return (
    tag(error, 'kind') === 'Leak_DefinitelyLost' &&
    first?.startsWith('operator new') &&
    second === 'napi_create_external'
  );
}

/** The errors of a valgrind report in which a frame belongs to the addon, as text. */
function addonErrors(xml) {
  return [...xml.matchAll(/<error>([\s\S]*?)<\/error>/g)]
    .map((match) => match[1])
    .filter((error) => tag(error, 'kind') !== 'Leak_PossiblyLost')
    .filter((error) => /<obj>[^<]*uvws\.node<\/obj>/.test(error))
    .filter((error) => !isLossOfNode(error))
    .map((error) => {
      const what = tag(error, 'what') ?? tag(error, 'text') ?? '';
      const frames = [...error.matchAll(/<frame>([\s\S]*?)<\/frame>/g)].map(([, frame]) => {
        const file = tag(frame, 'file');
        const place = file
          ? `${file}:${tag(frame, 'line')}`
          : path.basename(tag(frame, 'obj') ?? '');
        return `    at ${tag(frame, 'fn') ?? tag(frame, 'ip')} (${place})`;
      });
      return `${tag(error, 'kind')}: ${what}\n${frames.slice(0, 30).join('\n')}`;
    });
}

/** Runs one script; returns one text for each fault. */
function checkScript(script) {
  const report = path.join(ROOT, 'build', `valgrind-${path.basename(script, '.js')}.xml`);
  fs.mkdirSync(path.dirname(report), { recursive: true });
  const result = spawnSync(
    'valgrind',
    [
      '--tool=memcheck',
      '--undef-value-errors=no',
      '--error-limit=no',
      // A thread that never waits would keep the others from running for minutes.
      '--fair-sched=try',
      '--smc-check=all-non-file',
      '--leak-check=full',
      '--show-leak-kinds=definite',
      '--num-callers=40',
      '--xml=yes',
      `--xml-file=${report}`,
      process.execPath,
      '--expose-gc',
      script,
    ],
    {
      cwd: ROOT,
      encoding: 'utf8',
      timeout: TIME_LIMIT,
      killSignal: 'SIGKILL',
      stdio: ['ignore', 'pipe', 'pipe'],
      // Lets a script do less where each step is so much slower.
      env: { ...process.env, UVWS_VALGRIND: '1' },
    },
  );
  if (result.error) return [`${script}: ${result.error.message}`];
  const faults = addonErrors(fs.readFileSync(report, 'utf8'));
  if (result.status !== 0) {
    const end = result.signal ? `was ended by ${result.signal}` : `exited with ${result.status}`;
    faults.push(`${script} ${end}\n${result.stdout}${result.stderr}`);
  }
  return faults;
}

module.exports = { addonErrors, checkScript, defaultScripts, ensureValgrind };

if (require.main === module) {
  if (!ensureValgrind()) {
    console.error('uvws: valgrind is not installed');
    process.exit(1);
  }
  const scripts = process.argv.length > 2 ? process.argv.slice(2) : defaultScripts();
  for (const script of scripts) {
    const faults = checkScript(script);
    console.log(`${path.relative(ROOT, path.resolve(script))}: ${faults.length} faults`);
    for (const fault of faults) console.error(fault);
    if (faults.length > 0) process.exitCode = 1;
  }
}
