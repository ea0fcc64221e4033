import { describe, expect, test } from "vitest";
import { DeviceClock } from "../../src/devices/device-clock.ts";
import type { DeviceBus } from "../../src/devices/device-model.ts";
import { EduDevice } from "../../src/devices/kinds/edu/edu-device.ts";

class FakeBus implements DeviceBus {
  readonly clock = new DeviceClock();
  messagesEnabled = false;
  readonly messages: number[] = [];
  line = false;
  readonly reads: bigint[] = [];

  dmaRead(iova: bigint, into: Uint8Array): boolean {
    this.reads.push(iova);
    into.fill(0xab);
    return true;
  }

  dmaWrite(): boolean {
    return true;
  }

  sendMessage(vector: number): void {
    this.messages.push(vector);
  }

  setLine(asserted: boolean): void {
    this.line = asserted;
  }
}

function edu(mask?: bigint) {
  const bus = new FakeBus();
  return { bus, device: new EduDevice(bus, mask) };
}

describe("QEMU's edu device", () => {
  test("liveness answers with the complement", () => {
    const { device } = edu();
    device.write(0, 4, 4, 0x1234_5678n);
    expect(device.read(0, 4, 4)).toBe(0xedcb_a987n);
  });

  test.each([
    [0n, 1n],
    [5n, 120n],
    [12n, 479001600n],
    [13n, 1932053504n],
    [34n, 0n],
    [0xffff_ffffn, 0n],
  ])("the factorial of %s is %s in 32 bits", (value, expected) => {
    const { device } = edu();
    device.write(0, 8, 4, value);
    expect(device.read(0, 8, 4)).toBe(expected);
  });

  test("a factorial interrupts when it was asked to", () => {
    const { bus, device } = edu();
    device.write(0, 8, 4, 3n);
    expect(bus.line).toBe(false);
    device.write(0, 0x20, 4, 0x80n);
    device.write(0, 8, 4, 3n);
    expect([bus.line, device.read(0, 0x24, 4)]).toEqual([true, 1n]);
  });

  test("the line stays up until every raised bit is acknowledged; with messages there is no line", () => {
    const { bus, device } = edu();
    device.write(0, 0x60, 4, 3n);
    device.write(0, 0x64, 4, 1n);
    expect(bus.line).toBe(true);
    device.write(0, 0x64, 4, 2n);
    expect(bus.line).toBe(false);
    bus.messagesEnabled = true;
    device.write(0, 0x60, 4, 1n);
    expect([bus.line, bus.messages]).toEqual([false, [0]]);
  });

  test("registers take their own width only", () => {
    const { device } = edu();
    device.write(0, 4, 8, 0n);
    device.write(0, 4, 2, 0n);
    expect(device.read(0, 4, 4)).toBe(0n);
    expect(device.read(0, 0, 8)).toBe(2n ** 64n - 1n);
    expect(device.read(0, 0, 2)).toBe(0n);
    device.write(0, 0x80, 8, 0x1_2345_6789n);
    expect([device.read(0, 0x80, 8), device.read(0, 0x80, 4)]).toEqual([0x1_2345_6789n, 0x2345_6789n]);
  });

  test("its DMA engine drives the address bits that its mask has", () => {
    const { bus, device } = edu(0x0fff_ffffn);
    device.write(0, 0x80, 8, 0xf123_4567_8000n);
    device.write(0, 0x88, 8, 0x40000n);
    device.write(0, 0x90, 8, 16n);
    device.write(0, 0x98, 8, 1n);
    expect(bus.reads).toEqual([0x0567_8000n & 0x0fff_ffffn]);
  });

  test("a command without its run bit does nothing", () => {
    const { bus, device } = edu();
    device.write(0, 0x88, 8, 0x40000n);
    device.write(0, 0x90, 8, 16n);
    device.write(0, 0x98, 8, 4n);
    expect([bus.reads, bus.line]).toEqual([[], false]);
  });
});
