import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { capture } from "../../../src/machine/capture/capture.ts";
import { findDevice } from "../../../src/machine/find-device.ts";
import type { HostDescription, PciDeviceDescription } from "../../../src/machine/host-description.ts";
import { parseHost } from "../../../src/machine/parse-host.ts";
import { devicePath } from "../../../src/machine/sysfs/device-path.ts";
import { write, writeTree } from "../write-tree.ts";

const scratch = mkdtempSync(join(tmpdir(), "uvfio-test-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const HOST = parseHost(
  `
name: facts
kernel: "6.12"
iommu: { model: intel-vtd, address_bits: 48 }
modules: { vfio_pci: { disable_vga: true } }
groups:
  - { id: 1, devices: [ { bdf: 0000:00:01.0, id: "8086:1901", class: 0x060400, secondary_bus: 0x40 } ] }
  - { id: 2, devices: [ { bdf: 0000:40:00.0, id: "1234:0001", class: 0x020000, sriov_totalvfs: 8, numa_node: 1, irq: 16, bars: [ { index: 0, size: 0x1000, type: memory } ] } ] }
  - { id: 3, devices: [ { bdf: 0000:40:00.4, id: "1234:0002", class: 0x020000, physfn: 0000:40:00.0 } ] }
  - { id: 4, devices: [ { bdf: 0000:00:02.0, id: "1234:0003", class: 0x030000, rom: shadow, irq: 17, bars: [ { index: 0, size: 0x100000, type: memory } ] } ] }
devices:
  - { bdf: 0000:00:1f.0, id: "8086:7a84", class: 0x060100, driver: "" }
`,
  "facts.yaml",
);

let trees = 0;
const treeOf = (host: HostDescription) => {
  const root = join(scratch, `tree${trees++}`);
  mkdirSync(join(root, "sys"), { recursive: true });
  writeTree(host, root);
  return root;
};
const read = (root: string) => {
  const { host, yaml } = capture({ root, name: "captured", configSpace: false });
  expect(parseHost(yaml, "captured.yaml")).toEqual(host);
  return { host, pci: (bdf: string) => findDevice(host, bdf).device as PciDeviceDescription };
};

test("functions, buses, nodes, lines, ROMs and devices without a group are captured", () => {
  const { host, pci } = read(treeOf(HOST));
  expect(pci("0000:00:01.0")).toMatchObject({ secondaryBus: 0x40, pcie: true });
  expect(pci("0000:40:00.0")).toMatchObject({ sriovTotalVfs: 8, numaNode: 1, irq: 16, pcie: true });
  expect(pci("0000:40:00.4")).toMatchObject({ physfn: "0000:40:00.0", irq: 0 });
  expect(pci("0000:00:02.0")).toMatchObject({ rom: "shadow", pcie: false });
  expect(findDevice(host, "0000:00:1f.0").group).toMatchObject({ noIommu: true });
  expect(findDevice(host, "0000:40:00.0").group.noIommu).toBeUndefined();
  expect(host.modules.vfioPci).toEqual({ vga: true, disableVga: true });
  for (const bdf of ["0000:40:00.0", "0000:40:00.4", "0000:00:02.0"])
    expect(devicePath(host, pci(bdf))).toBe(devicePath(HOST, findDevice(HOST, bdf).device));
});

test("who else has a BAR or a line is captured from /proc", () => {
  const root = treeOf(HOST);
  const first = Number(startOf(root, "0000:00:02.0"));
  const hex = (value: number) => value.toString(16);
  write(
    join(root, "proc/iomem"),
    `00001000-0009ffff : System RAM
${hex(first)}-ffffffff : PCI Bus 0000:00
  ${hex(first)}-${hex(first + 0xf_ffff)} : 0000:00:02.0
    ${hex(first)}-${hex(first + 0xfff)} : simple-framebuffer
`,
  );
  write(
    join(root, "proc/interrupts"),
    `            CPU0       CPU1
  16:          0          0  IR-IO-APIC   16-fasteoi   i801_smbus, vfio-intx(0000:40:00.0)
  17:          0          0  IR-IO-APIC   17-fasteoi   vfio-intx(0000:00:02.0)
`,
  );
  const { pci } = read(root);
  expect(pci("0000:00:02.0").bars[0]).toMatchObject({ claimedBy: "simple-framebuffer" });
  expect(pci("0000:40:00.0").bars[0]).not.toHaveProperty("claimedBy");
  expect(pci("0000:40:00.0").irqSharedWith).toBe("i801_smbus");
  expect(pci("0000:00:02.0").irqSharedWith).toBeUndefined();
});

test("a machine without an IOMMU keeps its devices, and they are in no group", () => {
  const root = join(scratch, `tree${trees++}`);
  const at = "sys/devices/pci0000:00/0000:00:06.0";
  for (const [name, text] of [
    ["vendor", "0x1d0f"],
    ["device", "0xec20"],
    ["class", "0x020000"],
    ["resource", ""],
  ] as const)
    write(join(root, at, name), `${text}\n`);
  mkdirSync(join(root, "sys/bus/pci/devices"), { recursive: true });
  symlinkSync("../../../devices/pci0000:00/0000:00:06.0", join(root, "sys/bus/pci/devices/0000:00:06.0"));
  const { host, pci } = read(root);
  expect(host.iommu.model).toBe("none");
  expect(pci("0000:00:06.0")).toMatchObject({ vendor: 0x1d0f, device: 0xec20, driver: null });
  expect(host.groups).toMatchObject([{ noIommu: true }]);
});

function startOf(root: string, bdf: string): string {
  const resource = `${root}${devicePath(HOST, findDevice(HOST, bdf).device)}/resource`;
  return readFileSync(resource, "utf8").split(" ")[0]!;
}
