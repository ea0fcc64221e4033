import type { PciBar } from "./description.ts";
import type { AccessWidth } from "./device-model.ts";
import type { DeviceOptions, OptionProblem, OptionSchema } from "./options.ts";

/** A register of a device that is being defined. */
export interface RegisterDefinition<State, Values extends DeviceOptions> {
  /** Offset in its BAR: a multiple of its width. */
  readonly at: number;
  /** Bytes: 1, 2, 4 (when left out) or 8. */
  readonly width?: AccessWidth;
  /** Its value after a reset: 0 when left out. */
  readonly reset?: number | bigint;
  /** Bits that a write changes: all when left out, none for a register that can only be read. */
  readonly writable?: number | bigint;
  /** What a read gives instead of what the register holds. */
  read?(device: DefinedDevice<State, Values>): number | bigint;
  /** What a write does once the register has the new value. */
  write?(device: DefinedDevice<State, Values>, value: bigint): void;
}

/** A part of a BAR that is plain memory. */
export interface MemoryPart {
  /** Offset in the BAR. */
  readonly at: number;
  /** Bytes. */
  readonly size: number;
}

/** A BAR: registers, plain memory where there are none, or both. */
export interface BarDefinition<State, Values extends DeviceOptions> {
  /** Bytes: a power of two, at least 16. */
  readonly size: number;
  /** "memory" when left out; "memory64" takes the next number too, "io" are ports. */
  readonly type?: Exclude<PciBar["type"], "rom">;
  readonly registers?: Readonly<Record<string, RegisterDefinition<State, Values>>>;
  /** Memory among the registers. A BAR without registers is memory all over. */
  readonly memory?: readonly MemoryPart[];
  /**
   * Whether programs may map it. Memory behind a mapping is shared. Registers behind one are looked at again and again:
   * of two writes between two looks one is seen. False when left out; not for registers and memory together.
   */
  readonly mmap?: boolean;
}

/** Where MSI-X has its table. */
export interface MsixDefinition {
  /** 1 to 2048. */
  readonly vectors: number;
  /** A BAR with registers that has room for it; one of its own when left out. */
  readonly bar?: number;
  /** Bytes into that BAR, a multiple of 8: 16 bytes for each vector, and behind them a bit for each. */
  readonly offset?: number;
}

/** What defineDevice() takes. */
export interface DeviceDefinition<State, Values extends DeviceOptions> {
  /** For messages. */
  readonly title?: string;
  /** "1234:0c0d": vendor and device, in hex. */
  readonly id: string;
  /** 24 bits; 0xff0000, none of the known ones, when left out. */
  readonly class?: number;
  /**
   * Message interrupts (MSI) that it has, a power of two up to 32: 1 when left out, none with MSI-X. With none enabled
   * it has its INTx line.
   */
  readonly vectors?: number;
  /** It has MSI-X: so many vectors, in a BAR of their own; or where it says. */
  readonly msix?: number | MsixDefinition;
  /** A PCI Express device: with that capability, error reporting, and a config space of 4096 bytes. */
  readonly express?: boolean;
  readonly options?: OptionSchema<Values>;
  /** What is wrong with options that are fine one by one. */
  checkOptions?(options: Values): readonly OptionProblem[];
  /** By number, 0 to 5. */
  readonly bars: Readonly<Record<number, BarDefinition<State, Values>>>;
  /** What the device does after a time that start() is told, by name. */
  readonly timers?: Readonly<Record<string, (device: DefinedDevice<State, Values>) => void>>;
  /** What the device keeps beside its registers: made when it is made, and by each reset. */
  state?(options: Values): State;
  /**
   * What JSON can hold of the state, for a device that is migrated. Registers, memory and timers go along by
   * themselves: only a device with a state of its own needs this.
   */
  save?(state: State): unknown;
  /** The state of what save() gave. What it throws refuses that. */
  restore?(saved: unknown, options: Values): State;
}

/** A device that works: what the functions of its definition are given. */
export interface DefinedDevice<State, Values extends DeviceOptions> {
  readonly options: Values;
  state: State;
  /** The value that a register holds. */
  get(register: string): bigint;
  /** Gives a register a value, as the device itself does it. */
  set(register: string, value: number | bigint): void;
  /** Raises an interrupt: its message, or the INTx line, which stays up until lower(). */
  raise(vector?: number): void;
  lower(vector?: number): void;
  /** Reads the program's memory by DMA. @returns whether all of it could be read */
  readMemory(iova: bigint, into: Uint8Array): boolean;
  writeMemory(iova: bigint, from: Uint8Array): boolean;
  /** Fills `into` from memory of a BAR of its own. Throws RangeError where that has none. */
  readBar(bar: number, offset: number, into: Uint8Array): void;
  writeBar(bar: number, offset: number, from: Uint8Array): void;
  /**
   * Work that may take long, piece by piece: the generator yields after each piece how many bytes it has moved, at most
   * some ten KiB. It is dropped by a reset.
   */
  work(pieces: Generator<number, void>): void;
  /** Has a timer run out after so many milliseconds. One that runs begins anew; a reset stops it. */
  start(timer: string, milliseconds: number): void;
  stop(timer: string): void;
  /** Tells the person who runs the program something, once. */
  report(message: string): void;
}
