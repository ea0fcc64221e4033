import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { clusters, foldOf, log2, sizeText } from "../../../src/inspect/picture/fold.ts";

const END = 1n << 64n;
const address = fc.bigInt({ min: 0n, max: END - 1n });
/** Of whole pages. */
const stretch = fc.tuple(address, address).map(([a, b]) => {
  const [low, high] = a < b ? [a, b] : [b, a];
  return { start: (low >> 12n) << 12n, last: high | 0xfffn };
});

describe("a fold of the address space", () => {
  test("keeps the order of addresses, and has all of them between 0 and 1", () => {
    fc.assert(
      fc.property(fc.array(stretch, { maxLength: 20 }), fc.array(address, { maxLength: 20 }), (things, addresses) => {
        const fold = foldOf(things);
        expect(fold.place(0n)).toBe(0);
        expect(fold.place(END)).toBeCloseTo(1, 12);
        const sorted = addresses.sort((a, b) => (a < b ? -1 : 1)).map((each) => fold.place(each));
        expect(sorted).toEqual([...sorted].sort((a, b) => a - b));
      }),
    );
  });

  test("has the address of a place there: within a hundredth of a pixel", () => {
    fc.assert(
      fc.property(fc.array(stretch, { maxLength: 10 }), address, (things, at) => {
        const fold = foldOf(things);
        expect(Math.abs(fold.place(fold.address(fold.place(at))) - fold.place(at))).toBeLessThan(1e-5);
      }),
    );
  });

  test("a page and a terabyte are both to be seen", () => {
    const page = { start: 0x10000n, last: 0x10fffn };
    const terabyte = { start: 1n << 40n, last: (1n << 41n) - 1n };
    const fold = foldOf([page, terabyte]);
    const width = ({ start, last }: typeof page) => fold.place(last + 1n) - fold.place(start);
    expect(width(page)).toBeGreaterThan(0.01);
    expect(width(terabyte)).toBeGreaterThan(10 * width(page));
  });

  test("what is looked at has a quarter of it, however small it is", () => {
    const page = { start: 0xfee00000n, last: 0xfee00fffn };
    const fold = foldOf([{ start: 0n, last: (1n << 48n) - 1n }], [], [page]);
    const width = fold.place(page.last + 1n) - fold.place(page.start);
    expect(width).toBeGreaterThanOrEqual(0.25);
    expect(width).toBeLessThan(0.3);
  });
});

describe("groups of stretches", () => {
  test("are parted by the largest gaps", () => {
    const pages = [0n, 2n, 100n, 102n, 1n << 30n].map((page) => ({ start: page << 12n, last: (page << 12n) + 4095n }));
    expect(clusters(pages, 3)).toEqual([
      { start: 0n, last: (2n << 12n) + 4095n },
      { start: 100n << 12n, last: (102n << 12n) + 4095n },
      { start: 1n << 42n, last: (1n << 42n) + 4095n },
    ]);
  });

  test("have what lies side by side together, and are never more than wanted", () => {
    fc.assert(
      fc.property(fc.array(stretch, { maxLength: 40 }), fc.integer({ min: 1, max: 9 }), (stretches, most) => {
        const sorted = stretches.sort((a, b) => (a.start < b.start ? -1 : 1));
        const groups = clusters(sorted, most);
        expect(groups.length).toBeLessThanOrEqual(most);
        for (const { start, last } of sorted)
          expect(groups.some((group) => group.start <= start && last <= group.last)).toBe(true);
      }),
    );
  });
});

test("log2 of numbers of any size", () => {
  expect(log2(1n)).toBe(0);
  expect(log2(4096n)).toBe(12);
  expect(log2(1n << 63n)).toBe(63);
  expect(log2(3n << 60n)).toBeCloseTo(61.585, 3);
});

test.each([
  [1n, "1 byte"],
  [100n, "100 bytes"],
  [4096n, "4 KiB"],
  [(1n << 40n) + (1n << 39n), "1.5 TiB"],
  [END, "16 EiB"],
])("%s bytes are %s", (bytes, text) => {
  expect(sizeText(bytes)).toBe(text);
});
