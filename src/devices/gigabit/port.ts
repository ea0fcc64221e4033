import type { DeviceJob } from "../device-clock.ts";
import type { AccessWidth, DeviceBus, DeviceModel, MappedRegister, OtherFunctions } from "../device-model.ts";
import { OptionError } from "../options.ts";
import type { SavableModel, SavedState } from "../saved-state.ts";
import type { Port, Wire } from "../wire/wire.ts";
import { MINIMUM } from "./frame.ts";
import type { FrameReceiver, IncomingFrames } from "./incoming-frames.ts";
import type { Phy } from "./phy.ts";
import type { RegisterFile } from "./register-file.ts";
import * as reg from "./registers.ts";
import type { Statistics } from "./statistics.ts";
import type { Collected, TransmitQueue } from "./transmit-queue.ts";

export const REGISTER_BAR = 0;
export const FLASH_BAR = 1;
export const IO_BAR = 2;
export const MSIX_BAR = 3;

/** The I/O window: IOADDR names a register, IODATA is that one (82574 datasheet, 10.1.1.4; 82576's, 8.1.1.2). */
const IOADDR = 0;
const IODATA = 4;
/** How long two ports negotiate, milliseconds. */
const NEGOTIATION_MS = 500;
/** How often a port that is paused looks whether it goes on. */
const PAUSED_MS = 10;

/** What is given of a port. */
export interface PortFacts {
  /** Six bytes. */
  readonly mac: Uint8Array;
  /** The port of this host that it is wired to, by its PCI address. */
  readonly link: string | undefined;
  /** The network of ports of this host that it is on. */
  readonly hub: string | undefined;
  /** Makes what it is wired to beside them; called once. */
  readonly wire: (port: Port) => Wire;
  /** Frames that come in when it can first receive. */
  readonly received: readonly Uint8Array[];
}

/** What answers for a port's registers. Offsets are the registers' own, without aliases. */
export interface PortRegisters {
  read(offset: number): number;
  /** What a read gives, without what it does. */
  peek(offset: number): number;
  write(offset: number, value: number): void;
  adopt(offset: number, value: number): boolean;
}

/** What every port saves and takes back. */
export interface SavedPort {
  readonly values: Uint32Array;
  readonly phy: Uint32Array;
  readonly ioAddress: number;
  readonly negotiates: boolean;
}

/** A port of one of Intel's gigabit Ethernet controllers: its BARs, its link, and what it is wired to. */
export abstract class GigabitPort implements DeviceModel, SavableModel, Port {
  protected readonly bus: DeviceBus;
  protected readonly file: RegisterFile;
  protected readonly phy: Phy;
  protected abstract readonly access: PortRegisters;
  protected abstract readonly receiver: FrameReceiver;
  protected abstract readonly incoming: IncomingFrames;
  protected abstract readonly statistics: Statistics;
  protected abstract readonly queues: readonly TransmitQueue<Collected>[];
  readonly #facts: PortFacts;
  readonly #mapped: readonly MappedRegister[];
  #wire: Wire | undefined;
  /** Other ports of the host that are on the same wire. */
  readonly #peers: GigabitPort[] = [];
  #ioAddress = 0;
  /** It begins nothing (SavableModel.pause). */
  #isPaused = false;
  readonly #unreceived: Uint8Array[];
  #negotiation: (() => void) | undefined;
  /** Whether something has changed that nobody wrote. */
  #hasChanged = false;

  constructor(
    bus: DeviceBus,
    facts: PortFacts,
    { file, phy, mapped }: { file: RegisterFile; phy: Phy; mapped: readonly MappedRegister[] },
  ) {
    this.bus = bus;
    this.file = file;
    this.phy = phy;
    this.#facts = facts;
    this.#mapped = mapped;
    this.#unreceived = [...facts.received];
    phy.onRestart = () => this.#negotiate();
  }

  /** The parts of a controller are there: it is plugged in, as after power-on. */
  protected powerOn(): void {
    this.#wire = this.#facts.wire(this);
    this.resetAll(false);
  }

  /** Resets what a controller has beside registers, PHY and queues; the registers are as after power-on. */
  protected abstract resetParts(): void;
  /** Says that the link has changed. */
  protected abstract linkChanged(): void;
  /** Whether its line is up, where there is one. */
  protected abstract get isSignalled(): boolean;
  abstract save(): SavedState;
  abstract restore(state: SavedState): void;

  read(region: number, offset: number, width: AccessWidth): bigint {
    this.bus.clock.due();
    if (region === IO_BAR) return masked(this.#readIo(offset), width);
    if (region !== REGISTER_BAR) return 0n;
    if (width < 8) return masked(this.readRegister(offset), width);
    return BigInt(this.readRegister(offset)) | (BigInt(this.readRegister(offset + 4)) << 32n);
  }

  write(region: number, offset: number, width: AccessWidth, value: bigint): void {
    this.bus.clock.due();
    const low = Number(BigInt.asUintN(32, value));
    if (region === IO_BAR) this.#writeIo(offset, low);
    if (region !== REGISTER_BAR) return;
    this.writeRegister(offset, low);
    if (width === 8) this.writeRegister(offset + 4, Number(value >> 32n));
  }

  /** A register of BAR 0, all 32 bits of it, wherever in them the access is. */
  readRegister(offset: number): number {
    return this.access.read(this.file.map.canonical(offset)) >>> 0;
  }

  writeRegister(offset: number, value: number): void {
    this.file.turn++;
    this.access.write(this.file.map.canonical(offset), value);
  }

  #readIo(offset: number): number {
    if (offset === IOADDR) return this.#ioAddress;
    return offset === IODATA && this.#ioAddress < reg.REGISTERS_SIZE ? this.readRegister(this.#ioAddress) : 0;
  }

  #writeIo(offset: number, value: number): void {
    if (offset === IOADDR) this.#ioAddress = value;
    else if (offset === IODATA && this.#ioAddress < reg.REGISTERS_SIZE) this.writeRegister(this.#ioAddress, value);
  }

  reset(): void {
    this.resetAll(false);
  }

  /** @param bySoftware by CTRL.RST */
  protected resetAll(bySoftware: boolean): void {
    this.#negotiation?.();
    this.#negotiation = undefined;
    for (const queue of this.queues) {
      this.bus.clock.stop(queue);
      queue.reset();
    }
    this.incoming.reset();
    this.phy.reset();
    this.file.reset(bySoftware);
    const { mac } = this.#facts;
    this.file.set(reg.RA, mac[0]! | (mac[1]! << 8) | (mac[2]! << 16) | (mac[3]! << 24));
    this.file.set(reg.RA + 4, mac[4]! | (mac[5]! << 8) | reg.RAH_AV);
    this.resetParts();
    if (bySoftware) this.lowerLine();
  }

  connect(others: OtherFunctions): void {
    const { link, hub } = this.#facts;
    if (link !== undefined) {
      const other = others.find(link);
      if (!(other instanceof GigabitPort))
        throw new OptionError("link", `${link} is no port of this host's (model igb or e1000e)`);
      if (other === this)
        throw new OptionError("link", `${link} is the port itself (loopback: true wires it to itself)`);
      this.#plug(other);
    }
    if (hub === undefined) return;
    for (const other of others.all())
      if (other instanceof GigabitPort && other !== this && other.#facts.hub === hub) this.#plug(other);
  }

  #plug(other: GigabitPort): void {
    if (!this.#peers.includes(other)) this.#peers.push(other);
    if (!other.#peers.includes(this)) other.#peers.push(this);
  }

  deliver(frame: Uint8Array): void {
    this.incoming.take(frame);
    this.#hasChanged = true;
  }

  /** Sends a frame where the registers say: back, or out. */
  protected sendFrame(frame: Uint8Array): void {
    const { file } = this;
    this.#hasChanged = true;
    const isLoopback = (file.get(reg.RCTL) & reg.RCTL_LOOPBACK) === reg.RCTL_LOOPBACK_MAC;
    if (this.phy.isLoopback || isLoopback) {
      this.receiver.receive(frame);
      return;
    }
    if (!this.leaves(frame)) return;
    const sent = file.has(reg.TCTL, reg.TCTL_PSP) ? filled(frame) : frame;
    this.#wire?.send(sent);
    for (const peer of this.#peers) peer.deliver(sent);
  }

  /** Whether a frame goes out to the wire; one that does not was received by the port itself. */
  protected leaves(_frame: Uint8Array): boolean {
    return true;
  }

  protected startJob(job: DeviceJob): void {
    if (!this.#isPaused) this.bus.clock.start(job);
  }

  #negotiate(): void {
    this.file.clearBits(reg.STATUS, reg.STATUS_LU);
    this.phy.linkDown();
    this.#negotiation?.();
    this.#negotiation = this.bus.clock.later(NEGOTIATION_MS, () => this.#linkUp());
  }

  #linkUp(): void {
    if (this.#isPaused) {
      this.#negotiation = this.bus.clock.later(PAUSED_MS, () => this.#linkUp());
      return;
    }
    this.#negotiation = undefined;
    this.file.setBits(reg.STATUS, reg.STATUS_LU);
    this.phy.linkUp();
    if (this.phy.negotiates) this.file.setBits(reg.CTRL, reg.CTRL_FLOW);
    this.linkChanged();
    this.incoming.hold(this.#unreceived.splice(0));
    this.incoming.resume();
    this.#hasChanged = true;
  }

  /** Interrupts outside of MSI-X mode. What is read because of one is no older than it. */
  protected signal(): void {
    this.bus.showRegisters?.();
    if (this.bus.messagesEnabled) {
      this.bus.sendMessage(0);
      return;
    }
    this.statistics.interrupted();
    this.bus.setLine(true);
  }

  protected lowerLine(): void {
    if (!this.bus.messagesEnabled) this.bus.setLine(false);
  }

  advance(): boolean {
    const changed = this.#hasChanged;
    this.#hasChanged = false;
    return changed;
  }

  memory(_region: number): ReturnType<DeviceModel["memory"]> {
    return undefined;
  }

  registers(region: number): readonly MappedRegister[] {
    return region === REGISTER_BAR ? this.#mapped : [];
  }

  /** A look at registers is no read of them: nothing is cleared by it. */
  shows(region: number, offset: number, width: AccessWidth): bigint {
    return masked(this.showsNumber(region, offset), width);
  }

  showsNumber(region: number, offset: number): number {
    return region === REGISTER_BAR ? this.access.peek(this.file.map.canonical(offset)) >>> 0 : 0;
  }

  adopt(region: number, offset: number, value: bigint): boolean {
    return region === REGISTER_BAR && this.access.adopt(this.file.map.canonical(offset), Number(value));
  }

  /** Descriptors that were not looked at stay in their rings; what comes waits. */
  pause(): void {
    this.#isPaused = true;
    this.incoming.isHeld = true;
    for (const queue of this.queues) {
      this.bus.clock.stop(queue);
      queue.finishPacket();
    }
  }

  resume(): void {
    this.#isPaused = false;
    this.incoming.isHeld = false;
    if (!this.bus.messagesEnabled && this.isSignalled) this.bus.setLine(true);
    this.incoming.resume();
    for (const queue of this.queues) if (queue.isReady) this.startJob(queue);
  }

  protected saved(): Omit<SavedPort, "phy"> & { readonly phy: Uint16Array } {
    return {
      values: this.file.values,
      phy: this.phy.registers,
      ioAddress: this.#ioAddress,
      negotiates: this.#negotiation !== undefined,
    };
  }

  /** Takes back what every port has; it is paused then. */
  protected take({ values, phy, ioAddress, negotiates }: SavedPort): void {
    this.resetAll(false);
    this.#isPaused = true;
    this.incoming.isHeld = true;
    this.file.values.set(values);
    this.phy.registers.set(phy);
    this.#ioAddress = ioAddress;
    if (negotiates) this.#negotiation = this.bus.clock.later(NEGOTIATION_MS, () => this.#linkUp());
  }
}

function masked(value: number, width: AccessWidth): bigint {
  return BigInt.asUintN(8 * Math.min(width, 4), BigInt(value));
}

function filled(frame: Uint8Array): Uint8Array {
  if (frame.length >= MINIMUM) return frame;
  const whole = new Uint8Array(MINIMUM);
  whole.set(frame);
  return whole;
}
