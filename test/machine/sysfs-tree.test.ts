import { execFileSync, spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { FileTree } from "../../src/kernel/file-tree.ts";
import { deviceNodes } from "../../src/machine/device-nodes.ts";
import { allDevices, deviceName } from "../../src/machine/find-device.ts";
import type { HostDescription } from "../../src/machine/host-description.ts";
import { amd } from "../../src/machine/hosts/amd.ts";
import { intel } from "../../src/machine/hosts/intel.ts";
import { parseHost } from "../../src/machine/parse-host.ts";
import { readyMadeHosts } from "../../src/machine/ready-made-hosts.ts";
import { bootState } from "../../src/machine/sysfs/boot-state.ts";
import { sysfsTree } from "../../src/machine/sysfs-tree.ts";
import { RECORDED, recording } from "./recordings.ts";

const nodesAtBoot = (host: HostDescription) => deviceNodes(host, bootState(host));

const UUID = "c08db5ed-05d3-4b39-b150-438a18bc698f";
const nothing = () => [];
const ALL: readonly HostDescription[] = [...readyMadeHosts(), ...RECORDED.map(recording)];

/** The tree as real files below a directory, so that the real readdir, readlink and realpath look at it. */
function materialise(tree: FileTree): string {
  const root = realpathSync(mkdtempSync(path.join(tmpdir(), "uvfio-sysfs-")));
  for (const directory of tree.directories) mkdirSync(root + directory, { recursive: true });
  for (const [at, { content }] of tree.files) {
    mkdirSync(path.dirname(root + at), { recursive: true });
    writeFileSync(root + at, content);
  }
  for (const [at, target] of tree.links) {
    mkdirSync(path.dirname(root + at), { recursive: true });
    symlinkSync(target, root + at);
  }
  return root;
}

function text(tree: FileTree, at: string): string {
  const file = tree.files.get(at);
  expect(file, at).toBeDefined();
  return file!.content as string;
}

describe.each(ALL.map((host) => [host.name, host] as const))("the tree of %s", (_name, host) => {
  const tree = sysfsTree(host, nothing);
  let root: string;
  beforeAll(() => {
    root = materialise(tree);
  });
  afterAll(() => rmSync(root, { recursive: true }));

  test("has no link that leads nowhere, and none that is absolute", () => {
    for (const [at, target] of tree.links) {
      expect(target.startsWith("/"), at).toBe(false);
      expect(existsSync(root + at), `${at} -> ${target}`).toBe(true);
    }
  });

  test("leads from each device to its group, bus and driver and back", () => {
    for (const { device, group } of allDevices(host)) {
      const name = deviceName(device);
      const at = `${root}/sys/bus/${device.bus}/devices/${name}`;
      expect(path.basename(realpathSync(at))).toBe(name);
      expect(realpathSync(`${at}/iommu_group`)).toBe(`${root}/sys/kernel/iommu_groups/${group.id}`);
      expect(realpathSync(`${at}/iommu_group/devices/${name}`)).toBe(realpathSync(at));
      expect(path.basename(realpathSync(`${at}/subsystem`))).toBe(device.bus);
      expect(existsSync(`${at}/driver`)).toBe(device.driver !== null);
      if (device.driver === null) continue;
      expect(path.basename(realpathSync(`${at}/driver`))).toBe(device.driver);
      expect(realpathSync(`${at}/driver/${name}`)).toBe(realpathSync(at));
    }
  });

  test("lists nothing that the description does not have", () => {
    const of = (bus: string) =>
      allDevices(host)
        .filter(({ device }) => device.bus === bus)
        .map(({ device }) => deviceName(device))
        .sort();
    expect(readdirSync(`${root}/sys/bus/pci/devices`).sort()).toEqual(of("pci"));
    expect(existsSync(`${root}/sys/bus/mdev`)).toBe(of("mdev").length > 0);
    expect(
      readdirSync(`${root}/sys/kernel/iommu_groups`)
        .map(Number)
        .sort((a, b) => a - b),
    ).toEqual(host.groups.map((group) => group.id).sort((a, b) => a - b));
  });

  test("has nothing empty to read, but reserved_regions, an unbound device's uevent and what was recorded so on s390", () => {
    for (const [at, { content, mode, size }] of tree.files) {
      if (mode === 0o200 || size !== undefined) expect(content, at).toBe("");
      else if (!/\/(reserved_regions|rom|s390-iommu\.[0-9a-f]{8}\/uevent)$/.test(at))
        expect(content.length, at).toBeGreaterThan(0);
      if (typeof content === "string" && content !== "") expect(content.endsWith("\n"), at).toBe(true);
    }
  });
});

describe("a PCI device's files", () => {
  const tree = sysfsTree(intel, nothing);
  const at = "/sys/devices/pci0000:00/0000:00:1b.0";

  test("that DPDK reads", () => {
    const read = (name: string) => text(tree, `${at}/${name}`);
    expect(["vendor", "device", "subsystem_vendor", "subsystem_device", "class", "revision"].map(read)).toEqual([
      "0x8086\n",
      "0x8ca0\n",
      "0x8086\n",
      "0x2010\n",
      "0x040300\n",
      "0x00\n",
    ]);
    expect(read("numa_node")).toBe("-1\n");
    expect(read("irq")).toBe("11\n");
    expect(read("driver_override")).toBe("vfio-pci\n");
    expect(tree.files.has(`${at}/max_vfs`)).toBe(false);
    expect(tree.links.get(`${at}/driver`)).toBe("../../../bus/pci/drivers/vfio-pci");
    expect(tree.links.get(`${at}/iommu_group`)).toBe("../../../kernel/iommu_groups/5");
  });

  test("that udev reads", () => {
    const modalias = "pci:v00008086d00008CA0sv00008086sd00002010bc04sc03i00";
    expect(text(tree, `${at}/modalias`)).toBe(`${modalias}\n`);
    expect(text(tree, `${at}/uevent`)).toBe(
      `DRIVER=vfio-pci\nPCI_CLASS=40300\nPCI_ID=8086:8CA0\nPCI_SUBSYS_ID=8086:2010\nPCI_SLOT_NAME=0000:00:1b.0\nMODALIAS=${modalias}\n`,
    );
  });

  test("of one that has its host driver", () => {
    const gpu = "/sys/devices/pci0000:00/0000:00:02.0";
    expect(text(tree, `${gpu}/driver_override`)).toBe("(null)\n");
    expect(text(tree, `${gpu}/enable`)).toBe("1\n");
    expect(text(tree, `${at}/enable`)).toBe("0\n");
    expect([...tree.files.keys()].some((path) => path.startsWith("/sys/bus/pci/drivers/i915/"))).toBe(true);
  });

  test("resource says what config space says, recorded or made up", () => {
    // on s390 there are cookies in it
    for (const host of ALL.filter(({ arch }) => arch !== "s390x")) {
      const files = sysfsTree(host, nothing).files;
      for (const [name, { content }] of files) {
        if (!name.endsWith("/resource")) continue;
        const config = files.get(name.replace(/resource$/, "config"))!.content as Uint8Array;
        const view = new DataView(config.buffer, config.byteOffset, config.byteLength);
        const lines = (content as string).trimEnd().split("\n");
        // six BARs, the ROM, six of virtual functions; bridges have four windows (recorded on igb39: sysfs_I)
        expect(lines).toHaveLength(config[0x0e] === 1 ? 17 : 13);
        for (const [index, line] of lines.entries()) {
          const [start, last, flags] = line.split(" ").map(BigInt) as [bigint, bigint, bigint];
          if (last === 0n) continue;
          const offset = index === 6 ? 0x30 : 0x10 + index * 4;
          const low = BigInt(view.getUint32(offset, true));
          const wide = (flags & 0x10_0000n) !== 0n;
          expect(low & (index === 6 ? ~0x7ffn : flags & 0x100n ? ~3n : ~0xfn), name).toBe(start & 0xffff_ffffn);
          if (wide) expect(BigInt(view.getUint32(offset + 4, true))).toBe(start >> 32n);
          expect(start % (last - start + 1n), `${name} ${line}`).toBe(0n);
        }
      }
    }
  });

  test("resource of a recorded device has the sizes that its regions had", () => {
    const e1000e = sysfsTree(recording("intel39"), nothing).files.get("/sys/devices/pci0000:02/0000:02:00.0/resource")!;
    expect((e1000e.content as string).split("\n").slice(0, 4)).toEqual([
      "0x00000000fdc40000 0x00000000fdc5ffff 0x0000000000040200",
      "0x00000000fdc60000 0x00000000fdc7ffff 0x0000000000040200",
      "0x000000000000d000 0x000000000000d01f 0x0000000000040101",
      "0x00000000fdc80000 0x00000000fdc83fff 0x0000000000040200",
    ]);
  });

  test("config is what was recorded", () => {
    const host = recording("intel39");
    const { device } = allDevices(host)[2]!;
    const file = sysfsTree(host, nothing).files.get("/sys/devices/pci0000:01/0000:01:00.0/config")!;
    expect(file.content).toEqual(device.bus === "pci" && device.config);
    expect(file.content).toHaveLength(4096);
  });

  test("a device behind a bridge that is known to lead to its bus lies below it", () => {
    const bridge = Buffer.alloc(256);
    bridge.set([0x86, 0x80, 0x01, 0x19, 0, 0, 0, 0, 0, 0, 4, 6, 0, 0, 1], 0);
    bridge[0x19] = 1;
    const host = parseHost(
      `name: h\niommu: {model: intel-vtd}\ngroups:\n- id: 1\n  devices:\n  - {bdf: "0000:00:01.0", id: "8086:1901", config: "${bridge.toString("hex")}"}\n  - {bdf: "0000:01:00.0", id: "8086:10d3"}\n`,
      "f",
    );
    expect(sysfsTree(host, nothing).links.get("/sys/bus/pci/devices/0000:01:00.0")).toBe(
      "../../../devices/pci0000:00/0000:00:01.0/0000:01:00.0",
    );
  });
});

describe("groups, IOMMUs, modules", () => {
  test("reserved_regions as the kernel prints them", () => {
    expect(text(sysfsTree(amd, nothing), "/sys/kernel/iommu_groups/13/reserved_regions")).toBe(
      "0x00000000fee00000 0x00000000feefffff msi\n0x000000fd00000000 0x000000ffffffffff reserved\n",
    );
    expect(text(sysfsTree(recording("intel39-rmrr"), nothing), "/sys/kernel/iommu_groups/3/reserved_regions")).toBe(
      "0x0000000020000000 0x00000000200fffff direct\n0x00000000fee00000 0x00000000feefffff msi\n",
    );
  });

  test("names of groups, only where there are any", () => {
    const power = sysfsTree(recording("powernv9-6.12-4k"), nothing);
    expect(text(power, "/sys/kernel/iommu_groups/1/name")).toBe("domain1-pefd\n");
    const tree = sysfsTree(intel, nothing);
    expect(tree.files.has("/sys/kernel/iommu_groups/5/name")).toBe(false);
    expect(text(tree, "/sys/kernel/iommu_groups/12/name")).toBe("vfio-noiommu\n");
    expect(text(tree, "/sys/kernel/iommu_groups/12/type")).toBe("unknown\n");
  });

  test("the width in VT-d's cap register is the host's", () => {
    const cap = (host: HostDescription) =>
      BigInt(`0x${text(sysfsTree(host, nothing), "/sys/devices/virtual/iommu/dmar0/intel-iommu/cap").trim()}`);
    const width = (host: HostDescription) => Number((cap(host) >> 16n) & 0x3fn) + 1;
    expect(width(intel)).toBe(57);
    expect(width(recording("intelsm"))).toBe(48);
    // recorded by GET_HW_INFO
    expect(cap(recording("intel39"))).toBe(0x00d2_008c_2226_0286n);
    expect(text(sysfsTree(recording("intel39"), nothing), "/sys/devices/virtual/iommu/dmar0/intel-iommu/ecap")).toBe(
      "f00f4a\n",
    );
  });

  test("a device's IOMMU, where one registers", () => {
    const link = (host: HostDescription, device: string) =>
      sysfsTree(host, nothing).links.get(`/sys/devices/${device}/iommu`)?.replace(/^.*\//, "");
    expect(link(intel, "pci0000:00/0000:00:1b.0")).toBe("dmar0");
    expect(link(amd, "pci0000:01/0000:01:00.0")).toBe("ivhd0");
    expect(link(recording("pseries-6.12-64k"), "pci0000:00/0000:00:03.0")).toBeUndefined();
  });

  test("module parameters, by kernel and container", () => {
    const parameters = (host: HostDescription) =>
      [...sysfsTree(host, nothing).files]
        .filter(([at]) => /^\/sys\/module\/.*\/parameters\//.test(at))
        .map(
          ([at, { content, mode }]) =>
            `${at.slice("/sys/module/".length)}=${(content as string).trim()} ${mode.toString(8)}`,
        );
    expect(parameters(intel)).toEqual([
      "vfio_pci/parameters/disable_vga=N 444",
      "vfio_pci/parameters/nointxmask=N 444",
      "vfio_pci/parameters/disable_denylist=N 444",
      "vfio_pci/parameters/disable_idle_d3=N 444",
      "vfio_pci/parameters/enable_sriov=N 444",
      "vfio_iommu_type1/parameters/dma_entry_limit=65535 644",
      "vfio_iommu_type1/parameters/allow_unsafe_interrupts=N 644",
      "vfio_iommu_type1/parameters/disable_hugepages=N 644",
    ]);
    // neither dma_entry_limit nor enable_sriov
    expect(parameters({ ...intel, kernel: "5.0" })).toHaveLength(5);
    expect(parameters(recording("virtio"))).toContain("vfio_iommu_type1/parameters/allow_unsafe_interrupts=Y 644");
    expect(parameters(recording("noiommu-k72fd"))[0]).toBe("vfio/parameters/enable_unsafe_noiommu_mode=Y 644");
    expect(parameters({ ...recording("noiommu-k72fd"), kernel: "4.4" }).join()).not.toContain("noiommu");
    expect(parameters(recording("intel39-k72c")).join()).not.toContain("vfio_iommu_type1");
    const modules = (host: HostDescription) =>
      sysfsTree(host, nothing).directories.filter((at) => at.startsWith("/sys/module/"));
    expect(modules(intel)).toContain("/sys/module/vfio_pci");
    expect(modules(recording("pseries-6.12-64k"))).toContain("/sys/module/vfio_iommu_spapr_tce");
  });
});

describe("a mediated device", () => {
  const tree = sysfsTree(intel, nothing);
  const parent = "/sys/devices/pci0000:00/0000:00:02.0";

  test("is below its parent, with its type", () => {
    expect(tree.links.get(`/sys/bus/mdev/devices/${UUID}`)).toBe(`../../../devices/pci0000:00/0000:00:02.0/${UUID}`);
    expect(tree.links.get(`${parent}/${UUID}/mdev_type`)).toBe("../mdev_supported_types/i915-GVTg_V4_4");
    expect(tree.links.get(`${parent}/${UUID}/driver`)).toMatch(/\/bus\/mdev\/drivers\/vfio_mdev$/);
    expect(tree.links.get("/sys/class/mdev_bus/0000:00:02.0")).toBe("../../devices/pci0000:00/0000:00:02.0");
    const type = `${parent}/mdev_supported_types/i915-GVTg_V4_4`;
    expect(text(tree, `${type}/name`)).toBe("GVTg_V4_4\n");
    expect(text(tree, `${type}/device_api`)).toBe("vfio-pci\n");
    expect(text(tree, `${type}/available_instances`)).toBe("0\n");
  });
});

describe("device nodes", () => {
  const nodes = (host: HostDescription) =>
    nodesAtBoot(host).map(({ path: at, major, minor, mode }) => `${at} ${major}:${minor} ${mode.toString(8)}`);

  test("of groups with a device that VFIO has", () => {
    expect(nodes(intel)).toEqual(["/dev/vfio/vfio 10:196 666", "/dev/vfio/5 240:0 600", "/dev/vfio/12 240:1 600"]);
    expect(nodes(recording("smmuv3")).map((node) => node.replace(/ .*/, ""))).toEqual([
      "/dev/vfio/vfio",
      // in the order in which their devices are bound
      ...[4, 5, 0, 1, 2].map((id) => `/dev/vfio/${id}`),
    ]);
  });

  test("with iommufd, numbered by device; and vfio-dev says which", () => {
    const host = recording("intel39-k72fd");
    expect(nodes(host)).toContain("/dev/iommu 10:125 660");
    expect(nodes(host)).toContain("/dev/vfio/devices/vfio4 511:4 600");
    const tree = sysfsTree(host, nothing);
    expect(tree.directories).toContain("/dev/vfio/devices");
    expect(sysfsTree(intel, nothing).directories).not.toContain("/dev/vfio/devices");
    expect(text(tree, "/sys/devices/pci0000:03/0000:03:00.0/0000:04:01.0/vfio-dev/vfio4/dev")).toBe("511:4\n");
    expect([...sysfsTree(intel, nothing).files.keys()].some((at) => at.includes("vfio-dev"))).toBe(false);
  });

  test("in no-IOMMU mode", () => {
    const all = nodes(recording("noiommu-k72fd")).map((node) => node.replace(/ .*/, ""));
    expect(all).toContain("/dev/vfio/noiommu-0");
    expect(all).toContain("/dev/iommu");
    expect(all.some((node) => node.startsWith("/dev/vfio/devices"))).toBe(false);
  });
});

test("the real machine's own devices, groups and VFIO do not show through", () => {
  const real: Record<string, string[]> = {
    "/sys/devices": ["pci0000:00", "pci0000:7f", "platform", "pcirandom"],
    "/sys/module": ["vfio", "vfio_pci", "vfio_iommu_type1", "kvm", "mdev", "iommufd"],
  };
  const { grafts } = sysfsTree(intel, (directory) => real[directory] ?? []);
  const hidden = (directory: string) => grafts.find((graft) => graft.directory === directory)?.hidden;
  expect(hidden("/sys/bus/pci")).toEqual(["*"]);
  expect(hidden("/sys/devices")).toEqual(["pci0000:00", "pci0000:7f"]);
  expect(hidden("/sys/module")).toEqual(["vfio", "vfio_pci", "vfio_iommu_type1", "mdev", "iommufd"]);
  expect(hidden("/sys/kernel")).toEqual(["iommu_groups"]);
  expect(hidden("/dev")).toEqual(["vfio", "iommu"]);
  expect(() => sysfsTree(intel)).not.toThrow();
});

/** lspci can be pointed at another /sys, so this needs no mounts. */
const lspci = spawnSync("lspci", ["--version"]).error === undefined;
test.skipIf(!lspci)("lspci lists the devices", () => {
  const root = materialise(sysfsTree(intel, nothing));
  const list = (...options: string[]) =>
    execFileSync("lspci", ["-A", "linux-sysfs", "-O", `sysfs.path=${root}/sys/bus/pci`, ...options], {
      encoding: "utf8",
    });
  expect(list("-D", "-n").trimEnd().split("\n")).toEqual([
    "0000:00:02.0 0300: 8086:1622 (rev 0a)",
    "0000:00:1b.0 0403: 8086:8ca0",
  ]);
  const named = list("-D", "-nn", "-vv", "-s", "1b.0");
  expect(named).toMatch(/0000:00:1b\.0 .*\[0403\]: .*\[8086:8ca0\]/);
  expect(named).toMatch(/Region 0: Memory at [0-9a-f]+ \(64-bit, non-prefetchable\).*\[size=16K\]/);
  expect(named).toMatch(/Capabilities: \[40\] MSI: Enable- Count=1\/1 Maskable- 64bit\+/);
  expect(named).toContain("Kernel driver in use: vfio-pci");
  expect(named).toContain("IOMMU group: 5");
  rmSync(root, { recursive: true });
});

test("what the tree holds can be read as it is", () => {
  const root = materialise(sysfsTree(intel, nothing));
  expect(readFileSync(`${root}/sys/bus/pci/devices/0000:00:1b.0/config`)).toHaveLength(256);
  rmSync(root, { recursive: true });
});
