// Does what bench/c/interval-operations.h does with uvfio's IntervalMap: the same commands, the same operations on the same random numbers.
// Processor time is that of all threads of node. One command more: `memory` is answered with the bytes that the map takes in all.
import { createInterface } from "node:readline";
import { IntervalMap } from "../../dist/address/interval-map.js";

/** Where programs have their memory that use its addresses as IOVAs: page numbers that do not fit into 32 bits. */
const BASE = 0x7_0000_0000;
/** Pages of one run at rising addresses. */
const RISING_PAGES = 8;
/** Pages that an overlap check asks for. */
const CHECKED_PAGES = 4;

class Operations {
  #map = new IntervalMap();
  #random = 0;
  #mask = 0;
  #sum = 0;
  #made = 0;
  #rising = false;
  #from = BASE;
  #to = BASE;
  #at = BASE;

  /** Of what was found. */
  get checksum() {
    return this.#sum >>> 0;
  }

  build(count, order) {
    let pages = 1;
    while (pages < 64 * count) pages *= 2;
    this.#mask = pages - 1;
    this.#random = 2463534242 | 0;
    this.#made = 0;
    this.#sum = 0;
    this.#rising = order === "rising";
    this.#from = this.#to = this.#at = BASE;
    for (let i = 0; i < count; i++) this.#add();
  }

  find(count) {
    for (let i = 0; i < count; i++) this.#find();
  }

  overlap(count) {
    for (let i = 0; i < count; i++) this.#overlap();
  }

  pair(count) {
    for (let i = 0; i < count; i++) this.#pair();
  }

  mixed(count) {
    for (let i = 0; i < count; i++) {
      this.#find();
      this.#overlap();
      this.#pair();
    }
  }

  clear() {
    const map = this.#map;
    for (let more = map.first(); more; more = map.removeHere()) this.#count(map.value);
  }

  #find() {
    this.#count(this.#map.seek(this.#nextPage()) ? this.#map.value : 1);
  }

  #overlap() {
    this.#count(this.#map.overlaps(this.#nextPage(), CHECKED_PAGES) ? 1 : 0);
  }

  /** A run taken out and another added. */
  #pair() {
    const map = this.#map;
    if (!map.seek(this.#rising ? this.#from : this.#nextPage())) map.first();
    this.#count(map.value);
    this.#from += RISING_PAGES;
    map.removeHere();
    this.#add();
  }

  #add() {
    let start;
    let pages;
    do {
      if (this.#rising) {
        start = this.#to;
        pages = RISING_PAGES;
        this.#to += RISING_PAGES;
      } else {
        const random = this.#nextRandom();
        start = BASE + (random & this.#mask);
        pages = 1 + (random >>> 29);
      }
    } while (this.#map.overlaps(start, pages));
    this.#map.insert(start, pages, this.#made++);
  }

  #nextPage() {
    if (!this.#rising) return BASE + (this.#nextRandom() & this.#mask);
    if (++this.#at >= this.#to || this.#at < this.#from) this.#at = this.#from;
    return this.#at;
  }

  /** xorshift32 */
  #nextRandom() {
    let random = this.#random;
    random ^= random << 13;
    random ^= random >>> 17;
    random ^= random << 5;
    this.#random = random;
    return random;
  }

  #count(value) {
    this.#sum = (Math.imul(this.#sum, 31) + value) | 0;
  }
}

function memory() {
  globalThis.gc();
  globalThis.gc();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

const before = memory();
const operations = new Operations();
for await (const line of createInterface({ input: process.stdin })) {
  const [name, count, order] = line.split(" ");
  if (name === "memory") {
    console.log(String(memory() - before));
    continue;
  }
  const start = process.cpuUsage();
  operations[name](Number(count), order);
  const { user, system } = process.cpuUsage(start);
  console.log(`${(user + system) * 1000} ${operations.checksum}`);
}
