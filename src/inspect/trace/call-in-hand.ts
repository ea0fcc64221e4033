import { NO_REQUESTS, type RequestDialect } from "../../uapi/requests/dialect.ts";
import type { ModelCall } from "../watch/watcher.ts";
import { type Argument, PAGE, readArgument, readBytes } from "./call-argument.ts";

/** A call that the model is carrying out, and what is seen of it meanwhile. */
export class CallInHand {
  readonly call: ModelCall;
  /** What its file spoke before the call, which may change that. */
  readonly dialect: RequestDialect;
  /** As it was before the call: of requests and of what is written. */
  readonly argument: Argument | undefined;
  /** Names of the files that the model asked for, by descriptor. */
  readonly looked = new Map<number, string>();
  /** Whether the model could read its argument and not write to it. */
  unwritable = false;

  constructor(call: ModelCall) {
    this.call = call;
    this.dialect = call.file?.dialect ?? NO_REQUESTS;
    if (call.op === "ioctl") this.argument = readArgument(call.task!, call.arg, this.dialect.row(call.request));
    if (call.op === "pwrite") this.argument = readBytes(call.task!, call.address, call.count);
  }

  /** Whether an address lies in the structure or the bytes that the call names. */
  isAbout(address: number, length: number): boolean {
    const { call, argument } = this;
    if (call.op === "pread" || call.op === "pwrite") {
      return address >= Number(call.address) && address + length <= Number(call.address) + call.count;
    }
    if (call.op !== "ioctl" || argument === undefined) return false;
    const start = Number(call.arg);
    // what could not be read is as long as anything there might be
    return address >= start && address < start + (argument.kind === "bytes" ? argument.bytes.length : PAGE);
  }
}
