import type { PciFunction } from "../../devices/pci/function.ts";
import { PCI_COMMAND_INTX_DISABLE } from "../../devices/pci/registers.ts";
import { fail } from "../../kernel/errors.ts";
import type { EventSignal } from "../../kernel/file-description.ts";
import type { ModelWatch } from "../model-watch.ts";

/**
 * INTx of an open device (vfio_pci_intrs.c). The line is level-triggered: each interrupt masks it, and it fires once
 * more when it is unmasked while still asserted. Masking is the device's own INTx disable bit; the one that the user
 * sees is virtual.
 */
export class Intx {
  readonly #target: PciFunction;
  readonly #requestLine: () => () => void;
  readonly #raised: ModelWatch["interrupt"];
  #freeLine: (() => void) | undefined;
  #active = false;
  #trigger: EventSignal | undefined;
  #unmaskEvent: EventSignal | undefined;
  #stopWatching: (() => void) | undefined;
  #masked = false;
  /** The user has disabled INTx in the command register. */
  #userDisabled = false;

  /**
   * @param requestLine registers its handler, and returns what takes that back; throws when it cannot be
   * @param raised hears of each interrupt
   */
  constructor(target: PciFunction, requestLine: () => () => void, raised?: ModelWatch["interrupt"]) {
    this.#raised = raised;
    this.#target = target;
    this.#requestLine = requestLine;
  }

  get active(): boolean {
    return this.#active;
  }

  get masked(): boolean {
    return this.#masked;
  }

  /** Starts delivery (vfio_intx_enable). Throws what requesting the line throws, and then nothing has changed. */
  enable(trigger: EventSignal | undefined): void {
    this.#freeLine = this.#requestLine();
    this.#active = true;
    this.#trigger = trigger;
    this.#masked = this.#userDisabled;
    this.#setDisabled(this.#masked);
  }

  /** Changes what an interrupt raises, without losing the masked state. */
  replaceTrigger(trigger: EventSignal | undefined): void {
    this.#trigger?.release();
    this.#trigger = trigger;
  }

  disable(): void {
    this.stopUnmaskEvent();
    this.#freeLine?.();
    this.#freeLine = undefined;
    this.#trigger?.release();
    this.#trigger = undefined;
    this.#active = false;
    this.#masked = false;
  }

  /** The line has become active (vfio_intx_handler). */
  onLine(): void {
    if (!this.#active || this.#masked) return;
    this.#masked = true;
    this.#setDisabled(true);
    this.signal();
  }

  /** Raises the user's event, also for a loopback test (vfio_send_intx_eventfd). */
  signal(): void {
    if (!this.#active || this.#userDisabled || !this.#trigger) return;
    this.#raised?.(this.#target.name, "INTx");
    this.#trigger.signal();
  }

  mask(): void {
    if (this.#active && this.#masked) return;
    this.#setDisabled(true);
    if (this.#active) this.#masked = true;
  }

  /** With the line still asserted it stays masked and the event is raised again (vfio_pci_intx_unmask_handler). */
  unmask(): void {
    if (this.#active) {
      if (!this.#masked || this.#userDisabled) return;
      if (this.#target.lineAsserted) {
        this.signal();
        return;
      }
    }
    this.#masked = false;
    this.#setDisabled(false);
  }

  /** An eventfd that unmasks when it is written to. EBUSY when there is one already. */
  setUnmaskEvent(event: EventSignal): void {
    // a program that has closed its eventfd need not take it back: QEMU does not
    if (this.#unmaskEvent?.isAbandoned?.()) this.stopUnmaskEvent();
    if (this.#unmaskEvent) {
      event.release();
      fail("EBUSY", "INTx has an unmask eventfd already; take it back (-1) first");
    }
    this.#unmaskEvent = event;
    this.#stopWatching = event.watch?.(() => this.unmask());
  }

  stopUnmaskEvent(): void {
    this.#stopWatching?.();
    this.#unmaskEvent?.release();
    this.#stopWatching = undefined;
    this.#unmaskEvent = undefined;
  }

  /** The INTx disable bit of the virtual command register, after a write to it. */
  onUserDisable(disabled: boolean): void {
    if (disabled === this.#userDisabled) return;
    this.#userDisabled = disabled;
    if (disabled) this.mask();
    else this.unmask();
  }

  /** The device is closed: what the user had written is forgotten. */
  close(): void {
    if (this.#active) this.disable();
    this.#userDisabled = false;
  }

  #setDisabled(disabled: boolean): void {
    this.#target.setCommand(PCI_COMMAND_INTX_DISABLE, disabled);
  }
}
