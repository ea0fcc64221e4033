import type { Namespace } from "./namespace.ts";

/** What is given of a controller. */
export interface ControllerFacts {
  readonly vendor: number;
  readonly subsystemVendor: number;
  readonly serial: string;
  /** I/O queues of each kind. */
  readonly queues: number;
  /** Interrupt vectors. */
  readonly vectors: number;
  /** Entries of the largest I/O queue. */
  readonly entries: number;
  /** MDTS: the most data of a command are so many pages, as a power of two. */
  readonly transferShift: number;
  /** Asynchronous event requests that may be outstanding. */
  readonly eventRequests: number;
  readonly namespaces: readonly Namespace[];
}

/** The highest namespace identifier (NN). */
export const MOST_NAMESPACES = 256;
