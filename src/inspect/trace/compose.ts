import { hex, PutOffError } from "../../kernel/errors.ts";
import type { Word } from "../../kernel/word.ts";
import { decodeIo, encodeIo, type IoctlEncoding } from "../../uapi/ioctl.ts";
import { StructView } from "../../uapi/struct-view.ts";
import { isInjected } from "../fault/injected.ts";
import type { Operation } from "../replay/operation.ts";
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

type CallOf<Op extends ModelCall["op"]> = Extract<ModelCall, { op: Op }>;

/** Makes an operation of a finished call. */
export class Composer {
  readonly #pageSize: number;
  readonly #encoding: IoctlEncoding;
  readonly #names: RecordingNames;
  readonly #spaces: ReplayedSpaces;
  readonly #registers: MappedRegisters;
  readonly #began = performance.now();

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

  compose(inHand: CallInHand, result: CallResult): Operation {
    const { call } = inHand;
    const { task, file } = call;
    const { error } = result;
    const injected = isInjected(error);
    const about = {
      ret: error ? -1 : result.ret,
      errno: error?.code ?? null,
      ...(error && { reason: error.reason }),
      ...(injected && { injected }),
      ...(error instanceof PutOffError && { put_off: true }),
      us: Math.round(result.microseconds),
      at: Math.round((performance.now() - this.#began) * 1000),
      ...(task && { pid: task.pid, tid: task.tid, ...this.#spaces.of(task.memory).of }),
    };
    switch (call.op) {
      case "open":
        return {
          op: "open",
          ...(result.installed && { fd: this.#names.ofOpened(result.installed) }),
          path: call.path,
          flags: openFlags(call.flags),
          ...about,
        };
      case "close":
        return { op: "close", fd: this.#names.of(file!), ...about };
      case "mmap":
        return this.#mmap(call, about);
      case "pread": {
        const length = Math.max(result.ret, 0);
        const data = length > DATA_MAX ? undefined : toHex(inHand.access!.bytes.subarray(0, length));
        const off = wordText(call.offset);
        return {
          op: "pread",
          fd: this.#names.of(file!),
          off,
          len: call.count,
          ...fault(inHand),
          ...(data !== undefined && { data }),
          ...about,
        };
      }
      case "pwrite": {
        const off = wordText(call.offset);
        const { bytes } = inHand.access!;
        return {
          op: "pwrite",
          fd: this.#names.of(file!),
          off,
          len: call.count,
          ...fault(inHand),
          in: toHex(bytes.subarray(0, DATA_MAX)),
          ...about,
        };
      }
      case "ioctl":
        return this.#ioctl(call, inHand, result, about);
      default:
        throw new Error(`a ${call.op} is no operation`);
    }
  }

  #mmap({ file, request }: CallOf<"mmap">, about: Pick<Operation, "ret" | "process">): Operation {
    const offset = Number(request.offset);
    const size = Math.ceil(request.length / this.#pageSize) * this.#pageSize;
    const buf = this.#names.fresh("bar");
    const addr = hex(this.#registers.reserve(size));
    if (about.ret === 0) this.#registers.add({ buf, file: file!, offset, length: size, process: about.process });
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
      ...about,
    };
  }

  #ioctl(call: CallOf<"ioctl">, inHand: CallInHand, result: CallResult, about: object): Operation {
    const { request, task } = call;
    const file = call.file!;
    const { dialect } = inHand;
    const row = dialect.row(request);
    const argument = inHand.argument!;
    const head = {
      op: "ioctl" as const,
      fd: this.#names.of(file),
      req: dialect.nameOf(request),
      dialect: dialect.name,
      nr: hex(this.#asPassed(request)),
    };
    if (argument.kind === "int") return { ...head, arg: "int", val: wordText(call.arg), ...about };
    if (argument.kind !== "bytes") return { ...head, arg: argument.kind, ...about };
    const input = argument.bytes.slice();
    const { littleEndian } = task!.memory;
    const out = inHand.after().slice();
    const known = {
      place: (address: number) => this.#spaces.of(task!.memory).find(address),
      file: (fd: number) => inHand.looked.get(fd),
    };
    const relocs = row ? findRelocations(row, input, new StructView(input, littleEndian), known) : [];
    for (const { off, w } of relocs) {
      const same = Buffer.compare(input.subarray(off, off + w), out.subarray(off, off + w)) === 0;
      input.fill(0, off, off + w);
      if (same) out.fill(0, off, off + w);
    }
    const before = decodeArgument(row, input, relocs, littleEndian);
    const changed = changedFields(before, decodeArgument(row, out, relocs, littleEndian));
    const outFd =
      result.installed && row?.outFd !== undefined && result.ret === 0
        ? row.struct!.layout.offsets[row.outFd]!
        : undefined;
    const number = outFd === undefined ? result.ret : new StructView(out, littleEndian).s32(outFd);
    if (outFd !== undefined) out.fill(0, outFd, outFd + 4);
    const opened =
      result.installed && number > 0 ? { ret_is_fd: this.#names.ofOpened(result.installed), ret: 0 } : undefined;
    return {
      ...head,
      arg: "bytes" as const,
      len: input.length,
      edge: argument.edge,
      ...unwritable(inHand),
      in: toHex(input),
      ...(relocs.length > 0 && { relocs }),
      ...about,
      ...opened,
      ...(outFd !== undefined && { out_fd: outFd }),
      ...(opened && { num_ret: number }),
      out: toHex(out),
      ...(before && { fields: before }),
      ...(Object.keys(changed).length > 0 && { changed }),
    };
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

function fault({ access }: CallInHand): { fault?: number } {
  return access?.fault === undefined ? {} : { fault: access.fault };
}

function unwritable({ unwritableFrom: from }: CallInHand): { readonly?: true; readonly_from?: number } {
  if (from === undefined) return {};
  return from === 0 ? { readonly: true } : { readonly_from: from };
}

function wordText(word: Word): string {
  return hex(BigInt.asUintN(64, BigInt(word)));
}
