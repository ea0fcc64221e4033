import { InterposerError } from "./interposer-error.ts";
import { isOldUnshare, Launch } from "./launch.ts";
import type { LaunchOrders } from "./launch-protocol.ts";
import { inForeground, inheritedOpenFiles, mayMount, ownEnvironment } from "./process-facts.ts";
import { type HostMessage, ServingThread } from "./serving-thread.ts";

/** What can begin before it is known which program runs. */
export interface PrepareOptions {
  /** A module that calls serveProgram(). */
  readonly workerUrl: URL;
  /** Descriptors above 2 that the program inherits: see inheritedDescriptors(). */
  readonly descriptors?: readonly number[];
  /** Use a user namespace even though this process may mount. */
  readonly userNamespace?: boolean;
}

export interface RunOptions {
  /** The program and its arguments; the first is looked for along PATH and becomes argv[0] as it stands. */
  readonly argv: readonly (string | Uint8Array)[];
  /** The program's environment; left out, this process' own, byte for byte. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Left out, this process' own. */
  readonly cwd?: string;
  /** What serveProgram()'s callback gets; structured-cloned. */
  readonly workerData?: unknown;
  /** Answer fstat() and its kin for our descriptors. On by default. */
  readonly trapFstat?: boolean;
}

/** Sent to uvfio, these go on to the program. Ctrl-C and Ctrl-\ of a terminal reach it without us. */
const FORWARDED = ["SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGALRM"] as const;
/** How long a program that has lost its host may take to end by itself. */
const PATIENCE_MS = 2000;
const FROM_TERMINAL = ["SIGINT", "SIGQUIT"] as const;

/** A launcher and a serving thread, both booting: what the start of a program waits for longest. */
export class Preparation {
  readonly #descriptors: readonly number[];
  readonly #userNamespace: boolean;
  readonly #server: ServingThread;
  #launch: Launch;
  #ended = false;
  #signalled = false;

  constructor({ workerUrl, descriptors = [], userNamespace = !mayMount() }: PrepareOptions) {
    this.#descriptors = descriptors;
    this.#userNamespace = userNamespace;
    this.#server = new ServingThread(workerUrl);
    this.#launch = new Launch({ userNamespace, descriptors });
  }

  /**
   * Runs a program against the host that the serving thread builds; once. Resolves with the program's exit status (128 + n
   * when signal n ended it) when the last process that the program left behind is gone too, or when a signal arrives after
   * the program itself has ended. InterposerError when it could not be started.
   */
  async run(options: RunOptions): Promise<number> {
    const server = this.#server;
    for (const signal of FORWARDED) process.on(signal, this.#pass);
    for (const signal of FROM_TERMINAL) process.on(signal, this.#passUnlessTerminal);
    try {
      checkArguments(options);
      server.build(options.workerData);
      const listener = await this.#orderLaunch(launchOrders(options, await server.host, this.#userNamespace));
      await server.serve({ pid: this.#launch.pid, listener, userNamespace: this.#userNamespace });
      await this.#launch.go();
      // A thread that fails interrupts the wait for the program.
      await Promise.race([this.#launch.exited, server.ended]);
      const status = await this.#launch.exited;
      this.#ended = true;
      await server.ended;
      return status;
    } catch (error) {
      server.stop();
      const status = await terminate(this.#launch);
      // A signal may also have ended a launcher that was not the program yet.
      if (this.#signalled && status > 128) return status;
      throw error;
    } finally {
      await server.close();
      for (const signal of FORWARDED) process.off(signal, this.#pass);
      for (const signal of FROM_TERMINAL) process.off(signal, this.#passUnlessTerminal);
    }
  }

  /** There is nothing to run after all. */
  async cancel(): Promise<void> {
    this.#launch.signal("SIGKILL");
    await this.#server.close();
    await this.#launch.exited;
  }

  async #orderLaunch(orders: LaunchOrders): Promise<number> {
    try {
      return await this.#launch.prepare(orders);
    } catch (error) {
      if (!isOldUnshare(error)) throw error;
      this.#launch = new Launch({ userNamespace: true, descriptors: this.#descriptors, mapToRoot: true });
      return this.#launch.prepare(orders);
    }
  }

  readonly #pass = (signal: NodeJS.Signals) => {
    this.#signalled = true;
    if (this.#ended || !this.#launch.signal(signal)) this.#server.stop();
  };

  readonly #passUnlessTerminal = (signal: NodeJS.Signals) => {
    this.#signalled = true;
    if (this.#ended) this.#server.stop();
    else if (!inForeground()) this.#pass(signal);
  };
}

/** Prepares and runs in one. */
export function runProgram(options: PrepareOptions & RunOptions): Promise<number> {
  return new Preparation(options).run(options);
}

/** Ends a program that is not served any more. */
async function terminate(launch: Launch): Promise<number> {
  launch.signal("SIGTERM");
  const patience = setTimeout(() => launch.signal("SIGKILL"), PATIENCE_MS);
  const status = await launch.exited;
  clearTimeout(patience);
  return status;
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

function launchOrders(
  { argv, env, cwd, trapFstat = true }: RunOptions,
  host: HostMessage,
  userNamespace: boolean,
): LaunchOrders {
  const base64 = (text: string | Uint8Array) => Buffer.from(text as string).toString("base64");
  const variables = env
    ? Object.entries(env).flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${value}`]))
    : ownEnvironment();
  return {
    tree: host.tree,
    nodes: host.nodes,
    argv: argv.map(base64),
    env: variables.map(base64),
    cwd: cwd ?? null,
    trapFstat,
    openFiles: inheritedOpenFiles(),
    userNamespace,
  };
}
