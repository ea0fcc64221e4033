import { findCapability } from "../../devices/pci/capabilities.ts";
import { D0, D3HOT, type PciFunction } from "../../devices/pci/function.ts";
import * as pci from "../../devices/pci/registers.ts";
import { resetsInD3 } from "../../devices/pci/reset-methods.ts";
import type { PciTopology } from "../../devices/pci/topology.ts";
import { isSavable } from "../../devices/saved-state.ts";
import type { EventSignal } from "../../kernel/file-description.ts";
import { DeviceMigration } from "../migration/device-migration.ts";
import { DmaBufs } from "./dma-bufs.ts";
import { Intx } from "./intx.ts";
import { Ioeventfds } from "./ioeventfds.ts";
import { MessageInterrupts } from "./msi.ts";
import type { PciContext } from "./pci-context.ts";
import type { VfToken } from "./vf-token.ts";
import { hasVga, VgaRegion } from "./vga-region.ts";
import { VirtualConfig } from "./virtual-config.ts";

/**
 * Whose VFIO driver serves a device: vfio-pci, or the driver of a mediated device that shows itself as a PCI function.
 * The latter (samples/vfio-mdev, i915 GVT) know INTx and MSI only, answer for all region indexes, and write no more of
 * an info structure than they must.
 */
export type DeviceServer = "vfio-pci" | "mediated";

/** Memory in which a file's regions are shown. */
export interface ShownMemory {
  /** Carries out what was written there; returns whether there was something. */
  poll(): boolean;
  /** Puts there what the registers are now. */
  show(): void;
  /** Brings plain memory of a region to the device: what the program has put there counts. Bytes. */
  pull(region: number, at: number, length: number): void;
  /** Brings it back after the device's side has changed. */
  push(region: number, at: number, length: number): void;
}

/**
 * What a device is between its first open and its last close (struct vfio_pci_core_device): shared by all its open
 * files.
 */
export class OpenDevice {
  readonly target: PciFunction;
  readonly topology: PciTopology;
  readonly context: PciContext;
  readonly server: DeviceServer;
  readonly config: VirtualConfig;
  readonly intx: Intx;
  readonly messages: MessageInterrupts;
  readonly ioeventfds = new Ioeventfds();
  /** What lets other devices reach its BARs. */
  readonly dmaBufs = new DmaBufs();
  /** Whether the device can be reset on its own (vdev->reset_works). */
  readonly resetWorks: boolean;
  /** Raised when the device reports an uncorrectable error. */
  errorEvent: EventSignal | undefined;
  /** Raised when the host wants the device back. */
  requestEvent: EventSignal | undefined;
  /** In low power on the user's request, until it is exited or the device is used. */
  lowPower: { readonly wakeup: EventSignal | undefined } | undefined;
  /** Legacy VGA addresses, on a device that has them. */
  readonly vga: VgaRegion | undefined;
  /** It has virtual functions, which sleep when it does: so it does not (vfio_pci_set_power_state). */
  hasVirtualFunctions = false;
  /** Of a physical function: what virtual ones are opened with. */
  token: VfToken | undefined;
  /** Memory in which programs have the regions mapped, one for each file that a transport has given memory to. */
  readonly shared = new Set<ShownMemory>();
  /** Of a device whose state can be taken out and put into another one. */
  readonly migration: DeviceMigration | undefined;
  readonly #saved: Uint8Array;

  /** The first open: bus mastering off, a reset when there is one, and the state that the last close will put back. */
  constructor(target: PciFunction, topology: PciTopology, context: PciContext, server: DeviceServer = "vfio-pci") {
    this.target = target;
    this.server = server;
    this.topology = topology;
    this.context = context;
    target.setCommand(pci.PCI_COMMAND_MASTER, false);
    this.resetWorks = topology.canResetAlone(target);
    if (this.resetWorks) target.reset();
    this.#saved = target.config.bytes.slice();
    target.setCommand(pci.PCI_COMMAND_INTX_DISABLE, false);
    const raised = context.watch?.interrupt && ((...what: [string, string]) => context.watch?.interrupt?.(...what));
    this.intx = new Intx(target, () => context.lines.request(target), raised);
    if (server === "vfio-pci" && hasVga(target.description, context)) this.vga = new VgaRegion();
    // arm64's interrupt controller has a fixed number of vectors (recorded on smmuv3; irq-gic-v3-its)
    const dynamicMsix = context.release.has("dynamicMsix") && context.arch === "x86_64";
    this.messages = new MessageInterrupts(target, dynamicMsix, raised);
    this.config = this.#makeConfig();
    const { model, description } = target;
    const isMigratable = server === "vfio-pci" && description.migration !== false && isSavable(model);
    if (isMigratable && context.release.has("migrationStates")) this.migration = new DeviceMigration(this, model);
    target.onShow = () => this.showShared();
    target.onMove = (toDevice, ...part) => (toDevice ? this.pull(...part) : this.push(...part));
    target.interrupts = {
      line: () => this.intx.onLine(),
      message: (vector) => this.messages.onMessage(vector),
      error: () => this.errorEvent?.signal(),
    };
  }

  /** Carries out what programs have written to mapped registers; returns whether there was something. */
  pollShared(): boolean {
    let written = false;
    for (const shared of this.shared) if (shared.poll()) written = true;
    // Each has shown its own file; what was written in one changes what all show.
    if (written && this.shared.size > 1) this.showShared();
    return written;
  }

  /** Shows programs what the registers are now. */
  showShared(): void {
    for (const shared of this.shared) shared.show();
  }

  /** Whether no interrupt index is in use (is_irq_none). */
  get noInterrupts(): boolean {
    return !this.intx.active && this.messages.kind === undefined;
  }

  /** Whether its memory answers: it is switched on and the device is awake. */
  get isMemoryOn(): boolean {
    return this.config.memoryEnabled && !this.lowPower;
  }

  /** Its memory was perhaps switched on or off: dma-bufs of it can be used, or not. */
  moveDmaBufs(): void {
    this.dmaBufs.move(!this.isMemoryOn);
  }

  /** Resets the function alone; the caller knows that it can be. Config space is as it was (pci_try_reset_function). */
  reset(): void {
    this.dmaBufs.move(true);
    this.setPowerState(D0);
    this.target.reset();
    this.migration?.reset();
    this.moveDmaBufs();
  }

  /** Brings what programs have written to a mapped part of a region of memory to the device. */
  pull(region: number, at: number, length: number): void {
    for (const shared of this.shared) shared.pull(region, at, length);
  }

  /** Shows programs a part of a region of memory after the device's side has changed. */
  push(region: number, at: number, length: number): void {
    for (const shared of this.shared) shared.push(region, at, length);
  }

  /** Changes the power state as far as the device has it (vfio_pci_set_power_state); what it has not is ignored. */
  setPowerState(state: number): void {
    const { target } = this;
    const at = findCapability(target.config.bytes, pci.PCI_CAP_ID_PM);
    if (at === undefined || target.powerState === state) return;
    if (this.hasVirtualFunctions && state !== D0) return;
    const able = target.readConfig(at + pci.PCI_PM_PMC, 2);
    if (state === 1 && !(able & pci.PCI_PM_CAP_D1)) return;
    if (state === 2 && !(able & pci.PCI_PM_CAP_D2)) return;
    // a device in a deeper state goes through D0
    if (state !== D0 && target.powerState > state) return;
    const wakes = target.powerState === D3HOT && state === D0;
    const control = target.readConfig(at + pci.PCI_PM_CTRL, 2);
    target.writeConfig(at + pci.PCI_PM_CTRL, 2, (control & ~pci.PCI_PM_CTRL_STATE_MASK) | state);
    if (wakes && resetsInD3(target.config.bytes)) {
      target.reset();
      this.migration?.reset();
    }
    target.powerState = state;
  }

  /** The last close: everything is taken back, and the device is as it was before the first open. */
  close(): void {
    const { target } = this;
    this.dmaBufs.close();
    this.migration?.close();
    this.lowPower?.wakeup?.release();
    this.lowPower = undefined;
    this.setPowerState(D0);
    target.setCommand(pci.PCI_COMMAND_MASTER, false);
    this.intx.close();
    if (this.messages.kind) this.messages.disable();
    this.ioeventfds.close();
    target.interrupts = undefined;
    target.onShow = undefined;
    target.onMove = undefined;
    if (this.resetWorks) target.reset();
    this.#restoreConfig();
    this.errorEvent?.release();
    this.requestEvent?.release();
  }

  /** The saved state has the header and the capabilities; private registers keep what was written to them. */
  #restoreConfig(): void {
    const { bytes } = this.target.config;
    const status = bytes[pci.PCI_STATUS]!;
    for (let at = 0; at < bytes.length; at++) if (this.config.isMapped(at)) bytes[at] = this.#saved[at]!;
    bytes[pci.PCI_STATUS] = status;
  }

  #makeConfig(): VirtualConfig {
    const { intx, messages } = this;
    return new VirtualConfig(this.target, this.context.release, {
      intxDisable: (disabled) => intx.onUserDisable(disabled),
      get msiInUse() {
        return messages.kind === "MSI";
      },
      get msiQueueMax() {
        return messages.queueMax;
      },
      memoryWritten: () => this.moveDmaBufs(),
      setPowerState: (state) => {
        if (state >= D3HOT) this.dmaBufs.move(true);
        this.setPowerState(state);
        this.moveDmaBufs();
      },
      reset: () => {
        if (this.resetWorks) this.reset();
      },
    });
  }
}
