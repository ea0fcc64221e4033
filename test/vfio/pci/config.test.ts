import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { VFIO_DEVICE_RESET } from "../../../src/uapi/vfio-device.ts";
import { CONFIG, DeviceProgram, intelHost } from "./device-program.ts";

const COMMAND = 4;
const BAR0 = 0x10;

describe("config space of an open device", () => {
  test("ids, class and capability pointers cannot be written", () => {
    const program = new DeviceProgram("nic");
    const before = program.pread(CONFIG, 256) as Uint8Array;
    for (let offset = 0; offset < 256; offset += 4) program.setConfig(offset, 4, 0xffff_ffff);
    const after = program.pread(CONFIG, 256) as Uint8Array;
    for (const fixed of [0, 1, 2, 3, 8, 9, 10, 11, 0x0e, 0x2c, 0x2d, 0x34, 0x3d])
      expect(after[fixed]).toBe(before[fixed]);
    for (const capability of [0xa0, 0xc8, 0xd0, 0xe0]) {
      expect([...after.subarray(capability, capability + 2)]).toEqual([...before.subarray(capability, capability + 2)]);
    }
  });

  test("base address registers tell their sizes, and keep addresses", () => {
    const program = new DeviceProgram("nic");
    for (let bar = 0; bar < 6; bar++) program.setConfig(BAR0 + bar * 4, 4, 0xffff_ffff);
    const sizes = [0, 1, 2, 3, 4, 5].map((bar) => program.config(BAR0 + bar * 4, 4));
    expect(sizes).toEqual([0xfffe_0000, 0xfffe_0000, 0xffff_ffe1, 0xffff_c000, 0, 0]);
    program.setConfig(BAR0, 4, 0x8123_4567);
    expect(program.config(BAR0, 4)).toBe(0x8122_0000);
    program.setConfig(0x30, 4, 0xffff_ffff);
    expect(program.config(0x30, 4)).toBe(0xfffc_0001);
  });

  test("a 64-bit BAR is sized in both halves and is one", () => {
    const program = new DeviceProgram("nvme");
    program.setConfig(BAR0, 4, 0xffff_ffff);
    program.setConfig(BAR0 + 4, 4, 0xffff_ffff);
    expect([program.config(BAR0, 4), program.config(BAR0 + 4, 4)]).toEqual([0xffff_c004, 0xffff_ffff]);
  });

  test("switching memory off makes BARs EIO and mappings fault, switching it on brings them back", () => {
    const program = new DeviceProgram("edu");
    const bar = program.mapRegion(0, 4096);
    program.setConfig(COMMAND, 2, 0);
    expect(program.pread(0, 4)).toBe("EIO");
    expect(() => program.peek(bar, 4)).toThrow(/EFAULT/);
    program.setConfig(COMMAND, 2, 2);
    expect(program.pread(0, 4)).toEqual(Uint8Array.of(0xed, 0, 0, 1));
    expect(program.peek(bar, 4)).toEqual(Uint8Array.of(0xed, 0, 0, 1));
  });

  test("the user's INTx disable bit is his own", () => {
    const program = new DeviceProgram("edu");
    program.setConfig(COMMAND, 2, 0x402);
    expect(program.config(COMMAND, 2)).toBe(0x402);
    const { fd } = program.eventfd();
    program.setConfig(COMMAND, 2, 0x2);
    program.setIrqs(1, "trigger", "eventfd", 0, 1, [fd]);
    // the kernel has INTx off while MSI is on, and the user does not see it
    expect(program.config(COMMAND, 2)).toBe(0x2);
  });

  test("MSI stays off however its enable bit is written, until SET_IRQS turns it on", () => {
    const program = new DeviceProgram("edu");
    program.setConfig(0x42, 2, 0x1);
    expect(program.config(0x42, 2) & 1).toBe(0);
    const { fd } = program.eventfd();
    program.setIrqs(1, "trigger", "eventfd", 0, 1, [fd]);
    program.setConfig(0x42, 2, 0x1);
    expect(program.config(0x42, 2) & 1).toBe(1);
  });

  test("power management: D3 switches memory off, D0 brings the registers back as after reset", () => {
    const program = new DeviceProgram("nic");
    program.pwrite(0, Uint8Array.of(1, 2, 3, 4));
    program.setConfig(0xcc, 2, 3);
    expect(program.config(0xcc, 2) & 3).toBe(3);
    expect(program.pread(0, 4)).toBe("EIO");
    program.setConfig(0xcc, 2, 0);
    expect(program.pread(0, 4)).toEqual(Uint8Array.of(0x41, 0x02, 0x14, 0));
  });

  test("a reset puts registers back and leaves config space alone", () => {
    const program = new DeviceProgram("nic");
    program.setConfig(BAR0, 4, 0xaaaa_0000);
    program.pwrite(0, Uint8Array.of(1, 2, 3, 4));
    expect(program.ioctl(program.device, VFIO_DEVICE_RESET)).toBe(0);
    expect(program.config(BAR0, 4)).toBe(0xaaaa_0000);
    expect(program.pread(0, 4)).toEqual(Uint8Array.of(0x41, 0x02, 0x14, 0));
  });

  test("closing the device and opening it again shows the first state", () => {
    const host = intelHost();
    const first = new DeviceProgram("nic", host);
    const before = first.pread(CONFIG, 256);
    for (let offset = 0; offset < 0x40; offset += 4) first.setConfig(offset, 4, 0xffff_ffff);
    first.task.exit();
    expect(new DeviceProgram("nic", host).pread(CONFIG, 256)).toEqual(before);
  });

  test("any split of a read gives the same bytes", () => {
    const program = new DeviceProgram("nic");
    const all = program.pread(CONFIG, 4096) as Uint8Array;
    fc.assert(
      fc.property(fc.nat(4095), fc.integer({ min: 1, max: 64 }), (offset, length) => {
        const expected = offset + length > 4096 ? "EFAULT" : all.slice(offset, offset + length);
        expect(program.pread(CONFIG + offset, length)).toEqual(expected);
      }),
    );
  });

  test("random writes never make a header that a driver could not have", () => {
    const write = fc.record({
      offset: fc.nat(255),
      width: fc.constantFrom(1 as const, 2 as const, 4 as const),
      value: fc.nat(0xffff_ffff),
    });
    fc.assert(
      fc.property(
        fc.constantFrom("edu" as const, "nic" as const, "nvme" as const, "testdev" as const),
        fc.array(write, { maxLength: 40, size: "max" }),
        (which, writes) => {
          const program = new DeviceProgram(which);
          const ids = program.config(0, 4);
          const size = which === "nic" || which === "nvme" ? 4096 : 256;
          for (const { offset, width, value } of writes) {
            expect(program.setConfig(offset, width, value)).toBe(offset + width > size ? "EFAULT" : width);
          }
          expect(program.config(0, 4)).toBe(ids);
          expect(program.config(COMMAND, 2) & ~0x507).toBe(0);
          if (which === "edu") expect(program.config(BAR0, 4) % 0x10_0000).toBe(0);
          if (which === "testdev") expect(program.config(BAR0 + 4, 4) & 0xff).toBe(1);
        },
      ),
      { numRuns: 60 },
    );
  });
});
