'use strict';

// What attackers do, one function for each class. Each gets an open socket and a few tools, and
// resolves when it is done with it; the place of the attacker is then filled again. What a server
// owes an attacker is returned: a close code or an HTTP status that the tools have seen, or nothing.

const frames = require('../../__tests__/support/frames.js');
const { upgradeRequest } = require('../../__tests__/support/peers.js');

const { BINARY, CONTINUATION, PING, TEXT, closeFrame, deflated, frame } = frames;

const REQUEST = Buffer.from(upgradeRequest(), 'latin1');
const DEFLATE = 'Sec-WebSocket-Extensions: permessage-deflate';

const bomb = (size) => deflated(Buffer.alloc(size));
const repeated = (one, count) => Buffer.concat(new Array(count).fill(one));
const FRAGMENTS_OF_0 = Buffer.concat([
  frame(BINARY, '', { fin: false }),
  repeated(frame(CONTINUATION, '', { fin: false }), 17_000),
]);
const FRAGMENTS_OF_1 = Buffer.concat([
  frame(BINARY, 'x', { fin: false }),
  repeated(frame(CONTINUATION, 'x', { fin: false }), 17_000),
]);
const PINGS = repeated(frame(PING, Buffer.alloc(125, 'p')), 500);
const SMALL = repeated(frame(TEXT, 'x'), 5000);
const LARGE = frame(BINARY, Buffer.alloc(64 * 1024));
const BOMB = frame(BINARY, bomb(16 * 1024 * 1024), { rsv: 4 });
const BOMB_IN_FRAGMENTS = (() => {
  const bytes = bomb(16 * 1024 * 1024);
  const pieces = [];
  for (let at = 0; at < bytes.length; at += 100) {
    const isFirst = at === 0;
    const options = { fin: at + 100 >= bytes.length, rsv: isFirst ? 4 : 0 };
    pieces.push(frame(isFirst ? BINARY : CONTINUATION, bytes.subarray(at, at + 100), options));
  }
  return Buffer.concat(pieces);
})();

const header = (name, value) =>
  upgradeRequest().replace(/\r\n\r\n$/, `\r\n${name}: ${value}\r\n\r\n`);
const BAD_HEADS = [
  'GET / HTTP/1.1\r\n\r\n',
  'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello',
  'GET / HTTP/0.9\r\n\r\n',
  '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 this is TLS\r\n\r\n',
  '\0\0\0\0\r\n\r\n',
  upgradeRequest().replace('Version: 13', 'Version: 99'),
  upgradeRequest().replace(/Key: .*/, 'Key: short'),
  upgradeRequest().replace('Host: localhost\r\n', ''),
  upgradeRequest().replace('Upgrade: websocket', 'Upgrade: h2c'),
  header('Content-Length', '10'),
  header('Transfer-Encoding', 'chunked'),
  header('Sec-WebSocket-Extensions', 'permessage-deflate; server_max_window_bits=99'),
  header('Sec-WebSocket-Protocol', 'a,,b'),
  header('X', 'a\0b'),
  upgradeRequest().replace(/\r\n/g, '\n').replace('Host', 'Ho st'),
];

/** Counts up, so that each attacker of a class takes the next place. */
function counter(limit) {
  let next = 0;
  return () => next++ % limit;
}
const nextCut = counter(REQUEST.length);
const nextReset = counter(REQUEST.length);
const nextHead = counter(BAD_HEADS.length);

/** Faults in frames, and the code that answers them. */
const broken = (bytes, code) => async (peer) => {
  await peer.upgrade();
  peer.write(bytes);
  await peer.closed();
  return { code };
};

/** Classes: those with `codes` or `statuses` are answered so. */
const ATTACKS = {
  /** A byte of the handshake every 100 ms, until the time for it is over. */
  async dribble(peer) {
    for (const byte of REQUEST.subarray(0, -1)) {
      if (peer.isClosed) break;
      peer.write(Buffer.from([byte]));
      await peer.sleep(100);
    }
    await peer.closed();
    return { status: 408 };
  },
  /** Nothing at all. */
  async silence(peer) {
    await peer.closed();
  },
  async halfOpen(peer) {
    peer.end(REQUEST.subarray(0, nextCut()));
    await peer.closed();
  },
  async resetInHandshake(peer) {
    peer.write(REQUEST.subarray(0, nextReset()));
    await peer.sleep(5);
    peer.reset();
  },
  async oversizeHead(peer) {
    peer.write(
      Buffer.concat([REQUEST.subarray(0, -2), Buffer.from(`X: ${'x'.repeat(20_000)}\r\n\r\n`)]),
    );
    await peer.closed();
    return { status: 431 };
  },
  async badHead(peer) {
    peer.write(Buffer.from(BAD_HEADS[nextHead()], 'latin1'));
    await peer.closed();
    return { status: [400, 405, 426, 501] };
  },
  fragmentsOf0: broken(FRAGMENTS_OF_0, 1008),
  fragmentsOf1: broken(FRAGMENTS_OF_1, 1008),
  /** PING frames whose answers are not read. */
  async pingFlood(peer) {
    await peer.upgrade();
    peer.pause();
    for (let i = 0; i < 20 && !peer.isClosed; i++) {
      await peer.written(PINGS);
      await peer.sleep(100);
    }
    peer.reset();
  },
  /** Messages whose echo is not read. */
  async neverRead(peer) {
    await peer.upgrade();
    peer.pause();
    for (let i = 0; i < 200 && !peer.isClosed && peer.backlog < 1_000_000; i++) {
      peer.write(LARGE);
      await peer.sleep(20);
    }
    await peer.sleep(2000);
    peer.reset();
  },
  async bomb(peer) {
    await peer.upgrade([DEFLATE]);
    peer.write(BOMB);
    await peer.closed();
    await peer.sleep(1000);
    return { code: 1009 };
  },
  async bombInFragments(peer) {
    await peer.upgrade([DEFLATE]);
    peer.write(BOMB_IN_FRAGMENTS);
    await peer.closed();
    await peer.sleep(1000);
    return { code: 1009 };
  },
  badDeflate: async (peer) => {
    await peer.upgrade([DEFLATE]);
    peer.write(frame(BINARY, Buffer.alloc(50, 0xff), { rsv: 4 }));
    await peer.closed();
    return { code: 1007 };
  },
  badUTF8: broken(frame(TEXT, Buffer.from([0x61, 0xed, 0xa0, 0x80])), 1007),
  unmasked: broken(frame(TEXT, 'unmasked', { mask: false }), 1002),
  reserved: broken(frame(3, 'what is this'), 1002),
  giant: broken(frame(BINARY, '', { length: 2n ** 62n }), 1009),
  /** A length within the limit, and then nothing. */
  async announced(peer) {
    await peer.upgrade();
    peer.write(frame(BINARY, '0123456789', { length: 4 * 1024 * 1024 - 1 }));
    await peer.sleep(3000);
    peer.reset();
  },
  /** Says goodbye, and reads neither the echo nor the answer. */
  async closeWithoutReading(peer) {
    await peer.upgrade();
    peer.pause();
    for (let i = 0; i < 10; i++) peer.write(LARGE);
    peer.write(closeFrame(1000));
    await peer.sleep(7000);
    peer.reset();
  },
  async resetInMessage(peer) {
    await peer.upgrade();
    peer.write(LARGE.subarray(0, 1 + Math.floor(Math.random() * (LARGE.length - 1))));
    await peer.sleep(5);
    peer.reset();
  },
  /** Opens and goes, as fast as it can. */
  async churn(peer) {
    await peer.upgrade();
    peer.write(closeFrame(1000));
    await peer.closed();
    return { code: 1000 };
  },
  /** Frames a byte at a time. */
  async slowloris(peer) {
    await peer.upgrade();
    for (const byte of frame(TEXT, 'slow as it gets'.repeat(6))) {
      if (peer.isClosed) break;
      peer.write(Buffer.from([byte]));
      await peer.sleep(50);
    }
    peer.end();
    await peer.closed();
  },
  async smallFlood(peer) {
    await peer.upgrade();
    await peer.written(SMALL);
    await peer.sleep(500);
    peer.write(closeFrame(1000));
    await peer.closed();
    return { code: 1000 };
  },
};

module.exports = { ATTACKS, REQUEST };
