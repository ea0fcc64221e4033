import fs from "node:fs";
import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from "node:worker_threads";
import { InterposerError, type InterposerErrorCode } from "./interposer-error.ts";
import type { ServeOrder, WorkerMessage, WorkerStart } from "./worker-protocol.ts";

export type HostMessage = Extract<WorkerMessage, { type: "host" }>;

/** How long a thread that is to end by itself may take. */
const PATIENCE_MS = 5000;

/** The Worker that serves, as the main thread sees it. Each promise rejects when the thread fails. */
export class ServingThread {
  /** What the launcher is to put before the program. */
  readonly host: Promise<HostMessage>;
  /** The last task under the filter is gone, and everything is let go of. */
  readonly ended: Promise<void>;
  readonly #worker: Worker;
  readonly #port: MessagePort;
  readonly #serving: Promise<void>;
  #stop: number | undefined;
  #listener: number | undefined;
  #stopAsked = false;
  readonly #exited: Promise<void>;
  /** The thread has what it builds the host from, and no order to serve yet. */
  #awaitsOrder = false;

  /** @param url a module that calls serveProgram(): the thread boots from now on, before it is known what it shall serve */
  constructor(url: URL) {
    const { port1, port2 } = new MessageChannel();
    const start: WorkerStart = { port: port2 };
    this.#port = port1;
    // Left to itself, a Worker writes through process.stdout, and merely touching that makes a pipe non-blocking: for the
    // program too, which shares it.
    this.#worker = new Worker(url, { workerData: start, transferList: [port2], stdout: true, stderr: true });
    this.#worker.stdout.on("data", (text: Uint8Array) => fs.writeSync(1, text));
    this.#worker.stderr.on("data", (text: Uint8Array) => fs.writeSync(2, text));
    this.#exited = new Promise((resolve) => this.#worker.once("exit", () => resolve()));
    const host = deferred<HostMessage>();
    const serving = deferred<void>();
    const ended = deferred<void>();
    const fail = (error: unknown) => {
      for (const { reject } of [host, serving, ended]) reject(error);
    };
    // A rejection that nobody waits for at the moment is none that nobody will see.
    for (const { promise } of [host, serving, ended]) promise.catch(() => {});
    this.host = host.promise;
    this.#serving = serving.promise;
    this.ended = ended.promise;
    const hear = (message: WorkerMessage) => {
      if (message.type === "host") host.resolve(message);
      else if (message.type === "failed")
        fail(new InterposerError(message.code as InterposerErrorCode, message.message));
      else if (message.type === "closed") this.#listener = undefined;
      else if (message.type === "ended") ended.resolve();
      else {
        this.#stop = message.stop;
        this.#listener = message.listener;
        if (this.#stopAsked) this.stop();
        serving.resolve();
      }
    };
    port1.on("message", hear);
    // What the thread said last may still be on its way when it is over.
    const hearLast = () => {
      for (let last = receiveMessageOnPort(port1); last; last = receiveMessageOnPort(port1)) hear(last.message);
    };
    this.#worker.once("error", (error) => {
      hearLast();
      // A thread that died of something that JavaScript cannot catch still has its descriptors: with the listener
      // closed, the program's calls answer ENOSYS instead of waiting for ever.
      if (this.#listener !== undefined) fs.closeSync(this.#listener);
      fail(error);
    });
    this.#worker.once("exit", (code) => {
      hearLast();
      fail(new InterposerError("host-failed", `the serving thread ended (${code})`));
    });
    // A thread inside a system call holds up the end of the process until it is told to stop.
    process.once("exit", this.#atExit);
  }

  readonly #atExit = () => this.stop();

  /** Has the host built, with what serveProgram()'s callback gets: `host` resolves then. */
  build(data: unknown): void {
    this.#awaitsOrder = true;
    this.#port.postMessage(data);
  }

  /** Resolves when the first call can be taken. */
  serve(order: ServeOrder): Promise<void> {
    this.#awaitsOrder = false;
    this.#port.postMessage(order);
    return this.#serving;
  }

  /** Ends serving now; calls of programs that still run answer ENOSYS. */
  stop(): void {
    this.#stopAsked = true;
    if (this.#stop !== undefined) fs.writeSync(this.#stop, new BigUint64Array([1n]));
  }

  /**
   * Lets a thread that was not needed end by itself: it may be loading a native module, and to be terminated just then is a
   * fatal error of the whole process.
   */
  async #dismiss(): Promise<void> {
    this.#port.postMessage(null);
    let patience: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      patience = setTimeout(resolve, PATIENCE_MS);
    });
    await Promise.race([this.#exited, late]);
    clearTimeout(patience);
  }

  /** Ends the thread, whatever it is doing. */
  async close(): Promise<void> {
    process.off("exit", this.#atExit);
    this.stop();
    if (this.#stop !== undefined) await this.ended.catch(() => {});
    else if (this.#awaitsOrder) await this.#dismiss();
    await this.#worker.terminate();
    if (this.#stop !== undefined) fs.closeSync(this.#stop);
    this.#stop = undefined;
    this.#port.close();
  }
}

interface Deferred<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (error: unknown) => void;
}

function deferred<T>(): Deferred<T> {
  let resolve!: (value: T) => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}
