import { fail } from "../../kernel/errors.ts";
import type { Task } from "../../kernel/task.ts";
import type { OpenDevice } from "./open-device.ts";

/** A request whose numbers have been checked against each other. */
export interface IrqRequest {
  readonly task: Task;
  /** "INTx", for messages. */
  readonly name: string;
  readonly index: number;
  /** One of VFIO_IRQ_SET_DATA_*. */
  readonly dataType: number;
  readonly start: number;
  readonly count: number;
  /** DATA_BOOL: whether vector `start + i` is meant. */
  isSet(i: number): boolean;
  /** DATA_EVENTFD: the descriptor for vector `start + i`. */
  fd(i: number): number;
}

/** One kind of interrupt at a time. */
export function failBusy({ intx, messages, target }: OpenDevice): never {
  const used = intx.active ? "INTx" : messages.kind;
  fail("EINVAL", `${target.name} uses ${used} now; switch that index off first (DATA_NONE, ACTION_TRIGGER, count 0)`);
}
