import { beforeEach, describe, expect, test } from "vitest";
import { LiveFiles } from "../../src/host/sysfs/live-files.ts";
import { HostFileProgram } from "./pci/host-file-program.ts";

const HOST = `
name: sysfs
iommu: { model: intel-vtd, address_bits: 48 }
iommufd: true
kernel: "6.12"
groups:
  - { id: 1, devices: [ { bdf: 0000:00:01.0, id: "8086:1901", class: 0x060400, driver: pcieport } ] }
  - { id: 6, devices: [ { bdf: 0000:01:00.0, id: "8086:10c9", driver: igb, sriov_totalvfs: 4 } ] }
  - { id: 7, devices: [ { bdf: 0000:02:00.0, id: "1234:11e8" } ] }
  - { id: 8, devices: [ { bdf: 0000:03:00.0, id: "1234:11e8" } ] }
`;
const EDU = "0000:02:00.0";
const PF = "0000:01:00.0";
const device = (bdf: string, file = "") => `/sys/bus/pci/devices/${bdf}${file && `/${file}`}`;
const driver = (name: string, file: string) => `/sys/bus/pci/drivers/${name}/${file}`;

let program: HostFileProgram;
let live: LiveFiles;

beforeEach(() => {
  program = new HostFileProgram(HOST);
  live = new LiveFiles(program.host);
});

/** The errno of a write, or 0. */
const write = (path: string, text: string) =>
  program.attempt(() => {
    live.write(path, text);
    return 0;
  });

describe("a module parameter", () => {
  const limit = "/sys/module/vfio_iommu_type1/parameters/dma_entry_limit";

  test("is what was written last and taken, and counts from then on", () => {
    expect(write(limit, "2\n")).toBe(0);
    expect(write(limit, "many")).toBe("EINVAL");
    expect(write(limit, "0x100000000")).toBe("ERANGE");
    expect(live.read(limit)).toBe("2\n");
    expect(write("/sys/module/vfio_pci/parameters/nointxmask", "Y")).toBe("EACCES");
  });
});

describe("a driver", () => {
  test("lets go of a device and takes it again: links and nodes go and come", () => {
    expect(live.list("/dev/vfio")).toEqual(["7", "8", "devices", "vfio"]);
    expect(live.list("/sys/class/vfio-dev")).toEqual(["vfio0", "vfio1"]);
    expect(write(driver("vfio-pci", "unbind"), EDU)).toBe(0);
    expect(live.exists(device(EDU, "driver"))).toBe(false);
    expect(live.exists(driver("vfio-pci", EDU))).toBe(false);
    expect(live.read(device(EDU, "uevent"))).not.toContain("DRIVER");
    expect(live.list("/dev/vfio")).toEqual(["8", "devices", "vfio"]);
    expect(live.list("/sys/class/vfio")).toEqual(["8"]);
    expect(write(driver("vfio-pci", "unbind"), EDU)).toBe("ENODEV");
    // another device of VFIO's keeps its number, and the lowest that is free is given out
    expect(live.list("/sys/class/vfio-dev")).toEqual(["vfio1"]);
    expect(write(driver("vfio-pci", "bind"), `${EDU}\n`)).toBe(0);
    expect(write(driver("vfio-pci", "bind"), EDU)).toBe("EBUSY");
    expect(live.linkName(device(EDU, "driver"))).toBe("vfio-pci");
    expect(live.list(device(EDU, "vfio-dev"))).toEqual(["vfio0"]);
    expect(program.open("/dev/vfio/7")).toBeTypeOf("number");
  });

  test("is chosen by driver_override, which a newline or a NUL clears", () => {
    expect(write(driver("pci-stub", "bind"), EDU)).toBe("ENODEV");
    write(driver("vfio-pci", "unbind"), EDU);
    expect(write(device(EDU, "driver_override"), "pci-stub\n")).toBe(0);
    expect(live.read(device(EDU, "driver_override"))).toBe("pci-stub\n");
    expect(write("/sys/bus/pci/drivers_probe", EDU)).toBe(0);
    expect(live.linkName(device(EDU, "driver"))).toBe("pci-stub");
    expect(write(device(EDU, "driver_override"), "\0")).toBe(0);
    expect(live.read(device(EDU, "driver_override"))).toBe("(null)\n");
    expect(write(device(EDU, "driver_override"), "x".repeat(4095))).toBe("EINVAL");
    expect(write("/sys/bus/pci/drivers_probe", "0000:09:00.0")).toBe("ENODEV");
  });

  test("takes what new_id names, once", () => {
    write(driver("vfio-pci", "unbind"), EDU);
    write(device(EDU, "driver_override"), "\n");
    expect(write(driver("vfio-pci", "bind"), EDU)).toBe("ENODEV");
    expect(write(driver("vfio-pci", "new_id"), "1234")).toBe("EINVAL");
    expect(write(driver("vfio-pci", "new_id"), "1234 11e8\n")).toBe(0);
    expect(live.linkName(device(EDU, "driver"))).toBe("vfio-pci");
    expect(write(driver("vfio-pci", "new_id"), "1234 11e8\n")).toBe("EEXIST");
    expect(write(driver("vfio-pci", "remove_id"), "1234 11e8\n")).toBe(0);
    expect(write(driver("vfio-pci", "remove_id"), "1234 11e8\n")).toBe("ENODEV");
    expect(live.linkName(device(EDU, "driver"))).toBe("vfio-pci");
  });

  test("gets its own devices back, by itself", () => {
    write(driver("igb", "unbind"), PF);
    expect(write("/sys/bus/pci/drivers_probe", PF)).toBe(0);
    expect(live.linkName(device(PF, "driver"))).toBe("igb");
  });

  test("does not let go of a device that is open, and changes nothing then", () => {
    const { group } = program.container(7);
    expect(program.deviceFd(group, EDU)).toBeTypeOf("number");
    expect(write(driver("vfio-pci", "unbind"), EDU)).toBe("EBUSY");
    expect(write(device(EDU, "remove"), "1")).toBe("EBUSY");
    expect(live.linkName(device(EDU, "driver"))).toBe("vfio-pci");
    expect(program.warnings.join()).toContain(
      `${EDU}: No device request channel registered, blocked until released by user`,
    );
  });
});

test("a device that is removed is gone until the bus is scanned again", () => {
  expect(write(device(EDU, "remove"), "0")).toBe(0);
  expect(live.exists(device(EDU))).toBe(true);
  expect(write(device(EDU, "remove"), "1\n")).toBe(0);
  expect(live.exists(device(EDU))).toBe(false);
  expect(live.exists("/sys/kernel/iommu_groups/7")).toBe(false);
  expect(program.open("/dev/vfio/7")).toBe("ENOENT");
  expect(write("/sys/bus/pci/rescan", "1\n")).toBe(0);
  expect(live.exists(device(EDU, "driver"))).toBe(false);
  expect(live.read(device(EDU, "driver_override"))).toBe("(null)\n");
  expect(live.linkName(device(EDU, "iommu_group"))).toBe("7");
});

test("what is below a bridge goes with it", () => {
  expect(live.list("/sys/bus/pci/devices")).toHaveLength(4);
  expect(write(device("0000:00:01.0", "remove"), "1")).toBe(0);
  expect(live.list("/sys/bus/pci/devices")).toEqual([EDU, "0000:03:00.0"]);
  expect(write("/sys/bus/pci/rescan", "1")).toBe(0);
  expect(live.linkName(device(PF, "driver"))).toBe("igb");
});

describe("virtual functions", () => {
  const number = device(PF, "sriov_numvfs");

  test("come and go with sriov_numvfs, which has rules", () => {
    expect(live.read(device(PF, "sriov_totalvfs"))).toBe("4\n");
    expect(write(number, "5")).toBe("ERANGE");
    expect(write(number, "two")).toBe("EINVAL");
    expect(write(number, "0")).toBe(0);
    expect(write(number, "2\n")).toBe(0);
    expect(live.read(number)).toBe("2\n");
    expect(write(number, "3")).toBe("EBUSY");
    expect(write(number, "2")).toBe(0);
    expect(live.linkName(device(PF, "virtfn1"))).toBe("0000:01:00.2");
    expect(live.linkName(device("0000:01:00.2", "physfn"))).toBe(PF);
    expect(live.read(device("0000:01:00.1", "device"))).toBe("0x10ca\n");
    expect(live.linkName(device("0000:01:00.1", "iommu_group"))).toBe("9");
    expect(write(number, "0")).toBe(0);
    expect(live.exists(device("0000:01:00.1"))).toBe(false);
    expect(live.list("/sys/kernel/iommu_groups")).toEqual(["1", "6", "7", "8"]);
  });

  test("of a physical function without a driver there are none; vfio-pci takes those that it makes", () => {
    write(driver("igb", "unbind"), PF);
    expect(write(number, "1")).toBe("ENOENT");
    write(device(PF, "driver_override"), "vfio-pci");
    write("/sys/bus/pci/drivers_probe", PF);
    expect(write(number, "1")).toBe(0);
    expect(live.linkName(device("0000:01:00.1", "driver"))).toBe("vfio-pci");
    expect(live.list("/sys/class/vfio-dev")).toEqual(["vfio0", "vfio1", "vfio2", "vfio3"]);
    const { group } = program.container(9);
    expect(program.deviceFd(group, "0000:01:00.1")).toBe("EACCES");
    const token = "vf_token=11111111-2222-3333-4444-555555555555";
    expect(program.deviceFd(program.container(6).group, `${PF} ${token}`)).toBeTypeOf("number");
    expect(program.deviceFd(group, `0000:01:00.1 ${token}`)).toBeTypeOf("number");
    expect(write(number, "0")).toBe("EBUSY");
    expect(live.read(number)).toBe("1\n");
  });

  test("go with the driver of their physical function", () => {
    write(number, "2");
    write(driver("igb", "unbind"), PF);
    expect(live.read(number)).toBe("0\n");
    expect(live.exists(device("0000:01:00.1"))).toBe(false);
  });

  test("have no driver where they are not to be probed", () => {
    expect(live.read(device(PF, "sriov_drivers_autoprobe"))).toBe("1\n");
    expect(write(device(PF, "sriov_drivers_autoprobe"), "n")).toBe(0);
    write(number, "1");
    write(device("0000:01:00.1", "driver_override"), "vfio-pci");
    expect(live.exists(device("0000:01:00.1", "driver"))).toBe(false);
    write("/sys/bus/pci/drivers_probe", "0000:01:00.1");
    expect(live.linkName(device("0000:01:00.1", "driver"))).toBe("vfio-pci");
  });
});

test("whatever does nothing cannot be written", () => {
  expect(write(device(EDU, "vendor"), "1")).toBe("EACCES");
  expect(write(device(EDU, "numa_node"), "1")).toBe("EACCES");
  expect(program.reason).toContain("the model does nothing with it");
  expect(write("/sys/bus/pci/nothing", "1")).toBe("ENOENT");
  expect(write("/sys/bus/pci", "1")).toBe("EISDIR");
  expect(() => live.read("/sys/bus/pci/drivers_probe")).toThrow("can only be written");
});
