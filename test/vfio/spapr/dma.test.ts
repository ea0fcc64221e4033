import { describe, expect, test } from "vitest";
import type { DmaTarget } from "../../../src/iommu/dma-target.ts";
import { readyMadeHost } from "../../../src/machine/ready-made-hosts.ts";
import { VFIO_IOMMU_ENABLE } from "../../../src/uapi/vfio-spapr.ts";
import type { Container } from "../../../src/vfio/container.ts";
import type { SpaprBackend } from "../../../src/vfio/spapr/driver.ts";
import { Program, type Result } from "../program.ts";
import { create, register, unmap } from "./calls.ts";

const PAGE = 65536;
const SECOND = 1n << 59n;

function dmaOf(program: Program, container: Result): DmaTarget {
  return ((program.task.files.get(Number(container)) as Container).backend as SpaprBackend).dma;
}

function text(program: Program, address: number, length: number): string {
  const bytes = new Uint8Array(length);
  program.task.memory.copyIn(address, bytes, length);
  return new TextDecoder().decode(bytes);
}

function read(dma: DmaTarget, iova: bigint, length: number): string {
  const bytes = new Uint8Array(length);
  const fault = dma.read(iova, bytes);
  return fault ? `${fault.iova.toString(16)}: ${fault.reason}` : new TextDecoder().decode(bytes);
}

describe.each(["power9", "pseries"])("DMA on %s", (name) => {
  function started() {
    const program = new Program(readyMadeHost(name)!);
    const { container } = program.container(0, 7);
    const memory = program.memory(16 * PAGE);
    register(program, container, memory, 16 * PAGE);
    return { program, container, memory, dma: dmaOf(program, container) };
  }
  const say = (program: Program, address: number, words: string) =>
    program.task.memory.copyOut(address, new TextEncoder().encode(words), words.length);

  test("goes through the window that the address lies in, page by page", () => {
    const { program, container, memory, dma } = started();
    expect(create(program, container, 16, 2n ** 30n)).toBe(SECOND);
    // two IOMMU pages in the wrong order, in the window of 64K pages; and one of 4K in the other
    program.map(container, SECOND, memory + PAGE, BigInt(PAGE));
    program.map(container, SECOND + BigInt(PAGE), memory, BigInt(PAGE));
    program.map(container, 0x5000n, memory + 0x3000, 0x1000n);
    say(program, memory + 2 * PAGE - 5, "Hello");
    say(program, memory, " world");
    say(program, memory + 0x3ffe, "ok");
    expect(read(dma, SECOND + BigInt(PAGE) - 5n, 11)).toBe("Hello world");
    expect(read(dma, 0x5ffen, 2)).toBe("ok");
    expect(dma.write(SECOND + BigInt(PAGE) - 2n, new TextEncoder().encode("abcd"))).toBeUndefined();
    expect(text(program, memory + 2 * PAGE - 2, 2) + text(program, memory, 2)).toBe("abcd");
  });

  test("faults where nothing is mapped, where no window is, and against the permission", () => {
    const { program, container, memory, dma } = started();
    program.map(container, 0n, memory, 0x1000n, 1);
    program.map(container, 0x1000n, memory, 0x1000n, 2);
    expect(read(dma, 0x2000n, 4)).toMatch(/^2000: nothing is mapped at iova 0x2000 in the window 0x0-/);
    expect(read(dma, 1n << 50n, 4)).toMatch(/^4000000000000: iova 0x4000000000000 lies in no window; there are 0x0-/);
    expect(dma.write(0x800n, new Uint8Array(4))?.reason).toBe("the mapping at iova 0x0 does not allow writing");
    // bare metal has no TCE that allows writing alone
    const writeOnly = read(dma, 0x1000n, 1);
    if (name === "power9") expect(writeOnly).toBe("\0");
    else expect(writeOnly).toBe("1000: the mapping at iova 0x1000 does not allow reading");
    unmap(program, container, 0n, 0x1000n);
    expect(read(dma, 0n, 4)).toMatch(/nothing is mapped/);
  });

  test("reaches the pages that were registered, whatever is at their address now", () => {
    const { program, container, memory, dma } = started();
    program.map(container, 0n, memory, 0x1000n);
    say(program, memory, "kept");
    program.task.memory.munmap(memory, 16 * PAGE);
    expect(read(dma, 0n, 4)).toBe("kept");
  });

  test("of version 1 reaches single pages of the kernel", () => {
    const program = new Program(readyMadeHost(name)!);
    const { container } = program.container(0, 2);
    program.ioctl(container, VFIO_IOMMU_ENABLE);
    const memory = program.memory(4 * PAGE);
    const dma = dmaOf(program, container);
    program.map(container, 0x1000n, memory + PAGE + 0x2000, 0x2000n);
    say(program, memory + PAGE + 0x2ffc, "tailhead");
    expect(read(dma, 0x1ffcn, 8)).toBe("tailhead");
  });
});
