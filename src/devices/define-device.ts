import type { PciBar } from "./description.ts";
import type { DeviceJob } from "./device-clock.ts";
import type { AccessWidth, DeviceBus, DeviceModel, MappedRegister, RegionMemory } from "./device-model.ts";
import { Interrupts } from "./interrupts.ts";
import type { PciDeviceKind } from "./kind.ts";
import { MemoryRegion } from "./memory-region.ts";
import type { DeviceOptions, OptionProblem, OptionSchema } from "./options.ts";
import { ADVANCED_FEATURES, msi } from "./pci/capability-kit.ts";

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

/** A BAR: registers, or plain memory where there are none. */
export interface BarDefinition<State, Values extends DeviceOptions> {
  /** Bytes: a power of two, at least 16. */
  readonly size: number;
  readonly registers?: Readonly<Record<string, RegisterDefinition<State, Values>>>;
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
   * Message interrupts (MSI) that it has, a power of two up to 32: 1 when left out. With none enabled it has its INTx
   * line.
   */
  readonly vectors?: number;
  readonly options?: OptionSchema<Values>;
  /** What is wrong with options that are fine one by one. */
  checkOptions?(options: Values): readonly OptionProblem[];
  /** By number, 0 to 5. */
  readonly bars: Readonly<Record<number, BarDefinition<State, Values>>>;
  /** What the device keeps beside its registers: made when it is made, and by each reset. */
  state?(options: Values): State;
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
  /**
   * Work that may take long, piece by piece: the generator yields after each piece how many bytes it has moved, at most
   * some ten KiB. It is dropped by a reset.
   */
  work(pieces: Generator<number, void>): void;
  /** Tells the person who runs the program something, once. */
  report(message: string): void;
}

/** A kind of device, for `model` of a host file and `models` of the library. docs/device.md has an example. */
export function defineDevice<State = undefined, Values extends DeviceOptions = DeviceOptions>(
  definition: DeviceDefinition<State, Values>,
): PciDeviceKind<Values> & { readonly model: string } {
  const { title = "a device of one's own", id, vectors = 1, options } = definition;
  const ids = /^([0-9a-f]{4}):([0-9a-f]{4})$/i.exec(id);
  if (!ids) throw new RangeError(`id: not vendor and device: ${JSON.stringify(id)} (write it like "1234:0c0d")`);
  const bars = Object.entries(definition.bars).map(([number, bar]): PciBar => {
    checkBar(Number(number), bar);
    return { index: Number(number), size: bar.size, type: "memory" };
  });
  return {
    bus: "pci",
    model: title,
    title,
    devices: [
      {
        vendor: Number.parseInt(ids[1]!, 16),
        device: Number.parseInt(ids[2]!, 16),
        class: definition.class ?? 0xff0000,
        subsystemVendor: 0,
        subsystemDevice: 0,
        bars,
      },
    ],
    mmap: false,
    translates: false,
    ...(options && { options }),
    ...(definition.checkOptions && { checkOptions: (values: Values) => definition.checkOptions!(values) }),
    config: () => ({
      interruptPin: true,
      capabilities: [...(vectors > 0 ? [msi({ vectors })] : []), ADVANCED_FEATURES],
    }),
    create: (bus, instance) => new RegisterDevice(definition, bus, instance.options),
  };
}

function checkBar<State, Values extends DeviceOptions>(
  number: number,
  { size, registers = {} }: BarDefinition<State, Values>,
): void {
  const wrong = (what: string) => new RangeError(`bars.${number}: ${what}`);
  if (!Number.isInteger(number) || number < 0 || number > 5) throw wrong("BARs have the numbers 0 to 5");
  if (!Number.isInteger(Math.log2(size)) || size < 16) throw wrong(`size ${size} is no power of two from 16 on`);
  const taken: { name: string; at: number; end: number }[] = [];
  for (const [name, { at, width = 4 }] of Object.entries(registers)) {
    if (![1, 2, 4, 8].includes(width)) throw wrong(`${name}: a register has 1, 2, 4 or 8 bytes, not ${width}`);
    if (at % width !== 0 || at < 0 || at + width > size)
      throw wrong(`${name}: 0x${at.toString(16)} is no place for ${width} bytes`);
    const other = taken.find((each) => at < each.end && each.at < at + width);
    if (other) throw wrong(`${name} lies on ${other.name}`);
    taken.push({ name, at, end: at + width });
  }
}

interface Register<State, Values extends DeviceOptions> extends RegisterDefinition<State, Values> {
  readonly name: string;
  readonly region: number;
  readonly bytes: AccessWidth;
  value: bigint;
}

/** Reads of one register, one after the other, after which it is said that its value stays. */
const SPINNING = 1_000_000;

class RegisterDevice<State, Values extends DeviceOptions> implements DeviceModel, DefinedDevice<State, Values> {
  readonly options: Values;
  state: State;
  readonly #definition: DeviceDefinition<State, Values>;
  readonly #bus: DeviceBus;
  readonly #interrupts: Interrupts;
  readonly #memory = new Map<number, MemoryRegion>();
  readonly #byPlace = new Map<string, Register<State, Values>>();
  readonly #byName = new Map<string, Register<State, Values>>();
  readonly #jobs = new Set<DeviceJob>();
  #changed = false;
  #spin: { readonly place: string; value: bigint; count: number } | undefined;

  constructor(definition: DeviceDefinition<State, Values>, bus: DeviceBus, options: Values) {
    this.#definition = definition;
    this.#bus = bus;
    this.options = options;
    this.#interrupts = new Interrupts(bus);
    for (const [number, { registers }] of Object.entries(definition.bars)) {
      const region = Number(number);
      if (!registers) this.#memory.set(region, new MemoryRegion());
      for (const [name, register] of Object.entries(registers ?? {})) {
        const own: Register<State, Values> = { ...register, name, region, bytes: register.width ?? 4, value: 0n };
        this.#byPlace.set(`${region}:${register.at}`, own);
        this.#byName.set(name, own);
      }
    }
    this.state = undefined as State;
    this.reset();
  }

  read(region: number, offset: number, width: AccessWidth): bigint {
    const memory = this.#memory.get(region);
    if (memory) return memory.read(offset, width);
    const register = this.#at(region, offset, width, "read");
    if (!register) return 0n;
    const value = register.read ? BigInt(register.read(this)) : register.value;
    this.#watchSpin(`${region}:${offset}`, register.name, value);
    return BigInt.asUintN(8 * width, BigInt.asUintN(8 * register.bytes, value));
  }

  write(region: number, offset: number, width: AccessWidth, value: bigint): void {
    const memory = this.#memory.get(region);
    if (memory) {
      memory.write(offset, width, value);
      return;
    }
    const register = this.#at(region, offset, width, "wrote");
    if (!register) return;
    this.#spin = undefined;
    const writable = BigInt.asUintN(8 * register.bytes, BigInt(register.writable ?? -1));
    register.value = (register.value & ~writable) | (value & writable);
    register.write?.(this, value);
  }

  /** The register that an access is to; a narrower one that begins where it begins reaches its low bytes. */
  #at(region: number, offset: number, width: AccessWidth, did: string): Register<State, Values> | undefined {
    const register = this.#byPlace.get(`${region}:${offset}`);
    if (register && width <= register.bytes) return register;
    this.report(
      `the program ${did} ${width} bytes at 0x${offset.toString(16)} of BAR ${region}, where the model has no such register`,
    );
    return undefined;
  }

  #watchSpin(place: string, name: string, value: bigint): void {
    if (this.#spin?.place !== place || this.#spin.value !== value) this.#spin = { place, value, count: 0 };
    if (++this.#spin.count === SPINNING)
      this.report(`the program read ${name} a million times in a row; it stays 0x${value.toString(16)}`);
  }

  advance(): boolean {
    const changed = this.#changed;
    this.#changed = false;
    return changed;
  }

  reset(): void {
    for (const job of this.#jobs) this.#bus.clock.stop(job);
    this.#jobs.clear();
    this.#interrupts.reset();
    for (const memory of this.#memory.values()) memory.reset();
    for (const register of this.#byName.values()) register.value = BigInt(register.reset ?? 0);
    this.state = this.#definition.state?.(this.options) as State;
  }

  memory(region: number): RegionMemory | undefined {
    return this.#memory.get(region);
  }

  registers(region: number): readonly MappedRegister[] {
    const own = [...this.#byName.values()].filter((register) => register.region === region);
    return own.map(({ at, bytes }) => ({ offset: at, width: bytes }));
  }

  get(name: string): bigint {
    return this.#named(name).value;
  }

  set(name: string, value: number | bigint): void {
    const register = this.#named(name);
    register.value = BigInt.asUintN(8 * register.bytes, BigInt(value));
    this.#changed = true;
  }

  #named(name: string): Register<State, Values> {
    const register = this.#byName.get(name);
    if (!register) throw new RangeError(`there is no register ${name}`);
    return register;
  }

  raise(vector = 0): void {
    this.#interrupts.raise(vector);
  }

  lower(vector = 0): void {
    this.#interrupts.lower(vector);
  }

  readMemory(iova: bigint, into: Uint8Array): boolean {
    return this.#bus.dmaRead(iova, into);
  }

  writeMemory(iova: bigint, from: Uint8Array): boolean {
    return this.#bus.dmaWrite(iova, from);
  }

  work(pieces: Generator<number, void>): void {
    const job: DeviceJob = {
      step: () => {
        this.#changed = true;
        const next = (this.#bus.contain ?? called)(() => pieces.next(), { done: true, value: undefined });
        if (next.done) this.#jobs.delete(job);
        return next.done ? undefined : Number(next.value);
      },
    };
    this.#jobs.add(job);
    this.#bus.clock.start(job);
  }

  report(message: string): void {
    this.#bus.report?.(message);
  }
}

function called<T>(action: () => T): T {
  return action();
}
