/** So many different messages are remembered. */
const REMEMBERED = 1024;

/**
 * Messages that are said once each. The last thousand of them are remembered: they have addresses in them, of which a
 * program that runs for days has any number.
 */
export class SaidOnce {
  readonly #said = new Set<string>();

  /** Whether it is new; it is not any more then. */
  isNew(message: string): boolean {
    if (this.#said.has(message)) return false;
    this.#said.add(message);
    for (const oldest of this.#said) {
      if (this.#said.size <= REMEMBERED) break;
      this.#said.delete(oldest);
    }
    return true;
  }
}
