import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { iovaList } from "../../src/client/iova-list.ts";
import { ModelTransport } from "../../src/client/model-transport.ts";
import { type CapabilityStructure, encodeCapabilityChain } from "../../src/uapi/capability-chain.ts";
import { VFIO_TYPE1_IOMMU, VFIO_TYPE1v2_IOMMU } from "../../src/uapi/vfio.ts";
import { VfioIommuType1Info } from "../../src/uapi/vfio-type1.ts";
import { FakeHost } from "./fake-host.ts";

const INTEL_MDEV = "c08db5ed-05d3-4b39-b150-438a18bc698f";
const INTEL_PCI = "0000:00:1b.0";
const AMD_PCI = "0000:01:00.0";
const NO_CAPS = VfioIommuType1Info.encode({ argsz: 24, flags: 1, iova_pgsizes: 0xffff_ffff_ffff_f000n });

function listing(file: string): string {
  return readFileSync(new URL(file, import.meta.url), "utf8");
}

/** The bytes behind a listing's hex dump. */
function dumped(text: string): Uint8Array {
  const lines = [...text.matchAll(/^[0-9a-f]{2}: ((?:[0-9a-f]{4} ?)+)$/gm)].map((match) => match[1]!);
  return new Uint8Array(Buffer.from(lines.join("").replaceAll(" ", ""), "hex"));
}

function run(host: FakeHost, devices: readonly string[]): string {
  const lines: string[] = [];
  iovaList(new ModelTransport(host), devices, (line) => lines.push(`${line}\n`));
  return lines.join("");
}

const intel = listing("iova-list-intel.txt");

function intelHost(): FakeHost {
  return new FakeHost(
    [
      { name: INTEL_MDEV, bus: "mdev", group: 12 },
      { name: INTEL_PCI, bus: "pci", group: 5 },
    ],
    (groups) => (groups.includes(5) ? dumped(intel) : NO_CAPS),
  );
}

describe("iova-list", () => {
  it("prints what the mail shows for the Intel system", () => {
    const host = intelHost();
    const devices = [`/sys/bus/mdev/devices/${INTEL_MDEV}`, `/sys/bus/pci/devices/${INTEL_PCI}`];
    expect(run(host, devices)).toBe(intel);
    expect(host.iommuTypes).toEqual([VFIO_TYPE1v2_IOMMU]);
    expect(host.opened.size).toBe(0);
  });

  it("prints what the mail shows for the AMD system", () => {
    const amd = listing("iova-list-amd.txt");
    const host = new FakeHost([{ name: AMD_PCI, bus: "pci", group: 1 }], () => dumped(amd));
    expect(run(host, [AMD_PCI])).toBe(amd);
  });

  it("takes type1 v1 where there is no v2", () => {
    const host = intelHost();
    host.extensions = [VFIO_TYPE1_IOMMU];
    run(host, [INTEL_PCI]);
    expect(host.iommuTypes).toEqual([VFIO_TYPE1_IOMMU]);
  });

  it("only announces a device whose group is there already", () => {
    const host = new FakeHost(
      [
        { name: "0000:02:00.0", bus: "pci", group: 7 },
        { name: "0000:02:00.1", bus: "pci", group: 7 },
      ],
      () => NO_CAPS,
    );
    expect(run(host, ["0000:02:00.0", "02:00.1"])).toBe(
      [
        "---- Adding device: 0000:02:00.0 ----",
        "Initial info struct size: 0x18",
        "No caps",
        "---- Adding device: 0000:02:00.1 ----",
        "",
      ].join("\n"),
    );
  });

  it("prints the capabilities of newer kernels in the same style", () => {
    const bytes = (hex: string) => new Uint8Array(Buffer.from(hex, "hex"));
    const capabilities: CapabilityStructure[] = [
      { id: 2, version: 1, structure: bytes("0000000000000000" + "000000000000000000100000000000000000001000000000") },
      { id: 3, version: 1, structure: bytes("0000000000000000" + "ffff0000") },
      {
        id: 1,
        version: 1,
        structure: bytes("0000000000000000" + "0100000000000000" + "0010000000000000" + "ffffffffff000000"),
      },
      { id: 77, version: 2, structure: bytes("0000000000000000" + "") },
    ];
    const chain = encodeCapabilityChain(24, capabilities, true);
    const info = VfioIommuType1Info.encode(
      { argsz: 24 + chain.length, flags: 3, iova_pgsizes: 0x1000n, cap_offset: 24 },
      chain.length,
    );
    info.set(chain, 24);
    const host = new FakeHost([{ name: AMD_PCI, bus: "pci", group: 1 }], () => info);
    expect(
      run(host, [AMD_PCI])
        .split("\n")
        .filter((line) => !/^[0-9a-f]{2}: [0-9a-f]{4} /.test(line)),
    ).toEqual([
      `---- Adding device: ${AMD_PCI} ----`,
      "Initial info struct size: 0x18",
      "Requested info struct size: 0x70",
      "New info struct size: 0x70",
      "argsz: 0x70, flags: 0x3, cap_offset: 0x18",
      "[cap id: 2, version: 1, next: 0x38]",
      "Found type1 migration version: 1",
      "flags: 0x0, pgsize_bitmap: 0x1000, max_dirty_bitmap_size: 0x10000000",
      "[cap id: 3, version: 1, next: 0x48]",
      "Found type1 dma avail version: 1",
      "avail: 65535",
      "[cap id: 1, version: 1, next: 0x68]",
      "Found type1 iova range version: 1",
      "00: 0000000000001000 - 000000ffffffffff",
      "[cap id: 77, version: 2, next: 0x0]",
      "",
    ]);
  });

  it("says which device there is not, and closes what it opened", () => {
    const host = intelHost();
    expect(() => run(host, [INTEL_PCI, "0000:77:00.0"])).toThrow("there is no device 0000:77:00.0");
    expect(() => run(host, ["0000:ff:00.0"])).toThrow("device 0000:ff:00.0 is in no IOMMU group");
    expect(() => run(host, ["nonsense"])).toThrow('"nonsense" is no PCI address');
    expect(host.opened.size).toBe(0);
  });
});
