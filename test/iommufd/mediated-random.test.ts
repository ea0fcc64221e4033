import fc from "fast-check";
import { expect, test } from "vitest";
import { readyMadeHost } from "../../src/machine/ready-made-hosts.ts";
import { Sample } from "../vfio/mediated/sample-program.ts";
import { EduDevice } from "./edu-device.ts";
import { IommufdProgram } from "./iommufd-program.ts";

const PAGE = 4096n;
const PAGES = 12;
const DIRTY = 2;
const lab = { ...readyMadeHost("lab")!, kernel: "7.2" };

const page = fc.integer({ min: 0, max: PAGES - 1 });
const count = fc.integer({ min: 1, max: 4 });
/** How often each kind of call is drawn. */
function repeat<T extends string>(kind: T, times: number): T[] {
  return Array.from({ length: times }, () => kind);
}

const call = fc.record({
  kind: fc.constantFrom(
    ...repeat("map", 5),
    ...repeat("unmap", 3),
    ...repeat("pin", 3),
    ...repeat("unpin", 2),
    ...repeat("dma", 6),
    ...repeat("dirty", 2),
    ...(["edu", "mediated"] as const),
  ),
  page,
  count,
});

/** What should be: one address space, the mappings in it, and who uses them. */
class Expected {
  /** By its first page: how many pages. */
  readonly mappings = new Map<number, number>();
  readonly held = new Map<number, number>();
  readonly dirty = new Set<number>();
  eduIsAttached = true;

  isMapped(at: number): boolean {
    return [...this.mappings].some(([first, length]) => at >= first && at < first + length);
  }

  areMapped(first: number, length: number): boolean {
    return pages(first, length).every((at) => this.isMapped(at));
  }

  /** Removes whole mappings up to one that would be cut; returns how many pages, or that nothing was there or one is cut. */
  unmap(first: number, length: number): number | "ENOENT" {
    let gone = 0;
    for (const [start, size] of [...this.mappings].sort(([a], [b]) => a - b)) {
      if (start + size <= first || start >= first + length) continue;
      if (start < first || start + size > first + length) return "ENOENT";
      this.mappings.delete(start);
      for (const at of pages(start, size)) {
        this.held.delete(at);
        this.dirty.delete(at);
      }
      gone += size;
    }
    return gone === 0 ? "ENOENT" : gone;
  }

  /** Page tables hold all that is mapped: the page table of the edu's is there whether it is attached or not. */
  get pinned(): number {
    return [...this.mappings.values()].reduce((sum, size) => sum + size, 0);
  }
}

function pages(first: number, length: number): number[] {
  return Array.from({ length }, (_, i) => first + i);
}

test("random calls of a device and a mediated device in one address space keep every invariant", () => {
  fc.assert(
    fc.property(fc.array(call, { maxLength: 80, size: "max" }), (calls) => {
      const program = new IommufdProgram(lab);
      const fd = program.iommufd();
      const [edu, mediated] = [program.open("/dev/vfio/devices/vfio2"), program.open("/dev/vfio/devices/vfio3")];
      const device = program.bind(edu, fd);
      program.bind(mediated, fd);
      const ioas = program.ioas(fd);
      const hwpt = program.hwpt(fd, device, ioas, DIRTY);
      program.attach(edu, hwpt);
      program.attach(mediated, ioas);
      expect(program.setDirtyTracking(fd, hwpt, true)).toBe(0);
      const engine = new EduDevice(program, edu);
      const sample = Sample.opened(program, mediated);
      const memory = program.memory(2 * PAGES * 4096);
      const expected = new Expected();
      for (const { kind, page: first, count: length } of calls) {
        const iova = BigInt(first) * PAGE;
        const mapped = expected.areMapped(first, length);
        if (kind === "map") {
          const isFree = pages(first, length).every((at) => !expected.isMapped(at));
          const result = program.mapIoas(fd, ioas, memory + first * 4096, BigInt(length) * PAGE, { iova });
          expect(result).toBe(isFree ? iova : "EEXIST");
          if (isFree) expected.mappings.set(first, length);
        } else if (kind === "unmap") {
          const gone = expected.unmap(first, length);
          const result = program.unmapIoas(fd, ioas, iova, BigInt(length) * PAGE);
          expect(result).toBe(gone === "ENOENT" ? gone : BigInt(gone) * PAGE);
        } else if (kind === "pin") {
          expect(sample.pin(iova, length) === 0).toBe(mapped);
          if (mapped) for (const at of pages(first, length)) expected.held.set(at, (expected.held.get(at) ?? 0) + 1);
        } else if (kind === "unpin") {
          const isHeld = pages(first, length).every((at) => expected.held.has(at));
          expect(sample.unpin(iova, length) === 0).toBe(isHeld);
          if (isHeld)
            for (const at of pages(first, length)) {
              const left = expected.held.get(at)! - 1;
              if (left === 0) expected.held.delete(at);
              else expected.held.set(at, left);
            }
        } else if (kind === "edu") {
          if (expected.eduIsAttached) expect(program.detach(edu)).toBe(0);
          else expect(program.attach(edu, hwpt)).toBe(hwpt);
          expected.eduIsAttached = !expected.eduIsAttached;
        } else if (kind === "dma") {
          engine.write(iova + 100n, 8);
          if (expected.eduIsAttached && expected.isMapped(first)) expected.dirty.add(first);
        } else if (kind === "dirty") {
          // told up to the first page that is not mapped
          const end = pages(first, PAGES + 4 - first).find((at) => !expected.isMapped(at)) ?? PAGES + 4;
          const told = pages(first, end - first).filter((at) => expected.dirty.has(at));
          const bits = program.dirtyBits64(fd, hwpt, iova, BigInt(PAGES + 4 - first) * PAGE);
          expect(bits).toBe(told.reduce((sum, at) => sum | (1n << BigInt(at - first)), 0n));
          for (const at of told) expected.dirty.delete(at);
        } else {
          program.detach(mediated);
          expected.held.clear();
          expect(program.attach(mediated, ioas)).toBe(ioas);
        }
        expect(sample.get(0x2c)).toBe(expected.held.size);
        expect(program.task.memory.pinnedPages).toBe(expected.pinned);
      }
      for (const each of [mediated, edu, fd]) program.close(each);
      expect([program.task.memory.pinnedPages, program.task.memory.pinCount]).toEqual([0, 0]);
    }),
    { numRuns: 200 },
  );
});
