import type { FileTree } from "../../kernel/file-tree.ts";
import type { HostFiles } from "../../kernel/host-files.ts";
import type { DeviceNode } from "../../kernel/host-kernel.ts";
import { errnoName } from "../../uapi/errno.ts";
import { Epoll } from "../epoll.ts";
import { InterposerError } from "../interposer-error.ts";
import type { Launch } from "../launch/launch.ts";
import { close } from "../libc.ts";
import type { LaunchHost, ProgramServer } from "../run-program.ts";
import { type FromRun, type FromServer, PROTOCOL, type Request, receivedTree, type WorldMessage } from "./messages.ts";
import { connectTo, fitsSocket, receiveSome, sendSome } from "./unix-socket.ts";

/** How long a server may take for an answer to somebody who waits for nothing else. */
const PATIENCE_US = 30_000_000;

/** A socket of `uvfio serve`, as those who ask see it. */
export class ServeSocket {
  readonly path: string;
  readonly fd: number;
  #text = "";
  readonly #decoder = new TextDecoder();
  readonly #lines: FromServer[] = [];

  readonly #patience: number;

  /** InterposerError when nobody serves there. @param patience microseconds that an answer may take; -1 for ever */
  constructor(path: string, patience = PATIENCE_US) {
    this.path = path;
    this.#patience = patience;
    if (!fitsSocket(path))
      throw new InterposerError("bad-input", `${path}: the path of a socket can have 107 bytes at most`);
    this.fd = connectTo(path);
    if (this.fd < 0)
      throw new InterposerError("bad-input", `${path}: ${noServer(errnoName(-this.fd) ?? String(-this.fd))}`);
  }

  /** Sends a message, with a descriptor of ours when one is given; waits until it has gone. */
  send(message: Request | FromRun, descriptor?: number): void {
    let bytes: Uint8Array = Buffer.from(`${JSON.stringify(message)}\n`);
    let attached = descriptor;
    while (bytes.length > 0) {
      const sent = sendSome(this.fd, bytes, attached, true);
      // what the server has said before it went is read next
      if (sent < 0) return;
      attached = undefined;
      bytes = bytes.subarray(sent);
    }
  }

  /** The messages that are there; undefined at the end. @param waits for one */
  receive(waits: boolean): FromServer[] | undefined {
    while (this.#lines.length === 0) {
      if (waits) this.#waitForIt();
      const received = receiveSome(this.fd, waits);
      if (typeof received === "number") return waits ? undefined : [];
      if (received.bytes.length === 0) return undefined;
      for (const fd of received.descriptors) close(fd);
      this.#take(received.bytes);
      if (!waits) break;
    }
    return this.#lines.splice(0);
  }

  #waitForIt(): void {
    const epoll = new Epoll();
    epoll.add(this.fd);
    const count = epoll.wait(this.#patience);
    epoll.close();
    if (count === 0)
      throw new InterposerError("host-failed", `${this.path}: no answer in ${PATIENCE_US / 1e6} seconds`);
  }

  #take(bytes: Buffer): void {
    const lines = (this.#text + this.#decoder.decode(bytes, { stream: true })).split("\n");
    this.#text = lines.pop()!;
    for (const line of lines) {
      try {
        this.#lines.push(JSON.parse(line) as FromServer);
      } catch {
        throw new InterposerError("bad-input", `${this.path}: that is no socket of uvfio serve`);
      }
    }
  }

  /** Asks, and waits for the answer. InterposerError when it is refused. */
  ask<K extends keyof FromServer>(
    message: Request | FromRun,
    answer: K,
    meanwhile: (message: FromServer) => void,
    descriptor?: number,
  ): NonNullable<FromServer[K]> {
    this.send(message, descriptor);
    for (;;) {
      const messages = this.receive(true);
      if (messages === undefined) throw this.gone();
      for (const [index, each] of messages.entries()) {
        if (each.refused !== undefined) throw new InterposerError("host-failed", `${this.path}: ${each.refused}`);
        const value = each[answer];
        if (value === undefined || value === null) {
          meanwhile(each);
          continue;
        }
        this.#lines.push(...messages.slice(index + 1));
        return value;
      }
    }
  }

  gone(): InterposerError {
    return new InterposerError("host-failed", `${this.path}: uvfio serve has ended, and with it the host`);
  }

  close(): void {
    close(this.fd);
  }
}

function noServer(errno: string): string {
  if (errno === "ENOENT") return "no uvfio serve is there; start it with uvfio serve --socket PATH";
  if (errno === "ECONNREFUSED") return "nobody serves there any more; uvfio serve --socket PATH replaces it";
  if (errno === "EACCES") return "no permission to connect (EACCES): see uvfio serve --socket-mode";
  return `cannot be connected to (${errno})`;
}

/** Who hears what a served host says of a run. */
export interface RemoteEvents {
  failed(failure: unknown): void;
  noticed(line: string): void;
  said(line: string): void;
  traced(operation: unknown): void;
  counted(counters: unknown): void;
  ended(): void;
}

/** A host that `uvfio serve` keeps, for a program that is launched here. */
export class RemoteHost implements LaunchHost {
  readonly #socket: ServeSocket;
  readonly #events: RemoteEvents;
  readonly #name: string;
  readonly world: WorldMessage;
  readonly files: HostFiles;

  /**
   * @param request what the run wants
   * @param name of the program, for people at the server
   */
  constructor(path: string, request: Request, name: string, events: RemoteEvents) {
    this.#socket = new ServeSocket(path);
    this.#events = events;
    this.#name = name;
    try {
      this.world = this.#socket.ask(request, "world", this.#hear);
    } catch (error) {
      this.close();
      throw error;
    }
    this.files = new RemoteFiles(this.world, () =>
      receivedTree(this.#socket.ask({ snapshot: true }, "snapshot", this.#hear)),
    );
  }

  static request(options: Omit<Request, "uvfio" | "do">): Request {
    return { uvfio: PROTOCOL, do: "run", ...options };
  }

  get nodes(): readonly DeviceNode[] {
    return this.world.nodes;
  }

  get trapReadOpens(): boolean {
    return this.world.trapReadOpens;
  }

  get supervisor(): number {
    return this.world.pid;
  }

  takeFuse(fd: number): void {
    this.#socket.send({ fuse: { uid: process.geteuid!(), gid: process.getegid!() } }, fd);
    close(fd);
  }

  begin(listener: number, { pid }: Launch): ProgramServer {
    try {
      this.#socket.ask({ serve: { pid, name: this.#name } }, "serving", this.#hear, listener);
    } finally {
      close(listener);
    }
    return new RemoteServer(this.#socket, this.#hear);
  }

  ended(): void {
    this.#events.ended();
  }

  close(): void {
    this.#socket.close();
  }

  readonly #hear = ({ failed, noticed, said, trace, counters }: FromServer): void => {
    if (failed !== undefined) this.#events.failed(failed);
    if (noticed !== undefined) this.#events.noticed(noticed);
    if (said !== undefined) this.#events.said(said);
    if (trace !== undefined) this.#events.traced(trace);
    if (counters !== undefined) this.#events.counted(counters);
  };
}

/** Waits while somebody else serves the program. */
class RemoteServer implements ProgramServer {
  readonly #socket: ServeSocket;
  readonly #hear: (message: FromServer) => void;
  readonly #epoll = new Epoll();
  readonly #watched = new Map<number, () => boolean>();
  #over = false;

  constructor(socket: ServeSocket, hear: (message: FromServer) => void) {
    this.#socket = socket;
    this.#hear = hear;
    this.#epoll.add(socket.fd);
  }

  watch(fd: number, action: () => boolean): void {
    this.#epoll.add(fd);
    this.#watched.set(fd, action);
  }

  async serve(): Promise<void> {
    try {
      while (!this.#over) {
        const count = await this.#epoll.waitAside(-1);
        const ready = Array.from({ length: Math.max(count, 0) }, (_, index) => this.#epoll.descriptor(index));
        for (const fd of ready) {
          if (fd === this.#socket.fd) this.#listen();
          else if (this.#watched.get(fd)?.()) {
            this.#watched.delete(fd);
            this.#epoll.remove(fd);
          }
        }
      }
    } finally {
      this.#epoll.close();
    }
  }

  #listen(): void {
    const messages = this.#socket.receive(false);
    if (messages === undefined) throw this.#socket.gone();
    for (const message of messages) {
      this.#hear(message);
      if (message.refused !== undefined)
        throw new InterposerError("host-failed", `${this.#socket.path}: ${message.refused}`);
      if (message.ended) this.#over = true;
    }
  }

  stop(): void {
    this.#socket.send({ leave: true });
  }
}

/** What the server has said of the host's files. */
class RemoteFiles implements HostFiles {
  readonly #world: WorldMessage;
  readonly #snapshot: () => FileTree;
  readonly rest: FileTree;

  constructor(world: WorldMessage, snapshot: () => FileTree) {
    this.#world = world;
    this.#snapshot = snapshot;
    this.rest = receivedTree(world.rest);
  }

  get grafts() {
    return this.#world.grafts;
  }

  get roots(): readonly string[] {
    return this.#world.roots;
  }

  /** They are looked for where they are served. */
  find(): undefined {
    return undefined;
  }

  names(): readonly string[] {
    return [];
  }

  snapshot(): FileTree {
    return this.#snapshot();
  }
}
