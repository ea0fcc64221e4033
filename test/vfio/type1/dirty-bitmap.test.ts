import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DirtyBitmap } from "../../../src/vfio/type1/dirty-bitmap.ts";

/** The bits moved up by `shift` as whole 64-bit words, read in pieces of `step` 32-bit words. */
function words(bitmap: DirtyBitmap, shift: number, step: number): Uint32Array {
  const all = new Uint32Array(bitmap.words64(shift) * 2);
  for (let at = 0; at < all.length; at += step) {
    bitmap.readShifted(shift, at, all.subarray(at, Math.min(at + step, all.length)));
  }
  return all;
}

const run = fc.record({ from: fc.nat(), count: fc.integer({ min: 1, max: 70_000 }) });

describe("a dirty bitmap", () => {
  test("reads as a list of bits does, wherever it begins and however it is cut", () => {
    const bits = fc.oneof(fc.integer({ min: 1, max: 200 }), fc.integer({ min: 131_000, max: 300_000 }));
    const shift = fc.oneof(fc.constantFrom(0, 32), fc.integer({ min: 0, max: 63 }));
    const step = fc.constantFrom(64, 4096, 100_000);
    fc.assert(
      fc.property(bits, shift, step, fc.array(run, { maxLength: 5 }), fc.boolean(), (size, moved, cut, runs, all) => {
        const bitmap = new DirtyBitmap(size);
        const expected = new Uint32Array(bitmap.words64(moved) * 2);
        const dirty = all ? [...runs, { from: 0, count: size }] : runs;
        for (const { from, count } of dirty) {
          const first = from % size;
          const end = Math.min(size, first + count);
          bitmap.set(first, end - first);
          for (let bit = first + moved; bit < end + moved; bit++) expected[bit >>> 5]! |= 1 << (bit & 31);
        }
        expect(words(bitmap, moved, cut)).toEqual(expected);
        bitmap.clear();
        expect(words(bitmap, moved, cut).every((word) => word === 0)).toBe(true);
        expect(bitmap.bytes).toBe(0);
      }),
      { numRuns: 300 },
    );
  });

  test("of a tebibyte takes memory where something is dirty, and none when all of it is", () => {
    const bitmap = new DirtyBitmap(2 ** 28);
    expect(bitmap.bytes).toBe(0);
    bitmap.set(5, 1);
    bitmap.set(70_000, 3);
    const piece = bitmap.bytes;
    expect(piece).toBeLessThanOrEqual(16_384);
    bitmap.set(2 ** 27, 1);
    expect(bitmap.bytes).toBe(2 * piece);
    bitmap.set(0, 2 ** 28);
    expect(bitmap.bytes).toBe(0);
    bitmap.clear();
    expect(bitmap.bytes).toBe(0);
  });

  test("of a small mapping takes no more than its bits", () => {
    const bitmap = new DirtyBitmap(512);
    bitmap.set(3, 1);
    expect(bitmap.bytes).toBe(64);
  });
});
