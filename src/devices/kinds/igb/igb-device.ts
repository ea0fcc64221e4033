import type { DeviceJob } from "../../device-clock.ts";
import type { AccessWidth, DeviceBus, DeviceModel, MappedRegister, OtherFunctions } from "../../device-model.ts";
import { OptionError } from "../../options.ts";
import type { SavableModel, SavedState } from "../../saved-state.ts";
import type { Port, Wire } from "../../wire/wire.ts";
import { Causes } from "./causes.ts";
import { eeprom } from "./eeprom.ts";
import { MINIMUM } from "./frame.ts";
import { IncomingFrames } from "./incoming-frames.ts";
import { Mailboxes } from "./mailbox.ts";
import { MAPPED } from "./mapped-registers.ts";
import { type Memory, memoryOf } from "./memory.ts";
import { Phy } from "./phy.ts";
import { Receiver } from "./receive.ts";
import { RegisterAccess } from "./register-access.ts";
import { RegisterFile } from "./register-file.ts";
import { canonical } from "./register-map.ts";
import * as reg from "./registers.ts";
import { readIgb, saveIgb } from "./state.ts";
import { Statistics } from "./statistics.ts";
import { TransmitQueue } from "./transmit.ts";

export const REGISTER_BAR = 0;
export const FLASH_BAR = 1;
export const IO_BAR = 2;
export const MSIX_BAR = 3;

/** The I/O window: IOADDR names a register, IODATA is that one (82576 datasheet, 8.1.1.2). */
const IOADDR = 0;
const IODATA = 4;
/** How long two ports negotiate, milliseconds. */
const NEGOTIATION_MS = 500;
/** How often a port that is paused looks whether it goes on. */
const PAUSED_MS = 10;
/** TCTL.PSP: short frames are filled up. */
const TCTL_PSP = 1 << 3;

/** What is given of a port. */
export interface IgbFacts {
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

/** A port of an Intel 82576: the physical function. */
export class IgbDevice implements DeviceModel, SavableModel, Port {
  readonly #bus: DeviceBus;
  readonly #facts: IgbFacts;
  readonly #file = new RegisterFile();
  readonly #phy = new Phy();
  readonly #statistics = new Statistics(this.#file);
  readonly #causes: Causes;
  readonly #mailboxes: Mailboxes;
  readonly #receiver: Receiver;
  readonly #queues: readonly TransmitQueue[];
  readonly #incoming: IncomingFrames;
  readonly #registers: RegisterAccess;
  readonly #memory: Memory;
  readonly #wire: Wire;
  /** Other ports of the host that are on the same wire. */
  #peers: IgbDevice[] = [];
  /** Its virtual functions by number, as far as they are there. */
  readonly #virtual = new Map<number, { readonly bus: DeviceBus; readonly memory: Memory }>();
  #functions = 0;
  #ioAddress = 0;
  /** It begins nothing (SavableModel.pause). */
  #isPaused = false;
  readonly #unreceived: Uint8Array[];
  #negotiation: (() => void) | undefined;
  /** Whether something has changed that nobody wrote. */
  #hasChanged = false;

  constructor(bus: DeviceBus, facts: IgbFacts) {
    this.#bus = bus;
    this.#facts = facts;
    this.#memory = memoryOf(bus);
    const device = this;
    this.#causes = new Causes(this.#file, bus.clock, {
      get usesMsix() {
        return bus.usesMsix ?? false;
      },
      get isMapped() {
        return bus.isMapped ?? false;
      },
      send: (cause) => this.#sendMessage(cause),
      signal: () => this.#signal(),
      lowerLine: () => {
        if (!bus.messagesEnabled) bus.setLine(false);
      },
    });
    this.#mailboxes = new Mailboxes(this.#file, this.#causes);
    const memory = (queue: number) => this.#virtual.get(queue % reg.POOLS)?.memory ?? this.#memory;
    this.#receiver = new Receiver(this.#file, this.#statistics, this.#causes, memory);
    this.#incoming = new IncomingFrames(bus.clock, this.#receiver, () => this.#statistics.missed());
    const about = { file: this.#file, statistics: this.#statistics, causes: this.#causes };
    const outputs = {
      memory,
      send: (frame: Uint8Array) => this.#send(frame),
      stamp: () => this.#registers.stamp(),
    };
    this.#queues = Array.from({ length: reg.QUEUES }, (_, queue) => new TransmitQueue(queue, { ...about, outputs }));
    this.#phy.onRestart = () => this.#negotiate();
    this.#registers = new RegisterAccess({
      file: this.#file,
      phy: this.#phy,
      causes: this.#causes,
      mailboxes: this.#mailboxes,
      eeprom: eeprom(facts.mac),
      now: () => bus.clock.now(),
      outputs: {
        get functions() {
          return device.#functions;
        },
        reset: () => this.#reset(true),
        transmit: (queue) => this.#start(this.#queues[queue]!),
        receive: () => this.#incoming.resume(),
        dropPending: (vector) => bus.dropMessage?.(vector),
        resetFunction: (vf) => this.resetFunction(vf),
      },
    });
    this.#unreceived = [...facts.received];
    this.#wire = facts.wire(this);
    this.#reset(false);
  }

  read(region: number, offset: number, width: AccessWidth): bigint {
    this.#bus.clock.due();
    if (region === IO_BAR) return masked(this.#readIo(offset), width);
    if (region !== REGISTER_BAR) return 0n;
    if (width < 8) return masked(this.readRegister(offset), width);
    return BigInt(this.readRegister(offset)) | (BigInt(this.readRegister(offset + 4)) << 32n);
  }

  write(region: number, offset: number, width: AccessWidth, value: bigint): void {
    this.#bus.clock.due();
    const low = Number(BigInt.asUintN(32, value));
    if (region === IO_BAR) this.#writeIo(offset, low);
    if (region !== REGISTER_BAR) return;
    this.writeRegister(offset, low);
    if (width === 8) this.writeRegister(offset + 4, Number(value >> 32n));
  }

  /** A register of BAR 0, all 32 bits of it, wherever in them the access is. */
  readRegister(offset: number): number {
    return this.#registers.read(canonical(offset)) >>> 0;
  }

  writeRegister(offset: number, value: number): void {
    this.#registers.write(canonical(offset), value);
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
    this.#reset(false);
  }

  #reset(bySoftware: boolean): void {
    this.#negotiation?.();
    this.#negotiation = undefined;
    for (const queue of this.#queues) {
      this.#bus.clock.stop(queue);
      queue.reset();
    }
    this.#incoming.reset();
    this.#causes.reset();
    this.#phy.reset();
    this.#file.reset(bySoftware);
    const { mac } = this.#facts;
    this.#file.set(reg.RA, mac[0]! | (mac[1]! << 8) | (mac[2]! << 16) | (mac[3]! << 24));
    this.#file.set(reg.RA + 4, mac[4]! | (mac[5]! << 8) | reg.RAH_AV);
    this.#mailboxes.reset();
  }

  /** A virtual function is reset: by its own register, by its driver, or because somebody has opened it. */
  resetFunction(vf: number): void {
    for (const queue of [vf, vf + reg.POOLS]) {
      this.#bus.clock.stop(this.#queues[queue]!);
      this.#queues[queue]!.reset();
    }
    this.#mailboxes.virtualReset(vf);
  }

  connect(others: OtherFunctions): void {
    const { link, hub } = this.#facts;
    if (link !== undefined) {
      const other = others.find(link);
      if (!(other instanceof IgbDevice)) throw new OptionError("link", `${link} is no port of this host's (model igb)`);
      if (other === this)
        throw new OptionError("link", `${link} is the port itself (loopback: true wires it to itself)`);
      this.#plug(other);
    }
    if (hub === undefined) return;
    for (const other of others.all())
      if (other instanceof IgbDevice && other !== this && other.#facts.hub === hub) this.#plug(other);
  }

  #plug(other: IgbDevice): void {
    if (!this.#peers.includes(other)) this.#peers.push(other);
    if (!other.#peers.includes(this)) other.#peers.push(this);
  }

  hasFunctions(count: number): void {
    this.#functions = count;
    this.#virtual.clear();
  }

  /** A virtual function is there: its queues reach its own memory, and its vectors are its own. */
  attach(vf: number, bus: DeviceBus): void {
    this.#virtual.set(vf, { bus, memory: memoryOf(bus) });
  }

  deliver(frame: Uint8Array): void {
    this.#incoming.take(frame);
    this.#hasChanged = true;
  }

  /** Sends a frame where the registers say: back, to other pools, out. */
  #send(frame: Uint8Array): void {
    const file = this.#file;
    this.#hasChanged = true;
    const isLoopback = (file.get(reg.RCTL) & reg.RCTL_LOOPBACK) === reg.RCTL_LOOPBACK_MAC;
    if (this.#phy.isLoopback || isLoopback) {
      this.#receiver.receive(frame);
      return;
    }
    const switches = file.has(reg.MRQC, reg.MRQC_VMDQ) && file.has(reg.DTXSWC, reg.DTXSWC_LOOPBACK);
    if (switches && !this.#receiver.receive(frame, true)) return;
    const sent = file.has(reg.TCTL, TCTL_PSP) ? filled(frame) : frame;
    this.#wire.send(sent);
    for (const peer of this.#peers) peer.deliver(sent);
  }

  #start(job: DeviceJob): void {
    if (!this.#isPaused) this.#bus.clock.start(job);
  }

  #negotiate(): void {
    this.#file.clearBits(reg.STATUS, reg.STATUS_LU);
    this.#phy.linkDown();
    this.#negotiation?.();
    this.#negotiation = this.#bus.clock.later(NEGOTIATION_MS, () => this.#linkUp());
  }

  #linkUp(): void {
    if (this.#isPaused) {
      this.#negotiation = this.#bus.clock.later(PAUSED_MS, () => this.#linkUp());
      return;
    }
    this.#negotiation = undefined;
    this.#file.setBits(reg.STATUS, reg.STATUS_LU);
    this.#phy.linkUp();
    if (this.#phy.negotiates) this.#file.setBits(reg.CTRL, reg.CTRL_FLOW);
    this.#causes.raise(reg.ICR_LSC);
    this.#incoming.hold(this.#unreceived.splice(0));
    this.#incoming.resume();
    this.#hasChanged = true;
  }

  /** What is read because of an interrupt is no older than it. */
  #sendMessage(cause: number): void {
    this.#bus.showRegisters?.();
    const vf = reg.POOLS - Math.floor((cause + 2) / reg.VF_VECTORS);
    const owner = vf < this.#functions ? this.#virtual.get(vf) : undefined;
    if (owner) owner.bus.sendMessage((cause + 2) % reg.VF_VECTORS);
    else if (cause < reg.PF_VECTORS) this.#bus.sendMessage(cause);
  }

  #signal(): void {
    this.#bus.showRegisters?.();
    if (this.#bus.messagesEnabled) {
      this.#bus.sendMessage(0);
      return;
    }
    this.#statistics.interrupted();
    this.#bus.setLine(true);
  }

  advance(): boolean {
    const changed = this.#hasChanged;
    this.#hasChanged = false;
    return changed;
  }

  memory(): undefined {
    return undefined;
  }

  registers(region: number): readonly MappedRegister[] {
    return region === REGISTER_BAR ? MAPPED : [];
  }

  /** A look at registers is no read of them: nothing is cleared by it. */
  shows(region: number, offset: number, width: AccessWidth): bigint {
    return masked(this.showsWord(region, offset), width);
  }

  showsWord(region: number, offset: number): number {
    return region === REGISTER_BAR ? this.#registers.peek(canonical(offset)) >>> 0 : 0;
  }

  adopt(region: number, offset: number, value: bigint): boolean {
    return region === REGISTER_BAR && this.#registers.adopt(canonical(offset), Number(value));
  }

  /** Descriptors that were not looked at stay in their rings; what comes waits. */
  pause(): void {
    this.#isPaused = true;
    this.#incoming.isHeld = true;
    for (const queue of this.#queues) {
      this.#bus.clock.stop(queue);
      queue.finishPacket();
    }
  }

  resume(): void {
    this.#isPaused = false;
    this.#incoming.isHeld = false;
    if (!this.#bus.messagesEnabled && this.#causes.isSignalled) this.#bus.setLine(true);
    this.#incoming.resume();
    for (const queue of this.#queues) if (queue.isReady) this.#start(queue);
  }

  save(): SavedState {
    return saveIgb({
      values: this.#file.values,
      phy: this.#phy.registers,
      causes: this.#causes,
      queues: this.#queues,
      ioAddress: this.#ioAddress,
      negotiates: this.#negotiation !== undefined,
    });
  }

  restore(state: SavedState): void {
    const { values, phy, throttles, timing, transmissions, ioAddress, negotiates } = readIgb(state);
    this.#reset(false);
    this.#isPaused = true;
    this.#incoming.isHeld = true;
    this.#file.values.set(values);
    this.#phy.registers.set(phy);
    this.#causes.throttles.set(throttles);
    this.#causes.restoreTiming(...timing);
    this.#ioAddress = ioAddress;
    for (const [i, queue] of this.#queues.entries()) queue.state = transmissions[i]!;
    if (negotiates) this.#negotiation = this.#bus.clock.later(NEGOTIATION_MS, () => this.#linkUp());
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
