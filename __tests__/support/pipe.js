// A pipe in memory, for connections over streams.

const { Duplex } = require('node:stream');

/** One end of a pipe in memory. */
class End extends Duplex {
  other = null;
  #proceed = null;

  _read() {
    const proceed = this.#proceed;
    this.#proceed = null;
    proceed?.();
  }

  _write(chunk, _encoding, callback) {
    if (this.other.destroyed || this.other.push(Buffer.from(chunk))) process.nextTick(callback);
    else this.other.#proceed = callback;
  }

  _final(callback) {
    this.other.push(null);
    callback();
  }
}

/** Makes both ends of one. */
function makePipe(options, Class = End) {
  const [one, other] = [new Class(options), new Class(options)];
  one.other = other;
  other.other = one;
  return [one, other];
}

module.exports = { End, makePipe };
