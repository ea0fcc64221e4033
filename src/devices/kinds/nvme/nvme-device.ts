import type { AccessWidth, DeviceBus, MappedRegister, RegionMemory } from "../../device-model.ts";
import { MemoryRegion } from "../../memory-region.ts";
import { getValue } from "../../register-value.ts";
import type { SavableModel, SavedMemory, SavedState } from "../../saved-state.ts";
import { Controller } from "./controller.ts";
import { ControllerMemory, type MemoryWindow } from "./controller-memory.ts";
import type { ControllerFacts } from "./facts.ts";
import { decodeNvme, encodeNvme, factsText } from "./nvme-state.ts";
import * as reg from "./registers.ts";

export const REGISTER_BAR = 0;
/** Of the controller memory buffer. */
export const CMB_BAR = 2;
/** Of the persistent memory region. */
export const PMR_BAR = 4;

const MEBIBYTE = 2 ** 20;
/**
 * CMBLOC: the BAR; queues and lists may lie in it in any way. CMBSZ: for submission queues, lists, reads and writes; in
 * units of 1 MiB.
 */
const CMB_LOCATION = CMB_BAR | (1 << 5) | (1 << 6);
const CMB_USES = 0x1d | (2 << 8);
/** CMBMSC: the registers are shown; the memory is at an address. */
const CRE = 1n;
const CMSE = 2n;
const PAGE_BITS = 0xfffn;
/** PMRCAP: reads, writes, the BAR, a read of PMRSTS has writes finish, it can be at an address. */
const PMR_CAPABILITIES = 0x0100_0898;
const PMR_EN = 1;
const PMR_CMSE = 2;
const PMR_NOT_READY = 1 << 8;

/** What a controller has of memory of its own, in bytes; 0 for none. */
export interface OwnMemory {
  readonly cmb: number;
  readonly pmr: number;
}

/** The registers of an NVM Express controller, and its memory. Behaviour as recorded from QEMU's (dev-nvme39). */
export class NvmeDevice implements SavableModel {
  readonly #bus: DeviceBus;
  readonly #facts: ControllerFacts;
  readonly #controller: Controller;
  readonly #bytes = new Uint8Array(reg.REGISTERS_SIZE);
  readonly #view = new DataView(this.#bytes.buffer);
  readonly #cmb: MemoryWindow;
  readonly #pmr: MemoryWindow;
  /** PMRCTL.EN. */
  #pmrEnabled = false;
  /** Nothing of it answers until the driver has switched it on. */
  readonly #persistent: RegionMemory = {
    readBytes: (offset, into) => {
      if (this.#pmrEnabled) this.#pmr.region.readBytes(offset, into);
      else into.fill(0);
    },
    writeBytes: (offset, from) => {
      if (this.#pmrEnabled) this.#pmr.region.writeBytes(offset, from);
    },
    pages: () => this.#pmr.region.pages(),
  };
  /** What mappings show of doorbells: the last values. */
  readonly #doorbells: Uint32Array;
  /** Registers have changed by themselves, which advance() has not told of. */
  #hasChanged = false;
  /** Of an earlier user of the device: no reset clears these. */
  readonly #written = new Set<number>();
  /** Disks of memory, and its own memory. */
  readonly memories: readonly SavedMemory[];
  #isRestored = false;

  constructor(bus: DeviceBus, facts: ControllerFacts, memory: OwnMemory) {
    this.#bus = bus;
    this.#facts = facts;
    this.#cmb = { region: new MemoryRegion(), bar: CMB_BAR, size: memory.cmb, base: undefined };
    this.#pmr = { region: new MemoryRegion(), bar: PMR_BAR, size: memory.pmr, base: undefined };
    this.#doorbells = new Uint32Array(2 * (facts.queues + 1));
    const reached = new ControllerMemory(bus, [this.#cmb, this.#pmr]);
    this.#controller = new Controller(bus, reached, facts, {
      fatal: () => {
        this.#set(reg.CSTS, reg.CSTS_CFS);
        this.#hasChanged = true;
      },
      queueGone: (kind, id) => {
        this.#doorbells[2 * id + (kind === "submission" ? 0 : 1)] = 0;
        this.#bus.showRegisters?.();
      },
    });
    const regions = [
      ...(memory.cmb > 0 ? [this.#cmb.region.saved(memory.cmb, CMB_BAR)] : []),
      ...(memory.pmr > 0 ? [this.#pmr.region.saved(memory.pmr, PMR_BAR)] : []),
    ];
    this.memories = [...facts.namespaces.flatMap(({ disk }) => disk.memory ?? []), ...regions];
    const has = { entries: facts.entries, cmb: memory.cmb > 0, pmr: memory.pmr > 0 };
    this.#view.setBigUint64(reg.CAP, reg.capabilities(has), true);
    this.#set(reg.VS, reg.VERSION);
    if (has.pmr) {
      this.#set(reg.PMRCAP, PMR_CAPABILITIES);
      this.#set(reg.PMRSTS, PMR_NOT_READY);
    }
  }

  read(region: number, offset: number, width: AccessWidth): bigint {
    if (region !== REGISTER_BAR) return this.#readMemory(region, offset, width);
    if (offset + width > reg.REGISTERS_SIZE) return 0n;
    return getValue(this.#view, offset, width);
  }

  /** A narrow write at the start of a register writes all of it; others are lost. */
  write(region: number, offset: number, width: AccessWidth, value: bigint): void {
    if (region !== REGISTER_BAR) {
      const bytes = new DataView(new ArrayBuffer(8));
      bytes.setBigUint64(0, value, true);
      this.memory(region)?.writeBytes(offset, new Uint8Array(bytes.buffer, 0, width));
      return;
    }
    if (offset % 4 !== 0) return;
    const low = Number(value & 0xffff_ffffn);
    if (offset < reg.DOORBELLS) this.#writeRegister(offset, low, width === 8 ? value : undefined);
    else this.#ring(offset, low);
  }

  /** Behind the doorbells there is only what MSI-X has. */
  decodes(region: number, offset: number): boolean {
    return region !== REGISTER_BAR || offset < reg.MSIX_TABLE;
  }

  #ring(offset: number, value: number): void {
    const doorbell = (offset - reg.DOORBELLS) >>> 2;
    if (doorbell < this.#doorbells.length) this.#doorbells[doorbell] = value;
    const queue = doorbell >>> 1;
    if (doorbell % 2 === 0) this.#controller.ringTail(queue, value & 0xffff);
    else this.#controller.ringHead(queue, value & 0xffff);
  }

  /** @param wide all of a write of 8 bytes */
  #writeRegister(offset: number, value: number, wide: bigint | undefined): void {
    this.#written.add(offset);
    switch (offset) {
      case reg.INTMS:
        this.#mask(this.#controller.masked | value);
        return;
      case reg.INTMC:
        this.#mask(this.#controller.masked & ~value);
        return;
      case reg.CC:
        this.#configure(value);
        return;
      case reg.AQA:
        this.#set(offset, value);
        return;
      case reg.ASQ:
      case reg.ACQ:
        if (wide === undefined) this.#set(offset, value);
        else this.#view.setBigUint64(offset, wide, true);
        return;
      case reg.ASQ + 4:
      case reg.ACQ + 4:
      case reg.CMBMSC + 4:
        this.#set(offset, value);
        return;
      case reg.CMBMSC:
        if (this.#cmb.size > 0) this.#placeCmb(value, wide);
        return;
      case reg.PMRCTL:
      case reg.PMRMSCL:
      case reg.PMRMSCU:
        if (this.#pmr.size > 0) this.#controlPmr(offset, value);
        return;
    }
  }

  #mask(mask: number): void {
    this.#controller.masked = mask;
    this.#set(reg.INTMS, mask);
    this.#set(reg.INTMC, mask);
  }

  #configure(cc: number): void {
    const old = this.#get(reg.CC);
    this.#set(reg.CC, cc);
    let csts = this.#get(reg.CSTS);
    const [shuts, shut] = [(cc & reg.CC_SHN) !== 0, (old & reg.CC_SHN) !== 0];
    if (shuts !== shut) csts &= ~reg.CSTS_SHST;
    if (shuts && !shut) csts |= reg.CSTS_SHUT_DOWN;
    if (shuts && !shut) this.#flushAll();
    const [enables, enabled] = [(cc & reg.CC_EN) !== 0, (old & reg.CC_EN) !== 0];
    if (enabled && !enables) {
      this.#stop();
      return;
    }
    if (enables && !enabled) csts = this.#start(cc) ? reg.CSTS_RDY : reg.CSTS_CFS;
    else this.#controller.configure(cc);
    this.#set(reg.CSTS, csts);
  }

  /** A shutdown: nothing that was written is lost by a crash of the machine. It is over at once, as recorded. */
  #flushAll(): void {
    for (const { disk } of this.#facts.namespaces) disk.flush(() => {});
  }

  /** Whether what the registers say goes. */
  #start(cc: number): boolean {
    const { commandSet, pageShift } = reg.configuration(cc);
    const aqa = this.#get(reg.AQA);
    const [asq, acq] = [this.#view.getBigUint64(reg.ASQ, true), this.#view.getBigUint64(reg.ACQ, true)];
    const offset = (1n << BigInt(pageShift)) - 1n;
    const [submissions, completions] = [aqa & 0xfff, (aqa >>> 16) & 0xfff];
    if ((asq & offset) !== 0n || (acq & offset) !== 0n) return false;
    if (!reg.hasCommandSet(commandSet) || pageShift > reg.LARGEST_PAGE_SHIFT) return false;
    if (submissions === 0 || completions === 0) return false;
    this.#controller.start(cc, { address: asq, size: submissions + 1 }, { address: acq, size: completions + 1 });
    return true;
  }

  #stop(): void {
    this.#controller.stop();
    this.#doorbells.fill(0);
    for (const offset of [reg.CC, reg.CSTS, reg.INTMS, reg.INTMC]) this.#set(offset, 0);
  }

  /**
   * Queue addresses and features stay: no reset of QEMU's controller clears them (recorded: nv_reset_*). Its own memory
   * is taken out of the address space, so that nobody meets what an earlier user has put there.
   */
  reset(): void {
    this.#stop();
    for (const offset of [reg.CMBLOC, reg.CMBSZ, reg.CMBMSC, reg.CMBMSC + 4, reg.CMBSTS]) this.#set(offset, 0);
    this.#cmb.base = undefined;
    this.#cmb.region.reset();
    for (const offset of [reg.PMRCTL, reg.PMRMSCL, reg.PMRMSCU]) this.#set(offset, 0);
    if (this.#pmr.size > 0) this.#set(reg.PMRSTS, PMR_NOT_READY);
    this.#pmr.base = undefined;
    this.#pmrEnabled = false;
  }

  pause(): void {
    this.#controller.pause();
  }

  isBusy(): boolean {
    return this.#controller.isBusy;
  }

  resume(): void {
    this.#controller.resume(this.#isRestored);
    this.#isRestored = false;
  }

  save(): SavedState {
    const hex = (base: bigint | undefined) => base?.toString(16) ?? null;
    return encodeNvme({
      facts: factsText(this.#facts),
      registers: Buffer.from(this.#bytes).toString("hex"),
      doorbells: [...this.#doorbells],
      pmrEnabled: this.#pmrEnabled,
      cmbBase: hex(this.#cmb.base),
      pmrBase: hex(this.#pmr.base),
      controller: this.#controller.save(),
      namespaces: this.#facts.namespaces.map((namespace) => namespace.save()),
    });
  }

  restore(saved: SavedState): void {
    const state = decodeNvme(saved, this.#facts);
    const base = (hex: string | null) => (hex === null ? undefined : BigInt(`0x${hex}`));
    this.#bytes.set(Buffer.from(state.registers, "hex"));
    this.#doorbells.set(state.doorbells);
    this.#pmrEnabled = state.pmrEnabled;
    this.#cmb.base = base(state.cmbBase);
    this.#pmr.base = base(state.pmrBase);
    this.#controller.restore(state.controller, this.#get(reg.CC));
    for (const [i, namespace] of this.#facts.namespaces.entries()) namespace.restore(state.namespaces[i]!);
    this.#hasChanged = true;
    this.#isRestored = true;
  }

  advance(): boolean {
    const changed = this.#hasChanged;
    this.#hasChanged = false;
    return changed;
  }

  memory(region: number): RegionMemory | undefined {
    if (region === CMB_BAR) return this.#cmb.region;
    return region === PMR_BAR ? this.#persistent : undefined;
  }

  /**
   * CC before the doorbells that it makes valid, completion heads before tails: all may be written before anybody
   * looks.
   */
  registers(region: number): readonly MappedRegister[] {
    if (region !== REGISTER_BAR) return [];
    const narrow = [reg.VS, reg.INTMS, reg.INTMC, reg.AQA, reg.CC, reg.CSTS];
    const queues = Array.from({ length: this.#facts.queues + 1 }, (_, queue) => queue);
    const doorbells = [...queues.map(reg.headDoorbell), ...queues.map(reg.tailDoorbell)];
    return [
      ...[reg.CAP, reg.ASQ, reg.ACQ].map((offset) => ({ offset, width: 8 as const })),
      ...[...narrow, ...doorbells].map((offset) => ({ offset, width: 4 as const })),
    ];
  }

  /**
   * Doorbells read as 0. A mapping keeps what was written there last, so that nothing of ours comes over what the
   * program writes just then.
   */
  shows(region: number, offset: number, width: AccessWidth): bigint {
    if (offset < reg.DOORBELLS) return this.read(region, offset, width);
    return BigInt(this.#doorbells[(offset - reg.DOORBELLS) >>> 2] ?? 0);
  }

  adopt(region: number, offset: number, value: bigint): boolean {
    const isKept = region === REGISTER_BAR && offset >= reg.AQA && offset < reg.ACQ + 8;
    if (!isKept || this.#written.has(offset)) return false;
    this.#set(offset, Number(value));
    return true;
  }

  #get(offset: number): number {
    return this.#view.getUint32(offset, true);
  }

  #set(offset: number, value: number): void {
    this.#view.setUint32(offset, value >>> 0, true);
  }

  #readMemory(region: number, offset: number, width: AccessWidth): bigint {
    const bytes = new Uint8Array(8);
    this.memory(region)?.readBytes(offset, bytes.subarray(0, width));
    return new DataView(bytes.buffer).getBigUint64(0, true);
  }

  /** The write of the low half takes over the address. */
  #placeCmb(value: number, wide: bigint | undefined): void {
    if (wide === undefined) this.#set(reg.CMBMSC, value);
    else this.#view.setBigUint64(reg.CMBMSC, wide, true);
    const control = this.#view.getBigUint64(reg.CMBMSC, true);
    const isShown = (control & CRE) !== 0n;
    this.#set(reg.CMBLOC, isShown ? CMB_LOCATION : 0);
    this.#set(reg.CMBSZ, isShown ? CMB_USES | ((this.#cmb.size / MEBIBYTE) << 12) : 0);
    const base = control & ~PAGE_BITS;
    const fits = BigInt.asUintN(64, base + BigInt(this.#cmb.size)) >= base;
    const isPlaced = isShown && (control & CMSE) !== 0n;
    if (isPlaced && !fits) this.#set(reg.CMBSTS, this.#get(reg.CMBSTS) | 1);
    this.#cmb.base = isPlaced && fits ? base : undefined;
  }

  #controlPmr(offset: number, value: number): void {
    this.#set(offset, value);
    if (offset === reg.PMRCTL) {
      this.#pmrEnabled = (value & PMR_EN) !== 0;
      this.#set(reg.PMRSTS, this.#pmrEnabled ? 0 : this.#get(reg.PMRSTS) | PMR_NOT_READY);
      if (!this.#pmrEnabled) this.#pmr.base = undefined;
    }
    if (offset !== reg.PMRMSCL) return;
    const base = (BigInt(this.#get(reg.PMRMSCU)) << 32n) | (BigInt(value >>> 0) & ~PAGE_BITS);
    this.#pmr.base = value & PMR_CMSE ? base : undefined;
  }
}
