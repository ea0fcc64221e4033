import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readyMadeHost } from "../../../src/machine/ready-made-hosts.ts";
import { Program, type Result } from "../program.ts";
import { create, locked, register, remove, unmap, unregister } from "./calls.ts";

/** Windows of 64K pages on a kernel of 64K pages: small enough that random calls meet. */
const PAGE = 65536;
const REGION_PAGES = 16;
const MEMORY_PAGES = 64;
const WINDOW = 2n ** 29n;
const SECOND_START = 1n << 59n;

const page = fc.integer({ min: 0, max: 20 });
const region = fc.integer({ min: 0, max: MEMORY_PAGES / REGION_PAGES - 1 });
const call = fc.oneof(
  fc.record({
    kind: fc.constant("map" as const),
    window: fc.constantFrom(0, 1),
    page,
    pages: fc.integer({ min: 0, max: 12 }),
    vaddr: fc.integer({ min: 0, max: MEMORY_PAGES }),
  }),
  fc.record({
    kind: fc.constant("unmap" as const),
    window: fc.constantFrom(0, 1),
    page,
    pages: fc.integer({ min: 0, max: 20 }),
  }),
  fc.record({ kind: fc.constantFrom("register" as const, "unregister" as const), region }),
  fc.record({ kind: fc.constantFrom("create" as const, "remove" as const), window: fc.constantFrom(0, 1) }),
);

/** The rules of version 2 once more, on plain collections: regions of a process by number, TCEs by window and page. */
class Expected {
  enabled = false;
  defaultPending = true;
  /** The container's regions. */
  readonly registered = new Set<number>();
  /** The process's regions: those that were unregistered while mapped stay. */
  readonly regions = new Set<number>();
  readonly windows: (Map<number, number> | undefined)[] = [undefined, undefined];
  /** Regions that a second REGISTER adopted: they keep a reference too many. */
  readonly stuck = new Set<number>();
  /** 4K pages: nothing of 64K granularity is mapped in it here. */
  hasDefault = false;

  isMapped(region: number): boolean {
    return this.windows.some((tces) =>
      [...(tces?.values() ?? [])].some((at) => Math.floor(at / REGION_PAGES) === region),
    );
  }

  build(): void {
    if (!this.defaultPending) return;
    this.defaultPending = false;
    this.hasDefault = true;
    this.windows[0] = new Map();
  }

  register(region: number): Result {
    if (this.registered.has(region)) return "EBUSY";
    if (this.regions.has(region)) this.stuck.add(region);
    this.registered.add(region);
    this.regions.add(region);
    this.enabled = true;
    return 0;
  }

  unregister(region: number, isOwned: boolean): Result {
    if (!isOwned) return "EPERM";
    if (!this.registered.has(region)) return "ENOENT";
    this.registered.delete(region);
    if (!this.stuck.has(region) && !this.isMapped(region)) this.regions.delete(region);
    return 0;
  }

  map(window: number, at: number, pages: number, vaddr: number): Result {
    if (!this.enabled) return "EPERM";
    this.build();
    const tces = this.windows[window];
    if (tces === undefined) return "ENXIO";
    for (let i = 0; i < pages; i++) {
      if (this.regions.has(Math.floor((vaddr + i) / REGION_PAGES))) {
        tces.set(at + i, vaddr + i);
        continue;
      }
      for (let done = 0; done < i; done++) tces.delete(at + done);
      return "EINVAL";
    }
    return 0;
  }

  unmap(window: number, at: number, pages: number): Result {
    if (!this.enabled) return "EPERM";
    this.build();
    const tces = this.windows[window];
    if (tces === undefined) return "ENXIO";
    for (let i = 0; i < pages; i++) tces.delete(at + i);
    return 0;
  }

  create(): bigint | string {
    this.build();
    const slot = this.windows.indexOf(undefined);
    if (slot < 0) return "ENOSPC";
    this.windows[slot] = new Map();
    if (slot === 0) this.hasDefault = false;
    return slot === 0 ? 0n : SECOND_START;
  }

  remove(window: number): Result {
    if (this.defaultPending && window === 0) {
      this.defaultPending = false;
      return 0;
    }
    if (this.windows[window] === undefined) return "EINVAL";
    this.windows[window] = undefined;
    if (window === 0) this.hasDefault = false;
    return 0;
  }

  /** Bytes of locked memory: regions, and the tables of power9: 8 MiB for the default window, 128K for each of ours. */
  get locked(): number {
    const tables = this.windows.map((tces, slot) => {
      if (tces === undefined) return 0;
      return slot === 0 && this.hasDefault ? 8 * 2 ** 20 : 2 * PAGE;
    });
    return this.regions.size * REGION_PAGES * PAGE + tables[0]! + tables[1]!;
  }
}

describe("random calls on a container of version 2", () => {
  test("answer as the rules say and keep every invariant", () => {
    fc.assert(
      fc.property(fc.array(call, { maxLength: 80 }), (calls) => {
        const program = new Program(readyMadeHost("power9")!);
        const { container, group } = program.container(0, 7);
        const memory = program.memory(MEMORY_PAGES * PAGE);
        const expected = new Expected();
        let isOwned = false;
        for (const one of calls) {
          const before = locked(program);
          const start = "window" in one && one.window === 1 ? SECOND_START : 0n;
          let result: Result | bigint;
          switch (one.kind) {
            case "register":
              isOwned = true;
              result = register(program, container, memory + one.region * REGION_PAGES * PAGE, REGION_PAGES * PAGE);
              expect(result).toBe(expected.register(one.region));
              break;
            case "unregister":
              result = unregister(program, container, memory + one.region * REGION_PAGES * PAGE, REGION_PAGES * PAGE);
              expect(result).toBe(expected.unregister(one.region, isOwned));
              break;
            case "create":
              isOwned = true;
              result = create(program, container, 16, WINDOW);
              expect(result).toBe(expected.create());
              break;
            case "remove":
              isOwned = true;
              result = remove(program, container, start + 0x1234n * BigInt(expected.defaultPending ? 0 : 1));
              expect(result).toBe(expected.remove(one.window));
              break;
            case "map": {
              const iova = start + BigInt(one.page * PAGE);
              result = program.map(container, iova, memory + one.vaddr * PAGE, BigInt(one.pages * PAGE));
              expect(result).toBe(expected.map(one.window, one.page, one.pages, one.vaddr));
              break;
            }
            case "unmap":
              result = unmap(program, container, start + BigInt(one.page * PAGE), BigInt(one.pages * PAGE));
              expect(result).toBe(expected.unmap(one.window, one.page, one.pages));
              break;
          }
          expect(locked(program)).toBe(expected.locked);
          // building the default window is the only thing that a failed request may leave behind
          if (typeof result === "string" && !expected.hasDefault) expect(locked(program)).toBe(before);
          expect(program.task.memory.pinCount).toBe(expected.regions.size);
        }
        program.close(group);
        program.close(container);
        // what a defect leaves is the regions that were adopted, or unregistered while mapped
        const left = [...expected.regions].filter((at) => expected.stuck.has(at) || !expected.registered.has(at));
        expect(locked(program)).toBe(left.length * REGION_PAGES * PAGE);
        expect(program.task.memory.pinCount).toBe(left.length);
      }),
      { numRuns: 150 },
    );
  });
});

describe("random calls on a container of version 1", () => {
  const PAGE_4K = 4096;
  const v1Call = fc.record({
    kind: fc.constantFrom("map" as const, "map" as const, "unmap" as const, "enable" as const, "disable" as const),
    page: fc.integer({ min: 0, max: 40 }),
    pages: fc.integer({ min: 0, max: 20 }),
    vaddr: fc.integer({ min: 0, max: 40 }),
  });

  test("pin as many pages as are mapped, and lock the window while they are enabled", () => {
    fc.assert(
      fc.property(fc.array(v1Call, { maxLength: 80 }), (calls) => {
        const program = new Program(readyMadeHost("pseries-4k")!);
        const { container, group } = program.container(0, 2);
        const memory = program.memory(40 * PAGE_4K);
        const tces = new Map<number, number>();
        let enabled = false;
        let built = false;
        for (const { kind, page: at, pages, vaddr } of calls) {
          if (kind === "enable") {
            expect(program.ioctl(container, 0x3b73)).toBe(enabled ? "EBUSY" : 0);
            enabled = true;
          } else if (kind === "disable") {
            expect(program.ioctl(container, 0x3b74)).toBe(0);
            enabled = false;
          } else if (!enabled) {
            expect(unmap(program, container, 0n, 0n)).toBe("EPERM");
          } else if (kind === "unmap") {
            built = true;
            expect(unmap(program, container, BigInt(at * PAGE_4K), BigInt(pages * PAGE_4K))).toBe(0);
            for (let i = 0; i < pages; i++) tces.delete(at + i);
          } else {
            built = true;
            const room = Math.max(0, 40 - vaddr);
            const [iova, size] = [BigInt(at * PAGE_4K), BigInt(pages * PAGE_4K)];
            expect(program.map(container, iova, memory + vaddr * PAGE_4K, size)).toBe(pages > room ? "EFAULT" : 0);
            for (let i = 0; i < pages; i++) {
              if (pages <= room) tces.set(at + i, vaddr + i);
              else if (i < room) tces.delete(at + i);
            }
          }
          expect(program.task.memory.pinCount).toBe(tces.size);
          expect(locked(program)).toBe((enabled ? 2 ** 30 : 0) + (built ? 2 ** 21 : 0));
        }
        program.close(container);
        program.close(group);
        expect(locked(program)).toBe(0);
        expect(program.task.memory.pinCount).toBe(0);
      }),
      { numRuns: 100 },
    );
  });
});
