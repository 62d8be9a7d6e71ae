'use strict';

// The text of HTTP heads: reading one that the native half has already checked, and writing header
// lines that it will check again.

// Loaded when it is needed: it is a third of the time that this package takes to load.
const http = () => require('node:http');

/** Returns `text` without spaces and tabs at its ends, in linear time. */
function trim(text) {
  let start = 0;
  let end = text.length;
  while (start < end && isBlank(text.charCodeAt(start))) start++;
  while (end > start && isBlank(text.charCodeAt(end - 1))) end--;
  return text.slice(start, end);
}

function isBlank(code) {
  return code === 0x20 || code === 0x09;
}

/**
 * Reads a head.
 *
 * @param {string} head The lines up to and including the empty one, as latin1
 * @returns {{ startLine: string, rawHeaders: string[] }} The first line, and names and values in
 *   turn, as in `http.IncomingMessage`
 */
function parseHead(head) {
  const lines = head.split('\n');
  const rawHeaders = [];
  for (let i = 1; i < lines.length; i++) {
    const line = lines[i];
    const colon = line.indexOf(':');
    if (colon === -1) break;
    const end = line.endsWith('\r') ? line.length - 1 : line.length;
    rawHeaders.push(line.slice(0, colon), trim(line.slice(colon + 1, end)));
  }
  return { startLine: trim(lines[0].replace('\r', '')), rawHeaders };
}

/** Returns the value of the first header called `name` (in lower case), or undefined. */
function findHeader(rawHeaders, name) {
  for (let i = 0; i < rawHeaders.length; i += 2) {
    if (rawHeaders[i].length === name.length && rawHeaders[i].toLowerCase() === name) {
      return rawHeaders[i + 1];
    }
  }
  return undefined;
}

/**
 * Writes one header, an array of values as several lines, as Node's `setHeader` does.
 *
 * @throws {TypeError} If the name is not a token or a value has a control character
 */
function formatHeader(name, value) {
  http().validateHeaderName(name);
  if (Array.isArray(value)) {
    // Cookies are one list (RFC 6265 section 5.4).
    if (name.toLowerCase() === 'cookie') return formatHeader(name, value.join('; '));
    return value.map((each) => formatHeader(name, each)).join('');
  }
  http().validateHeaderValue(name, value);
  return `${name}: ${value}\r\n`;
}

/** Writes an object of headers. */
function formatHeaders(headers) {
  let lines = '';
  for (const name of Object.keys(headers)) lines += formatHeader(name, headers[name]);
  return lines;
}

/**
 * Checks a line `Name: value` that a 'headers' listener has made.
 *
 * @throws {TypeError} If it is none, or would be more than one
 */
function checkHeaderLine(line) {
  const colon = String(line).indexOf(':');
  if (colon === -1) throw new TypeError(`Invalid header line: ${JSON.stringify(line)}`);
  http().validateHeaderName(line.slice(0, colon));
  http().validateHeaderValue(line.slice(0, colon), line.slice(colon + 1));
}

module.exports = { checkHeaderLine, findHeader, formatHeader, formatHeaders, parseHead, trim };
