import type { ConfigWidth } from "../../devices/pci/config-space.ts";
import { D3HOT, type PciFunction } from "../../devices/pci/function.ts";
import { isIntxHidden } from "../../devices/pci/known-interrupts.ts";
import * as pci from "../../devices/pci/registers.ts";
import type { Release } from "../../kernel/releases.ts";
import { viewOf } from "../../uapi/layout.ts";
import { type ConfigMap, type ConfigPart, mapConfig } from "./config-map.ts";
import { maskBits } from "./config-permissions.ts";

/** What a write to config space makes the kernel do beside changing bits. */
export interface ConfigEffects {
  /** The user's INTx disable bit has been written. */
  intxDisable(disabled: boolean): void;
  /** The user has switched memory on or off, or written what it was. */
  memoryWritten(): void;
  /** Whether SET_IRQS has turned MSI on: only then may a user's write keep it on. */
  readonly msiInUse: boolean;
  /** Log2 of the MSI vectors that were set up. */
  readonly msiQueueMax: number;
  setPowerState(state: number): void;
  /** Function-level reset, asked for through a capability. */
  reset(): void;
}

/** Where a capability says that the function can be reset, and where it is asked for. */
interface ResetBit {
  readonly ability: number;
  readonly able: number;
  readonly register: number;
  readonly bit: number;
}

const EXPRESS_RESET: ResetBit = {
  ability: pci.PCI_EXP_DEVCAP,
  able: pci.PCI_EXP_DEVCAP_FLR,
  register: pci.PCI_EXP_DEVCTL,
  bit: pci.PCI_EXP_DEVCTL_BCR_FLR,
};

/** AF_CAP is a byte: it is read as the fourth of the capability's first four. */
const ADVANCED_RESET: ResetBit = {
  ability: 0,
  able: (pci.PCI_AF_CAP_FLR | pci.PCI_AF_CAP_TP) << (pci.PCI_AF_CAP * 8),
  register: pci.PCI_AF_CTRL,
  bit: pci.PCI_AF_CTRL_FLR,
};

/**
 * The config space that a user of an open device sees (vfio_pci_config.c): part of it is a virtual copy, the rest the
 * device's own, and what may be written is decided bit by bit.
 */
export class VirtualConfig {
  readonly #target: PciFunction;
  readonly #map: ConfigMap;
  readonly #view: DataView;
  readonly #effects: ConfigEffects;
  /** Whether a function-level reset is asked of the device itself, which then keeps nothing of its config space. */
  readonly #passesReset: boolean;
  /** Whether the base address registers were written since they were last made to look like hardware. */
  #barsWritten = true;

  constructor(target: PciFunction, release: Release, effects: ConfigEffects) {
    this.#target = target;
    this.#effects = effects;
    this.#passesReset = !release.has("virtualReset");
    this.#map = mapConfig(target.config, release);
    this.#view = viewOf(this.#map.virtual);
    this.#correct();
  }

  /** What config space itself does not say rightly (vfio_config_init). */
  #correct(): void {
    const { description } = this.#target;
    // kernels for s390 have no INTx (CONFIG_VFIO_PCI_INTX)
    if (description.zpci) this.#view.setUint8(pci.PCI_INTERRUPT_PIN, 0);
    if (isIntxHidden(description) || description.irq === 0) this.#view.setUint8(pci.PCI_INTERRUPT_PIN, 0);
    if (description.physfn === undefined) return;
    this.#view.setUint16(0, description.vendor, true);
    this.#view.setUint16(2, description.device, true);
    this.#view.setUint8(pci.PCI_INTERRUPT_PIN, 0);
    this.#view.setUint16(pci.PCI_COMMAND, this.command | pci.PCI_COMMAND_MEMORY, true);
  }

  /** A virtual function's memory is switched on and off in the physical one (no_command_memory). */
  get #memoryAlwaysOn(): boolean {
    const { physfn, zpci } = this.#target.description;
    return physfn !== undefined || (zpci?.vfn ?? 0) !== 0;
  }

  get size(): number {
    return this.#map.virtual.length;
  }

  /** The virtual command register. */
  get command(): number {
    return this.#view.getUint16(pci.PCI_COMMAND, true);
  }

  /** 0 when the user has no INTx. */
  get interruptPin(): number {
    return this.#map.virtual[pci.PCI_INTERRUPT_PIN]!;
  }

  /** Whether memory regions answer: switched on by the user, and the device is awake (__vfio_pci_memory_enabled). */
  get memoryEnabled(): boolean {
    const isOn = this.#memoryAlwaysOn || (this.command & pci.PCI_COMMAND_MEMORY) !== 0;
    return this.#target.powerState < D3HOT && isOn;
  }

  /** Which byte belongs to a capability or the header; the others are the device's private ones. */
  isMapped(offset: number): boolean {
    return this.#map.parts[offset] !== undefined;
  }

  /** Reads `into.length` bytes, which the caller has checked to exist. */
  read(offset: number, into: Uint8Array): void {
    const view = viewOf(into);
    for (let done = 0; done < into.length; ) {
      const at = offset + done;
      const width = this.#chunk(at, into.length - done);
      const value = this.#readChunk(at, width);
      for (let i = 0; i < width; i++) view.setUint8(done + i, (value >>> (i * 8)) & 0xff);
      done += width;
    }
  }

  /** Writes, in the pieces and the order that the kernel has. */
  write(offset: number, from: Uint8Array): void {
    for (let done = 0; done < from.length; ) {
      const at = offset + done;
      const width = this.#chunk(at, from.length - done);
      let value = 0;
      for (let i = 0; i < width; i++) value |= from[done + i]! << (i * 8);
      this.#writeChunk(at, width, value >>> 0);
      done += width;
    }
  }

  /**
   * For recordings of machines whose description has no config space: what they show of the fields that firmware
   * chooses (command, revision, cache line, addresses, interrupt line) is taken over.
   */
  adopt(offset: number, bytes: Uint8Array): void {
    for (const [i, byte] of bytes.entries()) {
      const at = offset + i;
      if (!isFirmwareChoice(at)) continue;
      this.#target.config.bytes[at] = byte;
      this.#map.virtual[at] = byte;
    }
  }

  /** How much is served in one piece: aligned, and of one capability (vfio_config_do_rw). */
  #chunk(at: number, left: number): ConfigWidth {
    const { parts } = this.#map;
    let count = 1;
    while ((at + count) % 4 !== 0 && parts[at + count] === parts[at]) count++;
    count = Math.min(count, left);
    if (count >= 4 && at % 4 === 0) return 4;
    return count >= 2 && at % 2 === 0 ? 2 : 1;
  }

  #readChunk(at: number, width: ConfigWidth): number {
    const part = this.#map.parts[at];
    if (part === undefined) return this.#target.readConfig(at, width);
    const offset = at - part.start;
    if (part.permissions.mode !== "masked") return this.#readDirect(part, at, offset, width);
    if (part.start === 0 && isBar(at)) this.#shapeBars();
    const virtual = maskBits(part.permissions.virtual, offset, width);
    const device = this.#target.readConfig(at, width);
    const value = ((device & ~virtual) | (this.#virtual(at, width) & virtual)) >>> 0;
    // vfio_basic_config_read
    const showsMemory = at === pci.PCI_COMMAND && this.#memoryAlwaysOn;
    return showsMemory ? (value | (this.command & pci.PCI_COMMAND_MEMORY)) >>> 0 : value;
  }

  /** From the device, but for the header of an extended capability and the list pointer of a conventional one. */
  #readDirect(part: ConfigPart, at: number, offset: number, width: ConfigWidth): number {
    const device = this.#target.readConfig(at, width);
    if (part.extended) return offset < 4 ? this.#virtual(at, width) : device;
    let value = device;
    for (let i = 0; i < width; i++) {
      if (offset + i > pci.PCI_CAP_LIST_NEXT) break;
      const shift = i * 8;
      value = (value & ~(0xff << shift)) | (this.#map.virtual[at + i]! << shift);
    }
    return value >>> 0;
  }

  #writeChunk(at: number, width: ConfigWidth, value: number): void {
    const part = this.#map.parts[at];
    const mode = part?.permissions.mode ?? "raw";
    if (mode === "direct") return;
    if (part === undefined || mode !== "masked") {
      this.#target.writeConfig(at, width, value);
      return;
    }
    const readRequest = this.#readRequest(part);
    this.#writeMasked(part, at, at - part.start, width, value);
    if (part.start === 0) this.#afterHeader(at, value);
    else if (!part.extended) this.#afterCapability(part, at - part.start, width, value, readRequest);
  }

  /**
   * A request for vital product data (vfio_vpd_config_write) is never completed: no device here has any, its flag stays
   * as written.
   */
  #afterCapability(part: ConfigPart, offset: number, width: ConfigWidth, value: number, readRequest: number): void {
    switch (part.id) {
      case pci.PCI_CAP_ID_PM:
        if (offset === pci.PCI_PM_CTRL) this.#effects.setPowerState(value & pci.PCI_PM_CTRL_STATE_MASK);
        break;
      case pci.PCI_CAP_ID_MSI:
        if (offset <= pci.PCI_MSI_FLAGS && offset + width >= pci.PCI_MSI_FLAGS) this.#afterMsiFlags(part.start);
        break;
      case pci.PCI_CAP_ID_EXP:
        if (this.#passesReset) this.#passReset(part.start, EXPRESS_RESET, offset, width, value);
        else this.#afterExpress(part.start, readRequest);
        break;
      case pci.PCI_CAP_ID_AF:
        if (this.#passesReset) this.#passReset(part.start, ADVANCED_RESET, offset, width, value);
        else this.#afterAdvanced(part.start);
        break;
    }
  }

  /**
   * The device has been written the bit that resets it. Nobody puts its config space back: it decodes nothing and sends
   * no interrupts until the user writes the command register.
   */
  #passReset(
    start: number,
    { ability, able, register, bit }: ResetBit,
    offset: number,
    width: number,
    value: number,
  ): void {
    const written = offset <= register ? value >>> ((register - offset) * 8) : value << ((offset - register) * 8);
    const reaches = offset <= register + 1 && offset + width > register;
    if (!reaches || !(written & bit)) return;
    if ((this.#target.readConfig(start + ability, 4) & able) !== able) return;
    this.#target.reset();
    this.#target.config.restore();
    this.#target.setCommand(pci.PCI_COMMAND_IO | pci.PCI_COMMAND_MEMORY | pci.PCI_COMMAND_MASTER, false);
  }

  #writeMasked(part: ConfigPart, at: number, offset: number, width: ConfigWidth, value: number): void {
    const writable = maskBits(part.permissions.writable, offset, width);
    const virtual = maskBits(part.permissions.virtual, offset, width);
    const toCopy = writable & virtual;
    if (toCopy !== 0) this.#setVirtual(at, width, (this.#virtual(at, width) & ~toCopy) | (value & toCopy));
    const toDevice = writable & ~virtual;
    if (toDevice !== 0) {
      const old = this.#target.readConfig(at, width);
      this.#target.writeConfig(at, width, ((old & ~toDevice) | (value & toDevice)) >>> 0);
    }
  }

  /** vfio_basic_config_write: the copy remembers what of the command register the user believes to be on. */
  #afterHeader(at: number, value: number): void {
    if (at === pci.PCI_COMMAND) {
      const mask = pci.PCI_COMMAND_IO | pci.PCI_COMMAND_MEMORY;
      this.#view.setUint16(at, (this.command & ~mask) | (value & mask), true);
      this.#effects.memoryWritten();
    }
    if (at >= pci.PCI_COMMAND && at <= pci.PCI_COMMAND + 1) {
      this.#effects.intxDisable((this.command & pci.PCI_COMMAND_INTX_DISABLE) !== 0);
    }
    if (isBar(at)) this.#barsWritten = true;
  }

  /** vfio_msi_config_write: the flags go to the device too, MSI staying off unless SET_IRQS turned it on. */
  #afterMsiFlags(start: number): void {
    const at = start + pci.PCI_MSI_FLAGS;
    let flags = this.#view.getUint16(at, true);
    if (!this.#effects.msiInUse) flags &= ~pci.PCI_MSI_FLAGS_ENABLE;
    if ((flags & pci.PCI_MSI_FLAGS_QSIZE) >> 4 > this.#effects.msiQueueMax) {
      flags = (flags & ~pci.PCI_MSI_FLAGS_QSIZE) | (this.#effects.msiQueueMax << 4);
    }
    this.#view.setUint16(at, flags, true);
    this.#target.writeConfig(at, 2, flags);
  }

  #readRequest(part: ConfigPart): number {
    if (part.extended || part.id !== pci.PCI_CAP_ID_EXP) return 0;
    return this.#view.getUint16(part.start + pci.PCI_EXP_DEVCTL, true) & pci.PCI_EXP_DEVCTL_READRQ;
  }

  /**
   * vfio_exp_config_write: a reset that was asked for, and the read request size, which is never below the payload
   * size.
   */
  #afterExpress(start: number, readRequestBefore: number): void {
    const at = start + pci.PCI_EXP_DEVCTL;
    const control = this.#view.getUint16(at, true);
    if (control & pci.PCI_EXP_DEVCTL_BCR_FLR) {
      this.#view.setUint16(at, control & ~pci.PCI_EXP_DEVCTL_BCR_FLR, true);
      if (this.#target.readConfig(start + pci.PCI_EXP_DEVCAP, 4) & pci.PCI_EXP_DEVCAP_FLR) this.#effects.reset();
    }
    const readRequest = control & pci.PCI_EXP_DEVCTL_READRQ;
    if (readRequest === readRequestBefore) return;
    const device = this.#target.readConfig(at, 2);
    const payload = (device & pci.PCI_EXP_DEVCTL_PAYLOAD) << 7;
    const size = Math.max(readRequest, payload);
    this.#target.writeConfig(at, 2, (device & ~pci.PCI_EXP_DEVCTL_READRQ) | size);
  }

  #afterAdvanced(start: number): void {
    const at = start + pci.PCI_AF_CTRL;
    const control = this.#map.virtual[at]!;
    if (!(control & pci.PCI_AF_CTRL_FLR)) return;
    this.#map.virtual[at] = control & ~pci.PCI_AF_CTRL_FLR;
    const both = pci.PCI_AF_CAP_FLR | pci.PCI_AF_CAP_TP;
    if ((this.#target.readConfig(start + pci.PCI_AF_CAP, 1) & both) === both) this.#effects.reset();
  }

  /**
   * Makes the virtual base address registers look like hardware: that is how a user learns their sizes
   * (vfio_bar_fixup).
   */
  #shapeBars(): void {
    if (!this.#barsWritten) return;
    this.#barsWritten = false;
    const { description } = this.#target;
    for (let index = 0; index < 6; index++) {
      const at = pci.PCI_BASE_ADDRESS_0 + index * 4;
      const bar = description.bars.find((candidate) => candidate.index === index);
      if (bar === undefined) {
        this.#view.setUint32(at, 0, true);
        continue;
      }
      const mask = BigInt.asUintN(64, -BigInt(bar.size));
      const low = this.#view.getUint32(at, true) & Number(mask & 0xffff_ffffn);
      this.#view.setUint32(at, (low | this.#barFlags(index, bar.type)) >>> 0, true);
      if (bar.type !== "memory64") continue;
      const high = this.#view.getUint32(at + 4, true) & Number(mask >> 32n);
      this.#view.setUint32(at + 4, high >>> 0, true);
      index++;
    }
    const rom = description.bars.find((candidate) => candidate.index === pci.ROM_BAR);
    const address = this.#view.getUint32(pci.PCI_ROM_ADDRESS, true);
    const romMask = rom ? -rom.size | pci.PCI_ROM_ADDRESS_ENABLE : 0;
    this.#view.setUint32(pci.PCI_ROM_ADDRESS, (address & romMask) >>> 0, true);
  }

  #barFlags(index: number, type: string): number {
    if (type === "io") return pci.PCI_BASE_ADDRESS_SPACE_IO;
    const device = this.#target.readConfig(pci.PCI_BASE_ADDRESS_0 + index * 4, 4);
    // those of a virtual function are in its physical one, where the wide ones can be prefetched
    const isPrefetched = this.#target.description.physfn !== undefined && type === "memory64";
    const prefetch = isPrefetched ? pci.PCI_BASE_ADDRESS_MEM_PREFETCH : device & pci.PCI_BASE_ADDRESS_MEM_PREFETCH;
    return type === "memory64" ? pci.PCI_BASE_ADDRESS_MEM_TYPE_64 | prefetch : prefetch;
  }

  #virtual(at: number, width: ConfigWidth): number {
    if (width === 4) return this.#view.getUint32(at, true);
    return width === 2 ? this.#view.getUint16(at, true) : this.#view.getUint8(at);
  }

  #setVirtual(at: number, width: ConfigWidth, value: number): void {
    if (width === 4) this.#view.setUint32(at, value, true);
    else if (width === 2) this.#view.setUint16(at, value, true);
    else this.#view.setUint8(at, value);
  }
}

function isFirmwareChoice(at: number): boolean {
  const single = [
    pci.PCI_COMMAND,
    pci.PCI_COMMAND + 1,
    pci.PCI_REVISION_ID,
    pci.PCI_CACHE_LINE_SIZE,
    pci.PCI_INTERRUPT_LINE,
  ];
  return isBar(at) || single.includes(at);
}

function isBar(at: number): boolean {
  const inBars = at >= pci.PCI_BASE_ADDRESS_0 && at < pci.PCI_BASE_ADDRESS_5 + 4;
  return inBars || (at >= pci.PCI_ROM_ADDRESS && at < pci.PCI_ROM_ADDRESS + 4);
}
