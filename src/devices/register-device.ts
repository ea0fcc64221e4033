import type { DeviceJob } from "./device-clock.ts";
import type { DefinedDevice, DeviceDefinition, RegisterDefinition } from "./device-definition.ts";
import type { AccessWidth, DeviceBus, DeviceModel, MappedRegister, RegionMemory } from "./device-model.ts";
import { Interrupts } from "./interrupts.ts";
import { MemoryRegion } from "./memory-region.ts";
import type { DeviceOptions } from "./options.ts";
import { type SavableModel, type SavedMemory, type SavedState, SavedStateError } from "./saved-state.ts";
import { HEX, misfit } from "./shape.ts";
import { Timers } from "./timers.ts";

interface Register<State, Values extends DeviceOptions> extends RegisterDefinition<State, Values> {
  readonly name: string;
  readonly region: number;
  readonly bytes: AccessWidth;
  value: bigint;
}

/** A BAR's memory, and where in the BAR it is. */
interface OwnMemory {
  readonly region: number;
  readonly at: number;
  readonly size: number;
  readonly bytes: MemoryRegion;
}

/** How such a device is saved, as JSON. */
interface SavedDevice {
  /** Values in hex, by name. */
  readonly registers: Readonly<Record<string, string>>;
  /** Vectors that hold the line up. */
  readonly raised: readonly number[];
  /** Milliseconds that are left, by name. */
  readonly timers: Readonly<Record<string, number>>;
  readonly state?: unknown;
}

const VERSION = 1;
/** Reads of one register, one after the other, after which it is said that its value stays. */
const SPINNING = 1_000_000;

/** A register, or a part of it, that an access reaches. */
interface Reached<State, Values extends DeviceOptions> {
  readonly register: Register<State, Values>;
  /** Bytes of the register before that part. */
  readonly skipped: number;
  /** Where that part is in the access, and how many bytes it has. */
  readonly at: number;
  readonly bytes: number;
}

/** A device that was defined by its registers (define-device.ts). */
export class RegisterDevice<State, Values extends DeviceOptions> implements DeviceModel, DefinedDevice<State, Values> {
  readonly changesUnseen = false;
  readonly options: Values;
  state: State;
  protected readonly definition: DeviceDefinition<State, Values>;
  readonly #bus: DeviceBus;
  readonly #interrupts: Interrupts;
  readonly #memory: readonly OwnMemory[];
  readonly #byPlace = new Map<string, Register<State, Values>>();
  readonly #byName = new Map<string, Register<State, Values>>();
  readonly #jobs = new Set<DeviceJob>();
  readonly #timers: Timers;
  #changed = false;
  #spin: { readonly place: string; value: bigint; count: number } | undefined;

  /** One whose state can be saved: there is none beside its registers, or it says how. */
  static create<State, Values extends DeviceOptions>(
    definition: DeviceDefinition<State, Values>,
    bus: DeviceBus,
    options: Values,
  ): RegisterDevice<State, Values> {
    const isSavable = !definition.state || (definition.save && definition.restore);
    return isSavable
      ? new SavableRegisterDevice(definition, bus, options)
      : new RegisterDevice(definition, bus, options);
  }

  constructor(definition: DeviceDefinition<State, Values>, bus: DeviceBus, options: Values) {
    this.definition = definition;
    this.#bus = bus;
    this.options = options;
    this.#interrupts = new Interrupts(bus);
    const { bars, timers = {} } = definition;
    this.#memory = Object.entries(bars).flatMap(([number, { size, registers, memory = [] }]) =>
      (registers ? memory : [{ at: 0, size }]).map((part) => ({
        ...part,
        region: Number(number),
        bytes: new MemoryRegion(),
      })),
    );
    const actions = Object.entries(timers).map(([name, action]): [string, () => void] => [name, () => action(this)]);
    this.#timers = new Timers(bus, new Map(actions), () => {
      this.#changed = true;
    });
    for (const [number, { registers = {} }] of Object.entries(bars)) {
      for (const [name, register] of Object.entries(registers)) {
        const region = Number(number);
        const own: Register<State, Values> = { ...register, name, region, bytes: register.width ?? 4, value: 0n };
        this.#byPlace.set(`${region}:${register.at}`, own);
        this.#byName.set(name, own);
      }
    }
    this.state = undefined as State;
    this.reset();
  }

  read(region: number, offset: number, width: AccessWidth): bigint {
    const memory = this.#memoryAt(region, offset, width);
    if (memory) return memory.bytes.read(offset - memory.at, width);
    return this.#at(region, offset, width, "read").reduce((all, { register, skipped, at, bytes }) => {
      const value = register.read ? BigInt(register.read(this)) : register.value;
      this.#watchSpin(`${region}:${offset}`, register.name, value);
      const own = BigInt.asUintN(8 * register.bytes, value) >> BigInt(8 * skipped);
      return all | (BigInt.asUintN(8 * bytes, own) << BigInt(8 * at));
    }, 0n);
  }

  write(region: number, offset: number, width: AccessWidth, value: bigint): void {
    const memory = this.#memoryAt(region, offset, width);
    if (memory) {
      memory.bytes.write(offset - memory.at, width, value);
      return;
    }
    for (const { register, skipped, at, bytes } of this.#at(region, offset, width, "wrote")) {
      this.#spin = undefined;
      const written = BigInt.asUintN(8 * bytes, value >> BigInt(8 * at)) << BigInt(8 * skipped);
      const reached = BigInt.asUintN(8 * bytes, -1n) << BigInt(8 * skipped);
      const writable = BigInt.asUintN(8 * register.bytes, BigInt(register.writable ?? -1)) & reached;
      register.value = (register.value & ~writable) | (written & writable);
      register.write?.(this, written);
    }
  }

  #memoryAt(region: number, offset: number, length: number): OwnMemory | undefined {
    return this.#memory.find(
      (each) => each.region === region && offset >= each.at && offset + length <= each.at + each.size,
    );
  }

  /** What an access reaches: a register, a part of one, or several. */
  #at(region: number, offset: number, width: AccessWidth, did: string): readonly Reached<State, Values>[] {
    const register = this.#byPlace.get(`${region}:${offset}`);
    if (register?.bytes === width) return [{ register, skipped: 0, at: 0, bytes: width }];
    const reached = [...this.#byName.values()].flatMap((each): Reached<State, Values>[] => {
      const [from, to] = [Math.max(offset, each.at), Math.min(offset + width, each.at + each.bytes)];
      if (each.region !== region || from >= to) return [];
      return [{ register: each, skipped: from - each.at, at: from - offset, bytes: to - from }];
    });
    if (reached.length === 0)
      this.report(
        `the program ${did} ${width} bytes at 0x${offset.toString(16)} of BAR ${region}, where the model has no such register`,
      );
    return reached;
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
    this.#timers.reset();
    this.#interrupts.reset();
    for (const { bytes } of this.#memory) bytes.reset();
    for (const register of this.#byName.values()) register.value = BigInt(register.reset ?? 0);
    this.state = this.definition.state?.(this.options) as State;
  }

  memory(region: number): RegionMemory | undefined {
    if (this.definition.bars[region]?.registers) return undefined;
    return this.#memory.find((each) => each.region === region)?.bytes;
  }

  registers(region: number): readonly MappedRegister[] {
    const own = [...this.#byName.values()].filter((register) => register.region === region);
    return own.map(({ at, bytes, write }) => ({ offset: at, width: bytes, ...(write && { doorbell: true }) }));
  }

  isMappable(region: number): boolean {
    const { bars } = this.definition;
    if (bars[region]?.memory?.length) return false;
    // where none says so, the host file does
    return !Object.values(bars).some(({ mmap }) => mmap) || bars[region]?.mmap === true;
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

  readBar(bar: number, offset: number, into: Uint8Array): void {
    const { bytes, at } = this.#memoryOf(bar, offset, into.length);
    this.#bus.fetchMemory?.(bar, offset, into.length);
    bytes.readBytes(offset - at, into);
  }

  writeBar(bar: number, offset: number, from: Uint8Array): void {
    const { bytes, at } = this.#memoryOf(bar, offset, from.length);
    bytes.writeBytes(offset - at, from);
    this.#bus.showMemory?.(bar, offset, from.length);
  }

  #memoryOf(bar: number, offset: number, length: number): OwnMemory {
    const memory = this.#memoryAt(bar, offset, length);
    if (!memory) throw new RangeError(`BAR ${bar} has no memory of ${length} bytes at 0x${offset.toString(16)}`);
    return memory;
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

  start(timer: string, milliseconds: number): void {
    this.#timers.start(timer, milliseconds);
  }

  stop(timer: string): void {
    this.#timers.stop(timer);
  }

  report(message: string): void {
    this.#bus.report?.(message);
  }

  protected get savedMemory(): readonly SavedMemory[] {
    return this.#memory.map(({ bytes, size, at, region }) => bytes.saved(size, at === 0 ? region : undefined));
  }

  protected hold(): void {
    this.#timers.hold();
  }

  protected goOn(): void {
    this.#timers.goOn();
  }

  protected values(): Pick<SavedDevice, "registers" | "raised" | "timers"> {
    const registers = [...this.#byName].map(([name, { value }]) => [name, value.toString(16)]);
    return {
      registers: Object.fromEntries(registers),
      raised: this.#interrupts.raised,
      timers: Object.fromEntries(this.#timers.left()),
    };
  }

  /** Has nothing of what it was. @param state its own, read already */
  protected take({ registers, raised, timers }: SavedDevice, state: State): void {
    this.reset();
    this.state = state;
    for (const [name, value] of Object.entries(registers)) this.#named(name).value = BigInt(`0x${value}`);
    this.#timers.hold();
    for (const [name, milliseconds] of Object.entries(timers)) this.#timers.start(name, milliseconds);
    for (const vector of raised) this.#interrupts.raise(vector);
    this.#changed = true;
  }
}

class SavableRegisterDevice<State, Values extends DeviceOptions>
  extends RegisterDevice<State, Values>
  implements SavableModel
{
  readonly memories: readonly SavedMemory[] = this.savedMemory;

  pause(): void {
    this.hold();
  }

  resume(): void {
    this.goOn();
  }

  save(): SavedState {
    const { save } = this.definition;
    const saved: SavedDevice = { ...this.values(), ...(save && { state: save(this.state) }) };
    return { version: VERSION, bytes: Buffer.from(JSON.stringify(saved)) };
  }

  restore({ version, bytes }: SavedState): void {
    const wrong = (what: string) => new SavedStateError(`the saved state ${what}`);
    if (version !== VERSION) throw wrong(`has version ${version}, which is unknown (known: ${VERSION})`);
    let saved: SavedDevice;
    try {
      saved = JSON.parse(Buffer.from(bytes).toString()) as SavedDevice;
    } catch {
      throw wrong("is no JSON");
    }
    const { registers, timers } = this.values();
    const place = misfit(saved, { registers: sameKeys(registers, HEX), raised: [0], timers: {} });
    if (place !== undefined) throw wrong(`is not as it must be at ${place}`);
    const names = Object.keys(this.definition.timers ?? {});
    const known = Object.entries(saved.timers).every(([name, left]) => names.includes(name) && left >= 0);
    const widths = Object.values(saved.registers).every((value) => value.length > 0 && value.length <= 16);
    if (!known || !widths || Object.keys(timers).some((name) => !names.includes(name)))
      throw wrong("is of another device");
    // what it throws refuses the state
    const state =
      this.definition.restore?.(saved.state, this.options) ?? (this.definition.state?.(this.options) as State);
    this.take(saved, state);
  }
}

function sameKeys<T>(record: Readonly<Record<string, unknown>>, value: T): Readonly<Record<string, T>> {
  return Object.fromEntries(Object.keys(record).map((name) => [name, value]));
}

function called<T>(action: () => T): T {
  return action();
}
