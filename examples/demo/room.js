'use strict';

// One chat room. Everything that comes from a peer is checked and cut here; the page
// then shows it as text, never as markup.

/** Limits in characters, as people count them: code points. */
const MAX_NAME = 24;
const MAX_TEXT = 300;

/** A line with its JSON round it, in bytes: what is longer did not come from the page. */
const MAX_MESSAGE = 4096;

/** People in the room: their names are sent to each of them. */
const MAX_PEOPLE = 100;

/** How many lines somebody who comes late gets to see. */
const HISTORY = 50;

/** Lines one person may send at once, and how many of them come back in a second. */
const BURST = 8;
const LINES_A_SECOND = 1;

/** A peer with more than this in its queue has stopped reading. */
const MAX_BUFFERED = 256 * 1024;

/** Control characters, and those that turn the direction of what stands beside them. */
const UNWANTED = /[\p{Cc}\p{Cs}\u2028\u2029\u202a-\u202e\u2066-\u2069]+/gu;

/** One line of at most `limit` characters, without what could disturb its neighbours. */
function cleanLine(value, limit) {
  if (typeof value !== 'string') return '';
  const line = value.normalize('NFC').replace(UNWANTED, ' ').replace(/\s+/gu, ' ').trim();
  return Array.from(line).slice(0, limit).join('').trim();
}

class Room {
  #people = new Map();
  #history = [];
  #lastId = 0;

  /** Lets a connection in. It has no name and is not heard before its first `join`. */
  enter(peer) {
    if (this.#people.size >= MAX_PEOPLE) {
      peer.close(1013, 'the room is full');
      return;
    }
    this.#lastId += 1;
    const person = { id: this.#lastId, name: '', tokens: BURST, refilled: performance.now() };
    this.#people.set(peer, person);
    peer.on('message', (data, isBinary) => this.#receive(peer, person, data, isBinary));
    peer.on('close', () => {
      this.#people.delete(peer);
      if (person.name) this.#tell({ type: 'left', name: person.name, people: this.#present() });
    });
  }

  #receive(peer, person, data, isBinary) {
    if (isBinary) return peer.close(1003, 'text only');
    if (data.length > MAX_MESSAGE) return peer.close(1009, 'message too long');
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return peer.close(1007, 'not JSON');
    }
    if (!this.#mayGoOn(person)) return this.#send(peer, { type: 'slow' });
    if (message?.type === 'join') this.#name(peer, person, message.name);
    else if (message?.type === 'say' && person.name) this.#say(person, message.text);
  }

  /** Gives or changes a name, which is made unique among those present. */
  #name(peer, person, wanted) {
    const name = this.#freeName(cleanLine(wanted, MAX_NAME) || 'Guest', person);
    const old = person.name;
    if (name === old) return;
    person.name = name;
    const people = this.#present();
    if (old) {
      this.#tell({ type: 'renamed', id: person.id, old, name, people });
      return;
    }
    this.#send(peer, { type: 'welcome', id: person.id, name, people, history: this.#history });
    this.#tell({ type: 'joined', id: person.id, name, people }, peer);
  }

  #freeName(wanted, person) {
    const taken = new Set();
    for (const other of this.#people.values()) if (other !== person) taken.add(other.name);
    let name = wanted;
    for (let count = 2; taken.has(name); count += 1) name = `${wanted} ${count}`;
    return name;
  }

  #say(person, wanted) {
    const text = cleanLine(wanted, MAX_TEXT);
    if (!text) return;
    const line = { type: 'said', id: person.id, name: person.name, text, at: Date.now() };
    this.#history.push(line);
    if (this.#history.length > HISTORY) this.#history.shift();
    this.#tell(line);
  }

  #mayGoOn(person) {
    const now = performance.now();
    const refill = ((now - person.refilled) / 1000) * LINES_A_SECOND;
    person.tokens = Math.min(BURST, person.tokens + refill);
    person.refilled = now;
    if (person.tokens < 1) return false;
    person.tokens -= 1;
    return true;
  }

  #present() {
    const people = [];
    for (const { id, name } of this.#people.values()) if (name) people.push({ id, name });
    return people;
  }

  /** Sends to everybody who has a name; what all get is made into text once. */
  #tell(message, except = null) {
    const text = JSON.stringify(message);
    for (const [peer, { name }] of this.#people) {
      if (name && peer !== except) this.#sendText(peer, text);
    }
  }

  #send(peer, message) {
    this.#sendText(peer, JSON.stringify(message));
  }

  #sendText(peer, text) {
    if (peer.bufferedAmount > MAX_BUFFERED) peer.terminate();
    else peer.send(text);
  }
}

module.exports = { Room };
