import { describe, expect, test } from "vitest";
import { capabilities } from "../../../src/devices/pci/capabilities.ts";
import * as pci from "../../../src/devices/pci/registers.ts";
import { Host } from "../../../src/host/host.ts";
import { PROT_READ } from "../../../src/kernel/model-areas.ts";
import type { PciDeviceDescription } from "../../../src/machine/host-description.ts";
import {
  VFIO_DEVICE_GET_INFO,
  VFIO_DEVICE_GET_IRQ_INFO,
  VFIO_DEVICE_GET_REGION_INFO,
  VFIO_DEVICE_SET_IRQS,
  VfioIrqSet,
} from "../../../src/uapi/vfio-device.ts";
import { VFIO_DEVICE_IOEVENTFD, VfioDeviceIoeventfd } from "../../../src/uapi/vfio-pci.ts";
import { VFIO_IOMMU_GET_INFO, VFIO_IOMMU_UNMAP_DMA } from "../../../src/uapi/vfio-type1.ts";
import { readBundle } from "../../recordings/bundle.ts";
import type { Result } from "../program.ts";
import { DEVICES, DeviceProgram } from "./device-program.ts";

const INTEL39 = readBundle("intel39").host;
const NONE = 1;
const BOOL = 2;
const TRIGGER = 0x20;
const MSIX = 2;

function onRelease(kernel: string): DeviceProgram {
  return new DeviceProgram("nvme", new Host({ ...INTEL39, kernel }));
}

function setMsix(program: DeviceProgram, flags: number, start: number, count: number, data = new Uint8Array()): Result {
  const header = VfioIrqSet.encode({ argsz: VfioIrqSet.size + data.length, flags, index: MSIX, start, count });
  return program.ioctlBytes(program.device, VFIO_DEVICE_SET_IRQS, Uint8Array.from([...header, ...data]));
}

/** A program that has an eventfd at vector 0 of MSI-X. */
function withMsix(kernel: string): DeviceProgram {
  const program = onRelease(kernel);
  expect(program.setIrqs(MSIX, "trigger", "eventfd", 0, 1, [program.eventfd().fd])).toBe(0);
  return program;
}

describe("SET_IRQS before and since its numbers are checked first (4.9)", () => {
  test.each([
    ["4.8", 0],
    ["4.9", "EINVAL"],
  ])("%s: switched off with a start beyond the vectors: %s", (kernel, answer) => {
    const program = withMsix(kernel);
    expect(setMsix(program, NONE | TRIGGER, 5000, 0)).toBe(answer);
  });

  test.each([
    ["4.8", 0],
    ["4.9", "EINVAL"],
  ])("%s: two data types at once: %s", (kernel, answer) => {
    const program = withMsix(kernel);
    expect(setMsix(program, NONE | BOOL | TRIGGER, 0, 1)).toBe(answer);
  });

  test.each(["4.8", "4.9"])("%s: data for vectors that are not there, and no data type", (kernel) => {
    const program = withMsix(kernel);
    expect(setMsix(program, BOOL | TRIGGER, 5000, 1, Uint8Array.of(1))).toBe("EINVAL");
    expect(setMsix(program, TRIGGER, 0, 1)).toBe("EINVAL");
    expect(setMsix(program, NONE | TRIGGER, 5000, 1)).toBe("EINVAL");
    expect(setMsix(program, NONE | TRIGGER, 1, 0xffff_ffff)).toBe("EINVAL");
  });
});

test.each([
  ["6.4", "EINVAL"],
  ["6.5", 0],
])("a vector beyond those that MSI-X was set up with, %s: %s", (kernel, answer) => {
  const program = withMsix(kernel);
  expect(setMsix(program, NONE | TRIGGER, 3, 1)).toBe(answer);
});

describe("8-byte ioeventfds", () => {
  const set = (kernel: string) => {
    const program = onRelease(kernel);
    const bytes = { argsz: VfioDeviceIoeventfd.size, flags: 8, offset: 0x1000n, data: 5n, fd: program.eventfd().fd };
    return program.ioctlBytes(program.device, VFIO_DEVICE_IOEVENTFD, VfioDeviceIoeventfd.encode(bytes));
  };

  test.each([
    ["4.17", "EINVAL"],
    ["6.11", "EINVAL"],
    ["6.12", 0],
  ])("on x86, %s: %s", (kernel, answer) => {
    expect(set(kernel)).toBe(answer);
  });
});

describe("a function-level reset through config space", () => {
  const nvme = INTEL39.groups
    .flatMap(({ devices }) => devices)
    .find((one) => "bdf" in one && one.bdf === DEVICES.nvme.name);
  const express = capabilities((nvme as PciDeviceDescription).config!).find(({ id }) => id === pci.PCI_CAP_ID_EXP)!;
  const control = express.offset + pci.PCI_EXP_DEVCTL;

  test.each([
    // whether the function still decodes and masters the bus afterwards: the kernel puts that back since 4.9
    ["4.8", 0, 0x402],
    ["4.9", 6, 0x406],
  ])("%s: command %i afterwards", (kernel, after, again) => {
    const program = onRelease(kernel);
    program.setConfig(pci.PCI_COMMAND, 2, 0x406);
    const before = program.config(control, 2);
    program.setConfig(control, 2, before | pci.PCI_EXP_DEVCTL_BCR_FLR);
    expect(program.config(control, 2)).toBe(before);
    expect(program.config(pci.PCI_COMMAND, 2) & 4).toBe(after & 4);
    program.setConfig(pci.PCI_COMMAND, 2, again);
    expect(program.config(pci.PCI_COMMAND, 2) & 0x406).toBe(again);
  });

  test.each(["4.8", "4.9"])("%s: the byte beside the bit asks for nothing", (kernel) => {
    const program = onRelease(kernel);
    program.setConfig(pci.PCI_COMMAND, 2, 0x406);
    program.setConfig(control, 1, 0x0f);
    expect(program.config(pci.PCI_COMMAND, 2) & 4).toBe(4);
  });

  test.each([
    ["4.14", 0x20],
    ["4.15", 0x20],
  ])("%s: the payload size reads as written", (kernel, size) => {
    const program = onRelease(kernel);
    const before = program.config(control, 2);
    program.setConfig(control, 2, (before & ~pci.PCI_EXP_DEVCTL_PAYLOAD) | size);
    expect(program.config(control, 2) & pci.PCI_EXP_DEVCTL_PAYLOAD).toBe(size);
  });
});

/** Request, structure's bytes and what it needs in them. */
const ANSWERS: readonly (readonly [string, (program: DeviceProgram) => Result, number, number, number[]])[] = [
  ["GET_INFO of a device", (p) => p.device, VFIO_DEVICE_GET_INFO, 16, [16]],
  ["GET_REGION_INFO", (p) => p.device, VFIO_DEVICE_GET_REGION_INFO, 32, [32, 0, 0]],
  ["GET_IRQ_INFO", (p) => p.device, VFIO_DEVICE_GET_IRQ_INFO, 16, [16, 0, 0]],
  ["GET_INFO of a container", (p) => p.containerFd, VFIO_IOMMU_GET_INFO, 16, [16]],
  ["UNMAP_DMA", (p) => p.containerFd, VFIO_IOMMU_UNMAP_DMA, 24, [24, 0, 0, 0, 4096]],
];

describe("an answer that cannot be written", () => {
  /** The structure lies at the end of a page that can be written, with its last bytes in one that cannot. */
  const ask = (kernel: string, [, fdOf, request, size, words]: (typeof ANSWERS)[number], beyond: number) => {
    const program = onRelease(kernel);
    const { memory } = program.task;
    const start = program.memory(2 * 4096);
    const at = start + 4096 - (size - beyond);
    const bytes = new Uint8Array(size);
    new Uint32Array(bytes.buffer).set(words);
    memory.copyOut(at, bytes, size);
    memory.mprotect(start + 4096, 4096, PROT_READ);
    return program.ioctl(fdOf(program), request, at);
  };

  test.each(ANSWERS)("%s: the bytes that are left before 4.5, EFAULT since", (...answer) => {
    expect(ask("4.4", answer, 4)).toBe(4);
    expect(ask("4.4", answer, answer[3])).toBe(answer[3]);
    expect(ask("4.5", answer, 4)).toBe("EFAULT");
    expect(ask("4.4", answer, 0)).toBe(0);
  });
});
