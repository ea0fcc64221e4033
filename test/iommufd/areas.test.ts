import fc from "fast-check";
import { beforeEach, describe, expect, test, vi } from "vitest";
import { LeafIndex } from "../../src/address/leaf-index.ts";
import { Area } from "../../src/iommufd/memory/area.ts";
import { AreaTable } from "../../src/iommufd/memory/area-table.ts";
import { MappedPages } from "../../src/iommufd/memory/mapped-pages.ts";
import { UserPages } from "../../src/iommufd/memory/page-source.ts";
import { PinAccounts } from "../../src/iommufd/memory/pin-account.ts";
import { PROT_READ, PROT_WRITE } from "../../src/kernel/model-areas.ts";
import { ModelTask } from "../../src/kernel/model-task.ts";
import type { Result } from "../vfio/program.ts";
import { HOST, IommufdProgram } from "./iommufd-program.ts";

const PAGE = 4096;
/** Where numbers end that are exact. */
const BORDER = 2n ** 53n;

interface Range {
  readonly start: bigint;
  readonly last: bigint;
}

/** What no range of a sorted list meets. */
function holesOf(ranges: readonly Range[], start: bigint, last: bigint, length: bigint): Range[] {
  const holes: Range[] = [];
  let free = start;
  for (const range of ranges) {
    if (range.last < start) continue;
    if (range.start > last) break;
    if (range.start - free >= length) holes.push({ start: free, last: range.start - 1n });
    free = range.last + 1n;
  }
  if (free <= last && last - free + 1n >= length) holes.push({ start: free, last });
  return holes;
}

const outline = ({ start, last, readable, writeable }: Area) => ({ start, last, readable, writeable });

describe("areas of an address space", () => {
  const operation = fc.record({
    kind: fc.constantFrom("flat", "flat", "flat", "add", "delete", "keep", "unmap", "look"),
    base: fc.constantFrom(0n, 2n ** 40n, BORDER - 20_000n, BORDER, 2n ** 64n - 40_000n),
    offset: fc.bigInt({ min: 0n, max: 39_000n }),
    length: fc.oneof(fc.bigInt({ min: 1n, max: 500n }), fc.constantFrom(4096n, 2n ** 33n)),
    access: fc.integer({ min: 0, max: 3 }),
    most: fc.integer({ min: 1, max: 5 }),
  });

  test("are those of a sorted list, to the byte, whether they have objects or not", () => {
    const task = new ModelTask();
    const account = new PinAccounts().of(task, "user");
    const memory = task.memory.mmap({ length: 16 * PAGE, protection: PROT_READ | PROT_WRITE, shared: false });
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 120, size: "max" }), (operations) => {
        const table = new AreaTable(PAGE);
        let model: (Range & { readonly readable: boolean; readonly writeable: boolean; isFlat: boolean })[] = [];
        for (const { kind, base, offset, length, access, most } of operations) {
          const start = base + offset;
          const last = start + length - 1n < 2n ** 64n ? start + length - 1n : 2n ** 64n - 1n;
          const met = model.find((range) => range.start <= last && range.last >= start);
          const found = table.meeting(start, last);
          expect(found && outline(found)).toEqual(met && { ...met, isFlat: undefined });
          const [readable, writeable] = [(access & 1) !== 0, (access & 2) !== 0];
          const isFlat = kind === "flat" && last < BORDER;
          if (!met && (isFlat || kind === "add")) {
            const range = { start, last, readable, writeable, isFlat };
            model = [...model, range].sort((a, b) => (a.start < b.start ? -1 : 1));
            const size = last - start + 1n;
            if (isFlat) {
              const flat = { start: Number(start), length: Number(size), address: memory + 7, readable, writeable };
              expect(table.isFree(flat.start, flat.length)).toBe(true);
              table.addFlat(flat, account, undefined);
            } else {
              const source = new UserPages(task.memory, BigInt(memory));
              const pages = new MappedPages(source, BigInt(memory), { writable: true, pageSize: PAGE, account });
              table.add(Area.of(start, size, { pages, startByte: 7n }, { readable, writeable }));
            }
          }
          if (met && kind === "delete") {
            table.delete(found!);
            model = model.filter((range) => range !== met);
          }
          if (met && kind === "keep") {
            // made anew, also where one was asked for before
            const again = [...table].find((area) => area.start === met.start)!;
            expect([again.pages.address, again.startByte]).toEqual([BigInt(memory), 7n]);
            expect(table.meeting(met.start, met.start)).toBe(again);
            met.isFlat = false;
          }
          if (kind === "unmap" && last < BORDER) {
            const within = model.filter((range) => range.last >= start && range.start <= last);
            const end = within.findIndex((range) => !range.isFlat || range.start < start || range.last > last);
            const gone = within.slice(0, end < 0 ? most : Math.min(end, most));
            const bytes = gone.reduce((sum, range) => sum + range.last - range.start + 1n, 0n);
            const told: number[] = [];
            const removed = (first: number) => told.push(first);
            expect(table.removeFlat(Number(start), Number(last), most, removed)).toBe(Number(bytes));
            expect(told).toEqual(gone.map((range) => Number(range.start)));
            model = model.filter((range) => !gone.includes(range));
          }
          expect([...table.holes(start, last, 3n)]).toEqual(holesOf(model, start, last, 3n));
          expect([...table.holes(4096n, 2n ** 64n - 4096n, length)]).toEqual(
            holesOf(model, 4096n, 2n ** 64n - 4096n, length),
          );
          expect(table.size).toBe(model.length);
        }
        expect([...table].map(outline)).toEqual(model.map((range) => outline(range as never)));
        const since = model.filter(({ last }) => last >= BORDER - 10_000n);
        expect([...table.since(BORDER - 10_000n)].map(outline)).toEqual(since.map((range) => outline(range as never)));
        expect([...table.kept()].length).toBe(model.filter(({ isFlat }) => !isFlat).length);
        table.clear();
        expect([table.size, [...table]]).toEqual([0, []]);
      }),
      { numRuns: 200 },
    );
  });
});

describe("of many mappings", () => {
  let program: IommufdProgram;
  let fd: Result;
  let ioas: Result;
  let memory: number;

  beforeEach(() => {
    program = new IommufdProgram({ ...HOST, iommu: { ...HOST.iommu, apertureLast: 2n ** 48n - 1n } });
    fd = program.iommufd();
    ioas = program.ioas(fd);
    memory = program.task.memory.mmap({ length: PAGE, protection: PROT_READ | PROT_WRITE, shared: false });
    const device = program.open("/dev/vfio/devices/vfio0");
    expect(program.bind(device, fd)).toBe(1 + Number(ioas));
    expect(program.attach(device, ioas)).toBeTypeOf("number");
  });

  test("none has an object, nor needs one to go", () => {
    const made = [vi.spyOn(Area, "of"), vi.spyOn(Area, "at")];
    for (let i = 0; i < 5000; i++) program.mapIoas(fd, ioas, memory, 4096n, { iova: BigInt(2 * i * PAGE + 2 ** 33) });
    for (let i = 0; i < 5000; i += 2) program.unmapIoas(fd, ioas, BigInt(2 * i * PAGE + 2 ** 33), 4096n);
    expect(program.task.memory.pinnedPages).toBe(2500);
    for (const spy of made) expect(spy).not.toHaveBeenCalled();
    expect(program.unmapIoas(fd, ioas)).toBe(2500n * 4096n);
    expect(program.task.memory.pinnedPages).toBe(0);
    // each step looks whether anything is left
    expect(made.reduce((sum, spy) => sum + spy.mock.calls.length, 0)).toBeLessThan(20);
    for (const spy of made) spy.mockRestore();
  });

  test("the kernel chooses where one goes in steps that do not grow with their number", () => {
    const looks = vi.spyOn(LeafIndex.prototype, "toNextHole");
    const steps = (count: number) => {
      for (let i = 0; i < count; i++) expect(program.mapIoas(fd, ioas, memory, 4096n)).toBeTypeOf("bigint");
      const before = looks.mock.calls.length;
      for (let i = 0; i < 300; i++) {
        const iova = BigInt(PAGE * (1 + ((i * 7919) % (count - 1))));
        expect(program.unmapIoas(fd, ioas, iova, 4096n)).toBe(4096n);
        expect(program.mapIoas(fd, ioas, memory, 4096n)).toBe(iova);
      }
      return looks.mock.calls.length - before;
    };
    const few = steps(2000);
    const many = steps(60_000);
    looks.mockRestore();
    expect(many).toBeLessThanOrEqual(2 * few);
  });
});
