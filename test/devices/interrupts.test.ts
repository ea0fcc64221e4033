import { expect, test } from "vitest";
import { DeviceClock } from "../../src/devices/device-clock.ts";
import type { DeviceBus } from "../../src/devices/device-model.ts";
import { Interrupts } from "../../src/devices/interrupts.ts";
import { GenericDevice } from "../../src/devices/kinds/generic.ts";
import { msi } from "../../src/devices/pci/capability-kit.ts";
import { composeConfig } from "../../src/devices/pci/compose-config.ts";
import { PciFunction } from "../../src/devices/pci/function.ts";

const IDENTITY = { vendor: 1, device: 2, class: 0xff0000, revision: 0, subsystemVendor: 0, subsystemDevice: 0 };

/** A function with 8 MSI vectors, and what arrives at its driver. */
function device() {
  const config = composeConfig(IDENTITY, [], { interruptPin: true, capabilities: [msi({ vectors: 8 })] });
  let bus: DeviceBus | undefined;
  const target = new PciFunction(
    "0000:00:01.0",
    { ...IDENTITY, bars: [], mmap: false },
    config,
    new DeviceClock(),
    () => {},
    (made) => {
      bus = made;
      return new GenericDevice();
    },
  );
  const arrived: (number | "line")[] = [];
  target.interrupts = { line: () => arrived.push("line"), message: (vector) => arrived.push(vector), error: () => {} };
  target.writeConfig(4, 2, 7);
  return { target, arrived, interrupts: new Interrupts(bus!) };
}

test("the line is asserted as long as any vector is raised", () => {
  const { target, arrived, interrupts } = device();
  interrupts.raise(1);
  interrupts.raise(5);
  interrupts.lower(1);
  expect([target.lineAsserted, arrived]).toEqual([true, ["line", "line"]]);
  interrupts.lower(5);
  expect(target.lineAsserted).toBe(false);
});

test("a reset forgets what was raised", () => {
  const { target, interrupts } = device();
  interrupts.raise(1);
  target.reset();
  interrupts.reset();
  interrupts.raise(2);
  interrupts.lower(2);
  expect(target.lineAsserted).toBe(false);
});

test("vectors are messages; with fewer of MSI than the function has, some are one", () => {
  const { target, arrived, interrupts } = device();
  for (const log of [3, 2, 0]) {
    target.writeConfig(0x42, 2, 1 | (log << 4));
    interrupts.raise(6);
    interrupts.lower(6);
  }
  expect([target.lineAsserted, arrived]).toEqual([false, [6, 2, 0]]);
});
