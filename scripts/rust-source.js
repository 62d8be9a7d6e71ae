'use strict';

// Reads src/, for the checks of it.

const fs = require('node:fs');
const path = require('node:path');

const SOURCE = path.join(__dirname, '..', 'src');

/** Blanks comments and string literals, keeping lines and columns. */
function withoutCommentsAndStrings(text) {
  const blank = (match) => match.replace(/[^\n]/g, ' ');
  return text.replace(
    /\/\/[^\n]*|\/\*[\s\S]*?\*\/|\bb?r(#*)"[\s\S]*?"\1|b?"(?:\\[\s\S]|[^"\\])*"|'(?:\\[^\n]|[^'\\\n])'/g,
    blank,
  );
}

/** The Rust files below a folder. */
function rustFiles(folder = SOURCE) {
  return fs.readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const file = path.join(folder, entry.name);
    if (entry.isDirectory()) return rustFiles(file);
    return entry.name.endsWith('.rs') ? [file] : [];
  });
}

module.exports = { rustFiles, SOURCE, withoutCommentsAndStrings };
