import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { KernelError } from "../../src/kernel/errors.ts";
import { PROT_EXEC, PROT_NONE, PROT_READ, PROT_WRITE } from "../../src/kernel/model-areas.ts";
import { ModelMemory } from "../../src/kernel/model-memory.ts";
import { AnonymousMemory, FlatMemory, MemoryFile } from "../../src/kernel/model-pages.ts";
import { ERRNO } from "../../src/uapi/errno.ts";
import { NaiveMemory } from "./naive-memory.ts";

const PAGE = 4096;
const RW = PROT_READ | PROT_WRITE;
const TIB = 2 ** 40;

function errorOf(action: () => unknown): string {
  try {
    action();
    return "fine";
  } catch (error) {
    if (error instanceof KernelError) return error.code;
    throw error;
  }
}

function read(memory: ModelMemory, address: number, length: number): number[] {
  const into = new Uint8Array(length);
  memory.copyIn(address, into, length);
  return [...into];
}

function write(memory: ModelMemory, address: number, ...bytes: number[]): void {
  memory.copyOut(address, Uint8Array.from(bytes), bytes.length);
}

/** Everything happens in this many pages, from this one on, so that operations meet. */
const PAGES = 12;
const FIRST = 100;

const page = fc.integer({ min: 0, max: PAGES - 1 });
const count = fc.integer({ min: 1, max: 5 });
// Mostly what works, so that there is something to see when it goes wrong.
const protection = fc.oneof(
  { weight: 7, arbitrary: fc.constant(RW) },
  { weight: 3, arbitrary: fc.constantFrom(PROT_READ, PROT_WRITE, PROT_EXEC, PROT_NONE) },
);
const budget = fc.oneof(
  { weight: 5, arbitrary: fc.constant(Number.POSITIVE_INFINITY) },
  { weight: 1, arbitrary: fc.constantFrom(0, 2, 4) },
);
const offset = fc.integer({ min: 0, max: PAGES * PAGE });
const length = fc.integer({ min: 1, max: 3 * PAGE });
const operation = fc.oneof(
  {
    weight: 2,
    arbitrary: fc.record({ op: fc.constant("map" as const), page, count, protection, shared: fc.boolean() }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      op: fc.constant("mapFile" as const),
      page,
      count,
      protection,
      shared: fc.boolean(),
      filePage: fc.integer({ min: 0, max: 5 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("unmap" as const), page, count }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("protect" as const), page, count, protection }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant("discard" as const), page, count }) },
  {
    weight: 1,
    arbitrary: fc.record({ op: fc.constant("truncate" as const), size: fc.integer({ min: 0, max: 8 * PAGE }) }),
  },
  {
    weight: 6,
    arbitrary: fc.record({ op: fc.constant("write" as const), offset, length, fill: fc.integer({ min: 1, max: 255 }) }),
  },
  { weight: 2, arbitrary: fc.record({ op: fc.constant("read" as const), offset, length }) },
  {
    weight: 4,
    arbitrary: fc.record({ op: fc.constant("pin" as const), page, count, write: fc.boolean(), budget }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("unpin" as const), which: fc.nat() }) },
  {
    weight: 2,
    arbitrary: fc.record({
      op: fc.constant("dma" as const),
      which: fc.nat(),
      offset,
      length,
      fill: fc.integer({ min: 0, max: 255 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("fork" as const) }) },
);
type Operation = typeof operation extends fc.Arbitrary<infer T> ? T : never;

/** All of it mapped, private at first and then twice the file, so that the random part begins with something. */
const BEGIN: readonly Operation[] = [
  { op: "map", page: 0, count: 6, protection: RW, shared: false },
  { op: "mapFile", page: 6, count: 3, protection: RW, shared: true, filePage: 1 },
  { op: "mapFile", page: 9, count: 3, protection: RW, shared: false, filePage: 2 },
];
const operations = fc.array(operation, { minLength: 5, maxLength: 50, size: "max" });

describe("model memory against a naive model, page by page", () => {
  it("gives the same bytes and errors for every sequence of operations", () => {
    fc.assert(
      fc.property(operations, (sequence) => {
        let real = new ModelMemory(PAGE);
        let naive = new NaiveMemory(PAGE);
        const file = real.memfd(6 * PAGE);
        naive.truncate(6 * PAGE);
        let pins: { id: number; naiveId: number; pages: number }[] = [];
        for (const step of [...BEGIN, ...sequence]) {
          const both = (inReal: () => unknown, inNaive: () => unknown) => {
            expect({ step, result: errorOf(inReal) }).toEqual({ step, result: errorOf(inNaive) });
          };
          if (step.op === "map") {
            const address = (FIRST + step.page) * PAGE;
            const { protection, shared } = step;
            real.mmap({ address, length: step.count * PAGE, protection, shared });
            naive.map(FIRST + step.page, step.count, protection, shared);
          } else if (step.op === "mapFile") {
            const { protection, shared, filePage } = step;
            const address = (FIRST + step.page) * PAGE;
            const options = { address, length: step.count * PAGE, protection, shared };
            real.mmap({ ...options, object: file, offset: filePage * PAGE });
            naive.map(FIRST + step.page, step.count, protection, shared, filePage);
          } else if (step.op === "unmap") {
            real.munmap((FIRST + step.page) * PAGE, step.count * PAGE);
            naive.unmap(FIRST + step.page, step.count);
          } else if (step.op === "protect") {
            both(
              () => real.mprotect((FIRST + step.page) * PAGE, step.count * PAGE, step.protection),
              () => naive.protect(FIRST + step.page, step.count, step.protection),
            );
          } else if (step.op === "discard") {
            real.discard((FIRST + step.page) * PAGE, step.count * PAGE);
            naive.discard(FIRST + step.page, step.count);
          } else if (step.op === "truncate") {
            file.truncate(step.size);
            naive.truncate(step.size);
          } else if (step.op === "write") {
            const bytes = new Uint8Array(step.length).fill(step.fill);
            const address = FIRST * PAGE + step.offset;
            both(
              () => real.copyOut(address, bytes, bytes.length),
              () => naive.copyOut(address, bytes),
            );
          } else if (step.op === "read") {
            const [a, b] = [new Uint8Array(step.length), new Uint8Array(step.length)];
            const address = FIRST * PAGE + step.offset;
            both(
              () => real.copyIn(address, a, a.length),
              () => naive.copyIn(address, b),
            );
            if (errorOf(() => naive.copyIn(address, b)) === "fine") expect(Buffer.compare(a, b)).toBe(0);
          } else if (step.op === "pin") {
            const id = real.pin((FIRST + step.page) * PAGE, step.count, step.write, step.budget);
            const naiveId = naive.pin(FIRST + step.page, step.count, step.write, step.budget);
            expect({ step, result: Math.min(id, 0) }).toEqual({ step, result: Math.min(naiveId, 0) });
            if (id >= 0) pins.push({ id, naiveId, pages: step.count });
          } else if (step.op === "unpin" && pins.length > 0) {
            const [pin] = pins.splice(step.which % pins.length, 1);
            real.unpin(pin!.id);
            naive.unpin(pin!.naiveId);
          } else if (step.op === "dma" && pins.length > 0) {
            const { id, naiveId, pages } = pins[step.which % pins.length]!;
            const at = step.offset % (pages * PAGE);
            const bytes = new Uint8Array(Math.min(step.length, pages * PAGE - at)).fill(step.fill);
            real.writePinned(id, 0, at, bytes);
            naive.writePinned(naiveId, at, bytes);
          } else if (step.op === "fork") {
            // The rest happens in the child; the parent's pins are not its own.
            real = real.fork();
            naive = naive.fork();
            pins = [];
          }
          for (const { id, naiveId, pages } of pins) {
            const [a, b] = [new Uint8Array(pages * PAGE), new Uint8Array(pages * PAGE)];
            real.readPinned(id, 0, 0, a);
            naive.readPinned(naiveId, 0, b);
            expect({ step, id, same: Buffer.compare(a, b) === 0 }).toEqual({ step, id, same: true });
          }
        }
        for (let i = 0; i < PAGES + 5; i++) {
          const [a, b] = [new Uint8Array(PAGE), new Uint8Array(PAGE)];
          const address = (FIRST + i) * PAGE;
          const readable = errorOf(() => naive.copyIn(address, b));
          expect(errorOf(() => real.copyIn(address, a, PAGE))).toBe(readable);
          if (readable === "fine") expect(Buffer.compare(a, b)).toBe(0);
        }
      }),
      { numRuns: 200 },
    );
  });
});

describe("model memory", () => {
  it("reads zeros where nothing was written, and what was written where it was", () => {
    const memory = new ModelMemory();
    const address = memory.mmap({ length: 3 * PAGE, protection: RW });
    expect(read(memory, address + PAGE - 2, 4)).toEqual([0, 0, 0, 0]);
    write(memory, address + PAGE - 2, 1, 2, 3, 4);
    expect(read(memory, address + PAGE - 3, 6)).toEqual([0, 1, 2, 3, 4, 0]);
  });

  it("maps and pins a terabyte without making its pages", () => {
    const object = new AnonymousMemory(PAGE);
    const memory = new ModelMemory();
    const address = memory.mmap({ length: TIB, protection: RW, object, shared: true });
    const pin = memory.pin(address, TIB / PAGE, true, Number.POSITIVE_INFINITY);
    expect(memory.charged).toBe(TIB / PAGE);
    memory.writePinned(pin, address, TIB - 3, Uint8Array.of(7, 8, 9));
    expect(read(memory, address + TIB - 4, 4)).toEqual([0, 7, 8, 9]);
    expect(object.residentPages).toBe(1);
    memory.unpin(pin);
    memory.munmap(address, TIB);
  });

  it("drops the pages of private memory that nothing leads to any more", () => {
    const object = new AnonymousMemory(PAGE);
    const memory = new ModelMemory();
    const address = memory.mmap({ length: 4 * PAGE, protection: RW, object, shared: true });
    for (let i = 0; i < 4; i++) write(memory, address + i * PAGE, 1);
    const pin = memory.pin(address, 2, true, 2);
    memory.munmap(address, 3 * PAGE);
    expect(object.residentPages).toBe(4);
    memory.unpin(pin);
    expect(object.residentPages).toBe(1);
  });

  it("keeps a device on the old pages when the address is mapped anew", () => {
    const memory = new ModelMemory();
    const address = memory.mmap({ length: PAGE, protection: RW });
    write(memory, address, 1);
    const pin = memory.pin(address, 1, true, 1);
    memory.mmap({ address, length: PAGE, protection: RW });
    memory.writePinned(pin, address, 1, Uint8Array.of(2));
    expect(read(memory, address, 2)).toEqual([0, 0]);
    const seen = new Uint8Array(2);
    memory.readPinned(pin, address, 0, seen);
    expect([...seen]).toEqual([1, 2]);
  });

  it.each([
    ["read-write", RW, "fine", "fine", "fine"],
    ["read-only", PROT_READ, "fine", "EFAULT", "fine"],
    ["write-only (the processor reads what it may write)", PROT_WRITE, "fine", "fine", "EFAULT"],
    ["execute-only", PROT_EXEC, "EFAULT", "EFAULT", "EFAULT"],
    ["none", PROT_NONE, "EFAULT", "EFAULT", "EFAULT"],
  ])("treats %s memory as the kernel does", (_name, protection, copyIn, copyOut, pinToRead) => {
    const memory = new ModelMemory();
    const address = memory.mmap({ length: PAGE, protection });
    expect(errorOf(() => read(memory, address, 1))).toBe(copyIn);
    expect(errorOf(() => write(memory, address, 1))).toBe(copyOut);
    expect(memory.pin(address, 1, false, 1) >= 0).toBe(pinToRead === "fine");
    expect(memory.pin(address, 1, true, 1) >= 0).toBe((protection & PROT_WRITE) !== 0);
  });

  it("writes what lies before the page that refuses", () => {
    const memory = new ModelMemory();
    const address = memory.mmap({ length: 2 * PAGE, protection: RW });
    memory.mprotect(address + PAGE, PAGE, PROT_READ);
    expect(errorOf(() => write(memory, address + PAGE - 2, 1, 2, 3))).toBe("EFAULT");
    expect(read(memory, address + PAGE - 2, 3)).toEqual([1, 2, 0]);
  });

  it.each([2 ** 47, 2 ** 47 - 1, 2 ** 53, (1n << 64n) - 4096n, 0])("takes no address like %s", (address) => {
    const memory = new ModelMemory();
    expect(errorOf(() => memory.copyIn(address, new Uint8Array(8), 8))).toBe("EFAULT");
    expect(errorOf(() => memory.copyOut(address, new Uint8Array(8), 8))).toBe("EFAULT");
    expect(errorOf(() => memory.copyString(address, 8))).toBe("EFAULT");
    expect(memory.pin(Number(address), 1, false, 1)).toBe(-ERRNO.EFAULT);
  });

  it("copies nothing without touching memory", () => {
    expect(errorOf(() => new ModelMemory().copyIn(0, new Uint8Array(0), 0))).toBe("fine");
  });

  it("reads strings up to their NUL, and no page behind it", () => {
    const memory = new ModelMemory();
    const address = memory.mmap({ length: PAGE, protection: RW });
    const text = "0000:00:1b.0";
    write(memory, address + PAGE - text.length - 1, ...Buffer.from(`${text}\0`));
    expect(memory.copyString(address + PAGE - text.length - 1, PAGE)).toBe(text);
    write(memory, address + PAGE - 1, 0x2e);
    expect(errorOf(() => memory.copyString(address + PAGE - text.length - 1, PAGE))).toBe("EFAULT");
    expect(errorOf(() => memory.copyString(address + PAGE - text.length - 1, 5))).toBe("EINVAL");
  });

  it("runs out of budget page by page, before it sees a page that is not there", () => {
    const memory = new ModelMemory();
    const address = memory.mmap({ length: 4 * PAGE, protection: RW });
    expect(memory.pin(address, 5, true, 3)).toBe(-ERRNO.ENOMEM);
    expect(memory.pin(address, 5, true, 4)).toBe(-ERRNO.EFAULT);
    expect(memory.pin(address, 4, true, 4)).toBeGreaterThanOrEqual(0);
    expect(memory.charged).toBe(4);
    expect(memory.pinCount).toBe(1);
  });

  it("holds device memory without charging it", () => {
    const memory = new ModelMemory();
    const bar = new MemoryFile(PAGE, 2 * PAGE, true);
    const address = memory.mmap({ length: 2 * PAGE, protection: RW, object: bar });
    const pin = memory.pin(address, 2, true, 0);
    expect(pin).toBeGreaterThanOrEqual(0);
    expect(memory.charged).toBe(0);
    memory.writePinned(pin, address, PAGE, Uint8Array.of(5));
    expect(read(memory, address + PAGE, 1)).toEqual([5]);
  });

  it("shares a file between mappings and fails behind its end", () => {
    const memory = new ModelMemory();
    const file = memory.memfd(PAGE + 1);
    const map = () => memory.mmap({ length: 4 * PAGE, protection: RW, object: file, shared: true });
    const [a, b] = [map(), map()];
    write(memory, a + 10, 42);
    expect(read(memory, b + 10, 1)).toEqual([42]);
    expect(errorOf(() => read(memory, a + 2 * PAGE - 1, 1))).toBe("fine");
    expect(errorOf(() => read(memory, a + 2 * PAGE, 1))).toBe("EFAULT");
    expect(memory.pin(a, 3, true, 9)).toBe(-ERRNO.EFAULT);
    file.truncate(3 * PAGE);
    expect(memory.pin(a, 3, true, 9)).toBeGreaterThanOrEqual(0);
  });

  it("shows the bytes of a buffer that JavaScript has too", () => {
    const memory = new ModelMemory();
    const bytes = new Uint8Array(2 * PAGE);
    const object = new FlatMemory(PAGE, bytes);
    const address = memory.mmap({ length: bytes.length, protection: RW, object, shared: true });
    bytes[PAGE] = 9;
    expect(read(memory, address + PAGE, 1)).toEqual([9]);
    const pin = memory.pin(address, 2, true, 2);
    memory.writePinned(pin, address, PAGE - 1, Uint8Array.of(1, 2));
    expect([...bytes.subarray(PAGE - 1, PAGE + 1)]).toEqual([1, 2]);
  });

  it("has pages of 64 KiB where the host has", () => {
    const memory = new ModelMemory(65536);
    const address = memory.mmap({ length: 1, protection: RW });
    expect(address % 65536).toBe(0);
    write(memory, address + 65535, 1);
    expect(errorOf(() => write(memory, address + 65536, 1))).toBe("EFAULT");
  });

  it("places mappings apart, aligned as asked", () => {
    const memory = new ModelMemory();
    const areas = [PAGE, 3 * PAGE, 5].map((length) => memory.mmap({ length, protection: RW }));
    expect(new Set(areas).size).toBe(3);
    expect(errorOf(() => read(memory, areas[0]! + PAGE, 1))).toBe("EFAULT");
    expect(memory.mmap({ length: PAGE, protection: RW, align: 2 ** 21 }) % 2 ** 21).toBe(0);
  });

  it("says no to what mmap(), munmap() and mprotect() refuse", () => {
    const memory = new ModelMemory();
    const address = memory.mmap({ length: 2 * PAGE, protection: RW });
    expect(errorOf(() => memory.mmap({ length: 0, protection: RW }))).toBe("EINVAL");
    expect(errorOf(() => memory.mmap({ address: 1, length: PAGE, protection: RW }))).toBe("EINVAL");
    expect(errorOf(() => memory.mmap({ address: 2 ** 47, length: PAGE, protection: RW }))).toBe("ENOMEM");
    expect(errorOf(() => memory.mmap({ length: 2 ** 47, protection: RW }))).toBe("ENOMEM");
    expect(errorOf(() => memory.munmap(address + 1, PAGE))).toBe("EINVAL");
    expect(errorOf(() => memory.mprotect(address, 3 * PAGE, PROT_READ))).toBe("ENOMEM");
    expect(errorOf(() => write(memory, address, 1))).toBe("EFAULT");
  });

  it("copies 64 MiB at once", () => {
    const memory = new ModelMemory();
    const bytes = new Uint8Array(64 * 2 ** 20);
    for (let at = 0; at < bytes.length; at += PAGE) bytes.fill(at / PAGE, at, at + PAGE);
    const address = memory.mmap({ length: bytes.length, protection: RW });
    memory.copyOut(address, bytes, bytes.length);
    const back = new Uint8Array(bytes.length);
    memory.copyIn(address, back, back.length);
    expect(Buffer.compare(back, bytes)).toBe(0);
  });
});
