import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { TceFacts } from "../../src/iommu/tce/endpoint.ts";
import { Ioda2Endpoint } from "../../src/iommu/tce/ioda2.ts";
import { LparEndpoint } from "../../src/iommu/tce/lpar.ts";
import { KernelError } from "../../src/kernel/errors.ts";

const POWERNV: TceFacts = {
  dma32Start: 0n,
  dma32Size: 2n ** 31n,
  maxDynamicWindows: 2,
  levels: 5,
  pageSizes: 0x4021_1000n,
};
const PSERIES: TceFacts = { ...POWERNV, dma32Size: 2n ** 30n, levels: 1, pageSizes: 0x121_1000n };

function errno(call: () => unknown): string | undefined {
  try {
    call();
    return undefined;
  } catch (error) {
    return (error as KernelError).code;
  }
}

describe("tables of bare metal", () => {
  const endpoint = new Ioda2Endpoint(POWERNV, 65536);
  const G = 2n ** 30n;

  test.each([
    // recorded: f02, pn_f02, f03, x04
    [{ pageShift: 12, size: 2n * G, levels: 1 }, 8n * 2n ** 20n, undefined],
    [{ pageShift: 16, size: 128n * G, levels: 1 }, 32n * 2n ** 20n, undefined],
    [{ pageShift: 16, size: 256n * G, levels: 1 }, 64n * 2n ** 20n, "ENOMEM"],
    [{ pageShift: 16, size: 256n * G, levels: 2 }, 67239936n, undefined],
    [{ pageShift: 16, size: G, levels: 3 }, 524288n, "EINVAL"],
    [{ pageShift: 16, size: G, levels: 0 }, 0n, "EINVAL"],
    [{ pageShift: 16, size: 3n * G, levels: 1 }, 0n, "EINVAL"],
    [{ pageShift: 16, size: 0x8000n, levels: 1 }, 131072n, undefined],
    [{ pageShift: 16, size: 0x1000n, levels: 1 }, 0n, undefined],
  ] as const)("%o count as %i bytes and give %s", (request, bytes, expected) => {
    expect(endpoint.tableBytes(request)).toBe(bytes);
    if (bytes !== 0n || expected) expect(errno(() => endpoint.createTable(0, request))).toBe(expected);
  });

  test("never end in the middle of an entry, and only the slot decides where they start", () => {
    const request = fc.record({
      pageShift: fc.constantFrom(12, 16, 21, 30),
      size: fc.integer({ min: 0, max: 63 }).map((shift) => 1n << BigInt(shift)),
      levels: fc.integer({ min: 1, max: 5 }),
    });
    fc.assert(
      fc.property(request, fc.constantFrom(0, 1), (asked, slot) => {
        let window: ReturnType<typeof endpoint.createTable>;
        try {
          window = endpoint.createTable(slot, asked);
        } catch (error) {
          expect(error).toBeInstanceOf(KernelError);
          return;
        }
        expect(window.startAddress).toBe(slot === 0 ? 0n : 1n << 59n);
        const bytes = BigInt(window.table.entries) << BigInt(asked.pageShift);
        expect(bytes).toBeGreaterThanOrEqual(asked.size);
        expect(window.table.entries % 8192).toBe(0);
        // both copies of all levels hold at least all entries
        expect(window.tableBytes).toBeGreaterThanOrEqual(2n * 8n * BigInt(window.table.entries));
      }),
      { numRuns: 500 },
    );
  });
});

describe("windows of a partition", () => {
  function owned(): LparEndpoint {
    const endpoint = new LparEndpoint(PSERIES);
    endpoint.takeOwnership();
    return endpoint;
  }
  const small = { pageShift: 12, size: 2n ** 30n, levels: 1 };
  const large = { pageShift: 16, size: 2n ** 32n, levels: 1 };

  test("the default one and a dynamic one", () => {
    const endpoint = owned();
    expect(endpoint.createTable(0, small).startAddress).toBe(0n);
    const dynamic = endpoint.createTable(1, large);
    expect(dynamic.startAddress).toBe(1n << 59n);
    expect(errno(() => endpoint.setWindow(1, dynamic))).toBeUndefined();
    expect(errno(() => owned().setWindow(1, dynamic))).toBe("EPERM");
  });

  test("a second dynamic one is refused, and then all for good", () => {
    const endpoint = owned();
    expect(endpoint.createTable(0, large).startAddress).toBe(1n << 59n);
    expect(errno(() => endpoint.createTable(1, large))).toBe("ENODEV");
    endpoint.unsetWindow(0);
    endpoint.releaseOwnership();
    endpoint.takeOwnership();
    expect(errno(() => endpoint.createTable(0, small))).toBe("ENODEV");
  });

  test("the default one does not come back beside a dynamic one", () => {
    const endpoint = owned();
    endpoint.createTable(0, small);
    endpoint.createTable(1, large);
    endpoint.unsetWindow(0);
    expect(errno(() => endpoint.createTable(0, small))).toBe("EPERM");
    expect(errno(() => endpoint.createTable(0, large))).toBe("EPERM");
    endpoint.unsetWindow(1);
    expect(errno(() => endpoint.createTable(0, small))).toBeUndefined();
  });

  test("none at all where firmware has no dynamic ones", () => {
    const endpoint = new LparEndpoint({ ...PSERIES, maxDynamicWindows: 0xffff_ffff, levels: 0 });
    endpoint.takeOwnership();
    expect(errno(() => endpoint.createTable(0, small))).toBe("EINVAL");
    expect(errno(() => endpoint.createTable(0, small))).toBe("ENODEV");
  });
});
