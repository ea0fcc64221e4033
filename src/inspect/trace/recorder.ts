import type { AddressSpace } from "../../kernel/address-space.ts";
import { type FileDescription, ForeignFile } from "../../kernel/file-description.ts";
import { monotonic } from "../../kernel/monotonic.ts";
import { ERRNO } from "../../uapi/errno.ts";
import type { IoctlEncoding } from "../../uapi/ioctl.ts";
import type { Operation } from "../replay/operation.ts";
import type { CallResult, ModelCall, Pin, Watcher } from "../watch/watcher.ts";
import { CallInHand } from "./call-in-hand.ts";
import { type Composed, Composer } from "./compose.ts";
import { MappedRegisters } from "./mapped-registers.ts";
import { RecordingNames } from "./recording-names.ts";
import type { ReplayedMemory } from "./replayed-memory.ts";
import { ReplayedRights } from "./replayed-rights.ts";
import { ReplayedSpaces } from "./replayed-spaces.ts";

/** Device time that matters to a replay, in microseconds. */
const WAIT_US = 1000;

export interface RecorderOptions {
  /** Of the host. */
  readonly pageSize: number;
  readonly encoding: IoctlEncoding;
  readonly write: (operation: Operation) => void;
}

/** One operation with what must come before it and after it. */
interface Segment {
  operation: Composed | undefined;
  readonly before: Operation[];
}

/**
 * Writes down every call as operations of the recordings' format (docs/trace.md): with the memory that the model
 * touched, so that whoever repeats them finds the same there.
 */
export class Recorder implements Watcher {
  readonly #options: RecorderOptions;
  readonly #names = new RecordingNames();
  readonly #rights = new WeakMap<ReplayedMemory, ReplayedRights>();
  readonly #spaces: ReplayedSpaces;
  readonly #registers: MappedRegisters;
  readonly #composer: Composer;
  #segments: Segment[] = [];
  /** What was last composed; a transport may add to it before it is written. */
  #held: Composed | undefined;
  #heldAfter: readonly Operation[] = [];
  #inHand: CallInHand | undefined;
  /** Calls in the middle of which another is made: a request that looks for a file may notice that one closed. */
  readonly #outer: { readonly inHand: CallInHand; readonly segments: Segment[] }[] = [];
  #last = monotonic();

  constructor(options: RecorderOptions) {
    this.#options = options;
    this.#spaces = new ReplayedSpaces(options.pageSize, this.#names);
    this.#registers = new MappedRegisters(options.pageSize);
    this.#composer = new Composer(options, this.#names, this.#spaces, this.#registers);
  }

  readonly model = {
    registerWritten: (device: string, region: number, offset: number, width: number, value: bigint) =>
      this.#registerWritten(device, region, offset, width, value),
    worked: (pieces: number) => this.#worked(pieces),
  };

  /** The transport knows the number of the descriptor that the last call was made on, or that an open gave. */
  addDescriptor(fd: number): void {
    // a transport has calls that the model does not hear of: those are about another one
    if (this.#held && this.#held.num === undefined && fd >= 0) this.#held.num = fd;
  }

  /** Whether the last call was the opening of that path. */
  sawOpen(path: string): boolean {
    return this.#held?.op === "open" && this.#held.path === path;
  }

  /** An open that the transport refused itself. */
  refusedOpen(path: string, errno: string, reason: string, who: { readonly pid: number; readonly tid: number }): void {
    this.flush();
    this.#options.write({ op: "open", path, flags: "?", ret: -1, errno, reason, ...who });
  }

  /** What a person was told meanwhile. */
  note(message: string): void {
    const line: Operation = { op: "kmsg", lines: [message] };
    const segment = this.#segments.at(-1);
    if (segment) segment.before.push(line);
    else {
      this.flush();
      this.#options.write(line);
    }
  }

  before(call: ModelCall): void {
    this.flush();
    if (this.#inHand) this.#outer.push({ inHand: this.#inHand, segments: this.#segments });
    this.#segments = [
      { operation: undefined, before: call.file?.kind === "device" && call.op !== "poll" ? this.#waited() : [] },
    ];
    this.#inHand = new CallInHand(call);
  }

  after(call: ModelCall, result: CallResult): void {
    this.#writeHeld();
    if (call.op !== "poll") {
      const segment = this.#segments[0]!;
      // a file that the program got without a name here cannot be closed by one
      if (call.op !== "close" || this.#names.wasOpened(call.file!)) {
        this.#last = monotonic();
        segment.operation = this.#composer.compose(this.#inHand!, result, this.#last);
      }
      // registers that were written before the call was made come first
      this.#segments.push(this.#segments.shift()!);
    }
    const last = this.#segments.pop();
    for (const segment of this.#segments) this.#write(segment);
    const outer = this.#outer.pop();
    this.#segments = outer?.segments ?? [];
    this.#inHand = outer?.inHand;
    if (!last) return;
    // the memory that was touched so far is the outer call's
    const dumps = outer ? [] : this.#settle(last);
    for (const operation of last.before) this.#options.write(operation);
    this.#held = last.operation;
    this.#heldAfter = dumps;
  }

  copied(space: AddressSpace, address: number, bytes: Uint8Array, into: "model" | "program"): void {
    if (this.#inHand?.copied(address, bytes, into)) return;
    const memory = this.#spaces.of(space);
    this.#first(memory.declare(address, bytes.length, into === "program"));
    if (into === "model") memory.wasRead(address, bytes);
    else memory.wasWritten(address, bytes);
  }

  notCopied(space: AddressSpace, address: number, length: number, into: "model" | "program"): void {
    if (this.#inHand?.notCopied(address, length, into)) return;
    this.#first(this.#spaces.of(space).deny(address, length, into === "program"));
  }

  looked(fd: number, file: FileDescription | undefined): void {
    const name = file instanceof ForeignFile ? this.#foreignName(fd, file) : file ? this.#names.of(file) : null;
    // what is negative is no descriptor anywhere, and what is right of it may be asked for by its sign
    if (name !== null || fd >= 0) this.#inHand?.looked(fd, name);
  }

  asked(what: "euid" | "memlock" | number, answer: number): void {
    const task = this.#inHand?.call.task;
    if (!task) return;
    const memory = this.#spaces.of(task.memory);
    let rights = this.#rights.get(memory);
    if (!rights) {
      rights = new ReplayedRights();
      this.#rights.set(memory, rights);
    }
    this.#first(rights.become(what, answer).map((operation) => ({ ...operation, ...memory.of })));
  }

  pinned({ space, vaddr, length, write, charged }: Pin): void {
    const kind = charged === 0 ? "device" : "anon";
    this.#first(this.#spaces.of(space).declare(vaddr, length, write, kind));
  }

  notPinned(space: AddressSpace, vaddr: number, length: number, write: boolean, errno: number): void {
    const memory = this.#spaces.of(space);
    const isFault = errno === -ERRNO.EFAULT;
    this.#first(isFault ? memory.deny(vaddr, length, write) : memory.declare(vaddr, length, write));
  }

  reached({ space }: Pin, address: number, bytes: Uint8Array, write: boolean, failed: boolean): void {
    if (failed) return;
    const memory = this.#spaces.of(space);
    if (write) memory.wasWritten(address, bytes);
    else memory.wasRead(address, bytes);
  }

  #writeHeld(): void {
    if (this.#held) this.#options.write(this.#held);
    for (const operation of this.#heldAfter) this.#options.write(operation);
    this.#held = undefined;
    this.#heldAfter = [];
  }

  /** Writes what is held back. */
  flush(): void {
    this.#writeHeld();
    if (this.#inHand) return;
    // registers that were written without a call or a look of the model's
    for (const segment of this.#segments) this.#write(segment);
    this.#segments = [];
  }

  end(): void {
    this.flush();
    this.#options.write({ op: "end" });
  }

  #registerWritten(device: string, region: number, offset: number, width: number, value: bigint): void {
    this.flush();
    const operation = this.#registers.write(device, region, offset, width, value);
    if (!operation) return;
    const previous = this.#segments.at(-1);
    // DMA from here on belongs to this write
    if (previous && (previous.operation !== undefined || this.#inHand?.call.op === "poll")) {
      this.#write(previous);
      this.#segments.pop();
    }
    this.#segments.push({ operation, before: this.#waited() });
  }

  /** The memory that a slice has read comes before it, what it has written after it. */
  #worked(pieces: number): void {
    this.flush();
    this.#write({ operation: { op: "work", pieces }, before: [] });
  }

  /** Time that has passed: devices that take theirs need it again. */
  #waited(): Operation[] {
    const now = monotonic();
    const microseconds = Math.round((now - this.#last) * 1000);
    this.#last = now;
    return microseconds < WAIT_US ? [] : [{ op: "wait", us: microseconds }];
  }

  #write(segment: Segment): void {
    const dumps = this.#settle(segment);
    for (const operation of segment.before) this.#options.write(operation);
    if (segment.operation) this.#options.write(segment.operation);
    for (const operation of dumps) this.#options.write(operation);
  }

  /** Puts what was read before the operation; returns what comes after it. */
  #settle(segment: Segment): readonly Operation[] {
    const { stores, dumps } = this.#spaces.take();
    segment.before.push(...stores);
    // without an operation there is nothing that a replay could have done
    return segment.operation ? dumps : [];
  }

  /** What must be done before the call in hand. */
  #first(operations: readonly Operation[]): void {
    this.#segments[0]?.before.push(...operations);
  }

  #foreignName(fd: number, file: ForeignFile): string {
    const task = this.#inHand?.call.task;
    const { name, declared } = this.#names.ofForeign(task?.pid, fd, file);
    if (declared) this.#first([{ ...declared, ...(task && this.#spaces.of(task.memory).of) }]);
    return name;
  }
}
