import type { DeviceNode } from "../kernel/host-kernel.ts";
import type { TreeMessage } from "./launch-protocol.ts";

/**
 * What the Worker that serves is born with. The first message on the port is the caller's own data, the second a ServeOrder, or null:
 * there is nothing to serve.
 */
export interface WorkerStart {
  readonly port: import("node:worker_threads").MessagePort;
}

/** The program's launcher, ready: where its listener is to be fetched. */
export interface ServeOrder {
  readonly pid: number;
  /** The listener's number in that process. */
  readonly listener: number;
  readonly userNamespace: boolean;
}

export type WorkerMessage =
  | { readonly type: "host"; readonly tree: TreeMessage; readonly nodes: readonly DeviceNode[] }
  /** Serving begins. `stop` is an eventfd that ends it, `listener` the descriptor to close if the thread dies. */
  | { readonly type: "serving"; readonly stop: number; readonly listener: number }
  | { readonly type: "failed"; readonly code: string; readonly message: string }
  /** The thread has closed the listener. */
  | { readonly type: "closed" }
  | { readonly type: "ended" };
