import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { PictureEvent, SpaceFacts } from "../../../src/inspect/picture/event.ts";
import { Ring } from "../../../src/inspect/picture/ring.ts";
import { Spans } from "../../../src/inspect/picture/spans.ts";
import { NO_LIMITS, PictureState } from "../../../src/inspect/picture/state.ts";

const FACTS: SpaceFacts = {
  kind: "type1",
  label: "type1 container",
  owner: "process prog, pid 7",
  valid: [
    ["0x0", "0xfedfffff"],
    ["0xfef00000", "0x7fffffffff"],
  ],
  taken: [{ first: "0xfee00000", last: "0xfeefffff", what: "msi", of: "0000:00:1b.0 (group 5)" }],
  devices: ["0000:00:1b.0"],
};

/** Pages that are mapped, by a model that is slow and plain. */
const change = fc.record({
  put: fc.boolean(),
  first: fc.integer({ min: 0, max: 30 }),
  pages: fc.integer({ min: 1, max: 12 }),
});

describe("what is mapped in an address space", () => {
  test("is what a list of pages says, whatever is put and taken out; and all of it can be taken back", () => {
    fc.assert(
      fc.property(fc.array(change, { maxLength: 30 }), (changes) => {
        const spans = new Spans();
        const pages = new Set<number>();
        const undo: (() => void)[] = [];
        const shown: string[] = [];
        for (const { put, first, pages: count } of changes) {
          shown.push(text(spans));
          const [start, last] = [BigInt(first) << 12n, (BigInt(first + count) << 12n) - 1n];
          undo.push(put ? spans.put({ start, last, rw: "rw" }) : spans.takeOut(start, last));
          for (let page = first; page < first + count; page++) put ? pages.add(page) : pages.delete(page);
          expect(spans.bytes).toBe(BigInt(pages.size) << 12n);
          for (let page = 0; page < 45; page++)
            expect(spans.meeting(BigInt(page) << 12n, BigInt(page) << 12n) !== undefined).toBe(pages.has(page));
        }
        while (undo.length > 0) {
          undo.pop()!();
          expect(text(spans)).toBe(shown.pop());
        }
      }),
      { numRuns: 30 },
    );
  });
});

describe("a picture", () => {
  test("says what is in the way: mappings first, then what cannot be mapped and whose it is", () => {
    const state = new PictureState();
    state.apply({ k: "space", id: "s", facts: FACTS });
    state.apply({ k: "map", s: "s", a: "0x1000", z: "0x1fff", rw: "rw" });
    const hits = state.inTheWay(state.spaces.get("s")!, 0n, 0xfee00fffn);
    expect(hits).toEqual([
      { first: "0x1000", last: "0x1fff", what: "mapping", of: "type1 container" },
      { first: "0xfee00000", last: "0xfeefffff", what: "msi", of: "0000:00:1b.0 (group 5)" },
    ]);
    expect(state.inTheWay(state.spaces.get("s")!, 0x2000n, 0x2fffn)).toEqual([]);
  });

  test("goes back through time to exactly what it was", () => {
    const state = new PictureState(NO_LIMITS);
    const events: PictureEvent[] = [
      { k: "space", id: "s", facts: FACTS },
      { k: "device", id: "d", facts: { group: 5, driver: "vfio-pci", ids: "", model: "", user: null, space: "s" } },
      { k: "map", s: "s", a: "0x1000", z: "0x4fff", rw: "rw" },
      { k: "unmap", s: "s", a: "0x2000", z: "0x2fff" },
      { k: "dma", t: 5, d: "d", write: true, a: "0x1000", bytes: 4, count: 1, fault: "not mapped" },
      { k: "space", id: "s", facts: { ...FACTS, devices: [] } },
      { k: "device", id: "d", facts: null },
      { k: "space", id: "s", facts: null },
    ];
    const shown: string[] = [];
    const undo = events.map((event) => {
      shown.push(whole(state));
      return state.apply(event);
    });
    expect(new Set(shown).size).toBe(events.length);
    for (const back of undo.reverse()) {
      back();
      expect(whole(state)).toBe(shown.pop());
    }
  });
});

test("a ring keeps the last, and counts what it let go of", () => {
  const ring = new Ring<number>(100);
  for (let i = 0; i < 1000; i++) ring.push(i);
  expect(ring.items.at(-1)).toBe(999);
  expect(ring.size).toBeGreaterThanOrEqual(100);
  expect(ring.size).toBeLessThanOrEqual(125);
  expect(ring.dropped + ring.size).toBe(1000);
});

function text(spans: Spans): string {
  return [...spans].map(({ start, last, rw }) => `${start}-${last}${rw}`).join(" ");
}

function whole(state: PictureState): string {
  const spaces = [...state.spaces.values()].map(({ id, facts, mapped }) => [id, facts, text(mapped)]);
  const { devices, dma, faults, gone, now } = state;
  return JSON.stringify([spaces, [...devices], dma.items, faults.items, [...gone], now]);
}
