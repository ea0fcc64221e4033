import { describe, expect, test } from "vitest";
import { parseHost } from "../../../src/machine/parse-host.ts";
import { Program } from "../program.ts";

const MDEV = "c08db5ed-05d3-4b39-b150-438a18bc698f";
const PAGE = 4096n;
const LARGE = 0x1_0000n;

function host(model: string, bits: number) {
  return parseHost(
    `
name: attach
arch: ${model === "arm-smmu-v3" ? "arm64" : model === "s390" ? "s390x" : "x86_64"}
iommu: { model: ${model}, address_bits: ${bits}, page_sizes: 0xfffffffffffff000 }
groups:
  - { id: 1, devices: [{ bdf: 0000:01:00.0, id: "1234:11e8" }] }
  - { id: 5, iommu: { page_sizes: 0xffffffffffff0000 }, devices: [{ bdf: 0000:05:00.0, id: "1234:11e8" }] }
  - { id: 12, devices: [{ uuid: ${MDEV}, parent: 0000:01:00.0, type: uvfio-sample }] }
`,
    "attach.yaml",
  );
}

/** A container of one group that maps `pages` at `iova`; and what another group's join does to it. */
function joinOver(first: number, second: number, iova: bigint, shift = 0n, size = PAGE) {
  const program = new Program(host("intel-vtd", 57));
  const { container } = program.container(first);
  const memory = (BigInt(program.memory(4 * 65536)) + LARGE - 1n) & ~(LARGE - 1n);
  expect(program.map(container, iova, memory + shift, size)).toBe(0);
  const before = [...program.info(container)];
  const group = program.open(`/dev/vfio/${second}`);
  const result = program.setContainer(group, container);
  return { program, container, group, result, before };
}

describe("a group whose IOMMU cannot map what is mapped is refused, and nothing has changed", () => {
  test.each([
    ["4 KiB of a container behind an IOMMU", 1, 0x1000n, 0n, PAGE],
    ["a size that is no multiple", 1, LARGE, 0n, LARGE + PAGE],
    ["4 KiB of a mediated device's container", 12, 0x1000n, 0n, PAGE],
  ])("%s, with pages of 64 KiB", (_name, first, iova, shift, size) => {
    const { program, container, group, result, before } = joinOver(first, 5, iova, shift, size);
    expect(result).toBe("EINVAL");
    expect(program.reason).toMatch(/is no multiple of 0x10000, the smallest page of Intel VT-d/);
    expect([...program.info(container)]).toEqual(before);
    if (first === 12) expect([program.task.memory.lockedPages, program.task.memory.pinCount]).toEqual([0, 0]);
    expect(program.unmap(container, iova, size)).toBe(size);
    expect(program.setContainer(group, container)).toBe(0);
    expect(program.map(container, LARGE, program.memory(4096), PAGE)).toBe("EINVAL");
  });

  test("what is aligned for both is taken", () => {
    const { result, program } = joinOver(12, 5, LARGE, 0n, LARGE);
    expect(result, program.reason).toBe(0);
    expect(program.task.memory.lockedPages).toBe(16);
  });

  test.each([
    ["intel-vtd", "EFAULT"],
    ["virtio-iommu", "ERANGE"],
    ["arm-smmu-v3", "ERANGE"],
  ])("%s: what lies beyond its aperture", (model, errno) => {
    const program = new Program(host(model, 48));
    const { container } = program.container(12);
    const memory = program.memory(4096);
    expect(program.map(container, 0x1000n, memory, PAGE)).toBe(0);
    expect(program.map(container, 2n ** 60n, memory, PAGE)).toBe(0);
    const group = program.open("/dev/vfio/1");
    program.host.parameters.write("vfio_iommu_type1/allow_unsafe_interrupts", "1");
    expect(program.setContainer(group, container)).toBe(errno);
    expect(program.reason).toMatch(/0x1000000000000000-0x1000000000000fff lies beyond what/);
    expect([program.task.memory.lockedPages, program.task.memory.pinCount]).toEqual([0, 0]);
    expect(program.unmap(container, 2n ** 60n, PAGE)).toBe(PAGE);
    expect(program.setContainer(group, container)).toBe(0);
    expect(program.task.memory.lockedPages).toBe(1);
  });
});
