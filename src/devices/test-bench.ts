import { DeviceClock } from "./device-clock.ts";
import type { AccessWidth, DeviceBus, DeviceModel } from "./device-model.ts";
import type { PciDeviceKind } from "./kind.ts";
import { type DeviceOptions, readOptions } from "./options.ts";
import { isSavable, type SavableModel, type SavedState } from "./saved-state.ts";

const MEMORY = 2 ** 20;

/** What of a device goes with a migration. */
export interface BenchState {
  readonly state: SavedState;
  /** The pieces of each of its memories. */
  readonly memories: readonly (readonly (readonly [number: number, bytes: Uint8Array])[])[];
}

/** A device without a host and without a program: what is put into its registers, and what it does to the world. */
export interface TestBench {
  /** What its DMA reaches: IOVA 0 is the first byte. */
  readonly memory: Buffer;
  /** Vectors of the messages that it sent, in order. */
  readonly messages: readonly number[];
  /** Its INTx line, while `messagesEnabled` is false. */
  readonly lineUp: boolean;
  /** Whether the program has messages (MSI) on: so it is at first. */
  messagesEnabled: boolean;
  /** What it wants a person to know. */
  readonly reports: readonly string[];
  /** A read of a register, or of a BAR's memory. @param width bytes, 4 when left out */
  read(bar: number, offset: number, width?: AccessWidth): bigint;
  write(bar: number, offset: number, value: number | bigint, width?: AccessWidth): void;
  /**
   * Has work go on in pieces from now on, as many as work() is told; without it, it is done in the write that starts
   * it.
   */
  inPieces(): void;
  /** @returns whether there is more to do */
  work(pieces: number): boolean;
  /** Lets time go on: timers that run out by then do what they do. Otherwise it stands still. */
  pass(milliseconds: number): void;
  reset(): void;
  /**
   * The state of a device that says how it is saved, as a migration takes it: work is ended first.
   * Throws RangeError for another one.
   */
  save(): BenchState;
  /** Goes on from a state that another bench's device was in. */
  restore(state: BenchState): void;
}

/**
 * Puts a device of a kind on a bench.
 * Throws RangeError for options that it has not.
 * @param given as a host file has them
 */
export function testBench<Values extends DeviceOptions>(
  kind: PciDeviceKind<Values>,
  given: Readonly<Record<string, unknown>> = {},
): TestBench {
  const { values, problems } = readOptions(kind as unknown as PciDeviceKind, given);
  const [problem] = problems;
  if (problem) throw new RangeError(`options.${problem.option ?? ""}: ${problem.message}`);
  const bus = new BenchBus();
  const device = kind.create(bus, { name: "test bench", options: values as Values });
  return {
    memory: bus.memory,
    messages: bus.messages,
    reports: bus.reports,
    get lineUp() {
      return bus.lineUp;
    },
    get messagesEnabled() {
      return bus.messagesEnabled;
    },
    set messagesEnabled(on) {
      bus.messagesEnabled = on;
    },
    read: (bar, offset, width = 4) => device.read(bar, offset, width),
    write: (bar, offset, value, width = 4) =>
      device.write(bar, offset, width, BigInt.asUintN(8 * width, BigInt(value))),
    inPieces: () => {
      bus.clock.inSlices = true;
    },
    work: (pieces) => {
      bus.clock.runPieces(pieces);
      return bus.clock.isPending;
    },
    pass: (milliseconds) => bus.clock.pass(milliseconds),
    reset: () => device.reset(),
    save: () => {
      const model = savable(device);
      model.pause?.();
      while (bus.clock.isPending) bus.clock.runPieces(1);
      const memories = (model.memories ?? []).map((memory) =>
        [...memory.pieces()].map((piece) => [piece, memory.piece(piece)!.slice()] as const),
      );
      const state = model.save();
      model.resume?.();
      return { state, memories };
    },
    restore: ({ state, memories }) => {
      const model = savable(device);
      model.restore(state);
      for (const [i, memory] of (model.memories ?? []).entries()) memory.replace(new Map(memories[i]));
      model.resume?.();
    },
  };
}

function savable(model: DeviceModel): SavableModel {
  if (!isSavable(model)) throw new RangeError("the device does not say how its state is saved");
  return model;
}

/** Time that goes on when it is told to. */
class BenchClock extends DeviceClock {
  #time = 0;
  readonly #timers = new Set<{ readonly due: number; readonly action: () => void }>();

  override now(): number {
    return this.#time;
  }

  override later(milliseconds: number, action: () => void): () => void {
    const timer = { due: this.#time + milliseconds, action };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  pass(milliseconds: number): void {
    const end = this.#time + milliseconds;
    for (;;) {
      const [next] = [...this.#timers].filter(({ due }) => due <= end).sort((a, b) => a.due - b.due);
      if (!next) break;
      this.#timers.delete(next);
      this.#time = next.due;
      next.action();
    }
    this.#time = end;
  }
}

class BenchBus implements DeviceBus {
  readonly clock = new BenchClock();
  readonly memory = Buffer.alloc(MEMORY);
  readonly messages: number[] = [];
  readonly reports: string[] = [];
  messagesEnabled = true;
  lineUp = false;

  dmaRead(iova: bigint, into: Uint8Array): boolean {
    into.fill(0);
    if (!reaches(iova, into)) return false;
    into.set(this.memory.subarray(Number(iova), Number(iova) + into.length));
    return true;
  }

  dmaWrite(iova: bigint, from: Uint8Array): boolean {
    if (!reaches(iova, from)) return false;
    this.memory.set(from, Number(iova));
    return true;
  }

  sendMessage(vector: number): void {
    this.messages.push(vector);
  }

  setLine(asserted: boolean): void {
    this.lineUp = asserted;
  }

  report(message: string): void {
    if (!this.reports.includes(message)) this.reports.push(message);
  }
}

function reaches(iova: bigint, { length }: Uint8Array): boolean {
  return iova + BigInt(length) <= BigInt(MEMORY);
}
