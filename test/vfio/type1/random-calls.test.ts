import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { HostDescription } from "../../../src/machine/host-description.ts";
import { readyMadeHost } from "../../../src/machine/ready-made-hosts.ts";
import { parseCapabilityChain } from "../../../src/uapi/capability-chain.ts";
import { VfioIommuType1Info } from "../../../src/uapi/vfio-type1.ts";
import { Program } from "../program.ts";

/** A host with the reserved regions of `intel`, a small aperture, and a limit that random calls reach. */
const LIMIT = 24;
const intel = readyMadeHost("intel")!;
const HOST: HostDescription = {
  ...intel,
  iommu: { ...intel.iommu, apertureLast: 2n ** 39n - 1n },
  modules: { ...intel.modules, vfioIommuType1: { ...intel.modules.vfioIommuType1, dmaEntryLimit: LIMIT } },
};
const GROUP = HOST.groups.find((group) =>
  group.devices.some((device) => device.bus === "pci" && device.driver === "vfio-pci"),
)!;
const RANGES = [
  [0n, 0xfedf_ffffn],
  [0xfef0_0000n, 2n ** 39n - 1n],
] as const;
const PAGE = 0x1000n;
const MEMORY_PAGES = 64;

const page = fc.oneof(
  fc.integer({ min: 0, max: 40 }).map(BigInt),
  fc.integer({ min: 0, max: 12 }).map((n) => 0xfedf_ffffn / PAGE - 4n + BigInt(n)),
  fc.integer({ min: 0, max: 12 }).map((n) => 0xfef0_0000n / PAGE - 4n + BigInt(n)),
  fc.integer({ min: 0, max: 12 }).map((n) => 2n ** 39n / PAGE - 6n + BigInt(n)),
);
const call = fc.record({
  kind: fc.constantFrom("map", "map", "map", "unmap", "unmap", "all"),
  page,
  pages: fc.integer({ min: 0, max: 9 }).map(BigInt),
  vaddrPage: fc.integer({ min: -1, max: MEMORY_PAGES }),
  flags: fc.constantFrom(0, 1, 2, 3, 3, 3, 8),
});

interface Run {
  readonly start: bigint;
  readonly end: bigint;
}

/** The rules of MAP_DMA and UNMAP_DMA once more, on a plain list. */
class Expected {
  runs: Run[] = [];
  readonly v2: boolean;

  constructor(v2: boolean) {
    this.v2 = v2;
  }

  map(start: bigint, size: bigint, flags: number, memoryIsThere: boolean): string | number {
    const end = start + size;
    if (flags & ~7 || !(flags & 3) || size === 0n) return "EINVAL";
    if (this.runs.some((run) => run.start < end && start < run.end)) return "EEXIST";
    if (this.runs.length === LIMIT) return "ENOSPC";
    if (!RANGES.some(([first, last]) => start >= first && end - 1n <= last)) return "EINVAL";
    if (!memoryIsThere) return "EFAULT";
    this.runs.push({ start, end });
    return 0;
  }

  unmap(start: bigint, size: bigint, flags: number): string | bigint {
    if (flags === 2 ? start !== 0n || size !== 0n : size === 0n) return "EINVAL";
    const end = flags === 2 ? 2n ** 64n : start + size;
    const cuts = (at: bigint) => this.runs.some((run) => run.start < at && at < run.end);
    if (this.v2 && (cuts(start) || cuts(end))) return "EINVAL";
    if (!this.v2 && cuts(start)) return 0n;
    const gone = this.runs.filter((run) => run.start >= start && run.start < end);
    this.runs = this.runs.filter((run) => !gone.includes(run));
    return gone.reduce((sum, run) => sum + run.end - run.start, 0n);
  }
}

describe.each([
  ["v1", 1],
  ["v2", 3],
] as const)("random calls on a %s container", (name, type) => {
  test("answer as the rules say and keep every invariant", () => {
    fc.assert(
      fc.property(fc.array(call, { maxLength: 120, size: "max" }), (calls) => {
        const program = new Program(HOST);
        const { container, group } = program.container(GROUP.id, type);
        const memory = program.memory(MEMORY_PAGES * 4096);
        const expected = new Expected(name === "v2");
        for (const { kind, page: at, pages, vaddrPage, flags } of calls) {
          const iova = at * PAGE;
          const size = pages * PAGE;
          if (kind === "map") {
            const isThere = vaddrPage >= 0 && vaddrPage + Number(pages) <= MEMORY_PAGES;
            const result = program.map(container, iova, memory + vaddrPage * 4096, size, flags);
            expect(result).toBe(expected.map(iova, size, flags, isThere));
          } else if (kind === "unmap") {
            expect(program.unmap(container, iova, size)).toBe(expected.unmap(iova, size, 0));
          } else {
            const [start, bytes] = flags === 0 ? [iova, size] : [0n, 0n];
            expect(program.unmap(container, start, bytes, 2)).toBe(expected.unmap(start, bytes, 2));
          }
          checkInvariants(program, expected.runs, container);
        }
        program.close(container);
        program.close(group);
        expect(program.task.memory.lockedPages).toBe(0);
        expect(program.task.memory.pinCount).toBe(0);
      }),
      { numRuns: 60 },
    );
  });
});

/** dma_avail + live = limit; locked pages = the sum of what is mapped; one pin for each mapping. */
function checkInvariants(program: Program, runs: readonly Run[], container: number | string): void {
  const info = program.info(container);
  const { cap_offset } = VfioIommuType1Info.decode(info);
  const capability = parseCapabilityChain(info, cap_offset, VfioIommuType1Info.size).find(({ id }) => id === 3)!;
  const available = new DataView(capability.body.buffer, capability.body.byteOffset).getUint32(0, true);
  expect(available + runs.length).toBe(LIMIT);
  const pages = runs.reduce((sum, run) => sum + (run.end - run.start) / PAGE, 0n);
  expect(program.task.memory.lockedPages).toBe(Number(pages));
  expect(program.task.memory.pinCount).toBe(runs.length);
}
