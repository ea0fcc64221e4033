import type { KernelError } from "../kernel/errors.ts";
import type { DeviceNode, HostKernel } from "../kernel/host-kernel.ts";
import { monotonic } from "../kernel/monotonic.ts";
import type { AsideJobs } from "./aside/aside-jobs.ts";
import { CallContext } from "./call-context.ts";
import type { CallLimit } from "./call-limit.ts";
import { CallerMemory } from "./caller-memory.ts";
import { Credentials } from "./credentials.ts";
import { dispatch, resumeLongCall } from "./dispatch.ts";
import type { Doorbells } from "./doorbells/doorbells.ts";
import { EarlyLooks } from "./early-looks.ts";
import type { Epoll } from "./epoll.ts";
import { EventCopies } from "./event-copies.ts";
import type { EventWatches } from "./event-watches.ts";
import type { FuseServer } from "./fuse/fuse-server.ts";
import type { InjectedFiles } from "./injected-files.ts";
import { Installs } from "./installs.ts";
import type { KeptInfos } from "./kept-infos.ts";
import type { LedTree } from "./led-tree.ts";
import { close } from "./libc.ts";
import { AT_FDCWD, O_CLOEXEC, O_DIRECTORY, O_PATH } from "./linux.ts";
import { Listener } from "./listener.ts";
import { LongCalls } from "./long-calls.ts";
import { NextCall } from "./next-call.ts";
import { NodeFiles } from "./node-files.ts";
import type { Observer } from "./observer.ts";
import { ParkedCalls } from "./parked-calls.ts";
import { PathResolver } from "./path-resolver.ts";
import { openPath } from "./path-stat.ts";
import { readProc } from "./proc-file.ts";
import { ProcessTable } from "./process-table.ts";
import { ProcessTask } from "./process-task.ts";
import { ProgramFiles } from "./program-files.ts";
import { SlowLooks } from "./slow-looks.ts";
import { SysfsMounts } from "./sysfs-mounts.ts";

/** A program that is to be served: everything that runs under one filter. */
export interface ProgramOptions {
  /** The seccomp listener; closed at the end. */
  readonly listener: number;
  /** Whose nodes the program opens: the server's host, or a view of it. */
  readonly kernel: HostKernel;
  /**
   * The process that will be the program: its tree is the program's, its user namespace the one capabilities count in.
   */
  readonly launcher: number;
  /** The program runs in a user namespace made for it. */
  readonly userNamespace: boolean;
  /** The process whose capabilities it would have outside of that namespace; this one when left out. */
  readonly starter?: number;
  /**
   * Who makes the nodes in its tree that come later, and removes those that go: this process, the program's own user,
   * or nobody. This process when left out.
   */
  readonly nodesBy?: "server" | "program" | "nobody";
  /** Its filter is without WAIT_KILLABLE_RECV: a signal may interrupt a call that is being handled. */
  readonly mayRestart?: boolean;
  /** Somebody else may have the listener too: it is not waited for. */
  readonly isListenerShared?: boolean;
  readonly observer?: Observer | undefined;
  /** Serves the host's files to the program; closed at the end. */
  readonly fuse?: FuseServer | undefined;
  /** Serves the host's files to it and to others; left open. */
  readonly sharedFuse?: FuseServer | undefined;
  /** Where its paths to the host's files lead: it has no mounts. Removed at the end. */
  readonly tree?: LedTree | undefined;
  /** Its last task is gone, and what it had is closed. */
  readonly ended?: () => void;
}

/** What all programs of a server have in common. */
export interface SharedParts {
  readonly files: InjectedFiles;
  readonly epoll: Epoll;
  readonly infos: KeptInfos;
  readonly limit: CallLimit;
  readonly jobs: AsideJobs;
  readonly watches: EventWatches;
  readonly doorbells: Doorbells;
  /** A process is known now: its pidfd is readable when it is gone. */
  readonly watchProcess: (pidfd: number) => void;
  /** A program has a call that is put aside: it is resumed until it has none. */
  readonly hasLongCall: (program: ServedProgram) => void;
  /** Before a call: what programs did without a call that we see has its effect. */
  readonly catchUp: (closed: boolean) => void;
}

/** What a call may take at once, in milliseconds; what takes longer goes on between other calls. */
const MOMENT_MS = 1;
/**
 * A dying task lets go of its filter before it closes its files. So the listener may hang up while files are open
 * still; those of processes that we know are waited for, those of others for this long.
 */
const LAST_CLOSES_MS = 500;

/** A program that is served: its listener, its processes, and the call that is handled. */
export class ServedProgram {
  readonly listener: Listener;
  readonly next: NextCall;
  readonly processes: ProcessTable;
  readonly observer: Observer | undefined;
  readonly kernel: HostKernel;
  readonly fuse: FuseServer | undefined;
  readonly longCalls = new LongCalls(MOMENT_MS, () => this.#shared.hasLongCall(this));
  readonly ended: (() => void) | undefined;
  /** Its calls are not taken for the time being. */
  isPaused = false;
  readonly #shared: SharedParts;
  readonly #root: number;
  readonly #tree: LedTree | undefined;
  readonly #events: EventCopies | undefined;
  readonly #nodes: NodeFiles;
  readonly #parked: ParkedCalls;
  readonly #context: CallContext;
  /** When the last task let go of the filter; 0 while there is one. */
  #hungUp = 0;

  constructor(options: ProgramOptions, nodes: readonly DeviceNode[], shared: SharedParts) {
    const { launcher, kernel, userNamespace, observer, fuse, sharedFuse } = options;
    const { files, infos, limit, jobs, watches, doorbells } = shared;
    this.#shared = shared;
    this.observer = observer;
    this.kernel = kernel;
    this.fuse = fuse;
    this.ended = options.ended;
    this.#root = openPath(AT_FDCWD, `/proc/${launcher}/root`, O_PATH | O_DIRECTORY | O_CLOEXEC);
    this.listener = new Listener(options.listener, limit, options);
    const servedFiles = fuse ?? sharedFuse;
    const looks = new SlowLooks(
      jobs,
      (message) => observer?.noticed?.(message),
      () => servedFiles?.hasOpenFiles === true,
    );
    const early = new EarlyLooks();
    this.next = new NextCall(shared, this.listener, looks, early);
    const caller = new CallerMemory(this.listener, looks, early);
    const isDeviceMemory = (inode: number, major: number, minor: number) =>
      files.find(inode, major, minor) !== undefined;
    this.processes = new ProcessTable(
      { caller, looks, early, isDeviceMemory, sharing: (place) => this.processes.sharing(place) },
      {
        come: ({ pidfd }) => shared.watchProcess(pidfd),
        gone: ({ pid }) => {
          infos.gone(pid);
          doorbells.gone(pid);
        },
      },
    );
    const credentials = new Credentials(userNamespace, launcher, early, options.starter);
    const { tree } = options;
    this.#tree = tree;
    this.#events = tree && new EventCopies(() => this.processes.pids());
    this.#nodes = nodeFiles(tree?.fd ?? this.#root, nodes, options, credentials);
    this.#parked = new ParkedCalls(this.listener);
    const installs = new Installs(this.listener, files, jobs, this.processes);
    const programFiles = new ProgramFiles(files, installs, watches, this.#events);
    this.#context = new CallContext({
      listener: this.listener,
      kernel,
      processes: this.processes,
      task: new ProcessTask(this.processes, credentials, programFiles, { caller, early }),
      files,
      infos,
      doorbells,
      nodes: this.#nodes,
      sysfs: new SysfsMounts(tree ? undefined : this.#root, kernel.files, servedFiles !== undefined),
      resolver: new PathResolver({ nodes: this.#nodes, files, credentials, looks, processes: this.processes, tree }),
      credentials,
      caller,
      early,
      looks,
      parked: this.#parked,
      longCalls: this.longCalls,
      installs,
      tree,
      events: this.#events,
    });
    this.#parked.again = (taken) => {
      shared.catchUp(true);
      files.creator = this;
      dispatch(this.#context, observer, taken);
    };
    this.listener.wakeOnSameCpu();
  }

  /** Handles the call that its listener has received. */
  handle(): void {
    if (this.listener.answerAgain()) return;
    // the usual case, for which nothing is made
    if (!this.#parked.isInstalling) this.#dispatch();
    else
      this.#parked.untilDeadHaveNothing((isLater) => {
        if (isLater) this.#shared.catchUp(true);
        this.#dispatch();
      });
  }

  #dispatch(): void {
    this.#shared.files.creator = this;
    dispatch(this.#context, this.observer);
  }

  /** Goes on for a moment with a call that takes long. */
  resume(milliseconds: number): void {
    this.#shared.files.creator = this;
    resumeLongCall(this.#context, this.observer, milliseconds);
  }

  /** Nodes have come or gone. */
  updateNodes(nodes: readonly DeviceNode[]): void {
    this.#nodes.update(nodes);
  }

  /** Tells of a write to one of the host's files that failed. */
  tellFailed(path: string, pid: number, error: KernelError): void {
    const program = readProc(pid, "comm")?.trim() ?? "a program";
    this.observer?.noticed?.(`${program}[${pid}]: write ${path} = ${error.code}: ${error.reason}`);
  }

  /** The last task has let go of the filter. */
  hangUp(): void {
    this.#hungUp = monotonic();
  }

  get isHungUp(): boolean {
    return this.#hungUp > 0;
  }

  /** Whether nothing of it is left. */
  isOver(): boolean {
    if (this.#hungUp === 0) return false;
    if (this.processes.size > 0) this.#hungUp = monotonic();
    const isClosed = this.processes.size === 0 && this.#shared.files.countOf(this) === 0;
    return isClosed || monotonic() - this.#hungUp > LAST_CLOSES_MS;
  }

  /** No call of it is answered any more: those of processes that still run are ENOSYS. */
  hangUpNow(): void {
    this.listener.close();
  }

  /** Lets go of what is left, when its files are released. */
  close(): void {
    this.processes.clear();
    this.next.free();
    this.#events?.close();
    this.#tree?.remove();
    close(this.#root);
  }
}

function nodeFiles(
  root: number,
  nodes: readonly DeviceNode[],
  { nodesBy = "server", launcher }: ProgramOptions,
  credentials: Credentials,
): NodeFiles {
  if (nodesBy === "server") return new NodeFiles(root, nodes);
  if (nodesBy === "nobody") return new NodeFiles(root, nodes, null);
  // with the rights of its user, nothing can be made or removed that the user could not
  const user = credentials.assume(launcher);
  return new NodeFiles(root, nodes, { makesDevices: false, during: (act) => user.during(act) });
}
