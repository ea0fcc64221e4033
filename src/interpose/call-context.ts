import type { FileDescription } from "../kernel/file-description.ts";
import type { HostKernel } from "../kernel/host-kernel.ts";
import type { Word } from "../kernel/word.ts";
import type { CallerMemory } from "./caller-memory.ts";
import type { Credentials } from "./credentials.ts";
import type { Doorbells } from "./doorbells/doorbells.ts";
import type { EarlyLooks } from "./early-looks.ts";
import type { EventCopies } from "./event-copies.ts";
import { type InjectedFile, isMarked, lastOrigin } from "./injected-file.ts";
import type { InjectedFiles } from "./injected-files.ts";
import type { Installs, PendingInstall } from "./installs.ts";
import type { KeptInfos } from "./kept-infos.ts";
import type { LedTree } from "./led-tree.ts";
import type { Listener } from "./listener.ts";
import type { LongCalls } from "./long-calls.ts";
import type { NodeFiles } from "./node-files.ts";
import type { ParkedCalls, Taken } from "./parked-calls.ts";
import type { PathResolver } from "./path-resolver.ts";
import { isPathOnly, lastStat, statThreadDescriptor } from "./path-stat.ts";
import type { ProcessTable } from "./process-table.ts";
import type { ProcessTask } from "./process-task.ts";
import type { SlowLooks } from "./slow-looks.ts";
import { swapIn } from "./swap-in.ts";
import { type Abi, type TrappedCall, X64 } from "./syscall-table.ts";
import type { SysfsMounts } from "./sysfs-mounts.ts";

/**
 * How a handler ends: a value or a negative errno to answer with; "native", so that the kernel carries the call out;
 * "later", when it is only begun (long-calls.ts).
 */
export type Reply = number | "native" | "later";

/** What the call in hand is made of, kept while other calls are handled. */
export interface HeldCall {
  readonly notification: Buffer;
  /** What it has learnt about its caller so far. */
  readonly taken: Taken;
  readonly install: PendingInstall | undefined;
  readonly fields: Pick<
    CallContext,
    "call" | "abi" | "fd" | "description" | "request" | "argument" | "offset" | "length"
  >;
}

export interface Machinery {
  readonly listener: Listener;
  readonly kernel: HostKernel;
  readonly processes: ProcessTable;
  readonly task: ProcessTask;
  readonly files: InjectedFiles;
  readonly infos: KeptInfos;
  readonly doorbells: Doorbells;
  readonly nodes: NodeFiles;
  readonly sysfs: SysfsMounts;
  readonly resolver: PathResolver;
  readonly credentials: Credentials;
  readonly caller: CallerMemory;
  readonly early: EarlyLooks;
  readonly looks: SlowLooks;
  readonly parked: ParkedCalls;
  readonly longCalls: LongCalls;
  readonly installs: Installs;
  /** Where the program's paths to the host's files lead; undefined where it has them mounted. */
  readonly tree: LedTree | undefined;
  /** Its eventfds, where they cannot be fetched. */
  readonly events: EventCopies | undefined;
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
  /** It is answered as the kernel answers it of a file of the host's, and is no call of VFIO. */
  isLed = false;
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
    this.isLed = false;
    this.offset = 0;
    this.length = 0;
  }

  /** The call as it stands, for when its answer comes later. */
  copy(): CallContext {
    return Object.assign(new CallContext(this.on), this);
  }

  /** Puts the call in hand aside: an ioctl, a read or a write. */
  hold(): HeldCall {
    const { call, abi, fd, description, request, argument, offset, length } = this;
    const { listener, looks, installs } = this.on;
    const fields = { call, abi, fd, description, request, argument, offset, length };
    return { notification: listener.copy(), taken: looks.taken, install: installs.take(), fields };
  }

  /** Takes it in hand again, when no other is. False when its caller does not wait for it any more. */
  resume({ notification, taken, install, fields }: HeldCall): boolean {
    const { listener, task, looks, caller, installs } = this.on;
    listener.restore(notification);
    if (!listener.isValid()) return false;
    task.use(listener.tid);
    looks.begin(taken);
    caller.isHarmless = false;
    installs.pending = install;
    this.begin(fields.call, fields.abi);
    Object.assign(this, fields);
    return true;
  }

  /** stat() of a descriptor of the caller into lastStat. False when there is none. Proved by what follows. */
  stat(fd: number): boolean {
    this.fd = fd;
    return fd >= 0 && statThreadDescriptor(this.on.task.tid, fd) === 0;
  }

  /**
   * Our file behind a descriptor of the caller. A stand-in for a node becomes the real thing here. Throws what opening
   * it throws.
   * @returns undefined for files that are not ours, and for descriptors that are not for using (O_PATH)
   */
  file(fd: number): InjectedFile | undefined {
    const { files, infos, nodes, task } = this.on;
    const info = infos.find(task.tid, fd);
    const same = info && files.findMounted(info.inode, info.mountId);
    if (same && !same.isOpenedAgain) {
      this.fd = fd;
      if (info.isPathOnly) return undefined;
      this.description = same.description;
      return same;
    }
    if (info?.isForeign && !same) {
      this.fd = fd;
      return undefined;
    }
    if (info) infos.drop(task.tid, fd);
    if (!this.stat(fd)) return undefined;
    const node = nodes.findLastStat();
    const known = node === undefined ? files.findLastStat() : undefined;
    if (node === undefined && known === undefined) {
      infos.note(task.tid, task.process.pid, fd, lastStat);
      return undefined;
    }
    const origin = lastOrigin(node ?? known?.node);
    const isOurs = known !== undefined && (!known.isOpenedAgain || isMarked(task.process.pidfd, fd));
    if (files.arePathsOpen && isPathOnly(task.tid, fd)) return undefined;
    const file = isOurs ? known : swapIn(this, origin, fd);
    if (known && !known.isOpenedAgain && files.isMounted(known)) infos.note(task.tid, task.process.pid, fd);
    this.description = file?.description;
    return file;
  }
}
