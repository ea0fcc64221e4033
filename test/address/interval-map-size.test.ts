import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, test } from "vitest";
import { IntervalMap } from "../../src/address/interval-map.ts";

const MILLION = 1_000_000;
/** Page numbers that do not fit into 32 bits. */
const BASE = 0x7_0000_0000;
/** Odd and prime: i * PRIME % 2^27 takes every number once. */
const PRIME = 77_351_203;
const SPREAD = 2 ** 27;

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

/** Bytes that live on the heap and in arrays. */
function memory(): number {
  const arrays = arrayMemory();
  return process.memoryUsage().heapUsed + arrays;
}

function arrayMemory(): number {
  collectGarbage();
  collectGarbage();
  return process.memoryUsage().arrayBuffers;
}

/** The page of the i-th of many scattered runs of one page each. */
function page(i: number): number {
  return BASE + Number((BigInt(i) * BigInt(PRIME)) % BigInt(SPREAD));
}

describe("an interval map of a million runs", () => {
  test("scattered: finds every one, in order, in at most 64 bytes for each, and gives them back", () => {
    const pages = Float64Array.from({ length: MILLION }, (_, i) => page(i));
    const before = memory();
    const arraysBefore = arrayMemory();
    const map = new IntervalMap();
    for (let i = 0; i < MILLION; i++) map.insert(pages[i]!, 1, i);
    expect(map.size).toBe(MILLION);
    expect((memory() - before) / MILLION).toBeLessThan(64);
    let wrong = 0;
    for (let i = 0; i < MILLION; i++) if (!map.overlaps(pages[i]!, 1) || map.value !== i) wrong++;
    expect(wrong).toBe(0);
    let count = 0;
    for (let more = map.first(), last = -1; more; more = map.next(), count++) {
      if (map.start <= last || pages[map.value] !== map.start) wrong++;
      last = map.start;
    }
    expect([count, wrong]).toEqual([MILLION, 0]);

    // all but a thousand, in the order in which they were made
    for (let i = 0; i < MILLION - 1000; i++) {
      if (!map.overlaps(pages[i]!, 1)) wrong++;
      map.removeHere();
    }
    expect([map.size, wrong]).toEqual([1000, 0]);
    expect(arrayMemory() - arraysBefore).toBeLessThan(800_000);
    for (let i = MILLION - 1000; i < MILLION; i++) if (!map.overlaps(pages[i]!, 1) || map.value !== i) wrong++;
    expect(wrong).toBe(0);
    for (let more = map.first(); more; more = map.removeHere());
    expect(map.size).toBe(0);
    expect(arrayMemory() - arraysBefore).toBeLessThan(4000);
  }, 60_000);

  test("at rising addresses: a window that moves along takes no more memory than it needs", () => {
    const before = memory();
    const map = new IntervalMap();
    const live = 100_000;
    let wrong = 0;
    for (let i = 0; i < MILLION; i++) {
      map.insert(BASE + 2 * i, 2, i);
      if (i < live) continue;
      map.seek(BASE + 2 * (i - live));
      if (map.value !== i - live) wrong++;
      map.removeHere();
    }
    expect([map.size, wrong]).toEqual([live, 0]);
    expect((memory() - before) / live).toBeLessThan(64);
  }, 60_000);

  test("replaced one by one: stays within 64 bytes for each", () => {
    const before = memory();
    const map = new IntervalMap();
    const live = 200_000;
    for (let i = 0; i < live; i++) map.insert(page(i), 1, i);
    for (let i = live; i < MILLION; i++) {
      map.seek(page(i - live));
      map.removeHere();
      map.insert(page(i), 1, i);
    }
    expect(map.size).toBe(live);
    expect((memory() - before) / live).toBeLessThan(64);
  }, 60_000);

  test("taken out here and there: what remains is not spread over all the memory", () => {
    const before = memory();
    const map = new IntervalMap();
    for (let i = 0; i < MILLION; i++) map.insert(BASE + i, 1, i);
    let more = map.first();
    while (more) {
      // of twenty, one stays
      if (map.start % 20 === 0) more = map.next();
      else more = map.removeHere();
    }
    expect(map.size).toBe(MILLION / 20);
    expect((memory() - before) / map.size).toBeLessThan(64);
  }, 60_000);

  test("looking up and replacing leaves nothing behind for the garbage collector", () => {
    const map = new IntervalMap();
    for (let i = 0; i < 10_000; i++) map.insert(BASE + i * 4, 2, i);
    const round = () => {
      for (let i = 0; i < 10_000; i++) {
        map.overlaps(BASE + i * 4, 2);
        map.removeHere();
        map.insert(BASE + i * 4, 2, i);
      }
    };
    // V8's own part, compiled code, is there after some rounds
    for (let i = 0; i < 20; i++) round();
    // what other tests of this worker have left goes meanwhile, and V8 may compile: a leak shows each time
    const growth = Array.from({ length: 5 }, () => {
      const before = memory();
      for (let i = 0; i < 50; i++) round();
      return memory() - before;
    });
    expect(Math.min(...growth)).toBeLessThan(100_000);
  }, 60_000);

  test("long runs that come and go leave nothing behind", () => {
    const map = new IntervalMap();
    map.insert(0, 1, 1);
    const before = memory();
    for (let i = 1; i <= 100_000; i++) {
      map.insert(i, 2 ** 33, i);
      expect(map.pages).toBe(2 ** 33);
      map.removeHere();
    }
    expect(map.size).toBe(1);
    expect(memory() - before).toBeLessThan(500_000);
  }, 60_000);

  test("one run that comes and goes has no arrays made", () => {
    const map = new IntervalMap();
    const before = arrayMemory();
    for (let i = 0; i < 1000; i++) {
      map.insert(BASE + i, 1, i);
      map.removeHere();
    }
    // nothing is collected meanwhile: what was made is still counted
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(10_000);
    expect([map.first(), map.overlaps(0, 2 ** 52)]).toEqual([false, false]);
  });
});
