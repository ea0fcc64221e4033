import type { AddressSpace } from "../../kernel/address-space.ts";
import { type FileDescription, ForeignFile } from "../../kernel/file-description.ts";
import { ROOT_CAPABILITIES } from "../../kernel/model-task.ts";
import type { Task } from "../../kernel/task.ts";
import type { Word } from "../../kernel/word.ts";
import { ERRNO } from "../../uapi/errno.ts";
import { decodeIo, encodeIo, type IoctlEncoding } from "../../uapi/ioctl.ts";
import { requestName } from "../../uapi/request-names.ts";
import { VfioBitmap, VfioIommuType1DirtyBitmapGet } from "../../uapi/vfio-type1.ts";
import { isInjected } from "../fault/injected.ts";
import { toHex } from "../replay/outcome.ts";
import type { Operation, Relocation } from "../replay/recording.ts";
import { fdArray, type RequestFacts, requestFacts } from "../requests.ts";
import type { CallResult, ModelCall, Pin, Watcher } from "../watch/watcher.ts";
import { changedFields, decodeArgument } from "./decode.ts";
import { ReplayedMemory } from "./replayed-memory.ts";

/** Of structures with a length of their own, at most this much is recorded. Bytes. */
const STRUCT_MAX = 16384;
const NAME_MAX = 4096;
const PAGE = 4096;
/** What the replayer starts with: a task with root's rights and the kernel's default limit. */
const DEFAULT_MEMLOCK = 8 * 2 ** 20;
/** Processes after the first have their memory that far below, in the replayer's one address space. */
const DISPLACEMENT = 2 ** 44;
/** Device time that matters to a replay, in microseconds. */
const WAIT_US = 1000;
const REGION_SIZE = 2 ** 40;
/** Where a replay maps devices, whose addresses in the program nobody knows: far from any program's memory. */
const DEVICES_ADDRESS = 0x6000_0000_0000;

export interface RecorderOptions {
  /** Of the host. */
  readonly pageSize: number;
  readonly encoding: IoctlEncoding;
  readonly write: (operation: Operation) => void;
}

/** One operation with what must come before it and after it. */
interface Segment {
  operation: Operation | undefined;
  readonly before: Operation[];
}

interface Argument {
  readonly kind: "none" | "null" | "int" | "bytes";
  readonly bytes: Uint8Array;
  readonly edge: boolean;
}

interface MappedRegisters {
  readonly buf: string;
  readonly file: FileDescription;
  readonly offset: number;
  readonly length: number;
}

/**
 * Writes down every call as operations of the recordings' format (docs/trace.md): with the memory that the model touched, so that
 * whoever repeats them finds the same there.
 */
export class Recorder implements Watcher {
  readonly #options: RecorderOptions;
  readonly #names = new WeakMap<FileDescription, string>();
  /** Files that a descriptor was named for. */
  readonly #opened = new WeakSet<FileDescription>();
  readonly #counts = new Map<string, number>();
  readonly #spaces = new Map<AddressSpace, ReplayedMemory>();
  /** Foreign files by process and descriptor. */
  readonly #foreign = new Map<string, { readonly name: string; readonly isEvent: boolean; readonly size: number }>();
  readonly #mappings: MappedRegisters[] = [];
  readonly #rights = new Map<"euid" | "memlock" | number, number>([
    ["euid", 0],
    ["memlock", DEFAULT_MEMLOCK],
    ...ROOT_CAPABILITIES.map((capability) => [capability, 1] as const),
  ]);
  #nextDevice = DEVICES_ADDRESS;
  #segments: Segment[] = [];
  /** What was last composed; a transport may add to it before it is written. */
  #held: Operation | undefined;
  #heldAfter: Operation[] = [];
  #argument: Argument | undefined;
  #looked = new Map<number, string>();
  #call: ModelCall | undefined;
  #unwritable = false;
  #last = performance.now();

  constructor(options: RecorderOptions) {
    this.#options = options;
  }

  readonly model = {
    registerWritten: (device: string, region: number, offset: number, width: number, value: bigint) =>
      this.#registerWritten(device, region, offset, width, value),
  };

  /** The transport knows the number of the descriptor that the last call was made on, or that an open gave. */
  addDescriptor(fd: number): void {
    // a transport has calls that the model does not hear of: those are about another one
    if (this.#held && this.#held.num === undefined && fd >= 0) this.#held = { ...this.#held, num: fd };
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
    this.#call = call;
    this.#segments = [
      { operation: undefined, before: call.file?.kind === "device" && call.op !== "poll" ? this.#waited() : [] },
    ];
    this.#looked = new Map();
    this.#unwritable = false;
    this.#argument = undefined;
    if (call.op === "ioctl") this.#argument = readArgument(call.task!, call.arg, factsOf(call.file!, call.request));
    if (call.op === "pwrite") this.#argument = readBytes(call.task!, call.address, call.count);
  }

  after(call: ModelCall, result: CallResult): void {
    if (call.op !== "poll") {
      const segment = this.#segments[0]!;
      // a file that the program got without a name here cannot be closed by one
      if (call.op !== "close" || this.#opened.has(call.file!)) segment.operation = this.#compose(call, result);
      // registers that were written before the call was made come first
      this.#segments.push(this.#segments.shift()!);
    }
    const last = this.#segments.pop();
    for (const segment of this.#segments) this.#write(segment);
    this.#segments = [];
    this.#call = undefined;
    if (!last) return;
    const dumps = this.#settle(last);
    for (const operation of last.before) this.#options.write(operation);
    this.#held = last.operation;
    this.#heldAfter = dumps;
  }

  copied(space: AddressSpace, address: number, bytes: Uint8Array, into: "model" | "program"): void {
    if (this.#isArgument(address, bytes.length)) return;
    const memory = this.#memory(space);
    this.#segments[0]?.before.push(...memory.declare(address, bytes.length, into === "program"));
    if (into === "model") memory.wasRead(address, bytes);
    else memory.wasWritten(address, bytes);
  }

  notCopied(space: AddressSpace, address: number, length: number, into: "model" | "program"): void {
    if (this.#isArgument(address, length)) this.#unwritable ||= into === "program" && !this.#argument?.edge;
    else this.#segments[0]?.before.push(...this.#memory(space).deny(address, length, into === "program"));
  }

  looked(fd: number, file: FileDescription | undefined): void {
    if (!file) return;
    const name = file instanceof ForeignFile ? this.#foreignName(fd, file) : this.#nameOf(file);
    this.#looked.set(fd, name);
  }

  asked(what: "euid" | "memlock" | number, answer: number): void {
    if ((this.#rights.get(what) ?? 0) === answer) return;
    this.#rights.set(what, answer);
    const into = this.#segments[0]?.before ?? [];
    if (what === "memlock") into.push({ op: "setrlimit", which: "MEMLOCK", value: Math.min(answer, 2 ** 62) });
    else if (what === "euid") {
      into.push({ op: "setuid", uid: answer });
      // leaving root takes the capabilities along
      if (answer !== 0)
        for (const right of this.#rights.keys()) if (typeof right === "number") this.#rights.set(right, 0);
    } else into.push({ op: answer === 1 ? "raisecap" : "dropcap", cap: what });
  }

  pinned({ space, vaddr, length, write, charged }: Pin): void {
    const kind = charged === 0 ? "device" : "anon";
    this.#segments[0]?.before.push(...this.#memory(space).declare(vaddr, length, write, kind));
  }

  notPinned(space: AddressSpace, vaddr: number, length: number, write: boolean, errno: number): void {
    const memory = this.#memory(space);
    const isFault = errno === -ERRNO.EFAULT;
    this.#segments[0]?.before.push(
      ...(isFault ? memory.deny(vaddr, length, write) : memory.declare(vaddr, length, write)),
    );
  }

  reached({ space }: Pin, address: number, bytes: Uint8Array, write: boolean, failed: boolean): void {
    if (failed) return;
    const memory = this.#memory(space);
    if (write) memory.wasWritten(address, bytes);
    else memory.wasRead(address, bytes);
  }

  /** Writes what is held back. */
  flush(): void {
    if (this.#held) this.#options.write(this.#held);
    for (const operation of this.#heldAfter) this.#options.write(operation);
    this.#held = undefined;
    this.#heldAfter = [];
    if (this.#call !== undefined) return;
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
    const at = region * REGION_SIZE + offset;
    const mapping = this.#mappings.find(
      (each) => each.file.label === `device ${device}` && at >= each.offset && at + width <= each.offset + each.length,
    );
    if (!mapping) return;
    const previous = this.#segments.at(-1);
    // DMA from here on belongs to this write
    if (previous && (previous.operation !== undefined || this.#call?.op === "poll")) {
      this.#write(previous);
      this.#segments.pop();
    }
    const operation: Operation = {
      op: `w${width * 8}`,
      buf: mapping.buf,
      off: at - mapping.offset,
      value: `0x${value.toString(16)}`,
    };
    this.#segments.push({ operation, before: this.#waited() });
  }

  /** Time that has passed: devices that take theirs need it again. */
  #waited(): Operation[] {
    const now = performance.now();
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
  #settle(segment: Segment): Operation[] {
    const after: Operation[] = [];
    for (const memory of this.#spaces.values()) {
      const { stores, dumps } = memory.take();
      segment.before.push(...stores);
      // without an operation there is nothing that a replay could have done
      if (segment.operation) after.push(...dumps);
    }
    return after;
  }

  #compose(call: ModelCall, result: CallResult): Operation {
    const { task, file } = call;
    const { error } = result;
    const injected = isInjected(error);
    this.#last = performance.now();
    const about = {
      ret: error ? -1 : result.ret,
      errno: error?.code ?? null,
      ...(error && { reason: error.reason }),
      ...(injected && { injected }),
      us: Math.round(result.microseconds),
      ...(task && { pid: task.pid, tid: task.tid }),
    };
    switch (call.op) {
      case "open":
        if (result.installed) this.#opened.add(result.installed);
        return {
          op: "open",
          ...(result.installed && { fd: this.#nameOf(result.installed) }),
          path: call.path,
          flags: openFlags(call.flags),
          ...about,
        };
      case "close":
        return { op: "close", fd: this.#nameOf(file!), ...about };
      case "mmap":
        return this.#composeMmap(call.file!, call.request, about);
      case "pread": {
        const data = result.ret > 0 ? readBytes(task!, call.address, result.ret).bytes : new Uint8Array();
        const off = wordText(call.offset);
        return { op: "pread", fd: this.#nameOf(file!), off, len: call.count, data: toHex(data), ...about };
      }
      case "pwrite": {
        const off = wordText(call.offset);
        const { bytes } = this.#argument!;
        return { op: "pwrite", fd: this.#nameOf(file!), off, len: call.count, in: toHex(bytes), ...about };
      }
      case "ioctl":
        return this.#composeIoctl(call, result, about);
      default:
        throw new Error(`a ${call.op} is no operation`);
    }
  }

  #composeMmap(
    file: FileDescription,
    request: Extract<ModelCall, { op: "mmap" }>["request"],
    about: object,
  ): Operation {
    const offset = Number(request.offset);
    const size = Math.ceil(request.length / this.#options.pageSize) * this.#options.pageSize;
    const buf = this.#newName("bar");
    const addr = `0x${this.#nextDevice.toString(16)}`;
    this.#nextDevice += size + this.#options.pageSize;
    if ((about as Operation).ret === 0) this.#mappings.push({ buf, file, offset, length: size });
    const prot = `${request.read ? "r" : ""}${request.write ? "w" : ""}` || "none";
    return {
      op: "mmap",
      buf,
      size,
      prot,
      kind: "fd",
      addr,
      fd: this.#nameOf(file),
      offset: `0x${offset.toString(16)}`,
      share: request.shared ? "shared" : "private",
      ...about,
    };
  }

  #composeIoctl(call: Extract<ModelCall, { op: "ioctl" }>, result: CallResult, about: object): Operation {
    const { request, file, task } = call;
    const req = nameOf(file!, request);
    const facts = requestFacts(req);
    const argument = this.#argument!;
    const nr = this.#asPassed(request);
    const head = { op: "ioctl", fd: this.#nameOf(file!), req, nr: `0x${nr.toString(16)}` };
    if (argument.kind !== "bytes") {
      return { ...head, arg: argument.kind, ...(argument.kind === "int" && { val: wordText(call.arg) }), ...about };
    }
    const input = argument.bytes.slice();
    const output = readBytes(task!, call.arg, input.length).bytes;
    const out = output.length === input.length ? output : input.slice();
    const relocs = facts ? this.#relocations(facts, input, task!) : [];
    for (const { off, w } of relocs) {
      const same = Buffer.compare(input.subarray(off, off + w), out.subarray(off, off + w)) === 0;
      input.fill(0, off, off + w);
      if (same) out.fill(0, off, off + w);
    }
    const before = decodeArgument(req, input, relocs);
    const changed = changedFields(before, decodeArgument(req, out, relocs));
    const outFd = result.installed && facts?.outFd !== undefined ? facts.layout!.offsets[facts.outFd]! : undefined;
    const number = outFd === undefined ? result.ret : new DataView(out.buffer).getInt32(outFd, true);
    if (outFd !== undefined) out.fill(0, outFd, outFd + 4);
    if (result.installed && number > 0) this.#opened.add(result.installed);
    const opened = result.installed && number > 0 ? { ret_is_fd: this.#nameOf(result.installed), ret: 0 } : {};
    return {
      ...head,
      arg: "bytes",
      len: input.length,
      edge: argument.edge,
      ...(this.#unwritable && { readonly: true }),
      in: toHex(input),
      ...(relocs.length > 0 && { relocs }),
      ...about,
      ...opened,
      ...(outFd !== undefined && { out_fd: outFd }),
      ...(opened.ret_is_fd !== undefined && { num_ret: number }),
      out: toHex(out),
      ...(before && { fields: before }),
      ...(Object.keys(changed).length > 0 && { changed }),
    };
  }

  /** The number that a program of the host's architecture passes: files take the plain encoding, and another one for unknown. */
  #asPassed(request: number): number {
    const decoded = decodeIo(request);
    if (!decoded) return request;
    const { encoding } = this.#options;
    if (decoded.encoding === "plain") return encodeIo(decoded.type, decoded.nr, encoding);
    return encoding === "powerpc" ? encodeIo(decoded.type, decoded.nr) : request;
  }

  #relocations(facts: RequestFacts, bytes: Uint8Array, task: Task): Relocation[] {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const found: Relocation[] = [];
    const pointer = (off: number) => {
      if (off + 8 > bytes.length) return;
      const address = view.getBigUint64(off, true);
      if (address === 0n || address > BigInt(Number.MAX_SAFE_INTEGER)) return;
      const place = this.#memory(task.memory).find(Number(address));
      if (place) found.push({ off, w: 8, ...place });
    };
    const descriptor = (off: number) => {
      const name = off + 4 <= bytes.length ? this.#looked.get(view.getInt32(off, true)) : undefined;
      if (name !== undefined) found.push({ off, w: 4, fd: name });
    };
    for (const field of facts.pointers ?? []) pointer(facts.layout!.offsets[field]!);
    for (const field of facts.fds ?? []) descriptor(facts.layout!.offsets[field]!);
    const size = facts.layout?.size ?? 0;
    if (facts.tail === "unmap-bitmap") pointer(size + VfioBitmap.offsets.data);
    if (facts.tail === "dirty-bitmap")
      pointer(size + VfioIommuType1DirtyBitmapGet.offsets.bitmap + VfioBitmap.offsets.data);
    const { at, count } = fdArray(facts, bytes);
    for (let i = 0; i < count; i++) descriptor(at + 4 * i);
    return found;
  }

  /** Whether an address lies in the structure that the call in hand names. */
  #isArgument(address: number, length: number): boolean {
    const call = this.#call;
    if (call?.op === "pread" || call?.op === "pwrite") {
      return address >= Number(call.address) && address + length <= Number(call.address) + call.count;
    }
    if (call?.op !== "ioctl" || this.#argument === undefined) return false;
    if (this.#argument.kind !== "bytes") return address >= Number(call.arg) && address < Number(call.arg) + PAGE;
    const start = Number(call.arg);
    return address >= start && address < start + this.#argument.bytes.length;
  }

  #memory(space: AddressSpace): ReplayedMemory {
    let memory = this.#spaces.get(space);
    if (!memory) {
      memory = new ReplayedMemory(this.#options.pageSize, -this.#spaces.size * DISPLACEMENT, () => this.#newName("m"));
      this.#spaces.set(space, memory);
    }
    return memory;
  }

  #newName(prefix: string): string {
    const count = (this.#counts.get(prefix) ?? 0) + 1;
    this.#counts.set(prefix, count);
    return `${prefix}${count}`;
  }

  #nameOf(file: FileDescription): string {
    let name = this.#names.get(file);
    if (name === undefined) {
      name = this.#newName(file.kind);
      this.#names.set(file, name);
    }
    return name;
  }

  /** A file of the program's own: declared when the model first asks for it, and again when its number means another kind or size of file. */
  #foreignName(fd: number, file: ForeignFile): string {
    const event = file.event();
    event?.release();
    const isEvent = event !== undefined;
    const memory = isEvent ? undefined : file.memory();
    const size = memory?.size ?? 0;
    memory?.release?.();
    const key = `${this.#call?.task?.pid} ${fd}`;
    const known = this.#foreign.get(key);
    if (known?.isEvent === isEvent && known.size === size) return known.name;
    const name = this.#newName(isEvent ? "event" : "file");
    this.#foreign.set(key, { name, isEvent, size });
    const declared: Operation = isEvent
      ? { op: "eventfd", fd: name, ret: 0, errno: null }
      : { op: "memfd", fd: name, size, ret: 0, errno: null };
    this.#segments[0]?.before.push(declared);
    return name;
  }
}

function nameOf(file: FileDescription, request: number): string {
  return requestName(file.kind, request, file.label.startsWith("spapr") ? "spapr" : "type1");
}

function factsOf(file: FileDescription, request: number): RequestFacts | undefined {
  return requestFacts(nameOf(file, request));
}

function wordText(word: Word): string {
  return `0x${BigInt.asUintN(64, BigInt(word)).toString(16)}`;
}

const VALUE: Argument = { kind: "int", bytes: new Uint8Array(), edge: false };

/** The argument of a request as it is before the call; what cannot be read is a number. */
function readArgument(task: Task, arg: Word, facts: RequestFacts | undefined): Argument {
  if (facts === undefined || facts.argument === "none") return arg === 0 ? { ...VALUE, kind: "none" } : VALUE;
  if (facts.argument === "value") return VALUE;
  if (arg === 0) return { ...VALUE, kind: "null" };
  if (facts.argument === "fd") return orValue(readBytes(task, arg, 4));
  if (facts.argument === "string") {
    const { bytes, edge } = readBytes(task, arg, NAME_MAX);
    const end = bytes.indexOf(0);
    return end < 0
      ? orValue({ kind: "bytes", bytes, edge })
      : { kind: "bytes", bytes: bytes.slice(0, end + 1), edge: false };
  }
  const size = facts.layout!.size;
  const head = readBytes(task, arg, 4).bytes;
  const said = head.length === 4 ? new DataView(head.buffer).getUint32(0, true) : 0;
  return orValue(readBytes(task, arg, Math.min(Math.max(said, size), STRUCT_MAX)));
}

function orValue(argument: Argument): Argument {
  return argument.bytes.length === 0 ? VALUE : argument;
}

/** As many of `length` bytes as can be read. */
function readBytes(task: Task, address: Word, length: number): Argument {
  const bytes = new Uint8Array(length);
  if (typeof address !== "number") return { ...VALUE, kind: "bytes" };
  if (tryCopy(task, address, bytes)) return { kind: "bytes", bytes, edge: false };
  let done = 0;
  while (done < length) {
    const part = bytes.subarray(done, Math.min(length, done + PAGE - ((address + done) % PAGE)));
    if (!tryCopy(task, address + done, part)) break;
    done += part.length;
  }
  return { kind: "bytes", bytes: bytes.slice(0, done), edge: true };
}

function tryCopy(task: Task, address: number, into: Uint8Array): boolean {
  try {
    task.memory.copyIn(address, into, into.length);
    return true;
  } catch {
    return false;
  }
}

const ACCESS = ["O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE"];
const OPEN_FLAGS: readonly (readonly [number, string])[] = [
  [0o100, "O_CREAT"],
  [0o200, "O_EXCL"],
  [0o400, "O_NOCTTY"],
  [0o1000, "O_TRUNC"],
  [0o2000, "O_APPEND"],
  [0o4000, "O_NONBLOCK"],
  [0o100000, "O_LARGEFILE"],
  [0o2000000, "O_CLOEXEC"],
];

function openFlags(flags: number): string {
  return [ACCESS[flags & 3]!, ...OPEN_FLAGS.flatMap(([bit, name]) => (flags & bit ? [name] : []))].join("|");
}
