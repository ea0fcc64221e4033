import type { Doorbell } from "../../kernel/file-description.ts";

/**
 * What the server and the tracer say to each other over one socket, framed as in messages.ts. Either side may speak at
 * any time; neither stops listening for hits while it waits for something else, so none can wait for the other for
 * ever.
 */
export interface DeviceMapping {
  /** Which file, as /proc/PID/maps names it. */
  readonly inode: number;
  readonly deviceMajor: number;
  readonly deviceMinor: number;
  readonly doorbells: readonly Doorbell[];
}

export type ToTracer =
  /**
   * Thread `tid` of process `pid` waits in the mmap() that makes this mapping: have it stop when the call is done.
   * Answered with `armed`.
   */
  | { readonly type: "arm"; readonly pid: number; readonly tid: number; readonly mapping: DeviceMapping }
  /** The process that was armed last under this number is another one: let go of it. */
  | { readonly type: "forget"; readonly pid: number }
  /** The model has looked after the hit of a thread. */
  | { readonly type: "looked"; readonly tid: number };

export type ToServer =
  /** The call may go on. False: the process cannot be traced. */
  | { readonly type: "armed"; readonly traced: boolean }
  /** A thread has written to the doorbell at `offset` of a file and stands still. Answered with `looked`. */
  | { readonly type: "hit"; readonly tid: number; readonly inode: number; readonly offset: number };
