import type { ErrnoName } from "../uapi/errno.ts";
import { fail } from "./errors.ts";
import type { ModuleParameters } from "./module-parameters.ts";

/** What a fault is of: memory for a kernel's objects, whole pages, or one of iommufd's own (iommufd_should_fail). */
export const FAULT_ATTRIBUTES = ["failslab", "fail_page_alloc", "fail_iommufd"] as const;
export type FaultAttribute = (typeof FAULT_ATTRIBUTES)[number];

/**
 * The files of an attribute in debugfs that mean something here, with what is in them at first
 * (lib/fault-inject.c:fault_create_debugfs_attr, mm/failslab.c, mm/fail_page_alloc.c). Memory that may be waited for,
 * as all is here, fails with `ignore-gfp-wait` off only.
 */
export const FAULT_FILES: Readonly<Record<FaultAttribute, Readonly<Record<string, number | boolean>>>> = {
  failslab: { probability: 0, interval: 1, times: 1, verbose: 2, "ignore-gfp-wait": true },
  fail_page_alloc: { probability: 0, interval: 1, times: 1, verbose: 2, "ignore-gfp-wait": true },
  fail_iommufd: { probability: 0, interval: 1, times: 1, verbose: 2 },
};

/** Whose call runs now. */
interface Running {
  readonly points: FaultPoints;
  readonly thread: number;
}

let running: Running | undefined;

/**
 * A place at which a kernel may fail, and a test has it fail. Costs nothing on other hosts.
 * @param errno what fails there
 */
export function faultPoint(attribute: FaultAttribute, errno: ErrnoName = "ENOMEM"): void {
  if (running?.points.isDue(attribute, running.thread)) {
    fail(errno, `a fault was injected here, as ${attribute} or the thread's fail-nth orders`);
  }
}

/**
 * Faults that programs inject into a kernel that was built for that (CONFIG_FAULT_INJECTION): by attributes in debugfs,
 * and thread by thread in /proc/TID/fail-nth.
 */
export class FaultPoints {
  readonly #parameters: ModuleParameters;
  readonly #warn: (message: string) => void;
  /** By thread: the how-manyeth point from now on is to fail. */
  readonly #nth = new Map<number, number>();
  readonly #met = new Map<FaultAttribute, number>();

  /** Defines the attributes' files as parameters "failslab/probability". */
  constructor(parameters: ModuleParameters, warn: (message: string) => void) {
    this.#parameters = parameters;
    this.#warn = warn;
    for (const attribute of FAULT_ATTRIBUTES) {
      for (const [file, value] of Object.entries(FAULT_FILES[attribute])) {
        parameters.define(`${attribute}/${file}`, typeof value === "boolean" ? "bool" : "uint", value, true);
      }
    }
  }

  /** Does a call of a thread: only what runs in here fails. */
  run<T>(thread: number, call: () => T): T {
    const before = running;
    running = { points: this, thread };
    try {
      return call();
    } finally {
      running = before;
    }
  }

  /** How many points a thread passes until one fails; 0 for never. */
  nthOf(thread: number): number {
    return this.#nth.get(thread) ?? 0;
  }

  setNth(thread: number, nth: number): void {
    if (nth === 0) this.#nth.delete(thread);
    else this.#nth.set(thread, nth);
  }

  /** lib/fault-inject.c:should_fail_ex. A thread's own order comes before the attributes'. */
  isDue(attribute: FaultAttribute, thread: number): boolean {
    const files = FAULT_FILES[attribute];
    if ("ignore-gfp-wait" in files && this.#get(attribute, "ignore-gfp-wait") !== 0) return false;
    const nth = this.nthOf(thread);
    if (nth > 0) {
      this.setNth(thread, nth - 1);
      return nth === 1 && this.#tell(attribute);
    }
    const probability = this.#get(attribute, "probability");
    const times = this.#get(attribute, "times");
    if (probability === 0 || times === 0) return false;
    const met = (this.#met.get(attribute) ?? 0) + 1;
    this.#met.set(attribute, met);
    if (met % Math.max(1, this.#get(attribute, "interval")) !== 0) return false;
    if (probability < 100 && Math.random() * 100 >= probability) return false;
    this.#parameters.write(`${attribute}/times`, `${times - 1}`);
    return this.#tell(attribute);
  }

  #get(attribute: FaultAttribute, file: string): number {
    return this.#parameters.get(`${attribute}/${file}`);
  }

  #tell(attribute: FaultAttribute): boolean {
    if (this.#get(attribute, "verbose") > 0) this.#warn(`FAULT_INJECTION: forcing a failure (${attribute})`);
    return true;
  }
}
