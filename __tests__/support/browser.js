// Where the browser is.

const fs = require('node:fs');
const path = require('node:path');

/** The browser: UVWS_CHROMIUM, or the first of its usual names on PATH. */
function findBrowser() {
  const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];
  const folders = (process.env.PATH ?? '').split(path.delimiter);
  const candidates = names.flatMap((name) => folders.map((folder) => path.join(folder, name)));
  const found = [process.env.UVWS_CHROMIUM, ...candidates].find(
    (file) => file && fs.existsSync(file),
  );
  if (!found) throw new Error('no Chromium on PATH: install it, or name it in UVWS_CHROMIUM');
  return found;
}

module.exports = { findBrowser };
