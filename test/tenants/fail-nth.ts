import { KernelError } from "../../src/kernel/errors.ts";
import { ERRNO, type ErrnoName } from "../../src/uapi/errno.ts";
import type { ModelMachine } from "./machine.ts";

/** A function of the product that can refuse: a step of many requests. */
export interface Point {
  readonly name: string;
  // biome-ignore lint/suspicious/noExplicitAny: any class
  readonly prototype: any;
  readonly method: string;
  readonly errno: ErrnoName;
  /** It returns a negative errno instead of throwing. */
  readonly returns?: true;
}

/** Has the n-th call of a function fail that is made within the next request, as the kernel's fail_nth does it. */
export class FailNth {
  fired = false;
  #left: number;
  #inside = false;
  readonly #restore: () => void;

  constructor(machine: ModelMachine, { prototype, method, errno, returns }: Point, nth: number) {
    this.#left = nth;
    const original = prototype[method];
    const owns = Object.hasOwn(prototype, method);
    if (typeof original !== "function") throw new RangeError(`there is no ${method}() any more`);
    const due = () => this.#isDue();
    prototype[method] = function (...args: unknown[]) {
      if (!due()) return original.apply(this, args);
      if (returns) return -ERRNO[errno];
      throw new KernelError(errno, `ordered: call ${nth} of ${method}() fails`);
    };
    const around = machine.aroundRequests;
    machine.aroundRequests = (call) => {
      machine.aroundRequests = around;
      this.#inside = true;
      try {
        return call();
      } finally {
        this.#inside = false;
      }
    };
    this.#restore = () => {
      if (owns) prototype[method] = original;
      else delete prototype[method];
      machine.aroundRequests = around;
    };
  }

  #isDue(): boolean {
    if (!this.#inside || this.#left === 0 || --this.#left > 0) return false;
    this.fired = true;
    return true;
  }

  end(): void {
    this.#restore();
  }
}
