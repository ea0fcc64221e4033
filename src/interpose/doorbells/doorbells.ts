import { Arena } from "../../native/arena.ts";
import type { Epoll } from "../epoll.ts";
import { HOST_CALLS } from "../host-calls.ts";
import type { InjectedFile } from "../injected-file.ts";
import { close, syscall } from "../libc.ts";
import { readProc } from "../proc-file.ts";
import { decodeMessage, encodeMessage } from "./messages.ts";
import type { ToServer, ToTracer } from "./protocol.ts";
import { startTracer } from "./tracer-process.ts";

/** How long the tracer may take to answer, its start included. */
const PATIENCE_MS = 5000;
const BUFFER = 4096;
/** sendto(): a tracer that is gone is no signal. */
const MSG_NOSIGNAL = 0x4000;

/** The devices' numbers that programs see in /proc/PID/maps for our files. */
export interface FileSystem {
  readonly major: number;
  readonly minor: number;
}

/** A thread that waits in its mmap() for the tracer. */
interface Waiting {
  readonly pid: number;
  readonly device: string;
  /** performance.now() when it goes on without. */
  readonly deadline: number;
  /** Lets it go on. False when it was killed. */
  readonly go: () => boolean;
}

/**
 * Sees to it that a program which writes to a doorbell register of a mapping finds the device's answer in its next
 * instruction, as behind a real bus: a tracer has the processor stop the thread at that write, and the model looks.
 * What cannot be traced is looked at now and then as all mappings are. The tracer is started when the first such
 * mapping is made.
 */
export class Doorbells {
  readonly #epoll: Epoll;
  readonly #ring: (inode: number, offset: number) => void;
  readonly #notice: (message: string) => void;
  /** Processes that a notice was about. */
  readonly #noticed = new Set<number>();
  readonly #buffer = new Arena(BUFFER);
  #received = Buffer.alloc(0);
  readonly #waiting: Waiting[] = [];
  #usable = process.arch === "x64";
  /** The socket to the tracer; -1 when there is none. */
  fd = -1;

  /**
   * @param epoll where the tracer's socket is waited for
   * @param ring tells the model that the doorbell at an offset of a file was written
   * @param notice tells a person, in one line, of a program whose doorbells cannot be watched
   */
  constructor(epoll: Epoll, ring: (inode: number, offset: number) => void, notice: (message: string) => void) {
    this.#epoll = epoll;
    this.#ring = ring;
    this.#notice = notice;
  }

  /**
   * To be called before thread `tid` of process `pid` is let into an mmap() of a file: the thread stops when that is
   * done, and goes on when the doorbells are watched.
   * @param go lets it into the call; called later, while others are served
   * @returns false when it need not wait
   */
  arm(pid: number, tid: number, file: InjectedFile, { major, minor, go }: FileSystem & Pick<Waiting, "go">): boolean {
    const { doorbells, label } = file.description;
    if (doorbells.length === 0) return false;
    if (!this.#usable || (this.fd < 0 && !this.#start())) {
      this.#tell(pid, label);
      return false;
    }
    const { inode } = file;
    this.#waiting.push({ pid, device: label, deadline: performance.now() + PATIENCE_MS, go });
    this.#say({ type: "arm", pid, tid, mapping: { inode, deviceMajor: major, deviceMinor: minor, doorbells } });
    return true;
  }

  /** Threads that have waited too long go on without the tracer. */
  expire(): void {
    const first = this.#waiting[0];
    if (first !== undefined && first.deadline < performance.now()) this.#giveUp();
  }

  #tell(pid: number, device: string): void {
    if (this.#noticed.has(pid)) return;
    this.#noticed.add(pid);
    const tracer = Number(/^TracerPid:\s+(\d+)/m.exec(readProc(pid, "status") ?? "")?.[1] ?? 0);
    const why =
      tracer === 0 ? "it cannot be traced" : `${readProc(tracer, "comm")?.trimEnd()}[${tracer}] traces it already`;
    const what = "what it reads right after writing a doorbell may be old (docs/memory.md)";
    this.#notice(`process ${pid} maps registers of ${device}, and ${why}: ${what}`);
  }

  /** The socket is readable: does what the tracer asks for. */
  hear(): void {
    const length = syscall(HOST_CALLS.read, this.fd, this.#buffer.address, BUFFER);
    if (length <= 0) {
      this.#giveUp();
      return;
    }
    this.#received = Buffer.concat([this.#received, this.#buffer.bytes.subarray(0, length)]);
    for (let next = decodeMessage(this.#received); next; next = decodeMessage(this.#received)) {
      this.#received = Buffer.from(next.rest);
      const message = next.message as ToServer;
      if (message.type === "armed") this.#letIn(message.traced);
      else {
        this.#ring(message.inode, message.offset);
        this.#say({ type: "looked", tid: message.tid });
      }
    }
  }

  /** Lets go of all programs. */
  close(): void {
    this.#giveUp();
  }

  #start(): boolean {
    this.fd = startTracer() ?? -1;
    this.#usable = this.fd >= 0;
    if (this.#usable) this.#epoll.add(this.fd);
    return this.#usable;
  }

  /** The tracer answers in the order in which it was asked. */
  #letIn(traced: boolean): void {
    const waiting = this.#waiting.shift();
    if (waiting === undefined) return;
    const { pid, device, go } = waiting;
    const isThere = go();
    if (isThere && !traced) this.#tell(pid, device);
    // The number may be another's by now.
    else if (!isThere && traced) this.#say({ type: "forget", pid });
  }

  #say(message: ToTracer): void {
    if (this.fd < 0) return;
    const bytes = encodeMessage(message);
    this.#buffer.bytes.set(bytes);
    syscall(HOST_CALLS.sendto, this.fd, this.#buffer.address, bytes.length, MSG_NOSIGNAL);
  }

  /** Without a tracer mappings are looked at now and then. It lets go of programs by itself. */
  #giveUp(): void {
    this.#usable = false;
    if (this.fd < 0) return;
    this.#epoll.remove(this.fd);
    close(this.fd);
    this.fd = -1;
    while (this.#waiting.length > 0) this.#letIn(false);
  }
}
