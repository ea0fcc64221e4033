import { type ChildProcess, type StdioOptions, spawn } from "node:child_process";
import fs from "node:fs";
import type { Socket } from "node:net";
import { constants } from "node:os";
import { fileURLToPath } from "node:url";
import { InterposerError, type InterposerErrorCode } from "./interposer-error.ts";
import { decodeMessage, encodeMessage, type LaunchAnswer, type LaunchOrders } from "./launch-protocol.ts";

export interface LaunchOptions {
  /** Make a user namespace first, with unshare(1): this process may not mount. */
  readonly userNamespace: boolean;
  /** Descriptors above 2 that the program inherits under the same numbers. */
  readonly descriptors: readonly number[];
  /** For a util-linux older than 2.38, which cannot keep the user's own number: the program sees itself as user 0. */
  readonly mapToRoot?: boolean;
}

/** A launcher process on its way to becoming the program. */
export class Launch {
  readonly userNamespace: boolean;
  /** The status as a shell counts it: 128 + n when signal n ended the process. */
  readonly exited: Promise<number>;
  readonly #child: ChildProcess;
  readonly #control: Socket;
  #received = Buffer.alloc(0);
  #closed = false;
  #wake: (() => void) | undefined;
  /** What unshare(1), or a launcher that broke, had to say. */
  #complaint = "";

  constructor({ userNamespace, descriptors, mapToRoot = false }: LaunchOptions) {
    this.userNamespace = userNamespace;
    // The program's stderr travels under another number, so that what unshare(1) says can become part of an error.
    const stdio: (StdioOptions & unknown[])[number][] = [0, 1, "pipe"];
    for (const fd of descriptors) stdio[fd] = fd;
    const free = () => {
      for (let fd = 3; ; fd++) if (stdio[fd] === undefined) return fd;
    };
    const control = free();
    stdio[control] = "pipe";
    const standardError = free();
    stdio[standardError] = 2;
    const launcher = fileURLToPath(
      new URL(`./launcher${import.meta.url.endsWith(".ts") ? ".ts" : ".js"}`, import.meta.url),
    );
    const numbers = [control, standardError, ...descriptors].map(String);
    const node = [process.execPath, launcher, ...numbers];
    const mapping = mapToRoot ? ["--map-root-user"] : ["--map-current-user", "--keep-caps"];
    const command = userNamespace
      ? ["unshare", "--user", ...mapping, "--mount", "--propagation", "slave", "--", ...node]
      : node;
    this.#child = spawn(command[0]!, command.slice(1), {
      stdio: Array.from(stdio, (entry) => entry ?? "ignore") as StdioOptions,
      env: launcherEnvironment(),
    });
    this.#control = this.#child.stdio[control] as Socket;
    this.#child.stderr?.on("data", (text: Buffer) => {
      if (this.#complaint.length < 4096) this.#complaint += text.toString("utf8");
    });
    this.#control?.on("data", (bytes: Buffer) => {
      this.#received = Buffer.concat([this.#received, bytes]);
      this.#wake?.();
    });
    // A launcher that dies resets the socket; that is the same end as any other.
    this.#control?.on("error", () => {});
    this.#control?.on("close", () => {
      this.#closed = true;
      this.#wake?.();
    });
    this.exited = new Promise((resolve) => {
      this.#child.once("error", (error) => {
        this.#complaint = (error as NodeJS.ErrnoException).code === "ENOENT" ? "there is no unshare(1)" : error.message;
        this.#closed = true;
        this.#wake?.();
        resolve(127);
      });
      this.#child.once("exit", (code, signal) => resolve(code ?? 128 + (signal ? constants.signals[signal] : 0)));
    });
  }

  get pid(): number {
    return this.#child.pid ?? -1;
  }

  /** Sends the orders; resolves with the listener's number in the launcher. InterposerError when it cannot be done. */
  async prepare(orders: LaunchOrders): Promise<number> {
    this.#control.write(encodeMessage(orders));
    const answer = await this.#next();
    if (answer === undefined) throw await this.#gone();
    if ("error" in answer) throw new InterposerError(answer.error.code, answer.error.message);
    return answer.listener;
  }

  /** Lets the launcher become the program; resolves once it has. */
  async go(): Promise<void> {
    this.#control.write(encodeMessage("go"));
    const answer = await this.#next();
    if (answer !== undefined && "error" in answer) throw new InterposerError(answer.error.code, answer.error.message);
    this.#control.destroy();
    this.#child.stderr?.destroy();
  }

  /** Passes a signal on. Returns whether the process was there to get it. */
  signal(signal: NodeJS.Signals): boolean {
    return this.#child.kill(signal);
  }

  /** The next message, or undefined at the end of the stream. */
  async #next(): Promise<LaunchAnswer | undefined> {
    for (;;) {
      const decoded = decodeMessage(this.#received);
      if (decoded !== undefined) {
        this.#received = Buffer.from(decoded.rest);
        return decoded.message as LaunchAnswer;
      }
      if (this.#closed) return undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  async #gone(): Promise<InterposerError> {
    const status = await this.exited;
    // The pipe of a process that has ended may hold its last words still.
    await new Promise((resolve) => setTimeout(resolve, 10));
    const words = this.#complaint.trim().split("\n")[0] ?? "";
    const detail = words === "" ? `status ${status}` : words;
    if (!this.userNamespace) return new InterposerError("host-failed", `the launcher ended early (${detail})`);
    return new InterposerError(...namespaceAdvice(detail));
  }
}

/** What to do where user namespaces do not work. */
function namespaceAdvice(detail: string): [InterposerErrorCode, string] {
  if (process.getuid?.() === 0) {
    const docker = "--cap-add SYS_ADMIN --cap-add SYS_PTRACE --security-opt apparmor=unconfined";
    return [
      "not-permitted",
      `root has no CAP_SYS_ADMIN here and gets no user namespace: docker run needs ${docker} (${detail})`,
    ];
  }
  const needed = "without root, uvfio needs unprivileged user namespaces and unshare(1) of util-linux";
  const blocked = setting("apparmor_restrict_unprivileged_userns") === "1";
  const sysctl = "; sysctl kernel.apparmor_restrict_unprivileged_userns=0 allows them";
  return ["no-user-namespace", `${needed}${blocked ? sysctl : ""} (${detail})`];
}

function setting(name: string): string | undefined {
  try {
    return fs.readFileSync(`/proc/sys/kernel/${name}`, "utf8").trim();
  } catch {
    return undefined;
  }
}

/** Whether the error comes from an unshare(1) that does not know --map-current-user or --keep-caps. */
export function isOldUnshare(error: unknown): boolean {
  return error instanceof InterposerError && /(unrecognized|invalid|unknown) option/.test(error.message);
}

/** node's own variables (NODE_OPTIONS, ...) are meant for the program, if anything, and reach it with its environment. */
function launcherEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("NODE_")));
}
