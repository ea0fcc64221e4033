import { DeviceClock } from "./device-clock.ts";
import type { AccessWidth, DeviceBus } from "./device-model.ts";
import type { PciDeviceKind } from "./kind.ts";
import { type DeviceOptions, readOptions } from "./options.ts";

const MEMORY = 2 ** 20;

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
  reset(): void;
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
    reset: () => device.reset(),
  };
}

class BenchBus implements DeviceBus {
  readonly clock = new DeviceClock();
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
