import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Container } from "../../../src/client/container.ts";
import { Group } from "../../../src/client/group.ts";
import { ModelTransport } from "../../../src/client/model-transport.ts";
import { SystemCallError } from "../../../src/client/transport.ts";
import { Host } from "../../../src/host/host.ts";
import { checkFit } from "../../../src/inspect/fit/fit.ts";
import type { GuestRange } from "../../../src/inspect/fit/layout.ts";
import { GIB, KIB } from "../../../src/inspect/fit/sizes.ts";
import { PROT_READ, PROT_WRITE } from "../../../src/kernel/model-areas.ts";
import { ModelTask } from "../../../src/kernel/model-task.ts";
import { CAP_DAC_OVERRIDE, CAP_IPC_LOCK } from "../../../src/kernel/task.ts";
import { fitHost } from "../../../src/library/fit/fit-host.ts";
import type { HostDescription } from "../../../src/machine/host-description.ts";
import { parseHost } from "../../../src/machine/parse-host.ts";
import { VFIO_TYPE1v2_IOMMU } from "../../../src/uapi/vfio.ts";
import { question } from "./hosts.ts";

const PAGE = 0x1000n;

/** A host with one or two groups, apertures and regions that a guest may run into. */
const hosts = fc
  .record({
    bits: fc.integer({ min: 32, max: 57 }),
    own: fc.option(fc.integer({ min: 36, max: 48 })),
    regions: fc.array(
      fc.record({
        page: fc.bigInt({ min: 0n, max: 1n << 29n }),
        pages: fc.bigInt({ min: 1n, max: 1n << 23n }),
        type: fc.constantFrom("reserved", "msi", "direct-relaxable"),
      }),
      { maxLength: 4 },
    ),
    limit: fc.constantFrom(2, 3, 4, 100),
  })
  .map(({ bits, own, regions, limit }) => {
    let end = 0n;
    const apart = [...regions]
      .sort((a, b) => (a.page < b.page ? -1 : 1))
      .filter(({ page, pages }) => {
        const isFree = page >= end;
        if (isFree) end = page + pages;
        return isFree;
      })
      .map(
        ({ page, pages, type }) =>
          `{ start: 0x${(page * PAGE).toString(16)}, end: 0x${((page + pages) * PAGE - 1n).toString(16)}, type: ${type} }`,
      );
    const second =
      own === null
        ? ""
        : `  - { id: 2, iommu: { address_bits: ${own} }, reserved_regions: [], devices: [{ bdf: 0000:00:05.0, id: "1234:11e8" }] }\n`;
    return parseHost(
      `name: random\niommu: { model: intel-vtd, address_bits: ${bits} }\nmodules: { vfio_iommu_type1: { dma_entry_limit: ${limit} } }\ngroups:\n` +
        `  - { id: 1, reserved_regions: [${apart.join(", ")}], devices: [{ bdf: 0000:00:04.0, id: "1234:11e8" }] }\n${second}`,
      "random.yaml",
    );
  });

const guests = fc.record({
  vmm: fc.constantFrom("pc-q35-7.0", "q35", "i440fx", "pc-i440fx-1.7", "cloud-hypervisor", "crosvm"),
  memory: fc
    .oneof(fc.bigInt({ min: 256n, max: 1n << 21n }), fc.bigInt({ min: 1n << 21n, max: 1n << 30n }))
    .map((n) => n * PAGE),
  cpuVendor: fc.constantFrom("amd" as const, "intel" as const),
});

/** A VMM in the model: maps ranges as a VMM does, and says which the kernel took. */
function mapAll(
  description: HostDescription,
  ranges: readonly GuestRange[],
  task: ModelTask,
  chunk?: bigint,
): boolean[] {
  const transport = new ModelTransport(new Host(description), { makeTask: () => task });
  const container = Container.open(transport);
  for (const [index, { id }] of description.groups.entries()) {
    Group.open(transport, id).setContainer(container);
    if (index === 0) container.setIommu(VFIO_TYPE1v2_IOMMU);
  }
  const results = ranges.map(({ kind, start, last, used }) => {
    const size = used ?? last - start + 1n;
    const vaddr = BigInt(task.memory.mmap({ length: Number(size), protection: PROT_READ | PROT_WRITE }));
    const piece = chunk ?? size;
    try {
      for (let at = 0n; at < size; at += piece)
        container.map({ iova: start + at, vaddr: vaddr + at, size: size - at < piece ? size - at : piece });
      // where BARs may go by one firmware and by another can overlap
      if (kind === "bars") container.unmap({ iova: start, size });
      return true;
    } catch (error) {
      if (!(error instanceof SystemCallError)) throw error;
      return false;
    }
  });
  transport.exit();
  return results;
}

const root = () => new ModelTask({ capabilities: [CAP_DAC_OVERRIDE, CAP_IPC_LOCK] });
const withMemlock = (memlock: number) => new ModelTask({ capabilities: [CAP_DAC_OVERRIDE], memlock });
const isMemory = (range: GuestRange) => range.kind !== "bars";

describe("fit says what mapping the ranges on the model gives", () => {
  test("for each range, of random guests on random hosts", () => {
    let collided = 0;
    let fitted = 0;
    fc.assert(
      fc.property(hosts, guests, (random, guest) => {
        const description = {
          ...random,
          modules: { ...random.modules, vfioIommuType1: { ...random.modules.vfioIommuType1, dmaEntryLimit: 65535 } },
        };
        const request = question(fitHost(description, []), guest);
        fc.pre(request.host.answer !== undefined);
        const result = checkFit(request);
        // a window of many TiB is more than a process of the model has addresses for
        const verdicts = result.ranges.filter(({ range }) => (range.used ?? range.last - range.start) < 1n << 45n);
        const said = verdicts.map(({ collisions }) => collisions.length === 0);
        expect(
          mapAll(
            description,
            verdicts.map(({ range }) => range),
            root(),
          ),
        ).toEqual(said);
        if (result.fits) fitted++;
        else collided++;
      }),
      { numRuns: 300 },
    );
    // both answers were met, or the comparison says little
    expect(Math.min(collided, fitted)).toBeGreaterThan(20);
  });

  test("for the number of mappings, in pieces of any size", () => {
    fc.assert(
      fc.property(hosts, guests, fc.integer({ min: 1, max: 60 }), (description, guest, pieces) => {
        const chunk = (guest.memory / BigInt(pieces) / PAGE + 1n) * PAGE;
        const request = question(fitHost(description, []), guest, { chunk });
        fc.pre(request.host.answer !== undefined);
        const result = checkFit(request);
        fc.pre(result.ranges.every(({ range, collisions }) => !isMemory(range) || collisions.length === 0));
        const mapped = mapAll(description, request.layout.ranges.filter(isMemory), root(), chunk);
        expect(mapped.every(Boolean)).toBe(result.fits);
      }),
      { numRuns: 200 },
    );
  });

  test("for RLIMIT_MEMLOCK, to the page", () => {
    const description = parseHost(
      'name: one\niommu: { model: intel-vtd }\ngroups: [{ id: 1, devices: [{ bdf: 0000:00:04.0, id: "1234:11e8" }] }]\n',
      "one.yaml",
    );
    const guest = { vmm: "q35", memory: 8n * GIB };
    for (const memlock of [8n * GIB, 8n * GIB + 252n * KIB, 8n * GIB + 256n * KIB, 9n * GIB]) {
      const request = question(fitHost(description, []), guest, { memlock });
      const mapped = mapAll(description, request.layout.ranges.filter(isMemory), withMemlock(Number(memlock)));
      expect(mapped.every(Boolean)).toBe(checkFit(request).fits);
    }
    expect(checkFit(question(fitHost(description, []), guest, { memlock: 8n * GIB })).fits).toBe(false);
    expect(checkFit(question(fitHost(description, []), guest, { memlock: 9n * GIB })).fits).toBe(true);
  });
});
