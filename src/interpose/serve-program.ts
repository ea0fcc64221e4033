import { once } from "node:events";
import { type MessagePort, workerData } from "node:worker_threads";
import type { HostKernel } from "../kernel/host-kernel.ts";
import { treeMessage } from "./launch-protocol.ts";
import type { Observer } from "./observer.ts";
import type { ServeOrder, WorkerMessage, WorkerStart } from "./worker-protocol.ts";

export interface Served {
  readonly kernel: HostKernel;
  readonly observer?: Observer;
  /** Called in the Worker when the last task is gone, before runProgram() returns. */
  readonly ended?: () => void;
}

/**
 * What a Worker started by runProgram() does: builds the host with the caller's data, has its tree put before the
 * program, and serves. What `build` throws reaches the caller of runProgram().
 */
export async function serveProgram<T>(build: (data: T) => Served | Promise<Served>): Promise<void> {
  const { port } = workerData as WorkerStart;
  const say = (message: WorkerMessage) => port.postMessage(message);
  const served = await build((await nextMessage(port)) as T);
  const { kernel } = served;
  say({ type: "host", tree: treeMessage(kernel.tree), nodes: [...kernel.deviceNodes()] });
  const ordered = nextMessage(port);
  // What makes system calls is loaded while the launcher is busy with the tree.
  const { serveOrder } = await import("./serve-order.ts");
  const order = (await ordered) as ServeOrder | null;
  port.unref();
  // The program could not be started.
  if (order === null) return;
  serveOrder(order, served, say);
}

async function nextMessage(port: MessagePort): Promise<unknown> {
  const [message] = await once(port, "message");
  return message;
}
