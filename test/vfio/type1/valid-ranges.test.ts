import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseHost } from "../../../src/machine/parse-host.ts";
import { VFIO_CHECK_EXTENSION, VFIO_DMA_CC_IOMMU } from "../../../src/uapi/vfio.ts";
import { VfioIommuType1Info } from "../../../src/uapi/vfio-type1.ts";
import { ranges } from "../info.ts";
import { Program } from "../program.ts";

/** Four groups: the plain one, one that reserves more, one behind a narrower and not coherent IOMMU, and a mediated device. */
const HOST = parseHost(
  `
name: several
iommu: { model: intel-vtd, address_bits: 48, page_sizes: 0xfffffffffffff000, cache_coherent: true }
groups:
  - id: 1
    devices: [{ bdf: 0000:00:01.0, id: "8086:1000" }]
  - id: 2
    reserved_regions:
      - { start: 0x20000000, end: 0x200fffff, type: reserved }
      - { start: 0x30000000, end: 0x300fffff, type: direct-relaxable }
      - { start: 0xfee00000, end: 0xfeefffff, type: msi }
    devices: [{ bdf: 0000:00:02.0, id: "8086:1000" }]
  - id: 3
    iommu: { address_bits: 39, page_sizes: 0x40201000, cache_coherent: false }
    devices: [{ bdf: 0000:00:03.0, id: "8086:1000" }]
  - id: 4
    devices: [{ uuid: 12345678-1234-1234-1234-123456789abc, parent: 0000:00:01.0, type: t }]
`,
  "several.yaml",
);
const MSI = [0xfee0_0000n, 0xfeef_ffffn] as const;
const RESERVED = [0x2000_0000n, 0x200f_ffffn] as const;

/** The list as the rules give it: the narrowest aperture less every region that binds, of the groups that have an IOMMU. */
function expected(groups: ReadonlySet<number>): [bigint, bigint][] | undefined {
  if (![1, 2, 3].some((id) => groups.has(id))) return undefined;
  const last = groups.has(3) ? 2n ** 39n - 1n : 2n ** 48n - 1n;
  const cuts = groups.has(2) ? [RESERVED, MSI] : [MSI];
  const list: [bigint, bigint][] = [];
  let start = 0n;
  for (const [from, to] of cuts) {
    list.push([start, from - 1n]);
    start = to + 1n;
  }
  list.push([start, last]);
  return list;
}

function setup(first: number) {
  const program = new Program(HOST);
  const { container, group } = program.container(first);
  const open = new Map([[first, group]]);
  const join = (id: number) => {
    open.set(id, open.get(id) ?? program.open(`/dev/vfio/${id}`));
    return program.setContainer(open.get(id)!, container);
  };
  const leave = (id: number) => program.unsetContainer(open.get(id)!);
  return { program, container, join, leave, list: () => ranges(program.info(container)) };
}

describe("the valid IOVA ranges", () => {
  test("are the narrowest aperture less all binding regions, over random joins and leaves", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 2, max: 4 }), { maxLength: 30, size: "max" }), (steps) => {
        const { join, leave, list } = setup(1);
        const inside = new Set([1]);
        for (const id of steps) {
          if (inside.has(id)) {
            expect(leave(id)).toBe(0);
            inside.delete(id);
          } else {
            expect(join(id)).toBe(0);
            inside.add(id);
          }
          expect(list()).toEqual(expected(inside));
        }
      }),
    );
  });

  test("shrink with a group that reserves more, and grow back when it leaves", () => {
    const { program, container, join, leave, list } = setup(1);
    const memory = program.memory(4096);
    expect(join(2)).toBe(0);
    expect(list()).toEqual(expected(new Set([1, 2])));
    expect(program.map(container, RESERVED[0], memory, 4096n)).toBe("EINVAL");
    expect(program.reason).toMatch(/reserved range 0x20000000-0x200fffff \(reserved\) of 0000:00:02\.0 \(group 2\)/);
    expect(program.map(container, 0x3000_0000n, memory, 4096n)).toBe(0);
    expect(leave(2)).toBe(0);
    expect(program.map(container, RESERVED[0], memory, 4096n)).toBe(0);
  });

  test("keep a group out whose regions are mapped, and then nothing has changed", () => {
    const { program, container, join, list } = setup(1);
    const memory = program.memory(4096);
    expect(program.map(container, RESERVED[1] - 0xfffn, memory, 4096n)).toBe(0);
    const before = program.info(container);
    expect(join(2)).toBe("EINVAL");
    expect(program.reason).toMatch(/the mapping 0x200ff000-0x200fffff overlaps the reserved range/);
    expect(program.info(container)).toEqual(before);
    expect(program.unmap(container, 0n, 0n, 2)).toBe(4096n);
    expect(join(2)).toBe(0);
    expect(list()?.length).toBe(3);
  });

  test("keep a group out whose aperture does not reach a mapping", () => {
    const { program, container, join } = setup(1);
    expect(program.map(container, 2n ** 39n, program.memory(4096), 4096n)).toBe(0);
    expect(join(3)).toBe("EINVAL");
    expect(program.reason).toMatch(/0x8000000000-0x8000000fff lies outside the aperture 0x0-0x7fffffffff/);
  });
});

describe("several IOMMUs in one container", () => {
  const pageSizes = (info: Uint8Array) => VfioIommuType1Info.decode(info).iova_pgsizes;

  test("have the page sizes and the coherency that all have", () => {
    const { program, container, join, leave } = setup(1);
    const coherent = () => program.ioctl(container, VFIO_CHECK_EXTENSION, VFIO_DMA_CC_IOMMU);
    expect([pageSizes(program.info(container)), coherent()]).toEqual([0xffff_ffff_ffff_f000n, 1]);
    expect(join(3)).toBe(0);
    expect([pageSizes(program.info(container)), coherent()]).toEqual([0x4020_1000n, 0]);
    expect(leave(3)).toBe(0);
    expect([pageSizes(program.info(container)), coherent()]).toEqual([0xffff_ffff_ffff_f000n, 1]);
  });

  test("pin a page once", () => {
    const { program, container, join } = setup(1);
    program.map(container, 0n, program.memory(16 * 4096), 16n * 4096n);
    expect(join(3)).toBe(0);
    expect(program.task.memory.lockedPages).toBe(16);
    program.unmap(container, 0n, 0n, 2);
    expect(program.task.memory.lockedPages).toBe(0);
  });
});
