import { describe, expect, test } from "vitest";
import { LiveFiles } from "../../src/host/sysfs/live-files.ts";
import { HostFileProgram } from "./pci/host-file-program.ts";

const BDF = "0000:00:06.0";
const host = (mode: string, driver = "vfio-pci") => `
name: no IOMMU
iommu: { model: none }
modules: { vfio: { enable_unsafe_noiommu_mode: ${mode} } }
groups: [ { id: 0, devices: [ { bdf: ${BDF}, id: "1d0f:ec20", driver: "${driver}" } ] } ]
`;

describe("vfio-pci and a device without a group", () => {
  test.each(["false", "null"])("the probe fails where no-IOMMU mode is %s, and uvfio says so once", (mode) => {
    const program = new HostFileProgram(host(mode));
    expect(program.open("/dev/vfio/0")).toBe("ENOENT");
    expect(program.open("/dev/vfio/noiommu-0")).toBe("ENOENT");
    const live = new LiveFiles(program.host);
    expect(live.exists(`/sys/bus/pci/devices/${BDF}/driver`)).toBe(false);
    expect(program.warnings).toHaveLength(1);
    expect(program.warnings[0]).toMatch(/^vfio-pci cannot be bound to 0000:00:06\.0 \(EINVAL\): no IOMMU group/);
    const bind = () => {
      live.write("/sys/bus/pci/drivers/vfio-pci/bind", BDF);
      return 0;
    };
    expect(program.attempt(bind)).toBe("EINVAL");
    if (mode === "null") return;
    live.write("/sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "Y");
    expect(program.attempt(bind)).toBe(0);
    expect(program.open("/dev/vfio/noiommu-0")).toBeTypeOf("number");
  });

  test("nobody is told of a device that has no VFIO driver", () => {
    expect(new HostFileProgram(host("null", "")).warnings).toEqual([]);
  });
});

test("a container takes groups with an IOMMU or without, not both", () => {
  const program = new HostFileProgram(`
name: mixed
iommu: { model: intel-vtd, address_bits: 48 }
modules: { vfio: { enable_unsafe_noiommu_mode: true } }
groups: [ { id: 4, devices: [ { bdf: 0000:00:04.0, id: "1234:11e8" } ] } ]
devices: [ { bdf: 0000:00:05.0, id: "1234:11e8" } ]
`);
  const { container } = program.container(4);
  const group = program.open("/dev/vfio/noiommu-0");
  expect(program.setContainer(group, container)).toBe("EPERM");
  const other = program.open("/dev/vfio/vfio");
  expect(program.setContainer(group, other)).toBe(0);
  expect(program.ioctl(other, 0x3b66, 8)).toBe(0);
  expect(program.deviceFd(group, "0000:00:05.0")).toBeTypeOf("number");
});

test.each([
  ["6.2", "EINVAL"],
  ["6.3", "number"],
])("a device without an IOMMU in an iommufd, %s: %s", (kernel, answer) => {
  const program = new HostFileProgram(`
name: iommufd
kernel: "${kernel}"
iommufd: true
iommu: { model: none }
modules: { vfio: { enable_unsafe_noiommu_mode: true } }
groups: [ { id: 0, devices: [ { bdf: ${BDF}, id: "1d0f:ec20" } ] } ]
`);
  const group = program.open("/dev/vfio/noiommu-0");
  expect(program.setContainer(group, program.open("/dev/iommu"))).toBe(0);
  const device = program.deviceFd(group, BDF);
  expect(answer === "number" ? typeof device : device).toBe(answer);
});

test("the driver vmd keeps a group from user space, and what is behind it is not to be unbound", () => {
  const program = new HostFileProgram(`
name: vmd
iommu: { model: intel-vtd, address_bits: 48 }
groups:
  - id: 6
    devices:
      - { bdf: 0000:00:0e.0, id: "8086:467f", class: 0x010400, driver: vmd }
      - { bdf: 10000:e0:06.0, id: "8086:464d", class: 0x060400, driver: pcieport }
      - { bdf: 10000:e1:00.0, id: "144d:a80a", class: 0x010802, driver: nvme }
      - { bdf: 0000:00:1d.0, id: "1234:11e8" }
`);
  expect(program.setContainer(program.open("/dev/vfio/6"), program.open("/dev/vfio/vfio"))).toBe("EPERM");
  expect(program.reason).toContain("0000:00:0e.0 (vmd)");
  expect(program.reason).not.toContain("10000:");
});
