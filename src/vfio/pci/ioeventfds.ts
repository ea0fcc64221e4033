import type { AccessWidth } from "../../devices/device-model.ts";
import type { EventSignal } from "../../kernel/file-description.ts";

/** A write to a register that an eventfd stands for. */
export interface Ioeventfd {
  readonly bar: number;
  readonly at: number;
  readonly width: AccessWidth;
  readonly data: bigint;
  readonly event: EventSignal;
  readonly stop: (() => void) | undefined;
}

/** Those of an open device. */
export class Ioeventfds {
  #all: Ioeventfd[] = [];

  get size(): number {
    return this.#all.length;
  }

  find(bar: number, at: number, width: number, data: bigint): Ioeventfd | undefined {
    return this.#all.find((one) => one.bar === bar && one.at === at && one.width === width && one.data === data);
  }

  add(one: Ioeventfd): void {
    this.#all.push(one);
  }

  remove(one: Ioeventfd): void {
    one.stop?.();
    one.event.release();
    this.#all = this.#all.filter((other) => other !== one);
  }

  close(): void {
    for (const one of [...this.#all]) this.remove(one);
  }
}
