import type { Task } from "../../kernel/task.ts";
import { NO_REQUESTS, type RequestDialect } from "../../uapi/requests/dialect.ts";
import type { RequestRow } from "../../uapi/requests/request-row.ts";
import type { ModelCall } from "../watch/watcher.ts";
import { AccessInHand } from "./access-in-hand.ts";
import {
  type Argument,
  PAGE,
  readArgument,
  readBytes,
  STRUCT_MAX,
  tellsItsSize,
  upTo,
  wholeArgument,
} from "./call-argument.ts";

/** A call that the model is carrying out, and what is seen of it meanwhile. */
export class CallInHand {
  readonly call: ModelCall;
  /** What its file spoke before the call, which may change that. */
  readonly dialect: RequestDialect;
  /** Of a request, as the model found it; undefined as long as it was not looked at. */
  #argument: Argument | undefined;
  /**
   * The model will read the argument before all else: its own copy is taken, which costs nothing and is what it goes
   * by.
   */
  #comes: RequestRow | undefined;
  /** The same with what the model has written to it. */
  #written: Uint8Array | undefined;
  /** Bytes from its start that the model has read. */
  #readUntil = 0;
  /** Of a read or a write: its buffer. */
  readonly access: AccessInHand | undefined;
  #looked: Map<number, string | null> | undefined;
  /**
   * From where on the model could read its argument and not write to it: bytes from its start, 0 or where a page
   * begins.
   */
  unwritableFrom: number | undefined;

  #isWritten = false;
  readonly #isText: boolean;

  constructor(call: ModelCall) {
    this.call = call;
    this.dialect = call.file?.dialect ?? NO_REQUESTS;
    const row = call.op === "ioctl" ? this.dialect.row(call.request) : undefined;
    this.#isText = row?.argument === "string";
    if (row && call.op === "ioctl" && tellsItsSize(row, call.arg)) this.#comes = row;
    else if (call.op === "ioctl") this.#take(readArgument(call.task!, call.arg, row));
    if (call.op === "pread" || call.op === "pwrite") this.access = new AccessInHand(call);
  }

  /** Of a request: its argument, as the model found it. */
  get argument(): Argument | undefined {
    const { call } = this;
    if (this.#comes && call.op === "ioctl") this.#take(readArgument(call.task!, call.arg, this.#comes));
    return this.#argument;
  }

  /** The model asked for the file behind a descriptor: its name, null when it is not open. */
  looked(fd: number, name: string | null): void {
    this.#looked ??= new Map();
    this.#looked.set(fd, name);
  }

  /** What looked() was told; undefined of a descriptor that the model did not ask for. */
  fileOf(fd: number): string | null | undefined {
    return this.#looked?.get(fd);
  }

  /** The model copied bytes. Whether they are the call's own, which are told with it. */
  copied(address: number, bytes: Uint8Array, into: "model" | "program"): boolean {
    if (this.access) return this.access.copied(address, bytes);
    this.#takeCopy(address, bytes, into);
    const offset = this.#offset(address);
    if (offset === undefined) return false;
    const argument = this.argument!.bytes;
    const own = bytes.subarray(0, argument.length - offset);
    if (into === "program") this.#isWritten = true;
    // What another thread of the program has changed since the start of the call is what counts. Text comes as text
    // here, not as its bytes.
    else if (!this.#isWritten && !this.#isText) argument.set(own, offset);
    else return true;
    if (into === "model") this.#readUntil = Math.max(this.#readUntil, offset + own.length);
    this.#written!.set(own, offset);
    return true;
  }

  /**
   * The argument of a request after the call. Not as memory has it, unless that refused a part: other threads may have
   * changed it by now, and what the model wrote may be on its way still (userfaultfd).
   */
  after(): Uint8Array {
    const { call, unwritableFrom, argument } = this;
    if (call.op !== "ioctl" || unwritableFrom === undefined) return this.#written!;
    const { bytes } = readBytes(call.task!, call.arg, this.#written!.length);
    return bytes.length === this.#written!.length ? bytes : argument!.bytes.slice();
  }

  /** The model could not copy bytes: as copied(). */
  notCopied(address: number, length: number, into: "model" | "program"): boolean {
    if (this.access) return this.access.notCopied(address, length);
    const offset = this.#offset(address);
    if (offset === undefined) return false;
    if (into === "program") {
      const from = this.#lastWritten(this.call.task!, address, length) - (address - offset);
      this.unwritableFrom = Math.max(0, Math.min(this.unwritableFrom ?? from, from));
    } else if (this.#wasWhole(offset + length)) this.#endAt(this.#readUntil);
    return true;
  }

  #take(argument: Argument): void {
    this.#comes = undefined;
    this.#argument = argument;
    this.#written = argument.bytes.slice();
  }

  /** The model has copied something: if that was its whole argument, it need not be read once more. */
  #takeCopy(address: number, bytes: Uint8Array, into: "model" | "program"): void {
    const { call } = this;
    if (!this.#comes || call.op !== "ioctl" || into !== "model" || address !== Number(call.arg)) return;
    const whole = wholeArgument(call.task!, bytes, this.#comes);
    if (whole) this.#take(whole);
  }

  /** Whether the argument could be read until there at the start of the call; of text, until its end. */
  #wasWhole(until: number): boolean {
    const { bytes, edge } = this.argument!;
    return !edge && until <= bytes.length && (!this.#isText || bytes.at(-1) === 0);
  }

  /**
   * Another thread of the program has taken memory away since the start of the call: what the model could not read is
   * not there for whoever repeats it either.
   */
  #endAt(length: number): void {
    this.#argument = upTo(this.argument!, length);
    this.#written = this.#written!.slice(0, length);
  }

  /** Where in the argument's structure an address lies. */
  #offset(address: number): number | undefined {
    const { call } = this;
    if (call.op !== "ioctl") return undefined;
    const offset = address - Number(call.arg);
    if (offset < 0 || offset >= STRUCT_MAX) return undefined;
    const { argument } = this;
    if (argument?.kind !== "bytes") return undefined;
    return offset < argument.bytes.length ? offset : undefined;
  }

  /**
   * The end of the last page that a failed copy has changed: it wrote until there. Before all of its pages when it
   * changed none.
   */
  #lastWritten(task: Task, address: number, length: number): number {
    const { bytes } = this.argument!;
    const start = Number((this.call as { readonly arg: unknown }).arg);
    let end = address - (address % PAGE);
    for (let page = end; page < address + length; page += PAGE) {
      const from = Math.max(page, start);
      const before = bytes.subarray(from - start, page + PAGE - start);
      const now = readBytes(task, from, before.length).bytes;
      // of what is gone by now nothing was written
      if (Buffer.compare(before.subarray(0, now.length), now) !== 0) end = page + PAGE;
    }
    return end;
  }
}
