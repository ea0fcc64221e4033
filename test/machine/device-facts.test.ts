import { describe, expect, test } from "vitest";
import { deviceNodes } from "../../src/machine/device-nodes.ts";
import { findDevice } from "../../src/machine/find-device.ts";
import type { HostDescription, PciDeviceDescription } from "../../src/machine/host-description.ts";
import { parseHost } from "../../src/machine/parse-host.ts";
import { configSpace } from "../../src/machine/pci-config.ts";
import { bootState } from "../../src/machine/sysfs/boot-state.ts";
import { devicePath } from "../../src/machine/sysfs/device-path.ts";
import { sysfsTree } from "../../src/machine/sysfs-tree.ts";
import { toYaml } from "../../src/machine/write-host.ts";

const nodesAtBoot = (host: HostDescription) => deviceNodes(host, bootState(host));

const nothing = () => [];
const file = (devices: readonly string[], more = "") =>
  parseHost(
    `name: facts\niommu: { model: intel-vtd, address_bits: 48 }\n${more}\ngroups:\n${devices
      .map((device, id) => `  - { id: ${id}, devices: [ { ${device} } ] }`)
      .join("\n")}\n`,
    "facts.yaml",
  );
const pci = (host: HostDescription, bdf: string) => findDevice(host, bdf).device as PciDeviceDescription;
const path = (host: HostDescription, bdf: string) => devicePath(host, pci(host, bdf)).replace("/sys/devices/", "");
const read = (host: HostDescription, bdf: string, name: string) =>
  sysfsTree(host, nothing).files.get(`${devicePath(host, pci(host, bdf))}/${name}`)?.content;
const capabilityIds = (config: Uint8Array) => {
  const ids: number[] = [];
  for (let at = config[0x34]!; at !== 0; at = config[at + 1]!) ids.push(config[at]!);
  return ids;
};

/** Of those that a kind knows; others are taken for newer ones. */
const SPEEDS: Readonly<Record<string, string>> = { "8086:10c9": "2.5", "8086:10d3": "2.5" };

describe("PCI Express", () => {
  test.each([
    ["8086:10d3", 0x020000, true],
    ["8086:10c9", 0x020000, true],
    ["8086:10fb", 0x020000, true],
    ["1b36:0010", 0x010802, true],
    ["c0de:0001", 0x010802, true],
    ["10de:1eb8", 0x030200, true],
    ["15b3:1017", 0x020000, true],
    ["8086:100e", 0x020000, false],
    ["10ec:8139", 0x020000, false],
    ["8086:1622", 0x030000, false],
  ])("is what %s of class %i is: %s", (id, code, express) => {
    const host = file([`bdf: 0000:03:00.0, id: "${id}", class: ${code}`]);
    const config = configSpace(host, pci(host, "0000:03:00.0"));
    expect(config).toHaveLength(express ? 4096 : 256);
    expect(capabilityIds(config).includes(0x10)).toBe(express);
    expect(read(host, "0000:03:00.0", "max_link_speed")).toBe(
      express ? `${SPEEDS[id] ?? "8.0"} GT/s PCIe\n` : undefined,
    );
    // the list of capabilities keeps what the kind of device has
    expect(capabilityIds(config)).toContain(id === "1b36:0010" ? 0x11 : 0x05);
  });

  test("is what a file says before all", () => {
    for (const [id, pcie] of [
      ["8086:10fb", false],
      ["8086:100e", true],
    ] as const) {
      const host = file([`bdf: 0000:03:00.0, id: "${id}", pcie: ${pcie}`]);
      expect(configSpace(host, pci(host, "0000:03:00.0"))).toHaveLength(pcie ? 4096 : 256);
    }
  });

  test("knows ports, endpoints and what is integrated", () => {
    const host = file([
      'bdf: 0000:00:01.0, id: "8086:1901", class: 0x060400',
      'bdf: 0000:01:00.0, id: "c0de:0001", class: 0x010802',
      'bdf: 0000:00:05.0, id: "c0de:0001", class: 0x010802',
    ]);
    const type = (bdf: string) => {
      const config = configSpace(host, pci(host, bdf));
      let at = config[0x34]!;
      while (config[at] !== 0x10) at = config[at + 1]!;
      return config[at + 2]! >> 4;
    };
    expect([type("0000:00:01.0"), type("0000:01:00.0"), type("0000:00:05.0")]).toEqual([4, 0, 9]);
  });
});

describe("bridges", () => {
  const bridge = (bdf: string, more = "") => `bdf: "${bdf}", id: "8086:1901", class: 0x060400${more}`;
  const device = (bdf: string) => `bdf: "${bdf}", id: "1234:11e8"`;

  test("lead to buses as firmware numbers them, depth first", () => {
    const host = file([
      ...["0000:00:10.0", "0000:00:11.0", "0000:00:12.0", "0000:03:00.0"].map((bdf) => bridge(bdf)),
      ...["0000:01:00.0", "0000:02:00.0", "0000:04:01.0", "0000:00:04.0"].map(device),
    ]);
    expect(path(host, "0000:01:00.0")).toBe("pci0000:00/0000:00:10.0/0000:01:00.0");
    expect(path(host, "0000:02:00.0")).toBe("pci0000:00/0000:00:11.0/0000:02:00.0");
    expect(path(host, "0000:04:01.0")).toBe("pci0000:00/0000:00:12.0/0000:03:00.0/0000:04:01.0");
    expect(path(host, "0000:00:04.0")).toBe("pci0000:00/0000:00:04.0");
    const buses = [...configSpace(host, pci(host, "0000:00:12.0")).subarray(0x18, 0x1b)];
    expect(buses).toEqual([0, 3, 4]);
    expect(read(host, "0000:00:12.0", "secondary_bus_number")).toBe("3\n");
    expect(read(host, "0000:00:12.0", "subordinate_bus_number")).toBe("4\n");
  });

  test("lead where the file says, and a bus without one is a root bus", () => {
    const host = file([
      bridge("0000:00:10.0"),
      bridge("0000:00:11.0", ", secondary_bus: 0x40"),
      device("0000:40:00.0"),
      device("0000:80:00.0"),
      device("0001:20:00.0"),
    ]);
    expect(path(host, "0000:40:00.0")).toBe("pci0000:00/0000:00:11.0/0000:40:00.0");
    expect(path(host, "0000:80:00.0")).toBe("pci0000:00/0000:00:10.0/0000:80:00.0");
    expect(path(host, "0001:20:00.0")).toBe("pci0001:20/0001:20:00.0");
  });

  test("of a VMD controller begin at its own domain's lowest bus", () => {
    const host = file([
      'bdf: "0000:00:0e.0", id: "8086:467f", class: 0x010400, driver: vmd',
      bridge("10000:e0:06.0"),
      'bdf: "10000:e1:00.0", id: "144d:a80a", class: 0x010802, driver: nvme',
    ]);
    expect(path(host, "10000:e1:00.0")).toBe("pci0000:00/0000:00:0e.0/pci10000:e0/10000:e0:06.0/10000:e1:00.0");
  });
});

describe("virtual functions in /sys", () => {
  const host = file([
    'bdf: "0000:01:00.0", id: "8086:10c9", sriov_totalvfs: 8, bars: [ { index: 0, size: 0x20000, type: memory } ]',
    'bdf: "0000:01:10.0", id: "8086:10ca", bars: [ { index: 0, size: 0x4000, type: memory64 }, { index: 3, size: 0x4000, type: memory64 } ]',
    'bdf: "0000:01:10.2", id: "8086:10ca", bars: [ { index: 0, size: 0x4000, type: memory64 }, { index: 3, size: 0x4000, type: memory64 } ]',
  ]);
  const PF = "0000:01:00.0";
  const VF = "0000:01:10.2";

  test("are as recorded on igb39 (sysfs_I, sriov_vf_describe)", () => {
    const names = ["totalvfs", "numvfs", "offset", "stride", "vf_device", "drivers_autoprobe"];
    expect(names.map((name) => read(host, PF, `sriov_${name}`))).toEqual([
      "8\n",
      "2\n",
      "128\n",
      "2\n",
      "10ca\n",
      "1\n",
    ]);
    const { links } = sysfsTree(host, nothing);
    const at = devicePath(host, pci(host, PF));
    expect([links.get(`${at}/virtfn0`), links.get(`${at}/virtfn1`)]).toEqual(["../0000:01:10.0", "../0000:01:10.2"]);
    expect(links.get(`${devicePath(host, pci(host, VF))}/physfn`)).toBe("../0000:01:00.0");
    expect(read(host, VF, "sriov_totalvfs")).toBeUndefined();
    expect(read(host, VF, "remove")).toBeUndefined();
    expect(read(host, VF, "reset_method")).toBe("flr\n");
    expect(read(host, VF, "irq")).toBe("0\n");
  });

  test("have no ids and BARs in their config space, which the physical one's capability has", () => {
    const config = configSpace(host, pci(host, VF)) as Uint8Array;
    expect([...config.subarray(0, 4)]).toEqual([0xff, 0xff, 0xff, 0xff]);
    expect(config.subarray(0x10, 0x28).every((byte) => byte === 0)).toBe(true);
    const physical = configSpace(host, pci(host, PF));
    const view = new DataView(physical.buffer, physical.byteOffset);
    expect(view.getUint16(0x160, true)).toBe(0x10);
    // InitialVFs, TotalVFs, NumVFs, offset, stride, device
    expect([0x16c, 0x16e, 0x170, 0x174, 0x176, 0x17a].map((at) => view.getUint16(at, true))).toEqual([
      8, 8, 2, 128, 2, 0x10ca,
    ]);
    const base = (view.getUint32(0x184, true) & ~0xf) + view.getUint32(0x188, true) * 2 ** 32;
    const starts = ["0000:01:10.0", VF].map((bdf) => Number((read(host, bdf, "resource") as string).split(" ")[0]));
    expect(starts).toEqual([base, base + 0x4000]);
    expect((read(host, VF, "resource") as string).split("\n")[0]).toMatch(/ 0x000000000014220c$/);
  });
});

describe("a device without a group", () => {
  const none = (more: string, driver = "vfio-pci") =>
    parseHost(
      `name: none\niommu: { model: none }\n${more}\ngroups: [ { id: 3, devices: [ { bdf: 0000:00:06.0, id: "1d0f:ec20", driver: "${driver}" } ] } ]\n`,
      "none.yaml",
    );
  const shown = (host: HostDescription) => {
    const tree = sysfsTree(host, nothing);
    const at = devicePath(host, pci(host, "0000:00:06.0"));
    return {
      driver: tree.links.has(`${at}/driver`),
      group: tree.links.has(`${at}/iommu_group`),
      groups: tree.directories.filter((directory) => directory.startsWith("/sys/kernel/iommu_groups/")).length,
      nodes: nodesAtBoot(host).length,
      override: tree.files.get(`${at}/driver_override`)?.content,
    };
  };

  test.each(["", "modules: { vfio: { enable_unsafe_noiommu_mode: false } }", "iommufd: true"])(
    "has no driver, no link and no node unless no-IOMMU mode is on: %s",
    (more) => {
      const nodes = more.startsWith("iommufd") ? 2 : 1;
      expect(shown(none(more))).toEqual({ driver: false, group: false, groups: 0, nodes, override: "vfio-pci\n" });
    },
  );

  test("has all of them with it on, when a VFIO driver is bound", () => {
    const on = "modules: { vfio: { enable_unsafe_noiommu_mode: true } }";
    expect(shown(none(on))).toEqual({ driver: true, group: true, groups: 1, nodes: 2, override: "vfio-pci\n" });
    expect(nodesAtBoot(none(on)).map(({ path: at }) => at)).toContain("/dev/vfio/noiommu-3");
    expect(shown(none(on, "ena"))).toMatchObject({ driver: true, group: false, groups: 0, nodes: 1 });
  });

  test("is beside others that have one; each has a group of its own in no-IOMMU mode", () => {
    const host = file(
      ['bdf: "0000:00:04.0", id: "1234:11e8"', 'bdf: "0000:00:05.0", id: "1234:11e8"'],
      'modules: { vfio: { enable_unsafe_noiommu_mode: true } }\ndevices: [ { bdf: "0000:05:00.0", id: "1234:11e8" }, { bdf: "0000:06:00.0", id: "1234:11e8" } ]',
    );
    expect(nodesAtBoot(host).map(({ path: at }) => at)).toEqual([
      "/dev/vfio/vfio",
      ...["0", "1", "noiommu-2", "noiommu-3"].map((name) => `/dev/vfio/${name}`),
    ]);
    expect(parseHost(toYaml(host), "again.yaml")).toEqual(host);
  });
});

test("a device that is not coherent is refused from 5.19 on", () => {
  const at = (kernel: string) =>
    pci(file(['bdf: "0000:03:00.0", id: "1234:1", cache_coherent: false'], `kernel: "${kernel}"`), "0000:03:00.0");
  expect(at("5.18").driver).toBe("vfio-pci");
  expect(at("5.19")).toMatchObject({ driver: null, refusedDriver: "vfio-pci" });
});

test("every fact is written and read again", () => {
  const host = file(
    [
      'bdf: "0000:00:01.0", id: "8086:1901", class: 0x060400, secondary_bus: 4',
      'bdf: "0000:04:00.0", id: "1234:1", pcie: true, sriov_totalvfs: 4, irq: 16, irq_shared_with: "i801_smbus, ehci", intx_masking: false, cache_coherent: false, numa_node: 1, rom: none, bars: [ { index: 0, size: 0x1000, type: memory, claimed_by: BOOTFB } ]',
      'bdf: "0000:04:00.1", id: "1234:2", physfn: 0000:04:00.0',
      'bdf: "0000:00:02.0", id: "8086:1622", class: 0x030000, rom: shadow',
    ],
    "modules: { vfio_pci: { vga: true, disable_vga: true } }",
  );
  expect(parseHost(toYaml(host), "again.yaml")).toEqual(host);
});

test.each([
  [
    'bdf: "0000:03:00.0", id: "1234:1", secondary_bus: 4, class: 0x020000',
    "devices[0].secondary_bus: only a PCI bridge",
  ],
  ['bdf: "0000:03:00.0", id: "1234:1", irq: 0, irq_shared_with: x', "irq_shared_with: irq is 0"],
  ['bdf: "0000:03:00.0", id: "1234:1", physfn: 0000:02:00.0', "physfn: no PCI device 0000:02:00.0"],
  ['bdf: "0000:03:00.0", id: "1234:1", physfn: 0000:03:00.0', "physfn: 0000:03:00.0 is a virtual function itself"],
  [
    'bdf: "0000:03:00.0", id: "1234:1", sriov_totalvfs: 2, pcie: false',
    "pcie: a device with virtual functions is PCI Express",
  ],
  ['bdf: "0000:03:00.0", id: "1234:1", rom: "1234"', "rom: no ROM image"],
  [
    'bdf: "0000:03:00.0", id: "1234:1", rom: shadow, bars: [ { index: 6, size: 0x800, type: rom } ]',
    "rom: firmware's copy",
  ],
  [
    'bdf: "0000:03:00.0", id: "1234:1", class: 0x060400, secondary_bus: 2',
    "secondary_bus: the bus below a bridge has a higher number",
  ],
  ['bdf: "0000:03:00.0", id: "1234:1", intx_masking: 1', "intx_masking: not true or false"],
])("a contradiction is one line with its place: %s", (device, message) => {
  let text = "";
  try {
    file([device]);
  } catch (error) {
    text = (error as Error).message;
  }
  expect(text).toContain(message);
  expect(text.split("\n")).toHaveLength(1);
  expect(text).toMatch(/^facts\.yaml:\d+: /);
});

test("a virtual function's recorded config space has no ids", () => {
  const config = `${"ff".repeat(4)}${"00".repeat(252)}`;
  const host = file([
    'bdf: "0000:03:00.0", id: "1234:1"',
    `bdf: "0000:03:00.1", id: "1234:2", physfn: 0000:03:00.0, config: "${config}"`,
  ]);
  expect(pci(host, "0000:03:00.1")).toMatchObject({ vendor: 0x1234, device: 2 });
});
