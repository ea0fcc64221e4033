import type { Operation, OperationOf } from "./operation.ts";
import { DONE, type Outcome } from "./outcome.ts";

/** What an operation gave, with the bytes that it left or read. */
export interface Answer extends Outcome {
  /** The caller's structure afterwards, relocated fields that did not change as zero; or what was read. */
  readonly bytes?: string;
  /** Bytes written behind the structure, if any. */
  readonly over?: string;
  readonly value?: string;
  readonly text?: string;
  readonly revents?: string;
  readonly done?: number;
  readonly ok?: boolean;
  readonly fired?: boolean;
  readonly VmLck_kB?: number;
  readonly VmPin_kB?: number;
  /** Locked memory of the process after the call. */
  readonly vmlck_kB?: number;
}

/** What carries operations of each kind out, and gives undefined for what only informs. */
export type Handlers = { readonly [Op in Operation["op"]]: (operation: OperationOf<Op>) => Answer | undefined };

/** The answer of an operation that always succeeds. */
export function doneAfter(change: () => unknown): Answer {
  change();
  return DONE;
}
