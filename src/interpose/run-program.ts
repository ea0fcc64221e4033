import type { HostFiles } from "../kernel/host-files.ts";
import type { DeviceNode } from "../kernel/host-kernel.ts";
import { descendants, signalAll } from "./descendants.ts";
import { Epoll } from "./epoll.ts";
import { collectAlone } from "./garbage.ts";
import { InterposerError } from "./interposer-error.ts";
import { findProgram } from "./launch/find-program.ts";
import { Guard } from "./launch/guard.ts";
import { Launch, type World } from "./launch/launch.ts";
import { adoptOrphans } from "./launch/take-listener.ts";
import { LedTree } from "./led-tree.ts";
import { inForeground, mayMount, ownEnvironment } from "./process-facts.ts";
import { giveUpRights } from "./rights.ts";
import type { Served } from "./served.ts";
import { Server } from "./server.ts";
import { started } from "./started.ts";

export interface RunOptions {
  /** The program and its arguments; the first is looked for along PATH and becomes argv[0] as it stands. */
  readonly argv: readonly (string | Uint8Array)[];
  /** The program's environment; left out, this process' own, byte for byte. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Left out, this process' own. */
  readonly cwd?: string;
  /** Descriptors above 2 that the program inherits: see inheritedDescriptors(). */
  readonly descriptors?: readonly number[];
  /** Its stdin, stdout and stderr; this process's own for each that is left out. */
  readonly standard?: readonly (number | undefined)[];
  /** Answer fstat() and its kin for our descriptors. On by default. */
  readonly trapFstat?: boolean;
  /** Answer stat() of a node by path as well: FilterOptions.trapPathStat. Off by default. */
  readonly trapPathStat?: boolean;
  /** Ends the program when it takes longer. */
  readonly limit?: TimeLimit;
  /** Use a user namespace even though this process may mount. */
  readonly userNamespace?: boolean;
  /**
   * Serve the host's /sys as a file system, where that can be. On by default; otherwise it shows what was at the start.
   */
  readonly serveFiles?: boolean;
  /**
   * false: the program gets no mounts and no namespaces, and is led to the host's files by its calls; true: it gets
   * them, or does not run. Left out: without where they are refused.
   */
  readonly mounts?: boolean;
}

export interface TimeLimit {
  readonly milliseconds: number;
  /** Called when the time is over, before the program is told. */
  readonly expired: () => void;
}

/** Sent to uvfio, these go on to the program. Ctrl-C and Ctrl-\ of a terminal reach it without us. */
const FORWARDED = ["SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGALRM"] as const;
const FROM_TERMINAL = ["SIGINT", "SIGQUIT"] as const;
/** How long a program that has lost its host may take to end by itself. */
const PATIENCE_US = 2_000_000;

/**
 * Runs a program against a host. Resolves with the program's exit status (128 + n when signal n ended it) when the last
 * process that the program left behind is gone too, or when a signal arrives after the program itself has ended.
 * InterposerError when it could not be started.
 *
 * Calls are served by this thread; its event loop runs when there is none to serve.
 */
export function runProgram(served: Served, options: RunOptions): Promise<number> {
  return launchProgram(new LocalHost(served), options);
}

/** Who serves a program that is launched here. */
export interface LaunchHost {
  readonly files: HostFiles;
  readonly nodes: readonly DeviceNode[];
  /** Opens for reading only are handed over too: World.trapReadOpens. */
  readonly trapReadOpens: boolean;
  /** The process that will look into the program. */
  readonly supervisor: number;
  /** Takes the descriptor that the host's files are served by, and serves them from now on; here when left out. */
  readonly takeFuse?: (fd: number) => void;
  /** It can serve programs that get no mounts. */
  readonly leadsPaths?: boolean;
  /**
   * Serves the program from now on.
   * @param listener the seccomp listener; it is the host's to close
   * @param tree where its paths lead, when it has no mounts; removed at the end
   */
  begin(listener: number, launch: Launch, userNamespace: boolean, tree?: LedTree): ProgramServer;
  /** What a person should know. A line. */
  noticed?(line: string): void;
  /** The program's last task is gone. */
  ended?(): void;
}

/** Serves one program. */
export interface ProgramServer {
  /** Has `action` called whenever a descriptor is readable, until it returns true. What it throws ends serving. */
  watch(fd: number, action: () => boolean): void;
  /** Serves to the end, between which the event loop runs. */
  serve(): Promise<void>;
  /** Ends serving; calls of programs that still run answer ENOSYS. */
  stop(): void;
}

/** A host in this process. */
class LocalHost implements LaunchHost {
  readonly #served: Served;
  readonly supervisor = process.pid;

  constructor(served: Served) {
    this.#served = served;
  }

  get files(): HostFiles {
    return this.#served.kernel.files;
  }

  get nodes(): readonly DeviceNode[] {
    return this.#served.kernel.deviceNodes();
  }

  get trapReadOpens(): boolean {
    return this.#served.kernel.hasProcFiles ?? false;
  }

  readonly leadsPaths = true;

  begin(listener: number, launch: Launch, userNamespace: boolean, tree?: LedTree): ProgramServer {
    const { kernel, observer } = this.#served;
    const server = new Server({ kernel, observer });
    server.add({ listener, kernel, launcher: launch.pid, userNamespace, observer, fuse: launch.fuse, tree });
    return server;
  }

  noticed(line: string): void {
    this.#served.observer?.noticed?.(line);
  }

  ended(): void {
    this.#served.ended?.();
  }
}

/** Runs a program on whatever host serves it: see runProgram(). */
export async function launchProgram(host: LaunchHost, options: RunOptions): Promise<number> {
  const { argv, env, cwd = null, descriptors = [], limit, trapFstat = true, userNamespace = !mayMount() } = options;
  const { serveFiles = true, trapPathStat = false } = options;
  checkArguments(options);
  const words = argv.map((text) => Buffer.from(text as string));
  const variables = environment(env);
  const program = locate(words[0]!, variables, cwd ?? ".");
  adoptOrphans();
  const { mounts, standard } = options;
  const shown = { cwd, trapFstat, trapPathStat, userNamespace, serveFiles };
  const order: Order = { words, variables, program, descriptors, standard, limit, shown };
  if (mounts === false) return runOnce(host, order, true);
  try {
    return await runOnce(host, order, false);
  } catch (error) {
    if (mounts === true || !host.leadsPaths || !isRefusal(error)) throw error;
    host.noticed?.(
      `no mounts for the program: ${error.message}; so its calls are led to the host's files (--no-mounts)`,
    );
    return runOnce(host, order, true);
  }
}

/** A program that is to be run, as it was found. */
interface Order {
  readonly words: readonly Buffer[];
  readonly variables: readonly Buffer[];
  /** Where it lies. */
  readonly program: Buffer;
  readonly descriptors: readonly number[];
  readonly standard: readonly (number | undefined)[] | undefined;
  readonly limit: TimeLimit | undefined;
  readonly shown: Pick<World, "cwd" | "trapFstat" | "trapPathStat" | "userNamespace" | "serveFiles">;
}

/** The process may not have what showing it the host's files by mounts takes. */
function isRefusal(error: unknown): error is InterposerError {
  return error instanceof InterposerError && (error.code === "not-permitted" || error.code === "no-user-namespace");
}

/** @param led without mounts */
async function runOnce(host: LaunchHost, order: Order, led: boolean): Promise<number> {
  const { words, variables, program, descriptors, standard, limit, shown } = order;
  const userNamespace = shown.userNamespace && !led;
  const launch = new Launch(descriptors, standard, led);
  const signals = new Signals(launch);
  let guard: Guard | undefined;
  let tree: LedTree | undefined;
  let takeBack = () => {};
  let collectTogether = () => {};
  const deadline = limit && new Deadline(limit, launch, () => signals.server?.stop());
  try {
    const { files, nodes, supervisor, takeFuse, trapReadOpens } = host;
    if (led) tree = new LedTree(files, nodes);
    const world = { ...shown, files, nodes, trapReadOpens, userNamespace, supervisor, ...(tree && { tree }) };
    const listener = launch.prepare({ ...world, ...(takeFuse && { takeFuse: (fd) => takeFuse.call(host, fd) }) });
    const server = host.begin(listener, launch, userNamespace, tree);
    signals.server = server;
    server.watch(launch.control, () => launch.hear());
    server.watch(launch.pidfd, () => {
      launch.wait();
      signals.programEnded = true;
      return true;
    });
    guard = new Guard(launch.pid, led);
    launch.become(program, words, variables);
    takeBack = giveUpRights();
    started();
    const served = server.serve();
    // It comes back when it first waits aside. By then programs that end at once have, and a timer is not worth its
    // while.
    collectTogether = collectAlone(signals.programEnded);
    await served;
    host.ended?.();
    return launch.wait();
  } catch (error) {
    const status = await terminate(launch);
    // A signal may also have ended a launcher that was not the program yet.
    if (signals.seen && status > 128) return status;
    throw error;
  } finally {
    deadline?.release();
    signals.release();
    guard?.release();
    tree?.remove();
    takeBack();
    collectTogether();
    launch.close();
  }
}
/** What signals to this process do while a program runs. */
class Signals {
  server: ProgramServer | undefined;
  programEnded = false;
  seen = false;
  readonly #launch: Launch;

  constructor(launch: Launch) {
    this.#launch = launch;
    for (const signal of FORWARDED) process.on(signal, this.#pass);
    for (const signal of FROM_TERMINAL) process.on(signal, this.#passUnlessTerminal);
    // A thread that waits inside a system call would hold up the end of the process.
    process.on("exit", this.#stop);
  }

  readonly #stop = () => this.server?.stop();

  readonly #pass = (signal: NodeJS.Signals) => {
    this.seen = true;
    if (this.programEnded || !this.#launch.signal(signal)) this.#stop();
  };

  readonly #passUnlessTerminal = (signal: NodeJS.Signals) => {
    this.seen = true;
    if (this.programEnded) this.#stop();
    else if (!inForeground()) this.#pass(signal);
  };

  release(): void {
    for (const signal of FORWARDED) process.off(signal, this.#pass);
    for (const signal of FROM_TERMINAL) process.off(signal, this.#passUnlessTerminal);
    process.off("exit", this.#stop);
  }
}

/** Ends a program that takes too long, and what it has started: it is asked, then killed, then not served any more. */
class Deadline {
  #timer: NodeJS.Timeout;
  readonly #steps: (() => void)[];

  constructor({ milliseconds, expired }: TimeLimit, launch: Launch, stop: () => void) {
    this.#steps = [
      () => {
        expired();
        launch.signal("SIGTERM");
      },
      () => {
        const all = descendants(launch.pid);
        launch.signal("SIGKILL");
        signalAll(all, "SIGKILL");
      },
      stop,
    ];
    this.#timer = setTimeout(this.#next, milliseconds);
  }

  readonly #next = () => {
    this.#steps.shift()!();
    if (this.#steps.length > 0) this.#timer = setTimeout(this.#next, PATIENCE_US / 1000);
  };

  release(): void {
    clearTimeout(this.#timer);
  }
}

/** Ends a program that is not served any more. */
async function terminate(launch: Launch): Promise<number> {
  const epoll = new Epoll();
  epoll.add(launch.pidfd);
  if (launch.signal("SIGTERM") && (await epoll.waitAside(PATIENCE_US)) < 1) launch.signal("SIGKILL");
  epoll.close();
  return launch.wait();
}

function checkArguments({ argv, env }: RunOptions): void {
  if (argv.length === 0) throw new InterposerError("bad-input", "no program is given");
  const texts = [...argv, ...Object.entries(env ?? {}).flat()];
  for (const text of texts) {
    if (text === undefined) continue;
    if (typeof text === "string" ? text.includes("\0") : text.includes(0)) {
      throw new InterposerError("bad-input", "an argument or environment variable holds a NUL byte");
    }
  }
}

function environment(env: RunOptions["env"]): Buffer[] {
  if (env === undefined) return ownEnvironment();
  return Object.entries(env).flatMap(([name, value]) => (value === undefined ? [] : [Buffer.from(`${name}=${value}`)]));
}

/**
 * From the filter on, an open of the launcher's would wait for a supervisor that waits for it: the program is found
 * before.
 */
function locate(name: Buffer, env: readonly Buffer[], directory: string): Buffer {
  const path = env.find((entry) => entry.toString("latin1", 0, 5) === "PATH=")?.subarray(5);
  return findProgram(name, path, directory);
}
