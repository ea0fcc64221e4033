import { describe, expect, test } from "vitest";
import { DeviceClock } from "../../src/devices/device-clock.ts";
import { GenericDevice } from "../../src/devices/kinds/generic.ts";
import { PciFunction } from "../../src/devices/pci/function.ts";
import { FunctionErrors } from "../../src/devices/pci/function-errors.ts";
import { PCI_COMMAND, PCI_COMMAND_MASTER } from "../../src/devices/pci/registers.ts";

const DESCRIPTION = { vendor: 0x1b36, device: 0x10, subsystemVendor: 0, class: 0x010802, bars: [], mmap: false };

/** A function that reaches no memory, and what it says. */
function lost(errors: FunctionErrors) {
  const heard: string[] = [];
  const make = () => new GenericDevice(new Map([[0, Uint8Array.of(7)]]));
  const clock = new DeviceClock();
  const target = new PciFunction("0013:00:00.0", DESCRIPTION, new Uint8Array(256), clock, () => {}, make, errors);
  target.interrupts = { line: () => {}, message: () => heard.push("message"), error: () => heard.push("error") };
  target.setCommand(PCI_COMMAND_MASTER, true);
  return { target, heard };
}

describe("a function whose DMA meets no translation", () => {
  test("answers nothing until it is recovered, and says so once", () => {
    const errors = new FunctionErrors(false);
    const { target, heard } = lost(errors);
    expect(target.readRegion(0, 0, 1)).toBe(7n);
    expect(target.dmaWrite(0x1000n, Uint8Array.of(1))).toBe(false);
    expect(target.dmaRead(0x1000n, new Uint8Array(1))).toBe(false);
    expect(heard).toEqual(["error"]);
    target.writeRegion(0, 0, 1, 8n);
    expect([target.isInError, target.readRegion(0, 0, 1), target.readRegion(0, 0, 4)]).toEqual([
      true,
      0xffn,
      0xffff_ffffn,
    ]);
    expect(errors.find(["0012:00:00.0", target.name])).toBe(target.name);
    errors.recover(target.name);
    expect([target.isInError, target.readRegion(0, 0, 1)]).toEqual([false, 7n]);
    expect(target.readConfig(PCI_COMMAND, 2) & PCI_COMMAND_MASTER).toBe(PCI_COMMAND_MASTER);
  });

  test("is recovered before anybody looks where the kernel does that", () => {
    const { target, heard } = lost(new FunctionErrors(true));
    expect(target.dmaWrite(0x1000n, Uint8Array.of(1))).toBe(false);
    expect([heard, target.readRegion(0, 0, 1), target.isInError]).toEqual([["error"], 7n, false]);
    expect(target.dmaWrite(0x1000n, Uint8Array.of(1))).toBe(false);
    expect(heard).toEqual(["error", "error"]);
  });
});
