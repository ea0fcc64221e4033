import { describe, expect, test } from "vitest";
import type { DmaTarget } from "../../../src/iommu/dma-target.ts";
import { readyMadeHost } from "../../../src/machine/ready-made-hosts.ts";
import type { Container } from "../../../src/vfio/container.ts";
import type { SpaprBackend } from "../../../src/vfio/spapr/driver.ts";
import { Program } from "../program.ts";
import { create, register, unmap, unregister } from "./calls.ts";

const PAGE = 65536;
const PAGES = 4096;
const SECOND = 1n << 59n;
const iova = (page: number) => SECOND + BigInt(page) * BigInt(PAGE);
const bytes = (pages: number) => BigInt(pages) * BigInt(PAGE);

/** Two registered regions side by side, and a window as large as both. Every page of memory begins with its number. */
function started() {
  const program = new Program(readyMadeHost("power9")!);
  const { container } = program.container(0, 7);
  const memory = program.memory(PAGES * PAGE);
  for (const half of [0, 1]) {
    expect(register(program, container, memory + half * (PAGES / 2) * PAGE, (PAGES / 2) * PAGE)).toBe(0);
  }
  expect(create(program, container, 16, bytes(PAGES))).toBe(SECOND);
  const number = new Uint32Array(1);
  for (let page = 0; page < PAGES; page += 37) {
    number[0] = page + 1;
    program.task.memory.copyOut(memory + page * PAGE, new Uint8Array(number.buffer), 4);
  }
  const dma: DmaTarget = ((program.task.files.get(Number(container)) as Container).backend as SpaprBackend).dma;
  /** The number of the page of memory behind a page of the window; undefined when none is. Only for pages that have one. */
  const behind = (page: number): number | undefined => {
    const into = new Uint32Array(1);
    return dma.read(iova(page), new Uint8Array(into.buffer)) ? undefined : into[0]! - 1;
  };
  return { program, container, memory, behind };
}

describe("one call for many pages of a window", () => {
  test("maps each of them, over the border of regions and from anywhere", () => {
    const { program, container, memory, behind } = started();
    expect(program.map(container, iova(100), memory + 100 * PAGE, bytes(PAGES - 200))).toBe(0);
    for (const page of [111, 37 * 20, 37 * 55, 37 * 56, 37 * 105]) expect(behind(page)).toBe(page);
    expect([behind(37), behind(99), behind(PAGES - 100), behind(37 * 110)]).toEqual([
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
  });

  test("replaces what is mapped, whole runs and parts of them", () => {
    const { program, container, memory, behind } = started();
    expect(program.map(container, iova(0), memory, bytes(PAGES))).toBe(0);
    expect(program.map(container, iova(1000), memory, bytes(1000))).toBe(0);
    expect([behind(962), behind(1000 + 37), behind(1000 + 740), behind(37 * 60)]).toEqual([962, 37, 740, 2220]);
    // as many mappings count for each region as entries show it
    expect(unmap(program, container, iova(0), bytes(1000))).toBe(0);
    expect(unmap(program, container, iova(2000), bytes(PAGES - 2000))).toBe(0);
    const half = (PAGES / 2) * PAGE;
    expect(unregister(program, container, memory + half, half)).toBe(0);
    expect(unmap(program, container, iova(1000), bytes(1000))).toBe(0);
    expect(unregister(program, container, memory, half)).toBe(0);
    expect(program.task.memory.pinCount).toBe(0);
  });

  test("of which one is in no region maps none, and what it had replaced is gone", () => {
    const { program, container, memory, behind } = started();
    const half = (PAGES / 2) * PAGE;
    expect(program.map(container, iova(37), memory, bytes(2))).toBe(0);
    expect(unregister(program, container, memory + half, half)).toBe(0);
    expect(program.map(container, iova(0), memory, bytes(PAGES))).toBe("EINVAL");
    expect(program.reason).toMatch(/is in no registered memory/);
    expect(behind(37)).toBeUndefined();
    expect(unregister(program, container, memory, half)).toBe(0);
    expect(program.task.memory.pinCount).toBe(0);
  });
});
