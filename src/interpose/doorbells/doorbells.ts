import { Arena } from "../arena.ts";
import { Epoll } from "../epoll.ts";
import { HOST_CALLS } from "../host-calls.ts";
import type { InjectedFile } from "../injected-file.ts";
import { close, syscall } from "../libc.ts";
import { readProc } from "../proc-file.ts";
import { decodeMessage, encodeMessage } from "./messages.ts";
import type { ToServer, ToTracer } from "./protocol.ts";
import { startTracer } from "./tracer-process.ts";

/** How long the tracer may take to answer, its start included. */
const PATIENCE_MS = 5000;
const STEP_US = 100_000;
const BUFFER = 4096;
/** sendto(): a tracer that is gone is no signal. */
const MSG_NOSIGNAL = 0x4000;

/** The devices' numbers that programs see in /proc/PID/maps for our files. */
export interface FileSystem {
  readonly major: number;
  readonly minor: number;
}

/**
 * Sees to it that a program which writes to a doorbell register of a mapping finds the device's answer in its next instruction, as behind a real
 * bus: a tracer has the processor stop the thread at that write, and the model looks. What cannot be traced is looked at now
 * and then as all mappings are. The tracer is started when the first such mapping is made.
 */
export class Doorbells {
  readonly #epoll: Epoll;
  readonly #ring: (inode: number, offset: number) => void;
  readonly #notice: (message: string) => void;
  /** Processes that a notice was about. */
  readonly #noticed = new Set<number>();
  readonly #buffer = new Arena(BUFFER);
  #received = Buffer.alloc(0);
  #answer: boolean | undefined;
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
   * To be called before thread `tid` of process `pid` is let into an mmap() of a file: the thread stops when that is done, and goes on when the
   * doorbells are watched.
   */
  arm(pid: number, tid: number, file: InjectedFile, { major, minor }: FileSystem): void {
    const { doorbells } = file.description;
    if (doorbells.length === 0) return;
    this.#answer = undefined;
    if (this.#usable && (this.fd >= 0 || this.#start())) {
      const { inode } = file;
      this.#say({ type: "arm", pid, tid, mapping: { inode, deviceMajor: major, deviceMinor: minor, doorbells } });
      this.#waitForAnswer();
    }
    if (this.#answer !== true) this.#tell(pid, file.description.label);
  }

  #tell(pid: number, device: string): void {
    if (this.#noticed.has(pid)) return;
    this.#noticed.add(pid);
    const tracer = Number(/^TracerPid:\s+(\d+)/m.exec(readProc(pid, "status") ?? "")?.[1] ?? 0);
    const why =
      tracer === 0 ? "it cannot be traced" : `${readProc(tracer, "comm")?.trimEnd()}[${tracer}] traces it already`;
    const what = "what it reads right after writing a doorbell may be old (docs/interposer.md)";
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
      if (message.type === "armed") this.#answer = message.traced;
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

  /** Hits come in between, and whose thread they stop may be what the answer waits for. */
  #waitForAnswer(): void {
    const epoll = new Epoll();
    epoll.add(this.fd);
    const deadline = performance.now() + PATIENCE_MS;
    while (this.#answer === undefined && this.fd >= 0) {
      if (epoll.wait(STEP_US) > 0) this.hear();
      else if (performance.now() > deadline) this.#giveUp();
    }
    epoll.close();
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
  }
}
