import { describe, expect, test } from "vitest";
import { Host } from "../../../src/host/host.ts";
import { Sanitizer } from "../../../src/inspect/sanitize/sanitizer.ts";
import { watchKernel } from "../../../src/inspect/watch/watch-kernel.ts";
import { lab } from "../../../src/machine/hosts/lab.ts";
import { Program } from "../../vfio/program.ts";

const UNMAP_ALL = 2;

/** What the sanitizer says while `run` runs, and what it counts. */
function sanitized(run: (program: Program, container: number) => void, type = 3) {
  const lines: string[] = [];
  const sanitizer = new Sanitizer((line) => lines.push(line));
  const host = new Host(lab, { watch: sanitizer.model });
  watchKernel(host, [sanitizer], (message) => {
    throw new Error(message);
  });
  const program = new Program(host, { name: "prog" });
  const { container } = program.container(3, type);
  run(program, Number(container));
  program.task.exit();
  sanitizer.end();
  return { lines, leaked: sanitizer.leakedMappings, findings: sanitizer.findings };
}

describe("the sanitizer", () => {
  test("finds nothing when everything is unmapped, by one request or by UNMAP_ALL", () => {
    const { lines, leaked } = sanitized((program, container) => {
      const memory = program.memory(0x4000);
      for (const at of [0, 1, 2, 3])
        program.map(container, BigInt(0x10000 + at * 0x1000), memory + at * 0x1000, 0x1000n);
      expect(program.unmap(container, 0x10000n, 0x2000n)).toBe(0x2000n);
      expect(program.unmap(container, 0n, 0n, UNMAP_ALL)).toBe(0x2000n);
    });
    expect(lines).toEqual([expect.stringMatching(/^sanitizer: no findings in \d+ calls$/)]);
    expect(leaked).toBe(0);
  });

  test("counts each mapping that is left", () => {
    const { lines, leaked, findings } = sanitized((program, container) => {
      const memory = program.memory(0x3000);
      for (const at of [0, 1, 2]) program.map(container, BigInt(0x10000 + at * 0x1000), memory, 0x1000n);
      program.unmap(container, 0x11000n, 0x1000n);
    });
    expect([leaked, findings]).toEqual([2, 2]);
    expect(lines.filter((line) => line.includes("0x11000"))).toEqual([]);
  });

  test("counts it too when another file closes in the middle of its call", () => {
    const { leaked } = sanitized((program, container) => {
      const memory = program.memory(0x1000);
      const other = Number(program.open("/dev/vfio/vfio"));
      const copyIn = program.task.memory.copyIn.bind(program.task.memory);
      program.task.memory.copyIn = (from, into, length) => {
        if (program.task.files.get(other)) program.task.files.close(other);
        copyIn(from, into, length);
      };
      expect(program.map(container, 0x10000n, memory, 0x1000n)).toBe(0);
      expect(program.task.files.get(other)).toBeUndefined();
    });
    expect(leaked).toBe(1);
  });

  test("does not count a mapping that failed, nor one whose unmap failed as gone", () => {
    const { leaked } = sanitized((program, container) => {
      const memory = program.memory(0x2000);
      expect(program.map(container, 0x10000n, memory, 0x2000n)).toBe(0);
      expect(program.map(container, 0x10000n, memory, 0x1000n)).toBe("EEXIST");
      expect(program.unmap(container, 0x10000n, 0x1000n)).toBe("EINVAL");
    });
    expect(leaked).toBe(1);
  });

  test.each([
    ["munmap", (program: Program, memory: number) => program.task.memory.munmap(memory, 0x1000)],
    ["mprotect", (program: Program, memory: number) => program.task.memory.mprotect(memory, 0x1000, 1)],
  ])("sees at the next call that memory is gone by %s, and says so once", (_name, take) => {
    const { lines } = sanitized((program, container) => {
      const memory = program.memory(0x2000);
      program.map(container, 0x10000n, memory, 0x2000n);
      take(program, memory);
      program.info(container);
      program.info(container);
      program.unmap(container, 0x10000n, 0x2000n);
    });
    expect(lines[0]).toMatch(
      /^sanitizer: memory unmapped while mapped for DMA: .* noticed at call \d+ of prog\[\d+\] \(VFIO_IOMMU_GET_INFO/,
    );
    expect(lines).toHaveLength(2);
  });

  test("says of an unmap inside a mapping of a v1 container that it took nothing, and of one of nothing does not", () => {
    const { lines } = sanitized((program, container) => {
      program.map(container, 0x10000n, program.memory(0x4000), 0x4000n);
      expect(program.unmap(container, 0x12000n, 0x1000n)).toBe(0n);
      expect(program.unmap(container, 0x90000n, 0x1000n)).toBe(0n);
      expect(program.unmap(container, 0x10000n, 0x1000n)).toBe(0x4000n);
    }, 1);
    expect(lines).toHaveLength(2);
    expect(lines[0]).toMatch(
      /^sanitizer: unmap that took nothing: call \d+ of prog\[\d+\] \(VFIO_IOMMU_UNMAP_DMA, iova 0x12000-0x12fff\) .* inside iova 0x10000-0x13fff/,
    );
  });

  test("sees it at the unmap even behind many other mappings", () => {
    const { lines } = sanitized((program, container) => {
      const memory = program.memory(0x1000);
      for (let at = 0; at < 300; at++) program.map(container, BigInt(0x100000 + at * 0x1000), memory, 0x1000n);
      const own = program.memory(0x1000);
      program.map(container, 0x10000n, own, 0x1000n);
      program.task.memory.munmap(own, 0x1000);
      program.unmap(container, 0x10000n, 0x1000n);
      program.unmap(container, 0n, 0n, UNMAP_ALL);
    });
    expect(lines).toHaveLength(2);
    expect(lines[0]).toContain("iova 0x10000-0x10fff maps it");
  });
});
