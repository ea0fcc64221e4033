import { expect, test } from "vitest";
import { VFIO_DEVICE_IOEVENTFD, VfioDeviceIoeventfd } from "../../../src/uapi/vfio-pci.ts";
import { DeviceProgram } from "./device-program.ts";

test("a write to the eventfd is a write to the register, while memory is on and until it is taken back", () => {
  const program = new DeviceProgram("edu");
  program.setConfig(4, 2, 6);
  const event = program.eventfd();
  const set = (fd: number) =>
    program.ioctlBytes(
      program.device,
      VFIO_DEVICE_IOEVENTFD,
      VfioDeviceIoeventfd.encode({ argsz: VfioDeviceIoeventfd.size, flags: 4, offset: 4n, data: 5n, fd }),
    );
  expect(set(event.fd)).toBe(0);
  event.file.add(1n);
  expect(program.pread(4, 4)).toEqual(Uint8Array.of(0xfa, 0xff, 0xff, 0xff));
  program.pwrite(4, Uint8Array.of(0, 0, 0, 0));
  program.setConfig(4, 2, 0);
  event.file.add(1n);
  program.setConfig(4, 2, 2);
  expect(program.pread(4, 4)).toEqual(Uint8Array.of(0xff, 0xff, 0xff, 0xff));
  expect(set(-1)).toBe(0);
  expect(set(-1)).toBe("ENODEV");
  event.file.add(1n);
  expect(program.pread(4, 4)).toEqual(Uint8Array.of(0xff, 0xff, 0xff, 0xff));
});
