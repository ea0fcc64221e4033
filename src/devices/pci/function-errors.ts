/**
 * The functions of an s390 machine that are in zPCI's error state: a DMA request that no translation takes puts a
 * function there (arch/s390/pci/pci_event.c: zpci_event_error). Nothing of it answers, and it reaches no memory, until
 * it is recovered.
 */
export class FunctionErrors {
  readonly #names = new Set<string>();
  /** Whether the kernel recovers a function by itself, before the program looks at it again. */
  readonly #recovers: boolean;

  constructor(recovers: boolean) {
    this.#recovers = recovers;
  }

  /** Puts a function there. False when it is there already. */
  add(name: string): boolean {
    if (this.#names.has(name)) return false;
    this.#names.add(name);
    return true;
  }

  has(name: string): boolean {
    return this.#names.has(name);
  }

  /** The same for a program that looks at the function: by then the kernel has recovered it, where it does. */
  isMet(name: string): boolean {
    if (!this.#names.has(name)) return false;
    if (this.#recovers) this.#names.delete(name);
    return !this.#recovers;
  }

  /** The first of these functions that is there. */
  find(names: readonly string[]): string | undefined {
    return this.#names.size === 0 ? undefined : names.find((name) => this.isMet(name));
  }

  recover(name: string): void {
    this.#names.delete(name);
  }
}
