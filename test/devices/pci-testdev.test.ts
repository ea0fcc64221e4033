import { describe, expect, test } from "vitest";
import { PciTestDevice } from "../../src/devices/kinds/pci-testdev.ts";

const [MEMORY, PORTS] = [0, 1];

/** The header as a guest reads it, byte by byte. */
function header(device: PciTestDevice, region: number): string {
  return Buffer.from(Array.from({ length: 40 }, (_, i) => Number(device.read(region, i, 1)))).toString("hex");
}

function started(region: number, test: bigint): PciTestDevice {
  const device = new PciTestDevice();
  device.write(region, 0, 1, test);
  return device;
}

const count = (device: PciTestDevice, region: number) => device.read(region, 12, 4);
const NOTHING = "00".repeat(40);
const padded = (hex: string) => hex.padEnd(80, "0");

describe("QEMU's pci-testdev", () => {
  // As read from QEMU 7.2.22 (-device pci-testdev, by its qtest protocol).
  test.each([
    [MEMORY, 0n, "0001000000080000fa000000000000006d6d696f2d6e6f2d6576656e746664"],
    [MEMORY, 1n, "0101000001080000ce000000000000006d6d696f2d77696c64636172642d6576656e746664"],
    [MEMORY, 2n, "0201000002080000fa000000000000006d6d696f2d646174616d617463682d6576656e746664"],
    [PORTS, 0n, "0301000083000000fa00000000000000706f7274696f2d6e6f2d6576656e746664"],
    [PORTS, 1n, "0401000084000000ce00000000000000706f7274696f2d77696c64636172642d6576656e746664"],
    [PORTS, 2n, "0501000085000000fa00000000000000706f7274696f2d646174616d617463682d6576656e746664"],
  ])("BAR %i describes its test %i in both BARs", (region, number, expected) => {
    const device = started(region, number);
    expect(header(device, region)).toBe(padded(expected));
    expect(header(device, 1 - region)).toBe(padded(expected));
  });

  test.each([3n, 4n, 255n])("test %i is none: there is nothing to read", (number) => {
    const device = started(MEMORY, 0n);
    device.write(MEMORY, 0, 1, number);
    expect(header(device, MEMORY)).toBe(NOTHING);
    device.write(MEMORY, 0x800, 1, 0xfan);
    expect(header(device, MEMORY)).toBe(NOTHING);
  });

  test("before a test is started, and after a reset, there is nothing to read", () => {
    const device = new PciTestDevice();
    expect(header(device, MEMORY)).toBe(NOTHING);
    device.write(PORTS, 0, 1, 0n);
    device.reset();
    expect(header(device, PORTS)).toBe(NOTHING);
  });

  test("counts writes of the right byte in the right place, in either BAR, from the start of the test", () => {
    const device = started(PORTS, 0n);
    for (let i = 0; i < 300; i++) device.write(PORTS, 0x83, 1, 0xfan);
    device.write(PORTS, 0x83, 1, 0x11n);
    device.write(PORTS, 0x84, 1, 0xfan);
    expect(count(device, PORTS)).toBe(300n);
    device.write(MEMORY, 0x83, 1, 0xfan);
    expect(count(device, MEMORY)).toBe(301n);
    device.write(PORTS, 0, 1, 0n);
    expect(count(device, PORTS)).toBe(0n);
  });

  test("a wider write is one of each of its bytes", () => {
    const device = started(MEMORY, 0n);
    device.write(MEMORY, 0x800, 4, 0xfan);
    device.write(MEMORY, 0x800, 2, 0xfafan);
    device.write(MEMORY, 0x7f8, 8, 0xfan);
    expect(count(device, MEMORY)).toBe(2n);
    device.write(MEMORY, 0, 4, 0x0101_0101n);
    expect(device.read(MEMORY, 0, 8)).toBe(0x0000_0801_0000_0101n);
  });

  test("an eventfd takes writes of one byte; wider ones reach the device", () => {
    const wildcard = started(PORTS, 1n);
    for (const value of [0xcen, 0x11n]) wildcard.write(PORTS, 0x84, 1, value);
    expect(count(wildcard, PORTS)).toBe(0n);
    wildcard.write(PORTS, 0x84, 2, 0x1234n);
    wildcard.write(MEMORY, 0x84, 1, 0xcen);
    expect(count(wildcard, PORTS)).toBe(2n);
    const matching = started(MEMORY, 2n);
    matching.write(MEMORY, 0x802, 1, 0xfan);
    expect(count(matching, MEMORY)).toBe(0n);
    matching.write(MEMORY, 0x802, 2, 0xfafan);
    matching.write(MEMORY, 0x802, 2, 0x1234n);
    expect(count(matching, MEMORY)).toBe(1n);
  });

  test("the header cannot be written", () => {
    const device = started(MEMORY, 1n);
    const before = header(device, MEMORY);
    for (let at = 1; at < 40; at++) device.write(MEMORY, at, 1, 0x55n);
    expect(header(device, MEMORY)).toBe(before);
  });
});
