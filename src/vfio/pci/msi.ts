import type { PciFunction } from "../../devices/pci/function.ts";
import * as pci from "../../devices/pci/registers.ts";
import { fail } from "../../kernel/errors.ts";
import type { EventSignal } from "../../kernel/file-description.ts";
import type { ModelWatch } from "../model-watch.ts";

export type MessageKind = "MSI" | "MSI-X";

/**
 * MSI or MSI-X of an open device: vectors, each with the event that it raises (vfio_pci_intrs.c). One of the two at a
 * time.
 */
export class MessageInterrupts {
  readonly #target: PciFunction;
  /** Whether MSI-X vectors can be added while it is on (pci_msix_can_alloc_dyn). */
  readonly dynamic: boolean;
  readonly #triggers = new Map<number, EventSignal>();
  readonly #raised: ModelWatch["interrupt"];
  #kind: MessageKind | undefined;
  /** Vectors that the kernel has an interrupt for: 0 up to this. */
  #allocated = 0;
  #queueMax = 0;

  /** @param raised hears of each interrupt */
  constructor(target: PciFunction, dynamic: boolean, raised?: ModelWatch["interrupt"]) {
    this.#target = target;
    this.#raised = raised;
    this.dynamic = dynamic;
  }

  get kind(): MessageKind | undefined {
    return this.#kind;
  }

  /** Log2 of the MSI vectors that were last set up. */
  get queueMax(): number {
    return this.#queueMax;
  }

  trigger(vector: number): EventSignal | undefined {
    return this.#triggers.get(vector);
  }

  /** Turns it on with room for `count` vectors (vfio_msi_enable). */
  enable(kind: MessageKind, count: number): void {
    this.#kind = kind;
    this.#allocated = count;
    if (kind === "MSI") this.#queueMax = Math.ceil(Math.log2(count));
    if (kind === "MSI-X") this.#target.msixTable?.maskAll();
    this.#setEnabled(kind, true);
    this.#target.setCommand(pci.PCI_COMMAND_INTX_DISABLE, true);
  }

  disable(): void {
    for (const vector of [...this.#triggers.keys()]) this.clear(vector);
    if (this.#kind === "MSI-X") this.#target.msixTable?.maskAll();
    if (this.#kind) this.#setEnabled(this.#kind, false);
    this.#target.setCommand(pci.PCI_COMMAND_INTX_DISABLE, false);
    this.#kind = undefined;
    this.#allocated = 0;
  }

  /** Takes away what a vector raises. */
  clear(vector: number): void {
    this.#triggers.get(vector)?.release();
    if (this.#triggers.delete(vector) && this.#kind === "MSI-X") this.#target.msixTable?.setMasked(vector, true);
  }

  /**
   * EINVAL for a vector that has no interrupt: only MSI-X on machines whose interrupt controller can do it gets more of
   * them while it is on (vfio_msi_alloc_irq).
   */
  allocate(vector: number): void {
    if (this.#kind !== "MSI-X" || !this.dynamic) this.refuseBeyond(vector + 1);
  }

  /** EINVAL when it is on with fewer vectors. */
  refuseBeyond(vectors: number): void {
    if (vectors <= this.#allocated) return;
    fail(
      "EINVAL",
      `${this.#target.name}: ${this.#kind} was set up with fewer vectors (${this.#allocated}) and has no vector ${vectors - 1} while it is on; switch the index off (DATA_NONE, ACTION_TRIGGER, count 0) and set all vectors at once`,
    );
  }

  set(vector: number, trigger: EventSignal): void {
    this.#triggers.set(vector, trigger);
    if (this.#kind === "MSI-X") this.#target.msixTable?.setMasked(vector, false);
  }

  onMessage(vector: number): void {
    const trigger = this.#triggers.get(vector);
    if (!trigger) return;
    this.#raised?.(this.#target.name, `${this.#kind} ${vector}`);
    trigger.signal();
  }

  #setEnabled(kind: MessageKind, on: boolean): void {
    const at = kind === "MSI" ? this.#target.msi : this.#target.msix;
    if (at === undefined) return;
    const bit = kind === "MSI" ? pci.PCI_MSI_FLAGS_ENABLE : pci.PCI_MSIX_FLAGS_ENABLE;
    const flags = this.#target.readConfig(at + 2, 2);
    this.#target.writeConfig(at + 2, 2, on ? flags | bit : flags & ~bit);
  }
}
