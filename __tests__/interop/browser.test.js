// A browser on the demo page: what a person sees, and that the page gets over a server that restarts.
// Leaves screenshots in build/.

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const path = require('node:path');

const { chromium } = require('playwright-core');

const { findBrowser } = require('../support/browser.js');
const { freePort } = require('../support/peers.js');
const { until } = require('../support/tools.js');

const ROOT = path.join(__dirname, '..', '..');
const BUILD = path.join(ROOT, 'build');

/** Starts the demo; resolves when it has told its address. */
async function startDemo(port) {
  const child = spawn(process.execPath, ['examples/demo/server.js', String(port)], {
    cwd: ROOT,
    env: { ...process.env, HOST: '127.0.0.1', NODE_OPTIONS: '' },
  });
  const demo = { child, output: '', ended: once(child, 'close') };
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => (demo.output += text));
  }
  await until(() => /http:\S+/.test(demo.output) || child.exitCode !== null, 'the demo');
  demo.url = /http:\S+/.exec(demo.output)[0];
  return demo;
}

let port;
let demo;
let browser;
let errors;

beforeAll(async () => {
  fs.mkdirSync(BUILD, { recursive: true });
  port = await freePort();
  demo = await startDemo(port);
  browser = await chromium.launch({
    executablePath: findBrowser(),
    args: ['--no-sandbox', '--disable-dev-shm-usage'],
  });
});

afterAll(async () => {
  await browser?.close();
  if (demo) {
    demo.child.kill('SIGTERM');
    expect((await demo.ended)[1]).toBe('SIGTERM');
  }
});

async function openPage(options = { viewport: { width: 1280, height: 900 } }) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  errors ??= [];
  page.on('pageerror', (error) => errors.push(error.message));
  page.on('console', (message) => {
    // What the network does is seen in the page; what is wrong in the page is told here.
    if (message.type() === 'error' && !/WebSocket|ERR_/.test(message.text())) {
      errors.push(message.text());
    }
  });
  await page.goto(demo.url);
  await page.locator('#link[data-state="open"]').waitFor();
  return page;
}

afterEach(async () => {
  for (const context of browser.contexts()) await context.close();
  expect(errors).toEqual([]);
});

test('the page connects, echoes, and shows the server’s figures', async () => {
  const page = await openPage();
  expect(await page.locator('#link-text').innerText()).toBe('Connected');
  await page.locator('#echo-text').fill('Grüße aus dem Browser');
  await page.locator('#echo-send').click();
  await page.locator('#echo-list li .text', { hasText: 'Grüße aus dem Browser' }).waitFor();
  expect(await page.locator('#trip').innerText()).toMatch(/\d/);
  await page.locator('#echo-many').click();
  await page.locator('#echo-list li .text', { hasText: '100 in a row' }).waitFor();
  await page.locator('output[data-figure="connections"]', { hasText: /[1-9]/ }).waitFor();
  await page.locator('output[data-figure="handles"]', { hasText: /[1-9]/ }).waitFor();
  await page.screenshot({ path: path.join(BUILD, 'demo.png') });
});

test('two tabs chat with each other', async () => {
  const [one, two] = [await openPage(), await openPage()];
  await one.locator('#chat-name').fill('Ada');
  await one.locator('#chat-name').press('Enter');
  await one.locator('#chat-text:enabled').fill('hello, second tab');
  await one.locator('#chat-send').click();
  await two.locator('#chat-log', { hasText: 'hello, second tab' }).waitFor();
  await two.locator('#chat-text:enabled').fill('hello, first tab');
  await two.locator('#chat-send').click();
  await one.locator('#chat-log', { hasText: 'hello, first tab' }).waitFor();
  await one.locator('#chat-people', { hasText: '(you)' }).waitFor();
  await one.screenshot({ path: path.join(BUILD, 'demo-chat.png'), fullPage: true });
});

test('the load runs and stops', async () => {
  const page = await openPage();
  // As few as there may be: a browser that is kept busy takes its time for everything else.
  await page.locator('#load-sockets').fill('5');
  await page.locator('#load-button').click();
  await page
    .locator('#load-text', { hasText: /\d+ sockets, [1-9][\d,]* echoes a second/ })
    .waitFor();
  await page.locator('output[data-figure="messages"]', { hasText: /[1-9]/ }).waitFor();
  // A click of a mouse waits until the page has drawn two frames, which the load may keep it from.
  await page.locator('#load-button').dispatchEvent('click');
  await page.locator('#load-text', { hasText: 'Stopped' }).waitFor();
  await page.screenshot({ path: path.join(BUILD, 'demo-load.png') });
});

test('the page fits a phone', async () => {
  const page = await openPage({ viewport: { width: 375, height: 740 }, isMobile: true });
  const width = await page.evaluate('document.documentElement.scrollWidth');
  expect(width).toBeLessThanOrEqual(375);
  await page.screenshot({ path: path.join(BUILD, 'demo-phone.png'), fullPage: true });
});

test('the page says that the server has gone, and comes back with it', async () => {
  const page = await openPage();
  demo.child.kill('SIGTERM');
  expect((await demo.ended)[1]).toBe('SIGTERM');
  await page.locator('#link[data-state="closed"]').waitFor();
  expect(await page.locator('#link-text').innerText()).toMatch(/retrying/);
  demo = await startDemo(port);
  await page
    .locator('#link-retry')
    .click({ timeout: 2000 })
    .catch(() => {});
  await page.locator('#link[data-state="open"]').waitFor();
  await page.locator('#echo-text').fill('back again');
  await page.locator('#echo-send').click();
  await page.locator('#echo-list li .text', { hasText: 'back again' }).waitFor();
});
