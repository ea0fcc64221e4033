import { afterEach, describe, expect, test, vi } from "vitest";
import { IntervalMap } from "../../../src/address/interval-map.ts";
import { readyMadeHost } from "../../../src/machine/ready-made-hosts.ts";
import { DeviceProgram, intelHost } from "../pci/device-program.ts";
import { Program, type Result } from "../program.ts";

const PAGE = 4096n;
const FIRST = 0x1_0000_0000n;
const UNMAP_ALL = 2;
const COUNT = 3000;

/** How often the map of mappings is asked, while something runs: lookups, and steps from one mapping to the next. */
function counting(body: () => void): { lookups: number; steps: number; removals: number } {
  const map = IntervalMap.prototype;
  const calls = { lookups: 0, steps: 0, removals: 0 };
  let inside = false;
  const count = (
    name: "seek" | "seekBefore" | "first" | "overlaps" | "next" | "removeHere",
    kind: keyof typeof calls,
  ) => {
    const real = map[name] as (this: IntervalMap, ...args: number[]) => boolean;
    vi.spyOn(map, name).mockImplementation(function (this: IntervalMap, ...args: number[]) {
      // what the map asks of itself is not counted
      if (inside) return real.apply(this, args);
      inside = true;
      calls[kind]++;
      const answer = real.apply(this, args);
      inside = false;
      return answer;
    });
  };
  for (const name of ["seek", "seekBefore", "first", "overlaps"] as const) count(name, "lookups");
  count("next", "steps");
  count("removeHere", "removals");
  body();
  vi.restoreAllMocks();
  return calls;
}

function filled(count: number): { program: Program; container: Result; memory: number } {
  const program = new Program(readyMadeHost("lab")!);
  const { container } = program.container(1);
  const memory = program.memory(4096);
  for (let i = 0; i < count; i++) {
    if (program.map(container, FIRST + BigInt(2 * i) * PAGE, memory, PAGE) !== 0) throw new Error(program.reason);
  }
  return { program, container, memory };
}

afterEach(() => {
  vi.restoreAllMocks();
});

describe("with many mappings", () => {
  test("GET_INFO looks at none", () => {
    const { program, container } = filled(COUNT);
    expect(counting(() => program.info(container))).toEqual({ lookups: 0, steps: 0, removals: 0 });
  });

  test("a group comes in and leaves with a few lookups, and without a walk", () => {
    const { program, container } = filled(COUNT);
    const other = program.open("/dev/vfio/2");
    const { lookups, steps } = counting(() => {
      expect(program.setContainer(other, container)).toBe(0);
      expect(program.unsetContainer(other)).toBe(0);
    });
    expect([lookups > 0, lookups <= 4, steps]).toEqual([true, true, 0]);
  });

  test("one is made with one lookup and taken away with one", () => {
    const { program, container, memory } = filled(COUNT);
    const next = FIRST + BigInt(2 * COUNT) * PAGE;
    expect(counting(() => expect(program.map(container, next, memory, PAGE)).toBe(0))).toEqual({
      lookups: 1,
      steps: 0,
      removals: 0,
    });
    expect(counting(() => expect(program.unmap(container, next, PAGE)).toBe(PAGE))).toEqual({
      lookups: 1,
      steps: 0,
      removals: 1,
    });
  });

  test("DMA that misses them finds the nearest with a few lookups, and without a walk", () => {
    const warnings: string[] = [];
    const device = new DeviceProgram(
      "edu",
      intelHost((message) => warnings.push(message)),
    );
    device.setConfig(4, 2, 6);
    const bar = device.mapRegion(0, 0x10_0000);
    const memory = device.memory(4096);
    for (let i = 0n; i < COUNT; i++) device.map(device.containerFd, FIRST + 2n * i * PAGE, memory, PAGE);
    const miss = FIRST + BigInt(COUNT + 1) * PAGE;
    device.poke64(bar + 0x80, miss);
    device.poke64(bar + 0x88, 0x40000n);
    device.poke64(bar + 0x90, 4n);
    const { lookups, steps } = counting(() => {
      device.poke64(bar + 0x98, 1n);
      device.peek(bar + 0x98, 8);
    });
    const below = miss - PAGE;
    expect(warnings).toEqual([
      expect.stringContaining(`nearest mapping is 0x${below.toString(16)}-0x${(miss - 1n).toString(16)}`),
    ]);
    expect([lookups > 0, lookups <= 4, steps <= 2]).toEqual([true, true, true]);
  });

  test("all of them go by walking them, none by itself", () => {
    const { program, container } = filled(COUNT);
    const calls = counting(() => expect(program.unmap(container, 0n, 0n, UNMAP_ALL)).toBe(BigInt(COUNT) * PAGE));
    expect(calls.removals).toBe(0);
    expect(calls.steps).toBeLessThanOrEqual(2 * COUNT);
    expect([program.task.memory.pinCount, program.task.memory.lockedPages]).toEqual([0, 0]);
    // the tables are as new
    expect(program.map(container, FIRST, program.memory(4096), PAGE)).toBe(0);
    expect(program.unmap(container, FIRST, PAGE)).toBe(PAGE);
  });
});
