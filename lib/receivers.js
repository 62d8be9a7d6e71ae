'use strict';

/** Numbers that a fresh list has room for. */
const FIRST_CAPACITY = 4;

// Elements in front of the numbers (src/binding/publishing.rs).
const COUNT = 0;
const EXCEPT = 1;
const MAX_BACKPRESSURE = 2;
const HEADER = 3;

/** Stands for no limit. */
const UNLIMITED = 2 ** 32 - 1;

/** The numbers of connections that get the same messages, as the native half reads them. */
class Receivers {
  constructor() {
    this.numbers = new Uint32Array(HEADER + FIRST_CAPACITY);
  }

  get count() {
    return this.numbers[COUNT];
  }

  /** Appends the number of a connection and returns its place. */
  add(id) {
    const place = HEADER + this.numbers[COUNT]++;
    if (place === this.numbers.length) {
      const larger = new Uint32Array(2 * place);
      larger.set(this.numbers);
      this.numbers = larger;
    }
    this.numbers[place] = id;
    return place;
  }

  /** Removes the number at a place. The last one takes the place, and is returned. */
  remove(place) {
    const moved = this.numbers[HEADER + --this.numbers[COUNT]];
    this.numbers[place] = moved;
    return moved;
  }

  /** Forgets all. */
  clear() {
    this.numbers[COUNT] = 0;
  }

  /** Prepares a message: who does not get it, or NONE, and how many bytes may wait. */
  prepare(except, maxBackpressure) {
    this.numbers[EXCEPT] = except;
    this.numbers[MAX_BACKPRESSURE] = Math.min(maxBackpressure, UNLIMITED);
  }

  *[Symbol.iterator]() {
    for (let i = 0; i < this.count; i++) yield this.numbers[HEADER + i];
  }
}

module.exports = Receivers;
