'use strict';

// The Sec-WebSocket-Extensions header (RFC 6455 section 9.1).

const { isTokenCode } = require('./validation');

const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const EQUALS = 0x3d;
const QUOTE = 0x22;
const SEMICOLON = 0x3b;

function isBlank(code) {
  return code === 0x20 || code === 0x09;
}

/** Appends `value` to the list that `map` has for `name`. */
function append(map, name, value) {
  if (map[name] === undefined) map[name] = [value];
  else map[name].push(value);
}

/** Reads a header from its start to its end, looking at each character once. */
class Reader {
  /** @param {string} text The header's value */
  constructor(text) {
    this.text = text;
    this.at = 0;
  }

  /** The current character's code; NaN behind the end. */
  get code() {
    return this.text.charCodeAt(this.at);
  }

  get isDone() {
    return this.at >= this.text.length;
  }

  /** Returns the error that the current character, or the end, is. */
  unexpected() {
    const message = this.isDone
      ? 'Unexpected end of input'
      : `Unexpected character at index ${this.at}`;
    return new SyntaxError(message);
  }

  skipBlanks() {
    while (isBlank(this.code)) this.at++;
  }

  /** Reads a token: one or more tchar. */
  token() {
    const start = this.at;
    while (isTokenCode(this.code)) this.at++;
    if (this.at === start) throw this.unexpected();
    return this.text.slice(start, this.at);
  }

  /** Reads a quoted string, which must be a token once it is unquoted. */
  quoted() {
    let value = '';
    this.at++;
    while (this.code !== QUOTE || value === '') {
      if (this.code === BACKSLASH) this.at++;
      if (!isTokenCode(this.code)) throw this.unexpected();
      value += this.text[this.at++];
    }
    this.at++;
    return value;
  }

  /** Moves behind blanks to a separator. Blanks at the very end are an error. */
  separator() {
    const start = this.at;
    this.skipBlanks();
    if (this.isDone ? this.at > start : this.code !== SEMICOLON && this.code !== COMMA) {
      throw this.unexpected();
    }
  }
}

/** Reads `name`, `name=token` or `name="token"` into `parameters`. */
function parseParameter(reader, parameters) {
  reader.skipBlanks();
  const name = reader.token();
  let value = true;
  if (reader.code === EQUALS) {
    reader.at++;
    value = reader.code === QUOTE ? reader.quoted() : reader.token();
  }
  append(parameters, name, value);
  reader.separator();
}

/**
 * Reads a Sec-WebSocket-Extensions header.
 *
 * @param {string} header The header's value
 * @returns {Record<string, Record<string, (string | true)[]>[]>} By extension, the parameters of
 *   each offer; a parameter without a value is `true`
 * @throws {SyntaxError} If the value is not a list of extensions
 */
function parse(header) {
  const offers = Object.create(null);
  const reader = new Reader(header);
  do {
    // The text may not start with a blank, but what follows a comma may.
    if (reader.at > 0) {
      reader.at++;
      reader.skipBlanks();
    }
    const name = reader.token();
    const parameters = Object.create(null);
    reader.separator();
    while (reader.code === SEMICOLON) {
      reader.at++;
      parseParameter(reader, parameters);
    }
    append(offers, name, parameters);
  } while (!reader.isDone);
  return offers;
}

/** Writes one offer: the name and its parameters. */
function formatOffer(name, parameters) {
  const parts = [name];
  for (const parameter of Object.keys(parameters)) {
    for (const value of [parameters[parameter]].flat()) {
      parts.push(value === true ? parameter : `${parameter}=${value}`);
    }
  }
  return parts.join('; ');
}

/**
 * Writes a Sec-WebSocket-Extensions header.
 *
 * @param {object} extensions By extension, the parameters of its offer or of several
 * @returns {string} The header's value
 */
function format(extensions) {
  return Object.keys(extensions)
    .flatMap((name) => [extensions[name]].flat().map((each) => formatOffer(name, each)))
    .join(', ');
}

module.exports = { format, parse };
