import { describe, expect, test } from "vitest";
import { DeviceClock } from "../../src/devices/device-clock.ts";
import type { DeviceBus, WaitingAccess } from "../../src/devices/device-model.ts";
import { EduDevice } from "../../src/devices/kinds/edu/edu-device.ts";
import { GenericDevice } from "../../src/devices/kinds/generic.ts";
import { isSavable } from "../../src/devices/saved-state.ts";

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

  readonly written: [bigint, Uint8Array][] = [];

  dmaWrite(iova: bigint, from: Uint8Array): boolean {
    this.written.push([iova, from.slice()]);
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

  test("its state goes into another one, a line that is up along with it", () => {
    const { device } = edu();
    device.write(0, 4, 4, 0x1234_5678n);
    device.write(0, 8, 4, 5n);
    device.write(0, 0x80, 8, 0x5000n);
    device.write(0, 0x88, 8, 0x40010n);
    device.write(0, 0x90, 8, 16n);
    device.write(0, 0x98, 8, 5n);
    const saved = device.save();
    device.write(0, 4, 4, 0n);
    const other = edu();
    other.device.restore(saved);
    expect([other.bus.line, other.device.read(0, 0x24, 4)]).toEqual([false, 0x100n]);
    other.device.resume();
    const registers = [4, 8, 0x24, 0x80, 0x88, 0x90, 0x98].map((offset) => other.device.read(0, offset, 4));
    expect(registers).toEqual([0xedcb_a987n, 120n, 0x100n, 0x5000n, 0x40010n, 16n, 4n]);
    expect([other.bus.line, other.bus.messages, other.bus.reads]).toEqual([true, [], []]);
    // the buffer came along: what the first one had read can be written from the second
    other.device.write(0, 0x80, 8, 0x40010n);
    other.device.write(0, 0x88, 8, 0x6000n);
    other.device.write(0, 0x98, 8, 3n);
    expect(other.bus.written).toEqual([[0x6000n, new Uint8Array(16).fill(0xab)]]);
    other.device.write(0, 0x64, 4, 0x100n);
    expect(other.bus.line).toBe(false);
  });

  test("an interrupt that is not acknowledged is raised again when it goes on", () => {
    const { device } = edu();
    device.write(0, 0x60, 4, 1n);
    const other = edu();
    other.bus.messagesEnabled = true;
    other.device.restore(device.save());
    expect([other.bus.messages, other.device.read(0, 0x24, 4)]).toEqual([[], 1n]);
    other.device.resume();
    expect([other.bus.line, other.bus.messages, other.device.read(0, 0x24, 4)]).toEqual([false, [0], 1n]);
  });

  test("a transfer that waits for a page asks again, and the first device's answer is no longer its", () => {
    const waiting = () => {
      const answers: ((granted: boolean) => void)[] = [];
      const bus = new FakeBus();
      const device = new EduDevice(
        Object.assign(bus, {
          dmaOrWait: ({ answered }: WaitingAccess) => {
            answers.push(answered);
            return "waiting" as const;
          },
        }),
        undefined,
        { pasid: true, ats: true, pri: true },
      );
      return { device, answers };
    };
    const [first, second] = [waiting(), waiting()];
    first.device.write(0, 0x80, 8, 0x5000n);
    first.device.write(0, 0x88, 8, 0x40000n);
    first.device.write(0, 0x90, 8, 16n);
    first.device.write(0, 0x98, 8, 1n);
    second.device.restore(first.device.save());
    expect(second.answers.length).toBe(0);
    second.device.resume();
    expect([second.device.read(0, 0x98, 8), second.answers.length]).toEqual([1n, 1]);
    first.answers[0]!(false);
    expect(second.device.read(0, 0x98, 8)).toBe(1n);
    second.answers[0]!(false);
    expect([second.device.read(0, 0x98, 8), second.device.read(0, 0xa8, 8)]).toEqual([0n, 1n]);
  });

  test.each([
    [2, 4176, /version 2 of the state is unknown/],
    [1, 4175, /has 4175 bytes, 4176 belong to version 1/],
  ])("version %i of %i bytes is refused, and nothing has changed", (version, length, reason) => {
    const { device } = edu();
    device.write(0, 4, 4, 0n);
    expect(() => device.restore({ version, bytes: new Uint8Array(length) })).toThrow(reason);
    expect(device.read(0, 4, 4)).toBe(0xffff_ffffn);
  });

  test("the models of other kinds say that they have no state to save", () => {
    expect([isSavable(edu().device), isSavable(new GenericDevice())]).toEqual([true, false]);
  });
});
