import { describe, expect, test } from "vitest";
import { DmaGroup } from "../../src/iommu/dma-group.ts";
import { NoTarget } from "../../src/iommu/dma-target.ts";
import type { ReservedRegion } from "../../src/iommu/group.ts";
import { Release } from "../../src/kernel/releases.ts";

const RELEASE = new Release("6.12");
const [ANNA, BERT] = [{ label: "the container of Anna" }, { label: "the iommufd of Bert" }];

function group(facts: { reservedRegions?: readonly ReservedRegion[]; hostDrivers?: readonly string[] } = {}): DmaGroup {
  const { reservedRegions = [], hostDrivers = [] } = facts;
  const iommuGroup = { id: 7, unit: undefined, kind: "iommu" as const, reservedRegions, deviceNames: ["one", "two"] };
  return new DmaGroup(iommuGroup, { in: () => hostDrivers });
}

describe("the DMA of a group", () => {
  test("is one owner's, who may take it several times; the reason names who has it", () => {
    const dma = group();
    dma.claim(ANNA, RELEASE);
    dma.claim(ANNA, RELEASE);
    expect(() => dma.claim(BERT, RELEASE)).toThrow("group 7 belongs to the container of Anna");
    dma.unclaim(BERT);
    dma.unclaim(ANNA);
    expect([dma.isClaimed, dma.isOwnedBy(ANNA), dma.isOwnedBy(BERT)]).toEqual([true, true, false]);
    dma.unclaim(ANNA);
    dma.claim(BERT, RELEASE);
    expect([dma.isOwnedBy(BERT), dma.isViable]).toEqual([true, false]);
  });

  test("is nobody's while the host's drivers have devices, or firmware", () => {
    const held = group({ hostDrivers: ["one (e1000e)"] });
    expect(() => held.claim(ANNA, RELEASE)).toThrow("one (e1000e) belongs to the host");
    const firmware = group({ reservedRegions: [{ start: 0x1000n, last: 0x1fffn, type: "direct" }] });
    expect(() => firmware.claim(ANNA, RELEASE)).toThrow("firmware needs 0x1000-0x1fff of one, two (group 7)");
    expect([held.isClaimed, firmware.isClaimed]).toEqual([false, false]);
  });

  test("goes where its owner says, device by device, and nowhere afterwards", () => {
    const dma = group();
    dma.connect((device) => new NoTarget(`${device} is led`));
    const reason = (device: string) => dma.port(device).read(0n, new Uint8Array(1))?.reason;
    expect([reason("one"), reason("two")]).toEqual(["one is led", "two is led"]);
    dma.disconnect();
    expect(reason("one")).toMatch(/in no container/);
    expect(() => dma.port("three")).toThrow("three is not in group 7");
  });
});
