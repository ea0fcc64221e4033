import { HOST_CALLS } from "./host-calls.ts";
import { InterposerError } from "./interposer-error.ts";
import { syscall } from "./libc.ts";
import { O_CLOEXEC, O_NONBLOCK } from "./linux.ts";
import { serve } from "./serve.ts";
import type { Served } from "./serve-program.ts";
import { adoptOrphans, takeListener } from "./take-listener.ts";
import type { ServeOrder, WorkerMessage } from "./worker-protocol.ts";

adoptOrphans();

/** Serves the program of a launcher until it has ended, and all that it left behind. Blocks the thread. */
export function serveOrder(
  order: ServeOrder,
  { kernel, observer, ended }: Served,
  say: (message: WorkerMessage) => void,
): void {
  let listener: number;
  try {
    listener = takeListener(order);
  } catch (error) {
    if (!(error instanceof InterposerError)) throw error;
    say({ type: "failed", code: error.code, message: error.message });
    return;
  }
  // The main thread closes it, when it can no longer want to write to it.
  const stop = syscall(HOST_CALLS.eventfd2, 0, O_CLOEXEC | O_NONBLOCK);
  const ready = () => say({ type: "serving", stop, listener });
  try {
    serve({ listener, stop, kernel, launcher: order.pid, userNamespace: order.userNamespace, observer, ready });
  } finally {
    say({ type: "closed" });
  }
  ended?.();
  say({ type: "ended" });
}
