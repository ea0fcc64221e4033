import { describe, expect, test } from "vitest";
import { Host } from "../../../src/host/host.ts";
import { parseHost } from "../../../src/machine/parse-host.ts";
import { readyMadeHost } from "../../../src/machine/ready-made-hosts.ts";
import {
  VFIO_DEVICE_GET_INFO,
  VFIO_DEVICE_GET_IRQ_INFO,
  VFIO_DEVICE_GET_REGION_INFO,
  VfioDeviceInfo,
  VfioIrqInfo,
  VfioRegionInfo,
} from "../../../src/uapi/vfio-device.ts";
import { VFIO_DEVICE_FEATURE, VfioDeviceFeature } from "../../../src/uapi/vfio-feature.ts";
import { VFIO_DEVICE_GET_PCI_HOT_RESET_INFO } from "../../../src/uapi/vfio-pci.ts";
import { Program, type Result } from "../program.ts";
import { CONFIG, SAMPLES, Sample, sampleHost } from "./sample-program.ts";

function open(host: Host): { program: Program; device: Sample } {
  const program = new Program(host);
  const { group } = program.container(SAMPLES[0].group);
  return { program, device: new Sample(program, group) };
}

const FILES = [
  ["sample", () => open(sampleHost())],
  ["generic, as the ready-made host has it", () => open(new Host(readyMadeHost("intel")!))],
] as const;

describe.each(FILES)("the file of a mediated device (%s)", (_name, openDevice) => {
  test("is a PCI device's, resettable, with INTx and one MSI", () => {
    const { program, device } = openDevice();
    const info = VfioDeviceInfo.encode({ argsz: VfioDeviceInfo.size, cap_offset: 77 });
    expect(program.ioctlBytes(device.fd, VFIO_DEVICE_GET_INFO, info)).toBe(0);
    // its driver writes what every kernel's structure has, and no more
    expect(VfioDeviceInfo.decode(info)).toMatchObject({ flags: 3, num_regions: 9, num_irqs: 5, cap_offset: 77 });
    const irq = (index: number): Result | object => {
      const bytes = VfioIrqInfo.encode({ argsz: VfioIrqInfo.size, index });
      const result = program.ioctlBytes(device.fd, VFIO_DEVICE_GET_IRQ_INFO, bytes);
      const { flags, count } = VfioIrqInfo.decode(bytes);
      return result === 0 ? { flags, count } : result;
    };
    expect([0, 1, 2, 3, 4, 5].map(irq)).toEqual([
      { flags: 7, count: 1 },
      { flags: 9, count: 1 },
      "EINVAL",
      "EINVAL",
      "EINVAL",
      "EINVAL",
    ]);
  });

  test("has all regions by index, none of them to be mapped", () => {
    const { program, device } = openDevice();
    const region = (index: number) => {
      const bytes = VfioRegionInfo.encode({ argsz: VfioRegionInfo.size, index });
      const result = program.ioctlBytes(device.fd, VFIO_DEVICE_GET_REGION_INFO, bytes);
      return result === 0 ? VfioRegionInfo.decode(bytes) : result;
    };
    expect(region(9)).toBe("EINVAL");
    expect(region(8)).toMatchObject({ size: 0n, flags: 0 });
    expect(region(7)).toMatchObject({ size: 256n, flags: 3, offset: BigInt(CONFIG) });
    expect(region(0)).toMatchObject({ flags: 3 });
    const mapping = { offset: 0, length: 4096, read: true, write: true, shared: true };
    const file = program.task.files.get(Number(device.fd))!;
    expect(() => file.mmap(program.task, mapping)).toThrow(/EINVAL: no region of .* can be mapped/);
  });

  test("knows no features and none of vfio-pci's own requests", () => {
    const { program, device } = openDevice();
    const feature = (flags: number) =>
      program.ioctlBytes(device.fd, VFIO_DEVICE_FEATURE, VfioDeviceFeature.encode({ argsz: 8, flags }, 8));
    expect(feature(0x4_0003)).toBe("ENOTTY");
    expect(feature(0x100_0003)).toBe("EINVAL");
    expect(program.ioctl(device.fd, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO)).toBe("ENOTTY");
  });

  test("has a config space whose BARs tell their sizes", () => {
    const { device } = openDevice();
    device.pwrite(CONFIG + 0x10, Uint8Array.of(0xff, 0xff, 0xff, 0xff));
    const bar = device.pread(CONFIG + 0x10, 4) as Uint8Array;
    const size = -(new DataView(bar.buffer).getInt32(0, true) & ~15);
    expect(size).toBeGreaterThan(0);
    expect(Number.isInteger(Math.log2(size))).toBe(true);
    expect(device.pread(CONFIG + 250, 8)).toBe("EFAULT");
    expect(device.pread(2 ** 40, 4)).toBe("EINVAL");
  });
});

describe("what a mediated device of a host file is", () => {
  const host = (more: string) =>
    parseHost(
      `name: h\niommu: {model: intel-vtd}\ngroups:\n- id: 1\n  devices: [{bdf: 0000:00:02.0, id: 8086:1622}]\n- id: 12\n  devices: [{uuid: ${SAMPLES[0].name}, parent: 0000:00:02.0, ${more}}]\n`,
      "f",
    );
  const model = (more: string) => host(more).groups[1]!.devices[0]!.model;

  test("the sample device, or for a type of GVT what GVT shows, unless it says", () => {
    expect(model("type: mine-1")).toBe("sample");
    expect(model("type: i915-GVTg_V5_8")).toBe("generic");
    expect(model("type: i915-GVTg_V5_8, model: sample")).toBe("sample");
    expect(() => model("type: mine-1, model: edu")).toThrow(/model: "edu" is not one of sample, generic/);
  });

  test("shows its ids", () => {
    const { device } = open(new Host(host("type: mine-1")));
    expect([...(device.pread(CONFIG, 4) as Uint8Array)]).toEqual([0x34, 0x12, 0x64, 0x6d]);
    const { device: gvt } = open(new Host(host("type: i915-GVTg_V5_8")));
    expect([...(gvt.pread(CONFIG, 4) as Uint8Array)]).toEqual([0x86, 0x80, 0x22, 0x16]);
  });
});
