import { describe, expect, test } from "vitest";
import { DeviceClock } from "../../../src/devices/device-clock.ts";
import type { DeviceBus } from "../../../src/devices/device-model.ts";
import { PciFunction } from "../../../src/devices/pci/function.ts";
import type { SavableModel, SavedState } from "../../../src/devices/saved-state.ts";
import { KernelError } from "../../../src/kernel/errors.ts";
import type { FileDescription } from "../../../src/kernel/file-description.ts";
import { Release } from "../../../src/kernel/releases.ts";
import { ResumingFile, SavingFile } from "../../../src/vfio/migration/data-files.ts";
import { DeviceMigration } from "../../../src/vfio/migration/device-migration.ts";

const STOP = 1;
const RUNNING = 2;
const STOP_COPY = 3;
const RESUMING = 4;
const RUNNING_P2P = 5;

/** A write begins work of so many pieces, at whose end it interrupts and writes to memory. */
class Worker implements SavableModel {
  left = 0;
  writes: bigint[] = [];
  readonly #bus: DeviceBus;

  constructor(bus: DeviceBus) {
    this.#bus = bus;
  }
  write(_region: number, _offset: number, _width: number, value: bigint) {
    this.writes.push(value);
    this.left = Number(value);
    // more than a write may take at once
    const step = () => {
      if (--this.left > 0) return 2 ** 20;
      this.#bus.dmaWrite(0x1000n, new Uint8Array(8));
      this.#bus.sendMessage(0);
      return undefined;
    };
    this.#bus.clock.start({ step });
  }
  read() {
    return BigInt(this.left);
  }
  reset() {
    this.left = 0;
  }
  memory() {
    return undefined;
  }
  registers() {
    return [];
  }
  save(): SavedState {
    return { version: 1, bytes: Uint8Array.of(this.left) };
  }
  restore({ bytes }: SavedState) {
    this.left = bytes[0]!;
  }
}

function world() {
  const time = { now: 0 };
  const clock = new DeviceClock(() => time.now);
  clock.inSlices = true;
  const config = new Uint8Array(256);
  config[4] = 6;
  const description = {
    vendor: 1,
    device: 2,
    subsystemVendor: 3,
    class: 4,
    bars: [{ index: 0, size: 64, type: "memory" as const }],
    mmap: false,
  };
  const told: string[] = [];
  let model: Worker | undefined;
  const target = new PciFunction(
    "dev",
    description,
    config,
    clock,
    (message) => told.push(message),
    (bus) => {
      model = new Worker(bus);
      return model;
    },
  );
  // it is made when somebody looks
  expect(target.model).toBe(model);
  const written: bigint[] = [];
  target.dma = {
    read: () => undefined,
    write: (iova) => {
      written.push(iova);
      return undefined;
    },
  };
  const messages: number[] = [];
  target.interrupts = { line() {}, message: (vector) => messages.push(vector), error() {} };
  const context = { release: new Release("7.2") };
  const migration = new DeviceMigration(
    { target, context, pollShared: () => false, showShared() {}, pull() {}, push() {} },
    model!,
  );
  return { time, target, model: model!, migration, messages, written, told };
}

/** Runs a change of state to its end; the number of steps, and the file. */
function run(steps: Generator<void, FileDescription | undefined>) {
  for (let count = 0; ; count++) {
    const { done, value } = steps.next();
    if (done) return { count, file: value };
  }
}

function errorOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof KernelError) return error.code;
    throw error;
  }
  return "none";
}

describe("a change of state of a device that works", () => {
  test("waits until what it has begun is over, in steps, and keeps the interrupt and later writes", () => {
    const { target, model, migration, messages, written } = world();
    target.writeRegion(0, 0, 4, 5n);
    const steps = migration.setState(STOP);
    expect([steps.next().done, migration.state]).toEqual([false, RUNNING]);
    target.writeRegion(0, 0, 4, 7n);
    expect(run(steps).count).toBeGreaterThan(1);
    expect([migration.state, model.left, written, messages, model.writes]).toEqual([STOP, 0, [0x1000n], [], [5n]]);
    target.writeRegion(0, 0, 4, 9n);
    // whatever a model does by itself then
    expect([target.dmaWrite(0n, new Uint8Array(8)), written]).toEqual([false, [0x1000n]]);
    run(migration.setState(RUNNING));
    expect([messages, model.writes]).toEqual([[0], [5n, 7n]]);
  });

  test("of which two are asked for at once are made one after the other, and each hears of its own", () => {
    const { target, migration } = world();
    target.writeRegion(0, 0, 4, 5n);
    const [first, second] = [migration.setState(STOP_COPY), migration.setState(RUNNING)];
    expect(first.next().done).toBe(false);
    expect(run(second).file).toBeUndefined();
    expect(migration.state).toBe(RUNNING);
    expect(run(first).file).toBeInstanceOf(SavingFile);
  });

  test("whose caller is gone is ended by the next one", () => {
    const { target, migration } = world();
    target.writeRegion(0, 0, 4, 5n);
    migration.setState(STOP).next();
    expect(run(migration.setState(RESUMING)).file).toBeInstanceOf(ResumingFile);
  });

  test("is given up when the device does not come to rest in time: it works on", () => {
    const { time, target, model, migration } = world();
    target.writeRegion(0, 0, 4, 1000n);
    const steps = migration.setState(STOP);
    steps.next();
    time.now = 10_001;
    expect(errorOf(() => run(steps))).toBe("EBUSY");
    target.writeRegion(0, 0, 4, 3n);
    expect([migration.state, model.writes]).toEqual([RUNNING, [1000n, 3n]]);
  });

  test("ends when the device is reset in the middle of it", () => {
    const { target, model, migration } = world();
    target.writeRegion(0, 0, 4, 5n);
    const steps = migration.setState(STOP);
    steps.next();
    target.reset();
    migration.reset();
    expect(errorOf(() => run(steps))).toBe("EINVAL");
    target.writeRegion(0, 0, 4, 1n);
    expect([migration.state, model.writes]).toEqual([RUNNING, [5n, 1n]]);
  });

  test("takes the writes and the interrupts that were kept to the other device", () => {
    const [a, b] = [world(), world()];
    a.target.writeRegion(0, 0, 4, 3n);
    run(a.migration.setState(RUNNING_P2P));
    a.target.writeRegion(0, 0, 4, 1n);
    const { stream } = run(a.migration.setState(STOP_COPY)).file as SavingFile;
    const { reader } = run(b.migration.setState(RESUMING)).file as ResumingFile;
    for (let part = stream.next(); part; part = stream.next()) reader.take(part.bytes);
    run(b.migration.setState(RUNNING_P2P));
    expect([b.messages, b.model.writes]).toEqual([[], []]);
    run(b.migration.setState(RUNNING));
    expect([b.messages, b.model.writes, b.written]).toEqual([[0, 0], [1n], [0x1000n]]);
    expect(b.told).toEqual([]);
  });

  test("is undone by the last close: the next program finds a device that runs", () => {
    const { target, model, migration } = world();
    run(migration.setState(STOP_COPY));
    migration.close();
    target.writeRegion(0, 0, 4, 1n);
    expect([migration.state, model.writes]).toEqual([RUNNING, [1n]]);
  });
});
