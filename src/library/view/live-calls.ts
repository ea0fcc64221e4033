import { argumentNumbers, idOf, rangeOf } from "../../inspect/picture/call-range.ts";
import type { AddressRange } from "../../inspect/picture/event.ts";
import type { CallPlace, PictureFeed, ToldCall } from "../../inspect/picture/feed.ts";
import { type Argument, readArgument } from "../../inspect/trace/call-argument.ts";
import { decodeArgument, fieldsText, nameIn } from "../../inspect/trace/decode.ts";
import type { FinishedCall } from "../../interpose/index.ts";
import { hex } from "../../kernel/errors.ts";
import type { FileDescription } from "../../kernel/file-description.ts";
import type { Task } from "../../kernel/task.ts";
import type { Word } from "../../kernel/word.ts";
import { errnoName } from "../../uapi/errno.ts";
import type { RequestRow } from "../../uapi/requests/request-row.ts";

/** As people call them, and traces. */
const PLAIN_NAMES: Readonly<Record<string, string>> = {
  openat: "open",
  openat2: "open",
  pread64: "pread",
  pwrite64: "pwrite",
};

/** A request before its file has it. */
interface Begun {
  readonly file: FileDescription;
  readonly request: number;
  readonly row: RequestRow | undefined;
  readonly argument: Argument;
  readonly littleEndian: boolean;
}

/** Tells the calls of programs, as their transport sees them, to a picture. */
export class LiveCalls {
  readonly #feed: PictureFeed;
  #begun: Begun | undefined;

  constructor(feed: PictureFeed) {
    this.#feed = feed;
  }

  /** HostKernel.before: what the structure holds is known now only. */
  before(task: Task, file: FileDescription, request: number, arg: Word): void {
    const row = file.dialect.row(request);
    const { littleEndian } = task.memory;
    this.#begun = { file, request, row, argument: readArgument(task, arg, row), littleEndian };
  }

  /** Observer.finished */
  finished(call: FinishedCall): void {
    const begun = call.call === "ioctl" && this.#begun?.request === call.request ? this.#begun : undefined;
    this.#begun = undefined;
    const numbers = begun ? argumentNumbers(begun.row, begun.argument.bytes, begun.littleEndian) : {};
    const place: CallPlace = { file: begun?.file, id: idOf(numbers) };
    this.#feed.called(new LiveCall(call, begun, rangeOf(begun?.row, numbers)), place);
  }
}

/** Its text is made when somebody wants it. */
class LiveCall implements ToldCall {
  readonly us: number;
  readonly program: string;
  readonly pid: number;
  readonly tid: number;
  readonly name: string;
  readonly on: string;
  readonly ret: number;
  declare readonly errno?: string;
  declare readonly why?: string;
  declare readonly range?: AddressRange;
  readonly #call: FinishedCall;
  readonly #begun: Begun | undefined;
  #text: string | undefined;

  constructor(call: FinishedCall, begun: Begun | undefined, range: AddressRange | undefined) {
    this.#call = call;
    this.#begun = begun;
    this.us = Math.round(call.microseconds);
    this.program = call.program;
    this.pid = call.pid;
    this.tid = call.tid;
    this.name =
      call.call === "ioctl" && call.dialect ? call.dialect.nameOf(call.request) : (PLAIN_NAMES[call.call] ?? call.call);
    this.on = call.label ?? call.path ?? "";
    this.ret = call.result < 0 ? -1 : call.result;
    if (call.result < 0) this.errno = errnoName(-call.result);
    if (call.error) this.why = call.error.reason;
    if (range) this.range = range;
  }

  get text(): string {
    this.#text ??= textOf(this.#call, this.#begun);
    return this.#text;
  }

  /** As JSON has it. */
  toJSON(): object {
    return { ...this, text: this.text };
  }
}

function textOf({ call, path, offset, length, argument }: FinishedCall, begun: Begun | undefined): string {
  if (path !== undefined) return path;
  if (call !== "ioctl") return `${length} bytes at ${hex(BigInt.asUintN(64, BigInt(offset)))}`;
  if (!begun) return "";
  const { row, littleEndian } = begun;
  if (begun.argument.kind === "int") return row?.values?.get(Number(argument)) ?? hex(BigInt(argument));
  if (begun.argument.kind !== "bytes") return "";
  if (row?.argument === "string") return nameIn(begun.argument.bytes);
  const fields = decodeArgument(row, begun.argument.bytes, [], littleEndian);
  return fields ? fieldsText(fields) : "";
}
