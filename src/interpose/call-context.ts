import type { FileDescription } from "../kernel/file-description.ts";
import type { HostKernel } from "../kernel/host-kernel.ts";
import type { Word } from "../kernel/word.ts";
import type { Credentials } from "./credentials.ts";
import type { Doorbells } from "./doorbells/doorbells.ts";
import type { InjectedFile, InjectedFiles } from "./injected-files.ts";
import type { Listener } from "./listener.ts";
import type { LongCalls } from "./long-calls.ts";
import type { NodeFiles } from "./node-files.ts";
import type { PathResolver } from "./path-resolver.ts";
import { statThreadDescriptor } from "./path-stat.ts";
import type { ProcessTable } from "./process-table.ts";
import type { ProcessTask } from "./process-task.ts";
import { swapIn } from "./swap-in.ts";
import { type Abi, type TrappedCall, X64 } from "./syscall-table.ts";

/**
 * How a handler ends: a value or a negative errno to answer with; "native", so that the kernel carries the call out; "later", when it is only
 * begun (long-calls.ts).
 */
export type Reply = number | "native" | "later";

/** What the call in hand is made of, kept while other calls are handled. */
export interface HeldCall {
  readonly notification: Uint8Array;
  readonly fields: Pick<CallContext, "call" | "abi" | "fd" | "description" | "request" | "argument">;
}

export interface Machinery {
  readonly listener: Listener;
  readonly kernel: HostKernel;
  readonly processes: ProcessTable;
  readonly task: ProcessTask;
  readonly files: InjectedFiles;
  readonly doorbells: Doorbells;
  readonly nodes: NodeFiles;
  readonly resolver: PathResolver;
  readonly credentials: Credentials;
  readonly longCalls: LongCalls;
}

/** The call in hand, and what its handler found out about it for the observer. One object for all calls. */
export class CallContext {
  readonly on: Machinery;
  call: TrappedCall = "ioctl";
  abi: Abi = X64;
  fd = -1;
  description: FileDescription | undefined;
  request = 0;
  argument: Word = 0;
  path: string | undefined;
  offset: Word = 0;
  length = 0;

  constructor(on: Machinery) {
    this.on = on;
  }

  begin(call: TrappedCall, abi: Abi): void {
    this.call = call;
    this.abi = abi;
    this.fd = -1;
    this.description = undefined;
    this.request = 0;
    this.argument = 0;
    this.path = undefined;
    this.offset = 0;
    this.length = 0;
  }

  /** Puts an ioctl in hand aside. */
  hold(): HeldCall {
    const { call, abi, fd, description, request, argument } = this;
    return { notification: this.on.listener.hold(), fields: { call, abi, fd, description, request, argument } };
  }

  /** Takes it in hand again, when no other is. False when its caller does not wait for it any more. */
  resume({ notification, fields }: HeldCall): boolean {
    const { listener, task } = this.on;
    if (!listener.resume(notification)) return false;
    task.use(listener.tid);
    this.begin(fields.call, fields.abi);
    Object.assign(this, fields);
    return true;
  }

  /** stat() of a descriptor of the caller into lastStat. False when there is none. */
  stat(fd: number): boolean {
    this.fd = fd;
    return fd >= 0 && statThreadDescriptor(this.on.task.tid, fd) === 0;
  }

  /** Our file behind a descriptor of the caller. A stand-in for a node becomes the real thing here. Throws what opening it throws. */
  file(fd: number): InjectedFile | undefined {
    if (!this.stat(fd)) return undefined;
    const node = this.on.nodes.findLastStat();
    const file = node === undefined ? this.on.files.findLastStat() : swapIn(this, node, fd);
    this.description = file?.description;
    return file;
  }
}
