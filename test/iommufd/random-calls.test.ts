import fc from "fast-check";
import { expect, test } from "vitest";
import { IommufdProgram } from "./iommufd-program.ts";

const PAGE = 4096n;
const MEMORY_PAGES = 32;
const MSI = { start: 0xfee0_0000n, last: 0xfeef_ffffn };
const LAST = 2n ** 64n - 1n;
const APERTURE_LAST = 2n ** 39n - 1n;

/** Around the bottom, the interrupt window, the end of the aperture and the end of everything; sometimes inside a page. */
const address = fc
  .record({
    base: fc.constantFrom(0n, 0n, 0n, MSI.start - 4n * PAGE, APERTURE_LAST + 1n - 4n * PAGE, LAST + 1n - 6n * PAGE),
    page: fc.bigInt({ min: 0n, max: 8n }),
    byte: fc.constantFrom(0n, 0n, 0n, 1n, 2048n),
  })
  .map(({ base, page, byte }) => BigInt.asUintN(64, base + page * PAGE + byte));
const length = fc
  .record({ pages: fc.bigInt({ min: 0n, max: 5n }), byte: fc.constantFrom(0n, 0n, 0n, 0n, 1n, 2048n) })
  .map(({ pages, byte }) => pages * PAGE + byte);
const call = fc.record({
  kind: fc.constantFrom("map", "map", "map", "choose", "copy", "unmap", "unmap", "all", "attach", "detach"),
  ioas: fc.constantFrom(0, 1),
  iova: address,
  from: address,
  length,
  page: fc.integer({ min: 0, max: MEMORY_PAGES }),
  byte: fc.constantFrom(0, 0, 0, 1, 2048),
});

interface Area {
  readonly start: bigint;
  readonly last: bigint;
  /** Which pages of memory, and where in them: two areas of one `of` share what is pinned. */
  readonly of: object;
  readonly address: bigint;
}

/** The rules once more, on plain lists: two address spaces and one device. */
class Expected {
  readonly areas: [Area[], Area[]] = [[], []];
  attached: 0 | 1 | undefined;

  refusal(ioas: 0 | 1, start: bigint, size: bigint, pieces: readonly Piece[]): string | undefined {
    const isAttached = this.attached === ioas;
    const alignment = isAttached ? PAGE : 1n;
    if (size === 0n || size % alignment) return "EINVAL";
    if (start % alignment) return "EINVAL";
    const last = start + size - 1n;
    if (last > LAST) return "EOVERFLOW";
    if (isAttached && (last > APERTURE_LAST || (start <= MSI.last && last >= MSI.start))) return "EINVAL";
    if (this.areas[ioas].some((area) => area.start <= last && area.last >= start)) return "EEXIST";
    if (pieces.some((piece) => piece.address % alignment)) return "EINVAL";
    return undefined;
  }

  add(ioas: 0 | 1, start: bigint, pieces: readonly Piece[]): void {
    let at = start;
    for (const { of, address: from, size } of pieces) {
      this.areas[ioas].push({ start: at, last: at + size - 1n, of, address: from });
      at += size;
    }
  }

  /** The memory behind a range; undefined when not all of it is mapped. */
  pieces(ioas: 0 | 1, start: bigint, size: bigint): Piece[] | undefined {
    const pieces: Piece[] = [];
    for (let at = start; at < start + size; ) {
      const area = this.areas[ioas].find((other) => other.start <= at && other.last >= at);
      if (!area) return undefined;
      const end = area.last < start + size - 1n ? area.last : start + size - 1n;
      pieces.push({ of: area.of, address: area.address + at - area.start, size: end - at + 1n });
      at = end + 1n;
    }
    return pieces;
  }

  unmap(ioas: 0 | 1, start: bigint, size: bigint): bigint | string {
    if (size === 0n) return "EINVAL";
    const last = start + size - 1n;
    if (last > LAST) return "EOVERFLOW";
    const met = this.areas[ioas].filter((area) => area.start <= last && area.last >= start);
    met.sort((a, b) => (a.start < b.start ? -1 : 1));
    let bytes = 0n;
    for (const area of met) {
      // what lies before a mapping that would be cut is gone
      if (area.start < start || area.last > last) return "ENOENT";
      this.areas[ioas].splice(this.areas[ioas].indexOf(area), 1);
      bytes += area.last - area.start + 1n;
    }
    return bytes === 0n ? "ENOENT" : bytes;
  }

  attach(ioas: 0 | 1): boolean {
    const fits = this.areas[ioas].every(
      (area) =>
        area.last <= APERTURE_LAST &&
        (area.start > MSI.last || area.last < MSI.start) &&
        area.start % PAGE === 0n &&
        area.last % PAGE === PAGE - 1n &&
        area.address % PAGE === 0n,
    );
    if (fits) this.attached = ioas;
    return fits;
  }

  /** Distinct pages behind the mappings of the address space that a device is attached to. */
  get pinned(): number {
    if (this.attached === undefined) return 0;
    const pages = new Map<object, Set<bigint>>();
    for (const { of, address: from, start, last } of this.areas[this.attached]) {
      const own = pages.get(of) ?? new Set();
      pages.set(of, own);
      for (let page = from / PAGE; page <= (from + last - start) / PAGE; page++) own.add(page);
    }
    return [...pages.values()].reduce((sum, own) => sum + own.size, 0);
  }
}

interface Piece {
  readonly of: object;
  readonly address: bigint;
  readonly size: bigint;
}

test("random calls answer as the rules say and keep every invariant", () => {
  fc.assert(
    fc.property(fc.array(call, { maxLength: 100, size: "max" }), (calls) => {
      const program = new IommufdProgram();
      const fd = program.iommufd();
      const device = program.open("/dev/vfio/devices/vfio0");
      expect(program.bind(device, fd)).toBe(1);
      const ids = [program.ioas(fd), program.ioas(fd)];
      const memory = program.memory(MEMORY_PAGES * 4096);
      const expected = new Expected();
      for (const { kind, ioas, iova, from, length: size, page, byte } of calls) {
        const which = ioas as 0 | 1;
        const address = memory + page * 4096 + byte;
        const fresh: Piece[] = [{ of: {}, address: BigInt(address), size }];
        const isThere = BigInt(address) + size <= BigInt(memory + MEMORY_PAGES * 4096);
        if (kind === "map") {
          let refusal = expected.refusal(which, iova, size, fresh);
          if (!refusal && expected.attached === which && !isThere) refusal = "EFAULT";
          expect(program.mapIoas(fd, ids[ioas]!, address, size, { iova })).toBe(refusal ?? iova);
          if (!refusal) expected.add(which, iova, fresh);
        } else if (kind === "choose") {
          const chosen = program.mapIoas(fd, ids[ioas]!, address, size);
          if (typeof chosen === "string") {
            expect(["EINVAL", "EFAULT"]).toContain(chosen);
          } else {
            // where the rules would have allowed it, never at 0, with the memory's place in its page
            expect(expected.refusal(which, chosen, size, fresh)).toBeUndefined();
            expect(chosen).toBeGreaterThanOrEqual(PAGE);
            expected.add(which, chosen, fresh);
          }
        } else if (kind === "copy") {
          const other = (1 - which) as 0 | 1;
          const result = program.copy(fd, ids[other]!, ids[ioas]!, from, iova, size);
          const pieces = size > 0n && from + size - 1n <= LAST ? expected.pieces(other, from, size) : undefined;
          if (size === 0n) expect(result).toBe("EINVAL");
          else if (from + size - 1n > LAST) expect(result).toBe("EOVERFLOW");
          else if (!pieces) expect(result).toBe("ENOENT");
          else if (result === 0) {
            expect(expected.refusal(which, iova, size, pieces)).toBeUndefined();
            expected.add(which, iova, pieces);
          } else {
            const faults = expected.attached === which ? ["EFAULT"] : [];
            expect([expected.refusal(which, iova, size, pieces), ...faults]).toContain(result);
          }
        } else if (kind === "unmap") {
          expect(program.unmapIoas(fd, ids[ioas]!, iova, size)).toBe(expected.unmap(which, iova, size));
        } else if (kind === "all") {
          const all = expected.areas[which].reduce((sum, area) => sum + area.last - area.start + 1n, 0n);
          expect(program.unmapIoas(fd, ids[ioas]!)).toBe(all);
          expected.areas[which] = [];
        } else if (kind === "attach") {
          const result = program.attach(device, ids[ioas]!);
          if (result === "EFAULT") {
            expect(expected.attached).not.toBe(which);
          } else {
            const was = expected.attached;
            const fits = expected.attach(which);
            if (!fits) expected.attached = was;
            expect(typeof result === "number" ? "attached" : result).toBe(fits ? "attached" : "EADDRINUSE");
          }
        } else {
          expect(program.detach(device)).toBe(0);
          expected.attached = undefined;
        }
        expect(program.task.memory.pinnedPages).toBe(expected.pinned);
      }
      program.close(device);
      program.close(fd);
      expect(program.task.memory.pinnedPages).toBe(0);
      expect(program.task.memory.lockedPages).toBe(0);
      expect(program.task.memory.pinCount).toBe(0);
    }),
    { numRuns: 150 },
  );
});
