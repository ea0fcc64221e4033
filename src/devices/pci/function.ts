import { type DeviceDma, type DmaFault, type DmaTarget, NoTarget, type PasidRequest } from "../../iommu/dma-target.ts";
import type { MappingListener } from "../../iommu/mapping-feed.ts";
import { viewOf } from "../../uapi/layout.ts";
import type { PciBar, PciIdentity, RomContent, ZpciDescription } from "../description.ts";
import type { DeviceClock } from "../device-clock.ts";
import type { AccessWidth, DeviceBus, DeviceModel, WaitingAccess } from "../device-model.ts";
import { isSavable } from "../saved-state.ts";
import { Activity, MOST_POSTED, type PostedWrite } from "./activity.ts";
import { findCapability } from "./capabilities.ts";
import { ConfigSpace, type ConfigWidth } from "./config-space.ts";
import type { FunctionErrors } from "./function-errors.ts";
import { MsixTable } from "./msix-table.ts";
import * as pci from "./registers.ts";

/** Who handles a function's interrupts: the driver that is bound to it. */
export interface InterruptHandler {
  /**
   * The INTx line is asserted and not disabled. Called again whenever that becomes so, as a level-triggered line does
   * it.
   */
  line(): void;
  /** The message of a vector (MSI or MSI-X) was sent. */
  message(vector: number): void;
  /** The function has met an error that it cannot go on with. */
  error(): void;
}

/** What a function shows of itself beside its config space. */
export interface FunctionDescription extends Pick<PciIdentity, "vendor" | "device" | "subsystemVendor" | "class"> {
  readonly bars: readonly PciBar[];
  /** Whether programs may map its BARs. */
  readonly mmap: boolean;
  /** false: its driver has nothing of migration, whatever its model can do. */
  readonly migration?: false;
  /** Its config space, when recorded. */
  readonly config?: Uint8Array;
  /** Present on s390. */
  readonly zpci?: ZpciDescription;
  /** Of a virtual function: its physical one. */
  readonly physfn?: string;
  /** Number of its INTx line; 0 for none. */
  readonly irq?: number;
  /** Who else has a handler on that line. */
  readonly irqSharedWith?: string;
  /** false: INTx cannot be masked in the function itself. */
  readonly intxMasking?: false;
  readonly rom?: RomContent;
}

/** Power states of a function, as the low bits of its PM control register have them. */
export const D0 = 0;
export const D3HOT = 3;

/** MSI-X has up to 2048. */
const ALL_VECTORS = 0x7ff;

const NO_PASIDS = new NoTarget("nothing translates PASIDs for the device");
const NO_DRIVER = new NoTarget("no driver has given the device memory to reach");

/**
 * A PCI function as the hardware that it is: config space, regions, interrupts, DMA. It lives as long as its machine.
 */
export class PciFunction implements DeviceBus {
  /** "0000:00:04.0"; a mediated device's UUID. */
  readonly name: string;
  readonly description: FunctionDescription;
  /** What it does by itself. */
  readonly clock: Activity;
  #config: ConfigSpace | (() => Uint8Array);
  #model: DeviceModel | undefined;
  readonly #makeModel: (bus: DeviceBus) => DeviceModel;
  /** Called when there is a model. */
  onModel: (() => void) | undefined;
  interrupts: InterruptHandler | undefined;
  /** Shows registers to who has mapped them. */
  onShow: (() => void) | undefined;
  /** Whether registers are mapped where nobody sees single accesses. */
  isMapped = false;
  /** Has programs' mappings of a region of memory and the device's bytes agree; `toDevice`: what is mapped counts. */
  onMove: ((toDevice: boolean, region: number, offset: number, length: number) => void) | undefined;
  /** D0..D3HOT. */
  powerState = D0;
  /** Its link is down, or it was pulled out: nobody answers, and nothing comes from it. */
  isCutOff = false;
  readonly #bars = new Map<number, PciBar>();
  #capabilities: { readonly msi: number | undefined; readonly msix: number | undefined } | undefined;
  #msixTable: MsixTable | undefined;
  readonly #onFault: (message: string) => void;
  readonly #errors: FunctionErrors | undefined;
  #dma: DeviceDma = NO_DRIVER;
  #listener: MappingListener | undefined;
  #stopTelling: (() => void) | undefined;
  /** It ends what it has begun before it is quiet: so long it still reaches memory. */
  #isEnding = false;
  /** Vectors whose messages are sent when it goes on, here or where its state goes to. */
  readonly kept = new Set<number>();
  /** Hears of each write to memory that arrived, or of a part of one. */
  onDmaWrite: ((iova: bigint, length: number) => void) | undefined;

  /**
   * @param config as firmware leaves it; a function makes it when somebody first looks
   * @param clock the one of all of the host's devices
   * @param onFault what a person should know about an access that did not reach memory
   * @param makeModel makes what is behind its regions, when somebody first looks
   * @param errors where a fault of its DMA puts it, on machines that have such a state
   */
  constructor(
    name: string,
    description: FunctionDescription,
    config: Uint8Array | (() => Uint8Array),
    clock: DeviceClock,
    onFault: (message: string) => void,
    makeModel: (bus: DeviceBus) => DeviceModel,
    errors?: FunctionErrors,
  ) {
    this.name = name;
    this.description = description;
    this.#config = typeof config === "function" ? config : new ConfigSpace(config);
    for (const bar of description.bars) this.#bars.set(bar.index, bar);
    this.clock = new Activity(clock);
    this.#onFault = onFault;
    this.#errors = errors;
    this.#makeModel = makeModel;
  }

  get config(): ConfigSpace {
    if (typeof this.#config === "function") this.#config = new ConfigSpace(this.#config());
    return this.#config;
  }

  /** What is behind its regions. */
  get model(): DeviceModel {
    if (this.#model === undefined) {
      const model = this.#makeModel(this);
      this.#model = model;
      this.#msixTable = this.#makeMsixTable(model);
      this.onModel?.();
    }
    return this.#model;
  }

  /** Whether somebody has looked. */
  get hasModel(): boolean {
    return this.#model !== undefined;
  }

  /** Of a model with registers; in plain memory the table is memory like the rest. */
  get msixTable(): MsixTable | undefined {
    return this.model && this.#msixTable;
  }

  #makeMsixTable(model: DeviceModel): MsixTable | undefined {
    const { msix } = this;
    if (msix === undefined) return undefined;
    const table = new MsixTable(viewOf(this.config.bytes), msix, (vector) => this.sendMessage(vector));
    return table.bars.some((bar) => model.memory(bar)) ? undefined : table;
  }

  /** Where its DMA goes: set by whoever gives it an address space. */
  get dma(): DeviceDma {
    return this.#dma;
  }

  set dma(dma: DeviceDma) {
    this.#dma = dma;
    this.#tellMappings();
  }

  watchMappings(listener: MappingListener): void {
    this.#listener = listener;
    this.#tellMappings();
  }

  #tellMappings(): void {
    this.#stopTelling?.();
    this.#listener?.cleared();
    this.#stopTelling = this.#listener && this.#dma.watchMappings?.(this.#listener);
  }

  /** A base address register that the function has; index 6 is the expansion ROM. */
  bar(index: number): PciBar | undefined {
    return this.#bars.get(index);
  }

  /** Offset of the MSI capability, if there is one. */
  get msi(): number | undefined {
    return this.#found.msi;
  }

  get msix(): number | undefined {
    return this.#found.msix;
  }

  get #found() {
    const { bytes } = this.config;
    this.#capabilities ??= {
      msi: findCapability(bytes, pci.PCI_CAP_ID_MSI),
      msix: findCapability(bytes, pci.PCI_CAP_ID_MSIX),
    };
    return this.#capabilities;
  }

  /** Whether it is a PCI Express function. */
  get isExpress(): boolean {
    return findCapability(this.config.bytes, pci.PCI_CAP_ID_EXP) !== undefined;
  }

  get lineAsserted(): boolean {
    return (this.config.bytes[pci.PCI_STATUS]! & pci.PCI_STATUS_INTERRUPT) !== 0;
  }

  get #command(): number {
    return this.config.read(pci.PCI_COMMAND, 2);
  }

  /** Whether it is in the error state, as a program meets it that uses it now. */
  get isInError(): boolean {
    return this.#errors?.isMet(this.name) ?? false;
  }

  /** An aligned read of a region (0..5, 6 the ROM). I/O ports are at most 4 bytes wide: wider accesses are two. */
  readRegion(region: number, offset: number, width: AccessWidth): bigint {
    const { model } = this;
    if (this.isInError || this.isCutOff) return (1n << BigInt(8 * width)) - 1n;
    const message = this.msixTable?.read(region, offset, width);
    if (message !== undefined) return message;
    // arch/s390/include/asm/pci_io.h: zpci_read
    if (this.description.zpci && model.decodes?.(region, offset) === false) return (1n << BigInt(8 * width)) - 1n;
    if (width < 8 || model.takesWideIo || this.bar(region)?.type !== "io") return model.read(region, offset, width);
    return model.read(region, offset, 4) | (model.read(region, offset + 4, 4) << 32n);
  }

  writeRegion(region: number, offset: number, width: AccessWidth, value: bigint): void {
    const { model } = this;
    if (this.isInError || this.isCutOff) return;
    if (this.msixTable?.write(region, offset, width, value)) return;
    if (this.clock.motion !== "running") {
      this.#putOff({ region, offset, width, value });
      return;
    }
    if (width < 8 || model.takesWideIo || this.bar(region)?.type !== "io") {
      model.write(region, offset, width, value);
      return;
    }
    model.write(region, offset, 4, BigInt.asUintN(32, value));
    model.write(region, offset + 4, 4, value >> 32n);
  }

  /** An access that comes next is asked for, where its model can do that in steps. */
  *prepare(region: number, offset: number, width: AccessWidth, value: bigint | undefined): Generator<void, void> {
    const { model, msixTable } = this;
    if (!model.prepare || this.isInError || this.isCutOff || msixTable?.read(region, offset, width) !== undefined)
      return;
    if (value === undefined || this.clock.motion === "running") yield* model.prepare(region, offset, width, value);
  }

  #putOff(write: PostedWrite): void {
    const { clock, name } = this;
    const what = `${name}: a write to 0x${write.offset.toString(16)} of BAR ${write.region} is lost`;
    if (clock.motion === "stopped") this.#onFault(`${what}: the device is stopped (migration)`);
    else if (!clock.post(write)) this.#onFault(`${what}: ${MOST_POSTED} wait for the device to go on (migration)`);
  }

  /**
   * Ends what the device has begun, step by step; after the last it is quiet.
   * @returns whether it did so in time
   */
  *quiesce(milliseconds: number): Generator<void, boolean> {
    const { model, clock } = this;
    const end = clock.now() + milliseconds;
    if (isSavable(model)) model.pause?.();
    clock.motion = "quiet";
    this.#isEnding = true;
    try {
      while (clock.step() || (isSavable(model) && model.isBusy?.())) {
        if (clock.now() > end) return false;
        yield;
      }
      return true;
    } finally {
      this.#isEnding = false;
    }
  }

  /** A quiet function is stopped from now on, or a stopped one quiet. */
  halt(stopped: boolean): void {
    this.clock.motion = stopped ? "stopped" : "quiet";
  }

  /** It goes on: what was put off is done. */
  release(): void {
    const { model, clock } = this;
    clock.motion = "running";
    this.#isEnding = false;
    const vectors = [...this.kept];
    this.kept.clear();
    for (const vector of vectors) this.sendMessage(vector);
    this.#deliverLine();
    if (isSavable(model)) model.resume?.();
    for (const { region, offset, width, value } of clock.takePosted()) this.writeRegion(region, offset, width, value);
  }

  readConfig(offset: number, width: ConfigWidth): number {
    if (this.isCutOff) return 2 ** (8 * width) - 1;
    return this.model.readConfig?.(offset, width) ?? this.config.read(offset, width);
  }

  writeConfig(offset: number, width: ConfigWidth, value: number): void {
    if (this.isCutOff) return;
    this.config.write(offset, width, value);
    this.model.configWritten?.(offset, width, this.config.read(offset, width));
    if (offset <= pci.PCI_COMMAND + 1 && offset + width > pci.PCI_COMMAND) this.#deliverLine();
  }

  /** Sets or clears bits of the command register. */
  setCommand(bits: number, on: boolean): void {
    const command = this.#command;
    this.writeConfig(pci.PCI_COMMAND, 2, on ? command | bits : command & ~bits);
  }

  /** Function-level reset. Config space is put back by whoever resets, as the kernel does it; here it just stays. */
  reset(): void {
    this.clock.motion = "running";
    this.clock.takePosted();
    this.#isEnding = false;
    this.kept.clear();
    this.model.reset();
    this.msixTable?.reset();
    this.powerState = D0;
    this.#setStatus(false);
  }

  get messagesEnabled(): boolean {
    const { config, msi } = this;
    if (msi !== undefined && config.read(msi + pci.PCI_MSI_FLAGS, 2) & pci.PCI_MSI_FLAGS_ENABLE) return true;
    return this.usesMsix;
  }

  get usesMsix(): boolean {
    const at = this.msix;
    return at !== undefined && (this.config.read(at + pci.PCI_MSIX_FLAGS, 2) & pci.PCI_MSIX_FLAGS_ENABLE) !== 0;
  }

  /** A program may give a function fewer MSI vectors than it has, a power of two: then some of its vectors are one. */
  get #vectorMask(): number {
    const { msi } = this;
    if (msi === undefined) return ALL_VECTORS;
    const flags = this.config.read(msi + pci.PCI_MSI_FLAGS, 2);
    if (!(flags & pci.PCI_MSI_FLAGS_ENABLE)) return ALL_VECTORS;
    return (1 << ((flags & pci.PCI_MSI_FLAGS_QSIZE) >> 4)) - 1;
  }

  sendMessage(vector: number): void {
    if (this.isCutOff) return;
    if (this.clock.motion !== "running") {
      this.kept.add(vector);
      return;
    }
    if (!(this.#command & pci.PCI_COMMAND_MASTER)) {
      this.#onFault(`${this.name}: interrupt message ${vector} is lost: bus mastering is off (PCI_COMMAND bit 2)`);
      return;
    }
    if (this.usesMsix && this.msixTable && !this.msixTable.mayMessage(vector)) return;
    const sent = vector & this.#vectorMask;
    if (this.#dma.messages?.send(sent) === false) {
      this.#onFault(`${this.name}: interrupt message ${sent} is lost: the IOMMU does not lead it to the doorbell`);
      return;
    }
    this.interrupts?.message(sent);
  }

  dropMessage(vector: number): void {
    this.msixTable?.drop(vector);
  }

  setLine(asserted: boolean): void {
    this.#setStatus(asserted);
    if (asserted) this.#deliverLine();
  }

  report(message: string): void {
    this.#onFault(`${this.name}: ${message}`);
  }

  showRegisters(): void {
    this.onShow?.();
  }

  fetchMemory(region: number, offset: number, length: number): void {
    this.onMove?.(true, region, offset, length);
  }

  showMemory(region: number, offset: number, length: number): void {
    this.onMove?.(false, region, offset, length);
  }

  dmaRead(iova: bigint, into: Uint8Array, pasid?: PasidRequest): boolean {
    if (this.#isMaster()) return this.#report("read", iova, into.length, this.#target(pasid).read(iova, into));
    into.fill(0);
    return false;
  }

  dmaWrite(iova: bigint, from: Uint8Array, pasid?: PasidRequest): boolean {
    if (!this.#isMaster()) return false;
    const fault = this.#target(pasid).write(iova, from);
    this.onDmaWrite?.(iova, from.length);
    return this.#report("write", iova, from.length, fault);
  }

  dmaOrWait(access: WaitingAccess): "done" | "failed" | "waiting" {
    const { write, iova, bytes, pasid, answered } = access;
    if (!this.#isMaster()) return "failed";
    const target = this.#target(pasid);
    const fault = write ? target.write(iova, bytes, true) : target.read(iova, bytes, true);
    if (write) this.onDmaWrite?.(iova, bytes.length);
    const report = (reason: string) =>
      this.#report(write ? "write" : "read", iova, bytes.length, fault && { ...fault, reason });
    if (!fault?.ask) return report(fault?.reason ?? "") ? "done" : "failed";
    let outcome: "waiting" | "failed" = "waiting";
    let isOver = false;
    fault.ask((granted) => {
      if (!granted) report(`${fault.reason}; the page that it asked for was refused`);
      if (isOver) answered(granted);
      else outcome = "failed";
    });
    isOver = true;
    return outcome;
  }

  #target(pasid: PasidRequest | undefined): DmaTarget {
    if (pasid === undefined) return this.dma;
    return this.dma.withPasid?.(pasid) ?? NO_PASIDS;
  }

  #isMaster(): boolean {
    if (this.#errors?.has(this.name) || this.isCutOff) return false;
    if (this.clock.motion !== "running" && !this.#isEnding) {
      this.#onFault(`${this.name}: DMA does not happen: the device is stopped (migration)`);
      return false;
    }
    if (this.#command & pci.PCI_COMMAND_MASTER) return true;
    this.#onFault(`${this.name}: DMA does not happen: bus mastering is off (PCI_COMMAND bit 2)`);
    return false;
  }

  #report(what: "read" | "write", iova: bigint, length: number, fault: DmaFault | undefined): boolean {
    if (fault === undefined) return true;
    const at = fault.iova === iova ? "" : ` at 0x${fault.iova.toString(16)}`;
    this.#onFault(
      `${this.name}: DMA ${what} of 0x${length.toString(16)} bytes at iova 0x${iova.toString(16)} faults${at}: ${fault.reason}`,
    );
    if (this.#errors?.add(this.name)) this.interrupts?.error();
    return false;
  }

  #setStatus(asserted: boolean): void {
    const { bytes } = this.config;
    const others = bytes[pci.PCI_STATUS]! & ~pci.PCI_STATUS_INTERRUPT;
    bytes[pci.PCI_STATUS] = asserted ? others | pci.PCI_STATUS_INTERRUPT : others;
  }

  #deliverLine(): void {
    if (this.clock.motion !== "running" || this.isCutOff) return;
    if (this.lineAsserted && !(this.#command & pci.PCI_COMMAND_INTX_DISABLE)) this.interrupts?.line();
  }
}
