// The option `http` with programs of others: curl, and a page in a browser that opens a WebSocket to where
// it came from.

const { execFile } = require('node:child_process');
const { promisify } = require('node:util');

const { chromium } = require('playwright-core');

const { findBrowser } = require('../support/browser.js');
const { defer, serve } = require('../support/fixtures.js');

const PAGE = `<!doctype html><title>a page</title><script>
  const socket = new WebSocket('ws://' + location.host + '/socket');
  socket.onopen = () => socket.send('from the page');
  socket.onmessage = ({ data }) => (document.title = data);
</script>`;

/** A page, and whatever is uploaded. */
function respond(request, response) {
  if (request.method === 'GET') response.setHeader('Content-Type', 'text/html').end(PAGE);
  else if (request.method === 'HEAD') response.writeHead(204).end();
  else request.pipe(response);
}

async function curl(...args) {
  const options = { timeout: 30_000, maxBuffer: 10_000_000 };
  const { stdout } = await promisify(execFile)('curl', ['-sS', '--noproxy', '*', ...args], options);
  return stdout;
}

test('curl gets, uploads with Expect: 100-continue, and keeps its connection', async () => {
  const { port } = await serve({ http: respond });
  const url = `http://127.0.0.1:${port}/`;
  expect(await curl(url)).toBe(PAGE);
  expect(await curl('--head', url)).toMatch(/^HTTP\/1.1 204 No Content\r\n[^]*\r\n\r\n$/);
  const body = 'x'.repeat(100_000);
  const upload = ['--data-binary', body];
  expect(await curl('-H', 'Expect: 100-continue', ...upload, url)).toBe(body);
  expect(await curl('-H', 'Transfer-Encoding: chunked', ...upload, url)).toBe(body);
  const write = ['-w', '%{num_connects} ', '-o', '/dev/null'];
  expect(await curl(...write, url, '--next', '-sS', ...write, ...upload, url)).toBe('1 0 ');
});

test('a browser loads a page, which opens a WebSocket to the same port', async () => {
  const { wss, port } = await serve({ http: respond });
  wss.on('connection', (ws, { url }) => ws.on('message', (data) => ws.send(`${url} ${data}`)));
  const browser = await chromium.launch({
    executablePath: findBrowser(),
    args: ['--no-sandbox', '--disable-dev-shm-usage'],
  });
  defer(() => browser.close());
  const page = await browser.newPage();
  for (let i = 0; i < 3; i++) {
    await page.goto(`http://127.0.0.1:${port}/`);
    await page.waitForFunction("document.title === '/socket from the page'");
  }
});
