import type { DeviceBus } from "./device-model.ts";

/** A timer that runs. */
interface Running {
  /** On the device's clock, in milliseconds. */
  readonly due: number;
  stop(): void;
}

/** The timers of a device, by name: each has one thing that it does. */
export class Timers {
  readonly #bus: Pick<DeviceBus, "clock" | "contain">;
  readonly #actions: ReadonlyMap<string, () => void>;
  readonly #ran: () => void;
  readonly #running = new Map<string, Running>();
  /** Milliseconds that are left to each while all are held. */
  #held: Map<string, number> | undefined;

  /** @param ran hears that one has run out */
  constructor(bus: Pick<DeviceBus, "clock" | "contain">, actions: ReadonlyMap<string, () => void>, ran: () => void) {
    this.#bus = bus;
    this.#actions = actions;
    this.#ran = ran;
  }

  /** Throws RangeError for a name that there is not. */
  start(name: string, milliseconds: number): void {
    const action = this.#actions.get(name);
    if (!action) throw new RangeError(`there is no timer ${name}`);
    if (!(milliseconds >= 0)) throw new RangeError(`a timer does not run for ${milliseconds} milliseconds`);
    this.stop(name);
    if (this.#held) {
      this.#held.set(name, milliseconds);
      return;
    }
    const { clock, contain } = this.#bus;
    const run = () => {
      this.#running.delete(name);
      this.#ran();
      if (contain) contain(action, undefined);
      else action();
    };
    this.#running.set(name, { due: clock.now() + milliseconds, stop: clock.later(milliseconds, run) });
  }

  stop(name: string): void {
    this.#running.get(name)?.stop();
    this.#running.delete(name);
    this.#held?.delete(name);
  }

  /** None runs, and none is held. */
  reset(): void {
    for (const { stop } of this.#running.values()) stop();
    this.#running.clear();
    this.#held = undefined;
  }

  /** Milliseconds that each has left. */
  left(): ReadonlyMap<string, number> {
    if (this.#held) return this.#held;
    const now = this.#bus.clock.now();
    return new Map([...this.#running].map(([name, { due }]) => [name, Math.max(0, due - now)]));
  }

  /** None runs out until goOn(). */
  hold(): void {
    if (this.#held) return;
    const left = this.left();
    this.reset();
    this.#held = new Map(left);
  }

  goOn(): void {
    const held = this.#held ?? new Map<string, number>();
    this.#held = undefined;
    for (const [name, milliseconds] of held) this.start(name, milliseconds);
  }
}
