import { expect, test } from "vitest";
import { Host } from "../../src/host/host.ts";
import { readyMadeHost } from "../../src/machine/ready-made-hosts.ts";
import { Program } from "./program.ts";

const LAB = readyMadeHost("lab")!;

test("a group that is open says who opened it", () => {
  const host = new Host(LAB);
  const first = new Program(host, { name: "qemu-system-x86", pid: 4711 });
  const second = new Program(host, { name: "dpdk-testpmd", pid: 12 });
  const group = first.open("/dev/vfio/3");
  expect(second.open("/dev/vfio/3")).toBe("EBUSY");
  expect(second.reason).toContain("open already, by process qemu-system-x86, pid 4711");
  first.close(group);
  expect(second.open("/dev/vfio/3")).toBeTypeOf("number");
  expect(first.open("/dev/vfio/3")).toBe("EBUSY");
  expect(first.reason).toContain("by process dpdk-testpmd, pid 12");
});

test("an unmap inside a mapping of a v1 container is said once for a container", () => {
  const warnings: string[] = [];
  const program = new Program(new Host(LAB, { onWarning: (message) => warnings.push(message) }));
  const { container } = program.container(3, 1);
  program.map(container, 0x2_0000_0000n, program.memory(0x80_0000), 0x80_0000n);
  expect(program.unmap(container, 0x2_0040_0000n, 0x20_0000n)).toBe(0n);
  expect(program.unmap(container, 0x2_0060_0000n, 0x1000n)).toBe(0n);
  expect(warnings).toEqual([
    expect.stringMatching(
      /VFIO_IOMMU_UNMAP_DMA of 0x200400000-0x2005fffff took nothing .* inside the mapping 0x200000000-0x2007fffff/,
    ),
  ]);
});
