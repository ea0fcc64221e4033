import { hex, PutOffError } from "../../kernel/errors.ts";
import { monotonic } from "../../kernel/monotonic.ts";
import type { Word } from "../../kernel/word.ts";
import { decodeIo, encodeIo, type IoctlEncoding } from "../../uapi/ioctl.ts";
import { StructView } from "../../uapi/struct-view.ts";
import { isInjected } from "../fault/injected.ts";
import type { BytesIoctl, Operation, OperationOf } from "../replay/operation.ts";
import { toHex } from "../replay/outcome.ts";
import type { CallResult, ModelCall } from "../watch/watcher.ts";
import type { CallInHand } from "./call-in-hand.ts";
import { changedFields, decodeArgument } from "./decode.ts";
import type { MappedRegisters } from "./mapped-registers.ts";
import { openFlags } from "./open-flags.ts";
import type { RecordingNames } from "./recording-names.ts";
import { findRelocations } from "./relocations.ts";
import type { ReplayedSpaces } from "./replayed-spaces.ts";

/** What a call reads beyond that is not compared, and what it writes is not repeated. Bytes. */
const DATA_MAX = 2 ** 20;

type Writable<T> = T extends unknown ? { -readonly [K in keyof T]: T[K] } : never;
type Draft<Op extends Operation["op"]> = Writable<OperationOf<Op>>;
/** An operation that is not written yet. */
export type Composed = Writable<Operation>;

type CallOf<Op extends ModelCall["op"]> = Extract<ModelCall, { op: Op }>;

/** Makes an operation of a finished call. */
export class Composer {
  readonly #pageSize: number;
  readonly #encoding: IoctlEncoding;
  readonly #names: RecordingNames;
  readonly #spaces: ReplayedSpaces;
  readonly #registers: MappedRegisters;
  readonly #began = monotonic();

  /**
   * @param pageSize of the host
   * @param encoding of its architecture
   */
  constructor(
    { pageSize, encoding }: { readonly pageSize: number; readonly encoding: IoctlEncoding },
    names: RecordingNames,
    spaces: ReplayedSpaces,
    registers: MappedRegisters,
  ) {
    this.#pageSize = pageSize;
    this.#encoding = encoding;
    this.#names = names;
    this.#spaces = spaces;
    this.#registers = registers;
  }

  /** @param now as monotonic() has it */
  compose(inHand: CallInHand, result: CallResult, now: number): Composed {
    const operation = this.#begun(inHand, result);
    this.#end(operation, inHand.call, result, now);
    return operation;
  }

  /** What was called, and with what. */
  #begun(inHand: CallInHand, result: CallResult): Composed {
    const { call } = inHand;
    switch (call.op) {
      case "open": {
        const flags = openFlags(call.flags);
        if (!result.installed) return { op: "open", path: call.path, flags };
        return { op: "open", fd: this.#names.ofOpened(result.installed), path: call.path, flags };
      }
      case "close":
        return { op: "close", fd: this.#names.of(call.file!) };
      case "mmap":
        return this.#mmap(call, result);
      case "pread": {
        const fd = this.#names.of(call.file!);
        const operation: Draft<"pread"> = { op: "pread", fd, off: wordText(call.offset), len: call.count };
        setFault(operation, inHand);
        const length = Math.max(result.ret, 0);
        if (length <= DATA_MAX) operation.data = toHex(inHand.access!.bytes.subarray(0, length));
        return operation;
      }
      case "pwrite": {
        const fd = this.#names.of(call.file!);
        const written = toHex(inHand.access!.bytes.subarray(0, DATA_MAX));
        const operation: Draft<"pwrite"> = {
          op: "pwrite",
          fd,
          off: wordText(call.offset),
          len: call.count,
          in: written,
        };
        setFault(operation, inHand);
        return operation;
      }
      case "ioctl":
        return this.#ioctl(call, inHand, result);
      default:
        throw new Error(`a ${call.op} is no operation`);
    }
  }

  /**
   * How it ended, when, and of whom it was. One field after the other, here as above: V8 keeps an object that is put
   * together from spread ones as a hash table, several KiB of it for each call.
   */
  #end(operation: Composed, { task }: ModelCall, { ret, error, microseconds }: CallResult, now: number): void {
    operation.ret ??= error ? -1 : ret;
    operation.errno = error?.code ?? null;
    if (error) operation.reason = error.reason;
    const injected = isInjected(error);
    if (injected) operation.injected = injected;
    if (error instanceof PutOffError) operation.put_off = true;
    operation.us = Math.round(microseconds);
    operation.at = Math.round((now - this.#began) * 1000);
    if (!task) return;
    operation.pid = task.pid;
    operation.tid = task.tid;
    const { process } = this.#spaces.of(task.memory).of;
    if (process !== undefined) operation.process = process;
  }

  #mmap({ file, request, task }: CallOf<"mmap">, { ret, error }: CallResult): Composed {
    const offset = Number(request.offset);
    const size = Math.ceil(request.length / this.#pageSize) * this.#pageSize;
    const buf = this.#names.fresh("bar");
    const addr = hex(this.#registers.reserve(size));
    if (!error && ret === 0) {
      const { process } = task ? this.#spaces.of(task.memory).of : {};
      this.#registers.add({ buf, file: file!, offset, length: size, process });
    }
    const prot = `${request.read ? "r" : ""}${request.write ? "w" : ""}` || "none";
    return {
      op: "mmap",
      buf,
      size,
      prot,
      kind: "fd",
      addr,
      fd: this.#names.of(file!),
      offset: hex(offset),
      share: request.shared ? "shared" : "private",
    };
  }

  #ioctl(call: CallOf<"ioctl">, inHand: CallInHand, result: CallResult): Composed {
    const { request, task } = call;
    const file = call.file!;
    const { dialect } = inHand;
    const row = dialect.row(request);
    const argument = inHand.argument!;
    const fd = this.#names.of(file);
    const req = dialect.nameOf(request);
    const nr = hex(this.#asPassed(request));
    const { kind } = argument;
    if (kind === "int") return { op: "ioctl", fd, req, dialect: dialect.name, nr, arg: kind, val: wordText(call.arg) };
    if (kind !== "bytes") return { op: "ioctl", fd, req, dialect: dialect.name, nr, arg: kind };
    const input = argument.bytes.slice();
    const { littleEndian } = task!.memory;
    const out = inHand.after().slice();
    const known = {
      place: (address: number) => this.#spaces.of(task!.memory).find(address),
      file: (number: number) => inHand.fileOf(number),
    };
    const relocs = row ? findRelocations(row, input, new StructView(input, littleEndian), known) : [];
    for (const { off, w } of relocs) {
      const same = Buffer.compare(input.subarray(off, off + w), out.subarray(off, off + w)) === 0;
      input.fill(0, off, off + w);
      if (same) out.fill(0, off, off + w);
    }
    const length = input.length;
    const { edge } = argument;
    const text = toHex(input);
    const operation: Writable<BytesIoctl> = {
      op: "ioctl",
      fd,
      req,
      dialect: dialect.name,
      nr,
      arg: "bytes",
      len: length,
      edge,
      in: text,
    };
    setUnwritable(operation, inHand);
    if (relocs.length > 0) operation.relocs = relocs;
    const before = decodeArgument(row, input, relocs, littleEndian);
    const isSame = Buffer.compare(input, out) === 0;
    const changed = isSame ? {} : changedFields(before, decodeArgument(row, out, relocs, littleEndian));
    if (result.installed) {
      const outFd = row?.outFd !== undefined && result.ret === 0 ? row.struct!.layout.offsets[row.outFd]! : undefined;
      const number = outFd === undefined ? result.ret : new StructView(out, littleEndian).s32(outFd);
      if (outFd !== undefined) {
        out.fill(0, outFd, outFd + 4);
        operation.out_fd = outFd;
      }
      if (number > 0) {
        operation.ret_is_fd = this.#names.ofOpened(result.installed);
        operation.ret = 0;
        operation.num_ret = number;
      }
    }
    operation.out = isSame && operation.out_fd === undefined ? text : toHex(out);
    if (before) operation.fields = before;
    if (Object.keys(changed).length > 0) operation.changed = changed;
    return operation;
  }

  /**
   * The number that a program of the host's architecture passes: files take the plain encoding, and another one for
   * unknown.
   */
  #asPassed(request: number): number {
    const decoded = decodeIo(request);
    if (!decoded) return request;
    if (decoded.encoding === "plain") return encodeIo(decoded.type, decoded.nr, this.#encoding);
    return this.#encoding === "powerpc" ? encodeIo(decoded.type, decoded.nr) : request;
  }
}

function setFault(operation: Draft<"pread"> | Draft<"pwrite">, { access }: CallInHand): void {
  if (access?.fault !== undefined) operation.fault = access.fault;
}

function setUnwritable(operation: Writable<BytesIoctl>, { unwritableFrom: from }: CallInHand): void {
  if (from === 0) operation.readonly = true;
  else if (from !== undefined) operation.readonly_from = from;
}

function wordText(word: Word): string {
  return hex(BigInt.asUintN(64, BigInt(word)));
}
