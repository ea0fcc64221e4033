import type { AccessWidth, DeviceBus, DeviceModel, MappedRegister, RegionMemory } from "./device-model.ts";
import type { PciDeviceKind } from "./kind.ts";
import { isSavable, type SavableModel, type SavedMemory, SavedStateError } from "./saved-state.ts";

/** The same kind, whose devices fail on their own. */
export function contained(kind: PciDeviceKind): PciDeviceKind {
  return {
    ...kind,
    config: (device) => kind.config(device),
    create: (bus, device) => new ContainedModel(bus, (own) => kind.create(own, device)),
  };
}

/** Files of ours, of node, and packages are not what somebody looks for. */
const OURS = new URL("..", import.meta.url).href;

/** What went wrong in somebody's module, with its file and line where that is known. */
export function failureOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const text = `${error.name}: ${error.message.split("\n")[0]}`;
  for (const line of (error.stack ?? "").split("\n")) {
    const place = /(?:file:\/\/)?(\/[^\s():]+):(\d+)(?::\d+)?\)?$/.exec(line.trim());
    if (!place || /node:|node_modules/.test(line) || new URL(`file://${place[1]}`).href.startsWith(OURS)) continue;
    return `${text} (${place[1]}:${place[2]})`;
  }
  return text;
}

/**
 * Somebody's model: what it throws is reported with its file and line, and from then on it is a device that is gone,
 * whose registers read as all ones and which does nothing. Nothing else ends.
 */
class ContainedModel implements DeviceModel {
  readonly #model: DeviceModel;
  readonly #bus: DeviceBus;
  #isGone = false;

  constructor(bus: DeviceBus, make: (bus: DeviceBus) => DeviceModel) {
    this.#bus = bus;
    this.#model = make(this.#containedBus());
    const model = this.#model;
    const { shows, adopt, decodes, isMappable, connect, hasFunctions, expectsWrite } = model;
    this.changesUnseen = model.changesUnseen ?? model.advance !== undefined;
    // what it throws here is a problem of the description
    if (connect) this.connect = (others) => connect.call(this.#model, others);
    if (hasFunctions)
      this.hasFunctions = (count) =>
        this.#try("new virtual functions", () => hasFunctions.call(this.#model, count), undefined);
    if (isMappable)
      this.isMappable = (region) =>
        this.#try("a question about its regions", () => isMappable.call(model, region), false);
    if (isSavable(model)) this.#containSaving(model);
    if (shows)
      this.shows = (...place) => this.#try("a look at its registers", () => shows.apply(this.#model, place), 0n);
    if (expectsWrite)
      this.expectsWrite = (...place) =>
        this.#try("a write to a doorbell", () => expectsWrite.apply(this.#model, place), undefined);
    if (adopt)
      this.adopt = (...place) => this.#try("a look at its registers", () => adopt.apply(this.#model, place), false);
    if (decodes) this.decodes = (...place) => this.#try("a read", () => decodes.apply(this.#model, place), true);
  }

  readonly changesUnseen: boolean;
  shows?: NonNullable<DeviceModel["shows"]>;
  expectsWrite?: NonNullable<DeviceModel["expectsWrite"]>;
  adopt?: NonNullable<DeviceModel["adopt"]>;
  decodes?: NonNullable<DeviceModel["decodes"]>;
  connect?: NonNullable<DeviceModel["connect"]>;
  hasFunctions?: NonNullable<DeviceModel["hasFunctions"]>;
  isMappable?: NonNullable<DeviceModel["isMappable"]>;
  save?: SavableModel["save"];
  restore?: SavableModel["restore"];
  memories?: readonly SavedMemory[];
  pause?: () => void;
  isBusy?: () => boolean;
  resume?: () => void;

  /** What cannot be saved goes as an empty state, which nobody takes back. */
  #containSaving(model: SavableModel): void {
    const what = "saving its state";
    this.save = () => this.#try(what, () => model.save(), { version: 0, bytes: new Uint8Array() });
    this.restore = (state) => {
      if (this.#isGone) throw new SavedStateError("the device is gone");
      try {
        model.restore(state);
      } catch (error) {
        throw new SavedStateError(failureOf(error));
      }
    };
    if (model.memories) this.memories = model.memories;
    this.pause = () => this.#try(what, () => model.pause?.(), undefined);
    this.isBusy = () => this.#try(what, () => model.isBusy?.() ?? false, false);
    this.resume = () => this.#try("going on", () => model.resume?.(), undefined);
  }

  #containedBus(): DeviceBus {
    const bus = this.#bus;
    return {
      clock: bus.clock,
      get messagesEnabled() {
        return bus.messagesEnabled;
      },
      get isMapped() {
        return bus.isMapped ?? false;
      },
      get usesMsix() {
        return bus.usesMsix ?? false;
      },
      dmaRead: (iova, into, pasid) => bus.dmaRead(iova, into, pasid),
      dmaWrite: (iova, from, pasid) => bus.dmaWrite(iova, from, pasid),
      ...(bus.dmaOrWait && { dmaOrWait: (access) => bus.dmaOrWait!(access) }),
      sendMessage: (vector) => bus.sendMessage(vector),
      dropMessage: (vector) => bus.dropMessage?.(vector),
      setLine: (asserted) => bus.setLine(asserted),
      showRegisters: () => bus.showRegisters?.(),
      fetchMemory: (...part) => bus.fetchMemory?.(...part),
      showMemory: (...part) => bus.showMemory?.(...part),
      report: (message) => bus.report?.(message),
      contain: (action, otherwise) => this.#try("work of its own", action, otherwise),
    };
  }

  #try<T>(what: string, action: () => T, otherwise: T): T {
    if (this.#isGone) return otherwise;
    try {
      return action();
    } catch (error) {
      this.#isGone = true;
      this.#bus.report?.(`its model failed at ${what}, and the device is gone: ${failureOf(error)}`);
      return otherwise;
    }
  }

  read(region: number, offset: number, width: AccessWidth): bigint {
    const ones = (1n << BigInt(8 * width)) - 1n;
    const place = `a read of 0x${offset.toString(16)} in BAR ${region}`;
    return this.#try(place, () => BigInt.asUintN(8 * width, this.#model.read(region, offset, width)), ones);
  }

  write(region: number, offset: number, width: AccessWidth, value: bigint): void {
    const place = `a write of 0x${value.toString(16)} to 0x${offset.toString(16)} in BAR ${region}`;
    this.#try(place, () => this.#model.write(region, offset, width, value), undefined);
  }

  advance(): boolean {
    return this.#try("a look at its registers", () => this.#model.advance?.() ?? false, false);
  }

  reset(): void {
    this.#try("a reset", () => this.#model.reset(), undefined);
  }

  memory(region: number): RegionMemory | undefined {
    const memory = this.#try("a question about its regions", () => this.#model.memory(region), undefined);
    return memory && this.#contained(memory);
  }

  #contained(memory: RegionMemory): RegionMemory {
    return {
      readBytes: (offset, into) => {
        into.fill(0xff);
        this.#try("a read of its memory", () => memory.readBytes(offset, into), undefined);
      },
      writeBytes: (offset, from) => {
        this.#try("a write to its memory", () => memory.writeBytes(offset, from), undefined);
      },
      pages: () => this.#try("a look at its memory", () => memory.pages(), []),
    };
  }

  registers(region: number): readonly MappedRegister[] {
    return this.#try("a question about its registers", () => this.#model.registers(region), []);
  }
}
