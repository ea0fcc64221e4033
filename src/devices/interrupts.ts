import type { DeviceBus } from "./device-model.ts";

/**
 * The interrupts of a device: a message for each vector while the program has messages on, else the one INTx line,
 * which is asserted as long as any vector is raised.
 */
export class Interrupts {
  readonly #bus: Pick<DeviceBus, "messagesEnabled" | "sendMessage" | "setLine">;
  readonly #raised = new Set<number>();

  /** Of the device behind this bus. */
  constructor(bus: Pick<DeviceBus, "messagesEnabled" | "sendMessage" | "setLine">) {
    this.#bus = bus;
  }

  /**
   * Sends the vector's message, or asserts the line until lower().
   * @param vector 0 for a device that has only one
   */
  raise(vector = 0): void {
    if (this.#bus.messagesEnabled) {
      this.#bus.sendMessage(vector);
      return;
    }
    this.#raised.add(vector);
    this.#bus.setLine(true);
  }

  /** What raised it is over. Means nothing to messages. */
  lower(vector = 0): void {
    this.#raised.delete(vector);
    if (this.#raised.size === 0 && !this.#bus.messagesEnabled) this.#bus.setLine(false);
  }

  /** The vectors whose reasons are not over, as far as the line matters. */
  get raised(): readonly number[] {
    return [...this.#raised];
  }

  /** The device was reset; its line is down already. */
  reset(): void {
    this.#raised.clear();
  }
}
