import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { DmaFault } from "../../src/iommu/dma-target.ts";
import {
  type AccessMap,
  addressIn,
  MappedDma,
  type Met,
  moved,
  pieceOf,
  refused,
  walkAccess,
} from "../../src/iommu/dma-walk.ts";
import { KernelError } from "../../src/kernel/errors.ts";

/** Memory behind some runs of addresses; each may refuse, and one may be gone. */
class Runs extends MappedDma {
  readonly memory = new Map<bigint, number>();
  readonly runs: readonly {
    readonly start: bigint;
    readonly bytes: number;
    readonly state: "there" | "refused" | "gone";
  }[];
  pieces = 0;
  explained = 0;

  constructor(runs: Runs["runs"]) {
    super();
    this.runs = runs;
  }

  override meet(page: number, within: number, bytes: Uint8Array, done: number, write: boolean): Met<DmaFault> {
    const at = addressIn(page, within);
    this.pieces++;
    const run = this.runs.find(({ start, bytes }) => at >= start && at < start + BigInt(bytes));
    if (!run || run.state === "refused") {
      const count = run ? Number(run.start - at) + run.bytes : this.#gap(at);
      return refused(Math.min(count, bytes.length - done), () => {
        this.explained++;
        return run ? "refused" : "nothing";
      });
    }
    const piece = pieceOf(bytes, done, Number(run.start - at) + run.bytes);
    return moved(piece, () => {
      if (run.state === "gone") throw new KernelError("EFAULT", "gone");
      for (const [index, byte] of piece.entries())
        if (write) this.memory.set(at + BigInt(index), byte);
        else piece[index] = this.memory.get(at + BigInt(index)) ?? 0xee;
    });
  }

  #gap(at: bigint): number {
    const next = this.runs.map(({ start }) => start).filter((start) => start > at);
    return Math.max(1, Number(next.reduce((a, b) => (a < b ? a : b), 1n << 64n) - at));
  }

  stateOf(at: bigint): string {
    const run = this.runs.find(({ start, bytes }) => at >= start && at < start + BigInt(bytes));
    return run?.state ?? "nothing";
  }
}

/** Runs behind each other from a place near the last address, so that accesses go over it. */
const runs = fc
  .array(fc.tuple(fc.nat(20), fc.integer({ min: 1, max: 30 }), fc.constantFrom("there", "there", "refused", "gone")))
  .map((parts) => {
    let next = 0n;
    return parts.map(([gap, bytes, state]) => {
      const start = next + BigInt(gap);
      next = start + BigInt(bytes);
      return { start, bytes, state: state as "there" };
    });
  });

describe("an access", () => {
  test("reaches, byte for byte, what is there; the rest reads as zeros; the first fault is told", () => {
    fc.assert(
      fc.property(runs, fc.integer({ min: -40, max: 100 }), fc.nat(120), fc.boolean(), (list, from, length, write) => {
        const target = new Runs(list);
        const iova = BigInt.asUintN(64, BigInt(from));
        const address = (index: number) => BigInt.asUintN(64, iova + BigInt(index));
        const bytes = new Uint8Array(length).fill(0x77);
        const fault = write ? target.write(iova, bytes) : target.read(iova, bytes);
        const states = Array.from(bytes, (_, index) => target.stateOf(address(index)));
        const first = states.findIndex((state) => state !== "there");
        expect(fault).toEqual(first < 0 ? undefined : { iova: address(first), reason: states[first] });
        if (write) {
          const reached = states.flatMap((state, index) => (state === "there" ? [address(index)] : []));
          expect([...target.memory.keys()].sort()).toEqual(reached.sort());
          expect(bytes.every((byte) => byte === 0x77)).toBe(true);
        } else {
          expect([...bytes]).toEqual(states.map((state) => (state === "there" ? 0xee : 0)));
        }
      }),
    );
  });

  test("is one piece where one mapping has it, and is explained once", () => {
    const target = new Runs([{ start: 0n, bytes: 100, state: "there" }]);
    expect(target.read(10n, new Uint8Array(90))).toBeUndefined();
    expect([target.pieces, target.explained]).toEqual([1, 0]);
    const other = new Runs([
      { start: 10n, bytes: 10, state: "refused" },
      { start: 30n, bytes: 10, state: "refused" },
    ]);
    other.read(0n, new Uint8Array(100));
    expect([other.pieces, other.explained]).toEqual([5, 1]);
  });

  test("an error of ours is no fault", () => {
    expect(() => moved(new Uint8Array(1), () => Reflect.apply(undefined as never, undefined, []))).toThrow(TypeError);
  });

  test("ends at a fault that the device hears of at once, if it is the first", () => {
    const met: bigint[] = [];
    const map = (ends: readonly bigint[]): AccessMap<bigint> => ({
      meet: (_page, within) => {
        const at = BigInt(within);
        met.push(at);
        return { bytes: 1, explain: (first) => first, ends: ends.includes(at) };
      },
    });
    const bytes = Uint8Array.of(1, 2, 3);
    expect(walkAccess(map([0n]), 0n, bytes, false)).toBe(0n);
    expect([met.splice(0), [...bytes]]).toEqual([[0n], [0, 2, 3]]);
    expect(walkAccess(map([1n]), 0n, bytes, false)).toBe(0n);
    expect(met).toEqual([0n, 1n, 2n]);
  });
});
