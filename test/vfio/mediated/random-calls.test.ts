import fc from "fast-check";
import { expect, test } from "vitest";
import * as reg from "../../../src/devices/mediated/sample/registers.ts";
import { ERRNO } from "../../../src/uapi/errno.ts";
import { VFIO_DEVICE_RESET } from "../../../src/uapi/vfio-device.ts";
import { Program } from "../program.ts";
import { PAGE, SAMPLES, Sample, sampleHost } from "./sample-program.ts";

/** Pages that the program may have locked: random calls reach it. */
const LIMIT = 10;
const MEMORY_PAGES = 16;
const READ = 1;
const WRITE = 2;

const call = fc.record({
  kind: fc.constantFrom(
    ...(["map", "map", "unmap", "unmapAll", "pin", "pin", "pin", "unpin", "unpin", "unpinAll"] as const),
    ...(["write", "write", "read", "start", "stop", "dirty", "dirty", "reset", "reopen"] as const),
  ),
  device: fc.integer({ min: 0, max: 1 }),
  page: fc.integer({ min: 0, max: 24 }),
  pages: fc.integer({ min: 1, max: 6 }),
  offset: fc.integer({ min: 0, max: 4095 }),
  length: fc.integer({ min: 1, max: 4096 }),
  flags: fc.constantFrom(READ, WRITE, READ | WRITE, READ | WRITE, READ | WRITE),
});

interface Mapping {
  readonly start: number;
  readonly pages: number;
  readonly flags: number;
  dirty: Set<number>;
}

/** The rules of pinning and of the dirty bitmap once more, page by page on plain lists. */
class Expected {
  mappings: Mapping[] = [];
  /** By device: how often it holds a page. */
  readonly held = SAMPLES.map(() => new Map<number, number>());
  tracking = false;

  find(page: number): Mapping | undefined {
    return this.mappings.find(({ start, pages }) => page >= start && page < start + pages);
  }

  /** Pages that any device holds. */
  get pinned(): Set<number> {
    return new Set(this.held.flatMap((pages) => [...pages.keys()]));
  }

  map(start: number, pages: number, flags: number): string | number {
    if (this.mappings.some((other) => start < other.start + other.pages && other.start < start + pages))
      return "EEXIST";
    this.mappings.push({ start, pages, flags, dirty: new Set() });
    return 0;
  }

  unmap(start: number, pages: number): string | bigint {
    const end = start + pages;
    const cuts = (at: number) => this.mappings.some((one) => one.start < at && at < one.start + one.pages);
    if (cuts(start) || cuts(end)) return "EINVAL";
    const gone = this.mappings.filter((one) => one.start >= start && one.start < end);
    this.mappings = this.mappings.filter((one) => !gone.includes(one));
    for (const { start: first, pages: count } of gone) {
      for (let page = first; page < first + count; page++) for (const held of this.held) held.delete(page);
    }
    return BigInt(gone.reduce((sum, one) => sum + one.pages, 0)) * PAGE;
  }

  pin(device: number, start: number, pages: number, write: boolean): number {
    const held = this.held[device]!;
    const taken: number[] = [];
    const failWith = (errno: number) => {
      for (const page of taken) this.#drop(held, page);
      return errno;
    };
    for (let page = start; page < start + pages; page++) {
      const mapping = this.find(page);
      if (mapping === undefined) return failWith(ERRNO.EINVAL);
      if (write && !(mapping.flags & WRITE)) return failWith(ERRNO.EPERM);
      if (!this.pinned.has(page)) {
        if (this.pinned.size === LIMIT) return failWith(ERRNO.ENOMEM);
        // stays dirty although the request fails later
        if (this.tracking) mapping.dirty.add(page);
      }
      held.set(page, (held.get(page) ?? 0) + 1);
      taken.push(page);
    }
    return 0;
  }

  unpin(device: number, start: number, pages: number): number {
    const held = this.held[device]!;
    const wanted = Array.from({ length: pages }, (_, i) => start + i);
    if (!wanted.every((page) => held.has(page))) return ERRNO.ENXIO;
    for (const page of wanted) this.#drop(held, page);
    return 0;
  }

  /** Reads or writes without pinning; what lies in the first of two mappings has been moved when the second one refuses. */
  access(start: number, length: number, write: boolean): number {
    const last = start + length - 1;
    for (let at = start; at <= last; ) {
      const mapping = this.find(Math.floor(at / 4096));
      if (mapping === undefined) return ERRNO.EINVAL;
      if (!(mapping.flags & READ) || (write && !(mapping.flags & WRITE))) return ERRNO.EPERM;
      const end = Math.min(last, (mapping.start + mapping.pages) * 4096 - 1);
      for (let page = Math.floor(at / 4096); write && this.tracking && page <= Math.floor(end / 4096); page++)
        mapping.dirty.add(page);
      at = end + 1;
    }
    return 0;
  }

  start(): void {
    if (!this.tracking) for (const mapping of this.mappings) this.#markPinned(mapping);
    this.tracking = true;
  }

  stop(): void {
    this.tracking = false;
    for (const mapping of this.mappings) mapping.dirty = new Set();
  }

  /** The dirty pages of a mapping, counted from its start, in order. */
  takeDirty(mapping: Mapping): number[] {
    const dirty = [...mapping.dirty].map((page) => page - mapping.start).sort((a, b) => a - b);
    this.#markPinned(mapping);
    return dirty;
  }

  #markPinned(mapping: Mapping): void {
    mapping.dirty = new Set([...this.pinned].filter((page) => this.find(page) === mapping));
  }

  #drop(held: Map<number, number>, page: number): void {
    const left = held.get(page)! - 1;
    if (left === 0) held.delete(page);
    else held.set(page, left);
  }
}

test("random calls of two sample devices: locked memory adds up, dirty pages are exact, nothing stays pinned", () => {
  fc.assert(
    fc.property(fc.array(call, { maxLength: 100, size: "max" }), (calls) => {
      const program = new Program(sampleHost(), { memlock: LIMIT * 4096, capabilities: [] });
      const { container, group } = program.container(SAMPLES[0].group);
      const otherGroup = program.open(`/dev/vfio/${SAMPLES[1].group}`);
      program.setContainer(otherGroup, container);
      const groups = [group, otherGroup];
      const memory = program.memory(MEMORY_PAGES * 4096);
      const samples = SAMPLES.map(({ name }, i) => new Sample(program, groups[i]!, name));
      const expected = new Expected();
      for (const { kind, device, page, pages, offset, length, flags } of calls) {
        const sample = samples[device]!;
        const iova = BigInt(page) * PAGE;
        const size = BigInt(pages) * PAGE;
        switch (kind) {
          case "map": {
            const vaddr = memory + (page % (MEMORY_PAGES - 6)) * 4096;
            expect(program.map(container, iova, vaddr, size, flags)).toBe(expected.map(page, pages, flags));
            break;
          }
          case "unmap":
            expect(program.unmap(container, iova, size)).toBe(expected.unmap(page, pages));
            break;
          case "unmapAll":
            expect(program.unmap(container, 0n, 0n, 2)).toBe(expected.unmap(0, 2 ** 30));
            break;
          case "pin":
            expect(sample.pin(iova, pages, flags !== READ)).toBe(expected.pin(device, page, pages, flags !== READ));
            break;
          case "unpin":
            expect(sample.unpin(iova, pages)).toBe(expected.unpin(device, page, pages));
            break;
          case "unpinAll":
            expect(sample.run("UNPIN_ALL", 0n, 0)).toBe(0);
            expected.held[device]!.clear();
            break;
          case "write":
          case "read": {
            const command = kind === "write" ? "WRITE" : "READ";
            const answer = expected.access(page * 4096 + offset, length, kind === "write");
            expect(sample.run(command, iova + BigInt(offset), length)).toBe(answer);
            break;
          }
          case "start":
          case "stop":
            expect(program.dirty(container, kind)).toBe(0);
            expected[kind]();
            break;
          case "dirty": {
            const mapping = expected.find(page);
            if (!mapping || !expected.tracking) break;
            const bits = program.dirtyBits(container, BigInt(mapping.start) * PAGE, mapping.pages);
            expect(bits).toEqual(expected.takeDirty(mapping));
            break;
          }
          case "reset":
            expect(program.ioctl(sample.fd, VFIO_DEVICE_RESET)).toBe(0);
            expected.held[device]!.clear();
            break;
          case "reopen":
            sample.close();
            samples[device] = new Sample(program, groups[device]!, SAMPLES[device]!.name);
            expected.held[device]!.clear();
            break;
        }
        expect(samples.map((one) => one.get(reg.PINNED))).toEqual(expected.held.map((held) => held.size));
        expect(program.task.memory.lockedPages).toBe(expected.pinned.size);
        expect(program.task.memory.pinCount).toBe(expected.pinned.size);
      }
      for (const sample of samples) sample.close();
      expect(program.task.memory.lockedPages).toBe(0);
      expect(program.task.memory.pinCount).toBe(0);
    }),
    { numRuns: 150 },
  );
});
