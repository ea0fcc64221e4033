import type { AccessWidth, DeviceBus, RegionMemory } from "../../device-model.ts";
import { eeprom } from "../../gigabit/eeprom.ts";
import { IncomingFrames } from "../../gigabit/incoming-frames.ts";
import { memoryOf } from "../../gigabit/memory.ts";
import { PacketClock } from "../../gigabit/packet-clock.ts";
import { Phy } from "../../gigabit/phy.ts";
import { GigabitPort, type PortFacts } from "../../gigabit/port.ts";
import { RegisterFile } from "../../gigabit/register-file.ts";
import { Statistics } from "../../gigabit/statistics.ts";
import { MemoryRegion } from "../../memory-region.ts";
import { ROM_BAR } from "../../pci/registers.ts";
import type { SavedState } from "../../saved-state.ts";
import { Causes } from "./causes.ts";
import { EEPROM_SIZE, EEPROM_WORDS, PHY } from "./facts.ts";
import { MAPPED } from "./mapped-registers.ts";
import { Receiver } from "./receive.ts";
import { RegisterAccess } from "./register-access.ts";
import { MAP } from "./register-map.ts";
import * as reg from "./registers.ts";
import { readE1000e, saveE1000e } from "./state.ts";
import { E1000eTransmitQueue } from "./transmit.ts";

/** What stays when software resets the port: sizes of buffers, access to the flash. */
const KEPT = [reg.PBA, reg.PBS, reg.FLA];

/** Intel's 82574L. */
export class E1000eDevice extends GigabitPort {
  protected readonly statistics: Statistics;
  protected readonly receiver: Receiver;
  protected readonly incoming: IncomingFrames;
  protected readonly access: RegisterAccess;
  protected readonly queues: readonly E1000eTransmitQueue[];
  readonly #causes: Causes;
  readonly #eeprom: Uint16Array;
  readonly #rom: MemoryRegion;

  /** @param rom behind the expansion ROM */
  constructor(bus: DeviceBus, facts: PortFacts, rom: Uint8Array) {
    super(bus, facts, { file: new RegisterFile(MAP, KEPT), phy: new Phy(PHY), mapped: MAPPED });
    const { file } = this;
    this.#rom = new MemoryRegion(rom);
    this.#eeprom = eeprom(EEPROM_WORDS, EEPROM_SIZE, facts.mac);
    this.statistics = new Statistics(file);
    const memory = memoryOf(bus);
    const usesMsix = () => bus.usesMsix ?? false;
    const causes = new Causes(file, bus.clock, {
      get usesMsix() {
        return usesMsix();
      },
      get messagesEnabled() {
        return bus.messagesEnabled;
      },
      get isMapped() {
        return bus.isMapped ?? false;
      },
      send: (vector) => this.#sendMessage(vector),
      signal: () => this.signal(),
      lowerLine: () => this.lowerLine(),
      dropPending: (vector) => bus.dropMessage?.(vector),
    });
    this.#causes = causes;
    const { statistics } = this;
    this.receiver = new Receiver({ file, statistics, causes, memory, usesMsix });
    this.incoming = new IncomingFrames(bus.clock, this.receiver, () => statistics.missed());
    const around = { file, statistics, causes, memory, usesMsix, send: (frame: Uint8Array) => this.sendFrame(frame) };
    this.queues = Array.from({ length: reg.QUEUES }, (_, queue) => new E1000eTransmitQueue(queue, around));
    this.access = new RegisterAccess({
      ...{ file, causes, phy: this.phy, eeprom: this.#eeprom },
      clock: new PacketClock(file, () => bus.clock.now()),
      effects: {
        reset: () => this.resetAll(true),
        transmit: (queue) => this.startJob(this.queues[queue]!),
        receive: () => this.incoming.resume(),
        dropPending: (vector) => bus.dropMessage?.(vector),
      },
    });
    this.powerOn();
  }

  protected override resetParts(): void {
    this.#causes.reset();
  }

  protected override linkChanged(): void {
    this.#causes.raise(reg.ICR_LSC);
  }

  protected override get isSignalled(): boolean {
    return this.#causes.isSignalled;
  }

  /** What is read because of an interrupt is no older than it. */
  #sendMessage(vector: number): void {
    this.bus.showRegisters?.();
    this.bus.sendMessage(vector);
  }

  override read(region: number, offset: number, width: AccessWidth): bigint {
    return region === ROM_BAR ? this.#rom.read(offset, width) : super.read(region, offset, width);
  }

  override memory(region: number): RegionMemory | undefined {
    return region === ROM_BAR ? readOnly(this.#rom) : undefined;
  }

  override save(): SavedState {
    return saveE1000e({
      ...this.saved(),
      eeprom: this.#eeprom,
      causes: this.#causes.state,
      queues: this.queues.map(({ state }) => state),
    });
  }

  override restore(state: SavedState): void {
    const { eeprom: words, causes, queues, ...port } = readE1000e(state);
    this.take(port);
    this.#eeprom.set(words);
    this.#causes.restore(causes);
    for (const [i, queue] of this.queues.entries()) queue.state = queues[i]!;
  }
}

/** Writes are lost. */
function readOnly(memory: RegionMemory): RegionMemory {
  return {
    readBytes: (offset, into) => memory.readBytes(offset, into),
    writeBytes: () => {},
    pages: () => memory.pages(),
  };
}
