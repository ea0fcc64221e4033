import { describe, expect, test } from "vitest";
import { Host } from "../../src/host/host.ts";
import { LiveFiles } from "../../src/host/sysfs/live-files.ts";
import { readyMadeHost } from "../../src/machine/ready-made-hosts.ts";
import { Program } from "./program.ts";

const DEVICE = "/sys/bus/pci/devices/0013:00:00.0";
const SLOT = "/sys/bus/pci/slots/00000103";

function setUp() {
  const host = new Host(readyMadeHost("s390")!);
  return { host, files: new LiveFiles(host), program: new Program(host) };
}

describe("a slot", () => {
  test("that is switched off takes the function, its group and its node along, and gives them back without a driver", () => {
    const { files, program } = setUp();
    files.write(`${SLOT}/power`, "0\n");
    expect(files.read(`${SLOT}/power`)).toBe("0\n");
    for (const path of [DEVICE, `${DEVICE}/vendor`, "/sys/kernel/iommu_groups/2", "/dev/vfio/2"])
      expect(files.exists(path), path).toBe(false);
    expect(files.list("/sys/bus/pci/devices")).not.toContain("0013:00:00.0");
    expect(files.list("/dev/vfio")).toEqual(["0", "1", "3", "4", "vfio"]);
    expect(() => files.list(DEVICE)).toThrow("not on this host");
    files.write(`${SLOT}/power`, "1");
    expect(files.exists(`${DEVICE}/vendor`)).toBe(true);
    expect(files.read(`${DEVICE}/driver_override`)).toBe("(null)\n");
    expect(program.open("/dev/vfio/2")).toBe("ENOENT");
    files.write(`${DEVICE}/driver_override`, "vfio-pci");
    files.write("/sys/bus/pci/drivers_probe", "0013:00:00.0");
    expect(program.open("/dev/vfio/2")).toBeTypeOf("number");
  });

  test("says what is wrong with what is written", () => {
    const { files } = setUp();
    expect(() => files.write(`${SLOT}/power`, "1")).toThrow(expect.objectContaining({ code: "EIO" }));
    expect(() => files.write(`${SLOT}/power`, "2")).toThrow(expect.objectContaining({ code: "EINVAL" }));
    expect(() => files.write("/sys/bus/pci/slots/00000999/power", "0")).toThrow(
      expect.objectContaining({ code: "ENOENT" }),
    );
  });

  test("is not switched off under an open function", () => {
    const { files, program } = setUp();
    const container = program.open("/dev/vfio/vfio");
    const group = program.open("/dev/vfio/2");
    expect(program.setContainer(group, container)).toBe(0);
    expect(program.ioctl(container, 0x3b66, 3)).toBe(0);
    expect(program.deviceFd(group, "0013:00:00.0")).toBeTypeOf("number");
    expect(() => files.write(`${SLOT}/power`, "0")).toThrow(expect.objectContaining({ code: "EBUSY" }));
    expect(files.read(`${SLOT}/power`)).toBe("1\n");
    expect(files.exists("/dev/vfio/2")).toBe(true);
  });
});

test("recover makes a function anew", () => {
  const { files } = setUp();
  files.write(`${DEVICE}/recover`, "1");
  expect(files.exists(DEVICE)).toBe(true);
  expect(files.exists(`${DEVICE}/driver`)).toBe(false);
  expect(files.exists("/dev/vfio/2")).toBe(false);
});

test("directories list what is in them, over links", () => {
  const { files } = setUp();
  expect(files.list(`${DEVICE}/iommu_group/devices/`)).toEqual(["0013:00:00.0"]);
  expect(files.list(`${DEVICE}/pfip`)).toEqual(["segment0", "segment1", "segment2", "segment3"]);
  expect(files.list(`${DEVICE}/msi_irqs`)).toEqual([]);
  expect(files.read(`${DEVICE}/iommu_group/type`)).toBe("DMA-FQ\n");
});
