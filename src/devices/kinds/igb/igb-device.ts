import type { DeviceBus } from "../../device-model.ts";
import { eeprom } from "../../gigabit/eeprom.ts";
import { IncomingFrames } from "../../gigabit/incoming-frames.ts";
import { type Memory, memoryOf } from "../../gigabit/memory.ts";
import { Phy } from "../../gigabit/phy.ts";
import { GigabitPort, type PortFacts } from "../../gigabit/port.ts";
import { RegisterFile } from "../../gigabit/register-file.ts";
import type { SavedState } from "../../saved-state.ts";
import { Causes } from "./causes.ts";
import { EEPROM_SIZE, EEPROM_WORDS, PHY } from "./facts.ts";
import { Mailboxes } from "./mailbox.ts";
import { MAPPED } from "./mapped-registers.ts";
import { PoolStatistics } from "./pool-statistics.ts";
import { Receiver } from "./receive.ts";
import { RegisterAccess } from "./register-access.ts";
import { MAP } from "./register-map.ts";
import * as reg from "./registers.ts";
import { readIgb, saveIgb } from "./state.ts";
import { IgbTransmitQueue } from "./transmit.ts";

/** What stays when software resets the port (8.2.1): buffer sizes, throttling. */
const KEPT = [reg.RXPBS, reg.TXPBS, ...Array.from({ length: reg.VECTORS }, (_, vector) => reg.EITR + 4 * vector)];

/** A port of an Intel 82576: the physical function. */
export class IgbDevice extends GigabitPort {
  protected readonly statistics: PoolStatistics;
  protected readonly receiver: Receiver;
  protected readonly incoming: IncomingFrames;
  protected readonly access: RegisterAccess;
  protected readonly queues: readonly IgbTransmitQueue[];
  readonly #causes: Causes;
  readonly #mailboxes: Mailboxes;
  readonly #memory: Memory;
  /** Its virtual functions by number, as far as they are there. */
  readonly #virtual = new Map<number, { readonly bus: DeviceBus; readonly memory: Memory }>();
  #functions = 0;

  constructor(bus: DeviceBus, facts: PortFacts) {
    super(bus, facts, { file: new RegisterFile(MAP, KEPT), phy: new Phy(PHY), mapped: MAPPED });
    const { file } = this;
    this.#memory = memoryOf(bus);
    this.statistics = new PoolStatistics(file);
    const device = this;
    this.#causes = new Causes(file, bus.clock, {
      get usesMsix() {
        return bus.usesMsix ?? false;
      },
      get isMapped() {
        return bus.isMapped ?? false;
      },
      send: (cause) => this.#sendMessage(cause),
      signal: () => this.signal(),
      lowerLine: () => this.lowerLine(),
    });
    this.#mailboxes = new Mailboxes(file, this.#causes);
    const memory = (queue: number) => this.#virtual.get(queue % reg.POOLS)?.memory ?? this.#memory;
    this.receiver = new Receiver(file, this.statistics, this.#causes, memory);
    this.incoming = new IncomingFrames(bus.clock, this.receiver, () => this.statistics.missed());
    const about = { file, statistics: this.statistics, causes: this.#causes };
    const outputs = {
      memory,
      send: (frame: Uint8Array) => this.sendFrame(frame),
      stamp: () => this.access.stamp(),
    };
    this.queues = Array.from({ length: reg.QUEUES }, (_, queue) => new IgbTransmitQueue(queue, { ...about, outputs }));
    this.access = new RegisterAccess({
      file,
      phy: this.phy,
      causes: this.#causes,
      mailboxes: this.#mailboxes,
      eeprom: eeprom(EEPROM_WORDS, EEPROM_SIZE, facts.mac),
      now: () => bus.clock.now(),
      outputs: {
        get functions() {
          return device.#functions;
        },
        reset: () => this.resetAll(true),
        transmit: (queue) => this.startJob(this.queues[queue]!),
        receive: () => this.incoming.resume(),
        dropPending: (vector) => bus.dropMessage?.(vector),
        resetFunction: (vf) => this.resetFunction(vf),
      },
    });
    this.powerOn();
  }

  protected override resetParts(): void {
    this.#causes.reset();
    this.#mailboxes.reset();
  }

  protected override linkChanged(): void {
    this.#causes.raise(reg.ICR_LSC);
  }

  protected override get isSignalled(): boolean {
    return this.#causes.isSignalled;
  }

  /** A virtual function is reset: by its own register, by its driver, or because somebody has opened it. */
  resetFunction(vf: number): void {
    for (const queue of [vf, vf + reg.POOLS]) {
      this.bus.clock.stop(this.queues[queue]!);
      this.queues[queue]!.reset();
    }
    this.#mailboxes.virtualReset(vf);
  }

  hasFunctions(count: number): void {
    this.#functions = count;
    this.#virtual.clear();
  }

  /** A virtual function is there: its queues reach its own memory, and its vectors are its own. */
  attach(vf: number, bus: DeviceBus): void {
    this.#virtual.set(vf, { bus, memory: memoryOf(bus) });
  }

  /** One that is for another pool of the port may stay within it. */
  protected override leaves(frame: Uint8Array): boolean {
    const switches = this.file.has(reg.MRQC, reg.MRQC_VMDQ) && this.file.has(reg.DTXSWC, reg.DTXSWC_LOOPBACK);
    return !switches || this.receiver.receive(frame, true);
  }

  /** What is read because of an interrupt is no older than it. */
  #sendMessage(cause: number): void {
    this.bus.showRegisters?.();
    const vf = reg.POOLS - Math.floor((cause + 2) / reg.VF_VECTORS);
    const owner = vf < this.#functions ? this.#virtual.get(vf) : undefined;
    if (owner) owner.bus.sendMessage((cause + 2) % reg.VF_VECTORS);
    else if (cause < reg.PF_VECTORS) this.bus.sendMessage(cause);
  }

  override save(): SavedState {
    return saveIgb({ ...this.saved(), causes: this.#causes, queues: this.queues });
  }

  override restore(state: SavedState): void {
    const { throttles, timing, transmissions, ...port } = readIgb(state);
    this.take(port);
    this.#causes.throttles.set(throttles);
    this.#causes.restoreTiming(...timing);
    for (const [i, queue] of this.queues.entries()) queue.state = transmissions[i]!;
  }
}
