// The negotiation headers against the ws package: the same is accepted, for every value and for
// random headers, and no header costs more steps than its length.

const ws = require('ws');

const { extension, PerMessageDeflate, subprotocol } = require('..');

/** What reading and accepting a header comes to: its parameters, or the name of its error. */
function outcome(subject, isServer, options, header) {
  try {
    const offers = subject.extension.parse(header);
    const deflate = new subject.PerMessageDeflate({ ...options, isServer });
    const list = offers['permessage-deflate'];
    return list === undefined ? null : { ...deflate.accept(list) };
  } catch (error) {
    return error.constructor.name;
  }
}

// Nearly every header here ends in an error, and a stack costs more than all the rest of it.
const { stackTraceLimit } = Error;
beforeAll(() => {
  Error.stackTraceLimit = 0;
});
afterAll(() => {
  Error.stackTraceLimit = stackTraceLimit;
});

function expectSame(isServer, options, header) {
  const ours = outcome({ extension, PerMessageDeflate }, isServer, options, header);
  const theirs = outcome(ws, isServer, options, header);
  // Compared as text first: a quarter of a million times, expect() itself would take minutes.
  if (JSON.stringify(ours) !== JSON.stringify(theirs)) {
    expect({ header, outcome: ours }).toEqual({ header, outcome: theirs });
  }
  return ours;
}

const PARAMETERS = ['server_max_window_bits', 'client_max_window_bits'];

describe.each([
  ['a server', true],
  ['a client', false],
])('as %s', (_name, isServer) => {
  test.each(PARAMETERS)('%s may be 8 to 15, of all numbers from -1 to 65,536', (parameter) => {
    const accepted = [];
    for (let bits = -1; bits <= 65_536; bits++) {
      const header = `permessage-deflate; ${parameter}=${bits}`;
      if (typeof expectSame(isServer, {}, header) === 'object') accepted.push(bits);
    }
    expect(accepted).toEqual([8, 9, 10, 11, 12, 13, 14, 15]);
  });

  test.each(PARAMETERS)('%s that is no number, or comes twice, is refused', (parameter) => {
    for (const value of [
      '=',
      '=""',
      '=15a',
      '=a15',
      '=1_5',
      '="1 5"',
      '=15.5',
      '=-8',
      '=NaN',
      '=Infinity',
      '=true',
      '=null',
      '=[]',
      '=__proto__',
      '=9007199254740993',
      `=10; ${parameter}=10`,
      `=10; ${parameter}`,
    ]) {
      const header = `permessage-deflate; ${parameter}${value}`;
      expect([header, expectSame(isServer, {}, header)]).toEqual([
        header,
        expect.stringMatching(/Error$/),
      ]);
    }
  });

  test.each(PARAMETERS)('%s is read as ws reads a number', (parameter) => {
    // RFC 7692 has no leading zeros; ws takes them, and what it takes is within the range.
    const header = `permessage-deflate; ${parameter}=015`;
    expect(expectSame(isServer, {}, header)).toEqual({ [parameter]: 15 });
  });

  test('flags have no value', () => {
    for (const flag of ['server_no_context_takeover', 'client_no_context_takeover']) {
      expect(expectSame(isServer, {}, `permessage-deflate; ${flag}`)).toEqual({ [flag]: true });
      for (const value of ['=1', '=true', '=""', `; ${flag}`]) {
        const header = `permessage-deflate; ${flag}${value}`;
        expect(expectSame(isServer, {}, header)).toMatch(/Error$/);
      }
    }
  });

  test('names of Object.prototype are unknown like others', () => {
    for (const name of ['constructor', '__proto__', 'toString', 'hasOwnProperty', 'valueOf']) {
      expect(expectSame(isServer, {}, name)).toBeNull();
      expect(expectSame(isServer, {}, `${name}; ${name}=${name}; ${name}`)).toBeNull();
      expect(expectSame(isServer, {}, `permessage-deflate; ${name}`)).toBe('Error');
      expect(expectSame(isServer, {}, `permessage-deflate; ${name}=10`)).toBe('Error');
    }
    expect({}.permessage).toBeUndefined();
  });

  test('20,000 headers made of its words are read and answered as ws does', () => {
    const words = [
      'permessage-deflate',
      'server_max_window_bits',
      'client_max_window_bits',
      'server_no_context_takeover',
      'client_no_context_takeover',
      ...['x', '8', '10', '15', '16', ';', ';', ';', ',', '=', '=', '"', '\\', ' ', '\t', '\u00e9'],
    ];
    const options = [
      {},
      { serverMaxWindowBits: 10 },
      { serverMaxWindowBits: false, clientMaxWindowBits: 12 },
      { clientMaxWindowBits: false, serverNoContextTakeover: false },
      { serverNoContextTakeover: true, clientNoContextTakeover: true },
      { clientNoContextTakeover: false },
    ];
    let state = 1;
    const below = (end) => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
      return (state >>> 8) % end;
    };
    let accepted = 0;
    for (let i = 0; i < 20_000; i++) {
      let header = 'permessage-deflate';
      for (let n = below(12); n > 0; n--) header += words[below(words.length)];
      const result = expectSame(isServer, options[below(options.length)], header);
      accepted += result !== null && typeof result === 'object' ? 1 : 0;
    }
    expect(accepted).toBeGreaterThan(500);
  });
});

// ---- steps

/** A text that counts how often a character of it is looked at. */
class CountingText {
  steps = 0;

  constructor(text) {
    this.value = text;
    this.length = text.length;
  }

  charCodeAt(index) {
    this.steps++;
    return this.value.charCodeAt(index);
  }

  slice(start, end) {
    this.steps += end - start;
    return this.value.slice(start, end);
  }
}

for (const index of Array(4096).keys()) {
  Object.defineProperty(CountingText.prototype, index, {
    get() {
      this.steps++;
      return this.value[index];
    },
  });
}

/** Steps of reading a header, whether or not it is valid. */
function steps(parse, header) {
  const text = new CountingText(header);
  try {
    parse(text);
  } catch (error) {
    expect(error.name).toBe('SyntaxError');
  }
  return text.steps;
}

describe.each([
  ['extensions', (text) => extension.parse(text)],
  ['subprotocols', (text) => subprotocol.parse(text)],
])('the steps of reading %s', (_name, parse) => {
  test.each([
    ['an unclosed string of escapes', (n) => `a; b="${'\\c'.repeat(n / 2)}`],
    ['a closed string of escapes', (n) => `a; b="${'\\c'.repeat(n / 2)}"`],
    ['blanks within a token', (n) => `b${' '.repeat(n)}x`],
    ['blanks at the end', (n) => `b${' '.repeat(n)}`],
    ['tabs before a comma', (n) => `a${'\t'.repeat(n)},b`],
    ['commas', (n) => `a${','.repeat(n)}`],
    ['semicolons', (n) => `a${';'.repeat(n)}`],
    ['one long token', (n) => 'a'.repeat(n)],
    ['many tokens', (n) => 'a, '.repeat(n / 3) + 'b'],
    ['many parameters', (n) => 'a' + '; b=c'.repeat(n / 5)],
    ['equals signs', (n) => `a; b${'='.repeat(n)}`],
    ['quotes', (n) => `a; b=${'"'.repeat(n)}`],
  ])('do not grow faster than %s', (_case, make) => {
    const counts = [1000, 2000, 4000].map((n) => steps(parse, make(n)));
    for (const [index, n] of [1000, 2000, 4000].entries()) {
      expect(counts[index]).toBeLessThanOrEqual(10 * n + 100);
    }
    expect(counts[1]).toBeLessThanOrEqual(2.1 * counts[0] + 100);
    expect(counts[2]).toBeLessThanOrEqual(2.1 * counts[1] + 100);
  });
});
