import { describe, expect, test } from "vitest";
import { Host } from "../../../src/host/host.ts";
import { readyMadeHost } from "../../../src/machine/ready-made-hosts.ts";
import { Program } from "../program.ts";
import { create, locked, register, remove, unmap, unregister } from "./calls.ts";

const PAGE = 65536;
const SECOND = 1n << 59n;

function started(name: string) {
  const warnings: string[] = [];
  const host = new Host(readyMadeHost(name)!, { onWarning: (message) => warnings.push(message) });
  const program = new Program(host);
  const { container, group } = program.container(0, 7);
  return { program, container, group, warnings };
}

describe("windows of power9", () => {
  test("of 2^40 entries are as cheap as what is mapped in them", () => {
    const { program, container, group } = started("power9");
    expect(remove(program, container, 0n)).toBe(0);
    expect(create(program, container, 12, 2n ** 52n, 3)).toBe(0n);
    const memory = program.memory(16 * PAGE);
    register(program, container, memory, 16 * PAGE);
    const before = process.memoryUsage().rss;
    const begun = performance.now();
    for (let i = 0n; i < 16n; i++) {
      expect(program.map(container, i << 48n, memory + Number(i) * PAGE, BigInt(PAGE))).toBe(0);
    }
    expect(unmap(program, container, 0n, 1n << 51n)).toBe(0);
    expect(unregister(program, container, memory, 16 * PAGE)).toBe(0);
    expect(remove(program, container, 0x1234n)).toBe(0);
    expect(performance.now() - begun).toBeLessThan(1000);
    expect(process.memoryUsage().rss - before).toBeLessThan(64 * 2 ** 20);
    program.close(container);
    program.close(group);
  });

  test("move when the default one was removed", () => {
    const { program, container } = started("power9");
    expect(create(program, container, 16, 2n ** 30n)).toBe(SECOND);
    expect(create(program, container, 16, 2n ** 30n)).toBe("ENOSPC");
    expect(program.reason).toContain("0x0-0x7fffffff with 4K pages and 0x800000000000000-");
    expect(remove(program, container, 0n)).toBe(0);
    expect(create(program, container, 16, 2n ** 30n)).toBe(0n);
  });

  test("that cannot be built keep their charge, and a warning says so", () => {
    const { program, container, warnings } = started("power9");
    expect(remove(program, container, 0n)).toBe(0);
    expect(create(program, container, 16, 2n ** 30n, 3)).toBe("EINVAL");
    expect(locked(program)).toBe(8 * PAGE);
    expect(warnings.join()).toMatch(/building a TCE table failed .* stay locked memory until the process ends/);
  });
});

describe("requests that a kernel gets wrong", () => {
  test("a misaligned iova returns 1 and says so", () => {
    const { program, container, warnings } = started("power9-4k");
    const memory = program.memory(8192);
    register(program, container, memory, 8192);
    expect(program.map(container, 0x10n, memory, 4096n)).toBe(1);
    expect(unmap(program, container, 0x10n, 4096n)).toBe(1);
    expect(warnings).toHaveLength(2);
    expect(warnings[0]).toContain("iova 0x10 is not a multiple of the window's page, 4K");
  });

  test("memory whose end is missing registers as a positive number", () => {
    const { program, container, warnings } = started("power9-4k");
    const memory = program.memory(8 * 4096);
    program.task.memory.munmap(memory + 3 * 4096, 5 * 4096);
    expect(register(program, container, memory, 8 * 4096)).toBe(3);
    expect(locked(program)).toBe(0);
    expect(warnings[0]).toMatch(/returned 3, which is no error, and registered nothing/);
  });

  test("a region that is unregistered while mapped stays, and its adopter cannot get rid of it", () => {
    const { program, container, warnings } = started("power9-4k");
    const memory = program.memory(4096);
    register(program, container, memory, 4096);
    program.map(container, 0n, memory, 4096n);
    const before = locked(program);
    expect(unregister(program, container, memory, 4096)).toBe(0);
    expect(warnings[0]).toMatch(/1 pages of the registered memory 0x\w+-0x\w+ are mapped/);
    expect(locked(program)).toBe(before);
    expect(unmap(program, container, 0n, 4096n)).toBe(0);
    expect(register(program, container, memory, 4096)).toBe(0);
    expect(unregister(program, container, memory, 4096)).toBe(0);
    expect(locked(program)).toBe(before);
  });

  test.each([
    ["power9", "ENXIO"],
    ["pseries", "EINTR"],
  ])("a mapping that runs past its window is refused on %s with %s", (name, errno) => {
    const { program, container, warnings } = started(name);
    remove(program, container, 0n);
    const start = create(program, container, 16, 2n ** 29n) as bigint;
    const memory = program.memory(4 * PAGE);
    register(program, container, memory, 4 * PAGE);
    expect(program.map(container, start + 2n ** 29n - BigInt(PAGE), memory, BigInt(2 * PAGE))).toBe(errno);
    expect(warnings[0]).toContain("runs past the end of its window");
    expect(unmap(program, container, start + 2n ** 29n - BigInt(PAGE), BigInt(2 * PAGE))).toBe(0);
    expect(unregister(program, container, memory, 4 * PAGE)).toBe(0);
    // nothing of the region is left behind
    expect(program.task.memory.pinCount).toBe(0);
  });
});

describe("unmapping past a window's end", () => {
  test("returns 1 since 7.2", () => {
    const host = new Host({ ...readyMadeHost("power9")!, kernel: "7.2" });
    const program = new Program(host);
    const { container } = program.container(0, 7);
    register(program, container, program.memory(PAGE), PAGE);
    expect(unmap(program, container, 0x7fff_f000n, 0x1000n)).toBe(0);
    expect(unmap(program, container, 0x7fff_f000n, 0x2000n)).toBe(1);
  });
});
