import { describe, expect, test } from "vitest";
import type { HostDescription, PciDeviceDescription } from "../../src/machine/host-description.ts";
import { parseHost } from "../../src/machine/parse-host.ts";
import { readyMadeHost } from "../../src/machine/ready-made-hosts.ts";
import { sysfsTree } from "../../src/machine/sysfs-tree.ts";
import { toYaml } from "../../src/machine/write-host.ts";
import { recording } from "./recordings.ts";

const TABLES_END = 0x3ff_ffff_ffffn;

function host(groups: string, more = "iommu: { model: s390 }"): HostDescription {
  return parseHost(`name: mine\n${more}\ngroups:\n${groups}`, "mine.yaml");
}

function onlyDevice({ groups }: HostDescription): PciDeviceDescription {
  return groups[0]!.devices[0] as PciDeviceDescription;
}

describe("a function's range", () => {
  test("is its group's aperture; what lies outside is reserved, and firmware tells the same", () => {
    const mine = host(
      "  - id: 0\n    iommu: { aperture_start: 0x120000000, aperture_end: 0x19fffffff }\n    devices: [{ bdf: 0012:00:00.0, id: 1af4:1041 }]\n",
    );
    expect(mine.groups[0]!.reservedRegions).toEqual([
      { start: 0n, last: 0x1_1fff_ffffn, type: "reserved" },
      { start: 0x1_a000_0000n, last: TABLES_END, type: "reserved" },
    ]);
    expect(onlyDevice(mine).zpci).toMatchObject({ startDma: 0x1_2000_0000n, endDma: 0x1_9fff_ffffn });
  });

  test("from 0 on leaves nothing reserved below", () => {
    const mine = host(
      "  - id: 0\n    devices: [{ bdf: 0013:00:00.0, id: 1b36:0010 }]\n",
      "iommu: { model: s390, aperture_start: 0, aperture_end: 0x7fffffff }",
    );
    expect(mine.groups[0]!.reservedRegions).toEqual([{ start: 0x8000_0000n, last: TABLES_END, type: "reserved" }]);
  });

  test("goes to the end of the tables where nothing is said", () => {
    const mine = host("  - id: 0\n    devices: [{ bdf: 0013:00:00.0, id: 1b36:0010 }]\n");
    expect(onlyDevice(mine).zpci).toMatchObject({ startDma: 0x1_0000_0000n, endDma: TABLES_END });
  });

  test("of a recording comes from its reserved regions", () => {
    const ranges = recording("s390x-mixed").groups.map(({ devices: [device] }) => {
      const { zpci } = device as PciDeviceDescription;
      return [zpci!.startDma, zpci!.endDma];
    });
    expect(ranges).toEqual([
      [0x1_0000_0000n, 0x1_3fff_ffffn],
      [0x1_2000_0000n, 0x1_9fff_ffffn],
      [0n, 0x7fff_ffffn],
      [0x2_0000_0000n, 0x2_7fff_ffffn],
      [0x800_0000n, 0x87ff_ffffn],
    ]);
  });
});

describe("what firmware says", () => {
  test("is made up from the address, with QEMU's group", () => {
    const { zpci } = onlyDevice(host("  - id: 0\n    devices: [{ bdf: 00a1:00:00.0, id: 1b36:0010 }]\n"));
    expect(zpci).toMatchObject({ functionId: 0xa1, uid: 0xa1, functionHandle: 0x8002_00a1, vfn: 0 });
    expect(zpci!.group).toMatchObject({ id: 0xff, mui: 4000, noi: 128, maxstbl: 128, imaxstbl: 128 });
    expect(zpci!.utilString).toBeUndefined();
  });

  test("can be said in a host file, and is written there", () => {
    const zpci = `{ function_id: 0x205, pchid: 0x1c4, vfn: 3, pft: 2, pfip: 0x11223344, util_string_hex: "c9c2d4", noi: 64, imaxstbl: 4096 }`;
    const mine = host(`  - id: 0\n    devices: [{ bdf: 0012:00:00.0, id: 1b36:0010, zpci: ${zpci} }]\n`);
    expect(onlyDevice(mine).zpci).toMatchObject({ functionId: 0x205, pchid: 0x1c4, vfn: 3, pft: 2, pfip: 0x1122_3344 });
    expect(onlyDevice(mine).zpci!.utilString).toEqual(Uint8Array.from([0xc9, 0xc2, 0xd4, ...new Array(61).fill(0)]));
    expect(parseHost(toYaml(mine), "again.yaml")).toEqual(mine);
  });

  test("is for s390x alone", () => {
    const groups = "  - id: 0\n    devices: [{ bdf: 0000:01:00.0, id: 1b36:0010, zpci: { uid: 1 } }]\n";
    expect(() => host(groups, "iommu: { model: intel-vtd }")).toThrow("only functions of arch s390x have this");
    expect(() => host(groups, "api: vsva-v7\niommu: { model: s390 }")).toThrow("little-endian");
  });
});

test("there are memory BARs only", () => {
  const bars = onlyDevice(host("  - id: 0\n    devices: [{ bdf: 0014:00:00.0, id: 8086:10d3 }]\n")).bars;
  expect(bars.map(({ index }) => index)).toEqual([0, 1, 3]);
});

test("the ready-made host's files in /sys are those of the recorded machine", () => {
  const [ours, theirs] = [sysfsTree(readyMadeHost("s390")!), sysfsTree(recording("s390x"))];
  for (const [path, { content }] of theirs.files) {
    if (!/\/(uid|function_id|function_handle|pfgid|reset_method|config|power|address|reserved_regions)$/.test(path))
      continue;
    expect(ours.files.get(path)?.content, path).toEqual(content);
  }
  expect([...ours.links.keys()].filter((path) => path.startsWith("/sys/class/iommu/"))).toHaveLength(5);
});
