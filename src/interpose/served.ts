import type { HostKernel } from "../kernel/host-kernel.ts";
import type { Observer } from "./observer.ts";

/** What a program is run against. */
export interface Served {
  readonly kernel: HostKernel;
  readonly observer?: Observer;
  /** Called when the last task is gone, before runProgram() returns. */
  readonly ended?: () => void;
}
