import { describe, expect, test } from "vitest";
import { DeviceClock } from "../../src/devices/device-clock.ts";
import type { AccessWidth, DeviceBus } from "../../src/devices/device-model.ts";
import { IoatDevice } from "../../src/devices/kinds/ioat/ioat-device.ts";
import * as reg from "../../src/devices/kinds/ioat/registers.ts";

/** Memory of one piece, where the device reaches [0, size) but what `holes` says. */
class Bus implements DeviceBus {
  readonly clock: DeviceClock;
  readonly memory = new Uint8Array(1 << 20);
  readonly messagesEnabled = true;
  messages = 0;
  holes: (iova: bigint, write: boolean) => boolean = () => false;

  constructor(now = () => 0) {
    this.clock = new DeviceClock(now);
  }

  dmaRead(iova: bigint, into: Uint8Array): boolean {
    const at = Number(iova);
    if (at + into.length > this.memory.length || this.holes(iova, false)) return false;
    into.set(this.memory.subarray(at, at + into.length));
    return true;
  }

  dmaWrite(iova: bigint, from: Uint8Array): boolean {
    const at = Number(iova);
    if (at + from.length > this.memory.length || this.holes(iova, true)) return false;
    this.memory.set(from, at);
    return true;
  }

  sendMessage(): void {
    this.messages++;
  }

  setLine(): void {}
}

const CHAIN = 0x1000;
const SOURCE = 0x10000;
const TARGET = 0x40000;
const COMPLETION = 0x800;

function setup() {
  let now = 0;
  const bus = new Bus(() => now);
  const device = new IoatDevice(bus);
  const view = new DataView(bus.memory.buffer);
  const write = (offset: number, width: AccessWidth, value: number | bigint) =>
    device.write(0, offset, width, BigInt(value));
  const read = (offset: number, width: AccessWidth) => device.read(0, offset, width);
  const status = () => Number(read(reg.CHANSTS, 8) & reg.CHANSTS_STATUS);
  /** A descriptor at `at`; `next` follows. */
  const describeCopy = (at: number, source: number, target: number, size: number, next: number, control = 0) => {
    view.setUint32(at, size, true);
    view.setUint32(at + 4, control, true);
    view.setBigUint64(at + 8, BigInt(source), true);
    view.setBigUint64(at + 16, BigInt(target), true);
    view.setBigUint64(at + 24, BigInt(next), true);
  };
  for (let i = 0; i < 0x10000; i++) bus.memory[SOURCE + i] = (i * 7) & 0xff;
  write(reg.INTRCTRL, 1, reg.INTRCTRL_MSIX);
  write(reg.CHANCTRL, 2, reg.CHANCTRL_INT_REARM);
  write(reg.CHAINADDR, 8, CHAIN);
  const wait = (milliseconds: number) => {
    now += milliseconds;
  };
  return { bus, device, view, write, read, status, describeCopy, wait };
}

const copied = (bus: Bus, length: number, at = TARGET) =>
  Buffer.compare(bus.memory.subarray(at, at + length), bus.memory.subarray(SOURCE, SOURCE + length)) === 0;

describe("the ioat DMA engine", () => {
  test("tells its version and comes up halted", () => {
    const bus = new Bus();
    const device = new IoatDevice(bus);
    const read = (offset: number, width: AccessWidth) => device.read(0, offset, width);
    expect([read(reg.VER, 1), read(reg.CHANCNT, 1), read(reg.XFERCAP, 1)]).toEqual([0x33n, 1n, 20n]);
    expect(read(reg.CHANSTS, 8)).toBe(BigInt(reg.HALTED));
  });

  test("takes a moment for a reset, and is armed afterwards when it got its chain's address meanwhile", () => {
    const { write, read, status, wait } = setup();
    write(reg.CHANCMD, 1, reg.CHANCMD_RESET);
    wait(1);
    expect(read(reg.CHANCMD, 1)).toBe(BigInt(reg.CHANCMD_RESET));
    wait(1);
    expect([read(reg.CHANCMD, 1), status()]).toEqual([0n, reg.HALTED]);
    write(reg.CHANCMD, 1, reg.CHANCMD_RESET);
    write(reg.CHAINADDR, 8, 0);
    wait(2);
    expect([read(reg.CHANCMD, 1), status()]).toEqual([0n, reg.ARMED]);
  });

  test("tells who shows registers of a reset that ended while some of them were read", () => {
    const { device, write, read, wait } = setup();
    device.advance();
    write(reg.CHANCMD, 1, reg.CHANCMD_RESET);
    read(reg.CHAINADDR, 8);
    wait(2);
    read(reg.CHANCMD, 1);
    expect([device.advance(), device.advance()]).toEqual([true, false]);
  });

  test("works off a chain as DMACOUNT allows, and no further", () => {
    const { bus, write, read, status, describeCopy } = setup();
    for (let i = 0; i < 4; i++)
      describeCopy(CHAIN + 64 * i, SOURCE + 256 * i, TARGET + 256 * i, 256, CHAIN + 64 * (i + 1));
    write(reg.DMACOUNT, 2, 3);
    expect(copied(bus, 768)).toBe(true);
    expect(bus.memory[TARGET + 768]).toBe(0);
    expect(status()).toBe(reg.DONE);
    expect(read(reg.CHANSTS, 8) & ~reg.CHANSTS_STATUS).toBe(BigInt(CHAIN + 128));
    write(reg.DMACOUNT, 2, 4);
    expect(copied(bus, 1024)).toBe(true);
  });

  test("does 65,535 copies of one descriptor that is its own successor", () => {
    const { view, write, status, describeCopy } = setup();
    describeCopy(CHAIN, SOURCE, TARGET, 8, CHAIN, reg.CTL_COMPLETION_WRITE);
    write(reg.CHANCMP, 8, COMPLETION);
    write(reg.DMACOUNT, 2, 65535);
    expect(status()).toBe(reg.DONE);
    expect(view.getBigUint64(COMPLETION, true)).toBe(BigInt(CHAIN | reg.DONE));
  });

  test("starts again at the chain's head when CHAINADDR is written, also with the address it has", () => {
    const { bus, write, describeCopy } = setup();
    describeCopy(CHAIN, SOURCE, TARGET, 64, CHAIN);
    write(reg.DMACOUNT, 2, 1);
    bus.memory.fill(0, TARGET, TARGET + 64);
    write(reg.CHAINADDR, 8, CHAIN);
    write(reg.DMACOUNT, 2, 1);
    expect(copied(bus, 64)).toBe(true);
  });

  test("interrupts once until it is armed again", () => {
    const { bus, write, describeCopy } = setup();
    describeCopy(CHAIN, SOURCE, TARGET, 64, CHAIN, reg.CTL_INTERRUPT);
    write(reg.DMACOUNT, 2, 2);
    expect(bus.messages).toBe(1);
    write(reg.CHANCTRL, 2, reg.CHANCTRL_INT_REARM);
    write(reg.DMACOUNT, 2, 3);
    expect(bus.messages).toBe(2);
  });

  test.each([
    ["an unreadable source", (iova: bigint, write: boolean) => !write && iova >= BigInt(SOURCE), reg.CHANERR_READ_DATA],
    ["an unwritable target", (_: bigint, write: boolean) => write, reg.CHANERR_WRITE_DATA],
    ["an unreadable descriptor", (iova: bigint) => iova === BigInt(CHAIN), reg.CHANERR_NEXT_ADDR],
  ])("halts on %s, and a reset brings it back", (_what, holes, error) => {
    const { bus, write, read, status, describeCopy, wait } = setup();
    describeCopy(CHAIN, SOURCE, TARGET, 64, CHAIN);
    bus.holes = holes;
    write(reg.DMACOUNT, 2, 1);
    expect(status()).toBe(reg.HALTED);
    expect(read(reg.CHANERR, 4)).toBe(BigInt(error));
    expect(bus.memory[TARGET + 1]).toBe(0);
    bus.holes = () => false;
    write(reg.DMACOUNT, 2, 2);
    expect(status()).toBe(reg.HALTED);
    write(reg.CHANCMD, 1, reg.CHANCMD_RESET);
    wait(2);
    expect([read(reg.CHANCMD, 1), read(reg.CHANERR, 4)]).toEqual([0n, 0n]);
    write(reg.CHAINADDR, 8, CHAIN);
    write(reg.DMACOUNT, 2, 1);
    expect(status()).toBe(reg.DONE);
    expect(copied(bus, 64)).toBe(true);
  });

  test("clears error bits that are written as 1", () => {
    const { bus, write, read, describeCopy } = setup();
    describeCopy(CHAIN, SOURCE, TARGET, 64, CHAIN);
    bus.holes = () => true;
    write(reg.DMACOUNT, 2, 1);
    write(reg.CHANERR, 4, read(reg.CHANERR, 4));
    expect(read(reg.CHANERR, 4)).toBe(0n);
  });
});

const MIB = 1 << 20;

describe("a long job of the ioat DMA engine", () => {
  /** `count` descriptors of 256 KiB each, the last one its own successor; slices are given. */
  function longChain(count: number) {
    const bench = setup();
    const { bus, describeCopy, write } = bench;
    bus.clock.inSlices = true;
    for (let i = 0; i < count; i++) {
      describeCopy(
        CHAIN + 64 * i,
        0,
        MIB / 2,
        MIB / 4,
        CHAIN + 64 * Math.min(i + 1, count - 1),
        reg.CTL_COMPLETION_WRITE,
      );
    }
    write(reg.CHANCMP, 8, COMPLETION);
    return bench;
  }

  const finish = (bus: Bus) => {
    for (let turns = 0; bus.clock.isPending; turns++) {
      if (turns > 1e6) throw new Error("the job does not end");
      bus.clock.run(0);
    }
  };

  test("lets whoever starts it go on: it is ACTIVE, and tells what is done as it is done", () => {
    const { bus, device, view, write, read, status } = longChain(20);
    device.advance();
    write(reg.DMACOUNT, 2, 20);
    expect([status(), bus.clock.isPending]).toEqual([reg.ACTIVE, true]);
    const seen = new Set<bigint>();
    while (bus.clock.isPending) {
      bus.clock.run(0);
      expect(device.advance()).toBe(true);
      const sts = read(reg.CHANSTS, 8);
      seen.add(sts & ~reg.CHANSTS_STATUS);
      if (seen.size > 1) expect(view.getBigUint64(COMPLETION, true)).toBe(sts);
    }
    expect(status()).toBe(reg.DONE);
    expect(seen.size).toBeGreaterThan(15);
    expect(device.advance()).toBe(false);
  });

  test("takes more descriptors while it works", () => {
    const { bus, write, read, status } = longChain(10);
    write(reg.DMACOUNT, 2, 5);
    write(reg.DMACOUNT, 2, 10);
    finish(bus);
    expect(status()).toBe(reg.DONE);
    expect(read(reg.CHANSTS, 8) & ~reg.CHANSTS_STATUS).toBe(BigInt(CHAIN + 64 * 9));
  });

  test.each([
    ["a reset", reg.CHANCMD_RESET, reg.HALTED],
    ["an abort", reg.CHANCMD_ABORT, reg.HALTED],
    ["a suspend", reg.CHANCMD_SUSPEND, reg.SUSPENDED],
  ])("ends with %s", (_what, command, state) => {
    const { bus, write, status } = longChain(10);
    write(reg.DMACOUNT, 2, 10);
    write(reg.CHANCMD, 1, command);
    bus.memory.fill(0, MIB / 2, MIB);
    finish(bus);
    expect(status()).toBe(state);
    expect(bus.memory.subarray(MIB / 2, MIB).every((byte) => byte === 0)).toBe(true);
  });

  test("goes on where it was suspended", () => {
    const { bus, write, status } = longChain(10);
    write(reg.DMACOUNT, 2, 10);
    write(reg.CHANCMD, 1, reg.CHANCMD_SUSPEND);
    finish(bus);
    write(reg.CHANCMD, 1, reg.CHANCMD_RESUME);
    finish(bus);
    expect(status()).toBe(reg.DONE);
  });

  test("ends with the device's reset and with a new chain", () => {
    const { bus, device, write, status } = longChain(10);
    write(reg.DMACOUNT, 2, 10);
    write(reg.CHAINADDR, 8, CHAIN);
    expect([status(), bus.clock.isPending]).toEqual([reg.ARMED, false]);
    write(reg.DMACOUNT, 2, 10);
    device.reset();
    expect([status(), bus.clock.isPending]).toEqual([reg.HALTED, false]);
  });

  test("halts where memory has gone meanwhile", () => {
    const { bus, write, read, status } = longChain(10);
    write(reg.DMACOUNT, 2, 10);
    bus.holes = (iova, isWrite) => isWrite && iova >= MIB / 2;
    finish(bus);
    expect([status(), Number(read(reg.CHANERR, 4))]).toEqual([reg.HALTED, reg.CHANERR_WRITE_DATA]);
  });

  test.each([
    ["up", 4096],
    ["down", -4096],
  ])("moves bytes %s inside a buffer as one copy does", (_way, distance) => {
    const { bus, write, describeCopy } = setup();
    const size = 2 * 256 * 1024 + 100;
    const from = 0x20000;
    for (let i = 0; i < size; i++) bus.memory[from + i] = (i * 31 + (i >> 8)) & 0xff;
    const expected = bus.memory.slice(from, from + size);
    describeCopy(CHAIN, from, from + distance, size, CHAIN);
    write(reg.DMACOUNT, 2, 1);
    expect(Buffer.compare(bus.memory.subarray(from + distance, from + distance + size), expected)).toBe(0);
  });
});
