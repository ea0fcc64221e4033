import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { capture } from "../../../src/machine/capture/capture.ts";
import type { HostDescription } from "../../../src/machine/host-description.ts";
import { parseHost } from "../../../src/machine/parse-host.ts";
import { readyMadeHosts } from "../../../src/machine/ready-made-hosts.ts";
import { RECORDED, recording } from "../recordings.ts";
import { write, writeTree } from "../write-tree.ts";

const scratch = mkdtempSync(join(tmpdir(), "uvfio-test-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

let trees = 0;
const emptyTree = () => {
  const root = join(scratch, `tree${trees++}`);
  mkdirSync(join(root, "sys"), { recursive: true });
  return root;
};
const treeOf = (host: HostDescription) => {
  const root = emptyTree();
  writeTree(host, root);
  return root;
};
const captured = (root: string, configSpace = false) => capture({ root, name: "captured", configSpace });

/** What /sys tells about a group: all but people's names, models and config space. */
const shown = ({ groups }: HostDescription) =>
  [...groups]
    .sort((a, b) => a.id - b.id)
    .map(({ id, type, name, reservedRegions, devices }) => ({
      id,
      type,
      name,
      reservedRegions,
      devices: devices
        .map((device) =>
          device.bus === "pci"
            ? {
                bdf: device.bdf,
                ids: [device.vendor, device.device, device.subsystemVendor, device.subsystemDevice],
                class: device.class,
                driver: device.driver,
              }
            : { uuid: device.uuid, parent: device.parent, type: device.type, driver: device.driver },
        )
        .sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)),
    }));

const HOSTS: readonly HostDescription[] = [...readyMadeHosts(), ...RECORDED.map(recording)].filter(
  (host) => host.groups.length > 0,
);

describe("a captured tree", () => {
  test.each(HOSTS.map((host) => [host.name, host] as const))("of %s is that host again", (_name, host) => {
    const { host: again, yaml } = captured(treeOf(host));
    expect(shown(again)).toEqual(shown(host));
    expect(again.kernel).toBe(host.kernel);
    expect(again.arch).toBe(host.arch);
    expect(again.pageSize).toBe(host.pageSize);
    expect(again.vfioContainer).toBe(host.vfioContainer);
    expect(again.iommufd).toBe(host.iommufd);
    expect(again.modules.vfioIommuType1).toEqual(host.modules.vfioIommuType1);
    // the generated /sys does not show that tables are first-stage ones
    const model = host.iommu.model === "intel-vtd-sm" ? "intel-vtd" : host.iommu.model;
    expect(again.iommu.model).toBe(model);
    expect(again.iommu.spapr?.platform).toBe(host.iommu.spapr?.platform);
    expect(parseHost(yaml, "captured.yaml")).toEqual(again);
  });

  test.each(["intel39", "intel39-k72c", "intel39-k72fd"])(
    "of %s has the IOMMU's width and pages from its registers",
    (name) => {
      const host = recording(name);
      const { iommu } = captured(treeOf(host)).host;
      expect(iommu.apertureLast).toBe(host.iommu.apertureLast);
      expect(iommu.cacheCoherent).toBe(host.iommu.cacheCoherent);
      expect(iommu.interruptRemapping).toBe(host.iommu.interruptRemapping);
      // SLLPS of the recorded register says 2 MiB and 1 GiB
      expect(iommu.pageSizes).toBe(0x4020_1000n);
    },
  );

  test("has the sizes and kinds of BARs", () => {
    const host = recording("intel39");
    // a ROM that firmware did not place is not in /sys
    const bars = (description: HostDescription) =>
      description.groups.flatMap(({ devices }) =>
        devices.flatMap((device) =>
          device.bus === "pci" ? [{ bdf: device.bdf, bars: device.bars.filter(({ type }) => type !== "rom") }] : [],
        ),
      );
    const placed = bars(host);
    const found = bars(captured(treeOf(host)).host);
    expect(found).toEqual(placed);
    expect(found.some((device) => device.bars.length > 1)).toBe(true);
  });

  test("has config space only when it is asked for", () => {
    const root = treeOf(recording("intel39"));
    const recorded = recording("intel39");
    const configOf = (host: HostDescription, bdf: string) =>
      host.groups
        .flatMap(({ devices }) => devices)
        .flatMap((device) => (device.bus === "pci" && device.bdf === bdf ? [device.config] : []))[0];
    expect(configOf(captured(root).host, "0000:00:04.0")).toBeUndefined();
    const { host } = captured(root, true);
    expect(configOf(host, "0000:00:04.0")).toHaveLength(256);
    expect(configOf(host, "0000:00:04.0")).toEqual(configOf(recorded, "0000:00:04.0"));
  });
});

describe("registers of VT-d", () => {
  const withRegisters = (cap: string, ecap: string) => {
    const root = treeOf(recording("intel39"));
    write(join(root, "sys/devices/virtual/iommu/dmar0/intel-iommu/cap"), `${cap}\n`);
    write(join(root, "sys/devices/virtual/iommu/dmar0/intel-iommu/ecap"), `${ecap}\n`);
    return captured(root);
  };

  test.each([
    // MGAW 38 + 1, tables of 39 bits, 2 MiB pages only
    [(38n << 16n) | (0x2n << 8n) | (1n << 34n), 39, 0x20_1000n],
    // tables of 48 bits under a width of 46
    [(45n << 16n) | (0x6n << 8n) | (3n << 34n), 46, 0x4020_1000n],
    // five levels, 57 bits
    [(56n << 16n) | (0xcn << 8n) | (3n << 34n), 57, 0x4020_1000n],
    // five levels, but a width of 48
    [(47n << 16n) | (0xcn << 8n), 48, 0x1000n],
  ])("0x%x: %d bits", (cap, bits, pages) => {
    const { host } = withRegisters(cap.toString(16), "8");
    expect(host.iommu.apertureLast).toBe((1n << BigInt(bits)) - 1n);
    expect(host.iommu.pageSizes).toBe(pages);
    expect([host.iommu.interruptRemapping, host.iommu.cacheCoherent]).toEqual([true, false]);
  });

  test("of a unit that can use first-stage tables leave open whether it does", () => {
    const ecap = ((1n << 43n) | (1n << 47n) | 0x88n).toString(16);
    expect(withRegisters("d2008c22260286", ecap).missing).toEqual([expect.stringContaining("scalable mode")]);
  });

  test("have dirty bits in second-stage tables where scalable mode is on", () => {
    const root = treeOf({ ...recording("intel39"), iommu: { ...recording("intel39").iommu, dirtyTracking: true } });
    expect(captured(root).host.iommu.dirtyTracking).toBeUndefined();
    write(join(root, "proc/cmdline"), "quiet intel_iommu=on,sm_on\n");
    expect(captured(root).host.iommu).toMatchObject({ model: "intel-vtd-ss", dirtyTracking: true });
    expect(captured(root).missing).not.toContainEqual(expect.stringContaining("scalable mode"));
  });

  test("that differ between units become the groups' own", () => {
    const root = treeOf(recording("intel39"));
    const wide = (47n << 16n) | (0x4n << 8n) | (3n << 34n);
    write(join(root, "sys/class/iommu/dmar1/intel-iommu/cap"), `${wide.toString(16)}\n`);
    write(join(root, "sys/class/iommu/dmar1/intel-iommu/ecap"), "88\n");
    const link = join(root, "sys/kernel/iommu_groups/2/devices/0000:00:04.0/iommu");
    rmSync(link);
    symlinkSync("../../virtual/iommu/dmar1", link);
    const { host } = captured(root);
    expect(host.groups.find(({ id }) => id === 2)!.iommu!.apertureLast).toBe(2n ** 48n - 1n);
    expect(host.groups.filter((group) => group.iommu !== undefined)).toHaveLength(1);
  });
});

test.each([
  ["HASup and HDSup, in one register", "120000000029d3", true],
  ["HASup and HDSup, in the first of two", "120000000029d3:0", true],
  ["HDSup alone", "100000000029d3:ffffffffffffffff", false],
])("features of AMD-Vi: %s", (_what, features, tracks) => {
  const root = treeOf(recording("amd-ivmd"));
  write(join(root, "sys/class/iommu/ivhd0/amd-iommu/features"), `${features}\n`);
  expect(captured(root).host.iommu.dirtyTracking ?? false).toBe(tracks);
});

describe("what is missing", () => {
  test("of a machine without an IOMMU is said first, and the file is valid", () => {
    const { host, missing, yaml } = captured(emptyTree());
    expect(host.iommu.model).toBe("none");
    expect(missing[0]).toMatch(/^no IOMMU: /);
    expect(yaml).toContain("# Missing: no IOMMU: ");
    expect(parseHost(yaml, "none.yaml")).toEqual(host);
  });

  test("when firmware has an IOMMU that the kernel does not use, that is said", () => {
    const root = emptyTree();
    const table = Buffer.alloc(48);
    table[36] = 38;
    table[37] = 1;
    write(join(root, "sys/firmware/acpi/tables/DMAR"), table);
    const { missing, yaml } = captured(root);
    expect(missing[0]).toMatch(
      /firmware describes one \(DMAR: Intel VT-d, 39 host address bits, interrupt remapping\).*intel_iommu=on/,
    );
    expect(yaml).toContain("# Firmware: DMAR: Intel VT-d, 39 host address bits");
  });

  test("the kernel, the modules, the reserved regions", () => {
    const root = treeOf(recording("intel39"));
    rmSync(join(root, "proc"), { recursive: true });
    rmSync(join(root, "sys/module"), { recursive: true });
    rmSync(join(root, "sys/kernel/iommu_groups/2/reserved_regions"));
    const { host, missing } = captured(root);
    expect(missing).toEqual([
      expect.stringContaining("kernel release"),
      expect.stringContaining("reserved regions of group 2"),
      expect.stringContaining("VFIO is not loaded"),
    ]);
    // the usual ones of its IOMMU
    expect(host.groups.find(({ id }) => id === 2)!.reservedRegions).toHaveLength(1);
  });

  test("regions of different kinds that overlap are cut, the relaxable ones first", () => {
    const root = treeOf(recording("intel39"));
    write(
      join(root, "sys/kernel/iommu_groups/2/reserved_regions"),
      "0x0000000000000000 0x00000000000fffff direct-relaxable\n0x0000000000080000 0x000000000008ffff reserved\n0x00000000fee00000 0x00000000feefffff msi\n",
    );
    const { host, missing } = captured(root);
    expect(missing).toEqual([expect.stringContaining("group 2: the regions 0x0-0xfffff (direct-relaxable)")]);
    expect(host.groups.find(({ id }) => id === 2)!.reservedRegions).toEqual([
      { start: 0n, last: 0x7_ffffn, type: "direct-relaxable" },
      { start: 0x8_0000n, last: 0x8_ffffn, type: "reserved" },
      { start: 0xfee0_0000n, last: 0xfeef_ffffn, type: "msi" },
    ]);
  });

  test("an IOMMU of an unknown kind is an error that names it", () => {
    const root = emptyTree();
    mkdirSync(join(root, "sys/class/iommu/smmu.0x0000000012c00000"), { recursive: true });
    expect(() => captured(root)).toThrow(/the IOMMU smmu\.0x0000000012c00000 is of a kind that uvfio does not know/);
    expect(() => captured(join(scratch, "nowhere"))).toThrow(/no directory sys/);
  });
});
