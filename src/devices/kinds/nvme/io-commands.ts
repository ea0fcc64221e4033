import { DiskError, PIECE } from "../../disk/disk.ts";
import { ALL_NAMESPACES, type Command, IO_EFFECTS, Io } from "./command.ts";
import type { CommandContext } from "./command-context.ts";
import { dataSegments, metadataSegments } from "./data-pointer.ts";
import { MOST_NAMESPACES } from "./facts.ts";
import { copyLimits, discardLimit, VERIFY_SHIFT } from "./identify.ts";
import type { Namespace } from "./namespace.ts";
import type { Request } from "./queues.ts";
import * as status from "./status.ts";
import { atOnce, type Steps } from "./steps.ts";
import { fromHost, gather, scatter } from "./transfer.ts";

const INVALID_FIELD = status.INVALID_FIELD | status.DNR;
const INVALID_NAMESPACE = status.INVALID_NAMESPACE | status.DNR;
const FORCE_UNIT_ACCESS = 1 << 30;
/** Dataset management: the blocks hold nothing any more. */
const DEALLOCATE = 1 << 2;
const RANGE_SIZE = 16;
const COPY_RANGE_SIZE = 32;
/** Feature 05h: reading a block that was never written is an error. */
const DEALLOCATED_IS_ERROR = 1 << 16;

type Handler = (request: Request, namespace: Namespace) => Steps;

/**
 * Commands of the NVM command set. Checks and their order are those of QEMU's controller (hw/nvme/ctrl.c), which was
 * recorded.
 */
export class IoCommands {
  readonly #controller: CommandContext;
  readonly #handlers: ReadonlyMap<number, Handler>;
  /** What passes through when it is moved in one piece. */
  readonly #buffer = Buffer.alloc(PIECE);

  constructor(controller: CommandContext) {
    this.#controller = controller;
    this.#handlers = new Map<number, Handler>([
      [Io.write, (request, namespace) => this.#write(request, namespace)],
      [Io.read, (request, namespace) => this.#read(request, namespace)],
      [Io.compare, (request, namespace) => this.#compare(request, namespace)],
      [Io.writeZeroes, (request, namespace) => this.#writeZeroes(request, namespace)],
      [Io.datasetManagement, (request, namespace) => this.#manage(request, namespace)],
      [Io.verify, (request, namespace) => this.#verify(request, namespace)],
      [Io.copy, (request, namespace) => this.#copy(request, namespace)],
      [Io.managementReceive, ({ command }) => managed(command)],
      [Io.managementSend, ({ command }) => managed(command)],
    ]);
  }

  *execute(request: Request): Steps {
    try {
      return yield* this.#execute(request);
    } catch (error) {
      if (!(error instanceof DiskError)) throw error;
      return request.command.opcode === Io.read ? status.UNRECOVERED_READ : status.WRITE_FAULT;
    }
  }

  #execute(request: Request): Steps {
    const { command } = request;
    const { nsid, opcode } = command;
    if (opcode === Io.flush) return this.#flush(request);
    const namespace = this.#controller.namespace(nsid);
    if (nsid === 0 || nsid > MOST_NAMESPACES) return atOnce(() => INVALID_NAMESPACE);
    if (!namespace) return atOnce(() => INVALID_FIELD);
    if (namespace.isFormatting) return atOnce(() => status.FORMAT_IN_PROGRESS);
    if (command.fuse !== 0) return atOnce(() => status.INVALID_FIELD);
    const handler = IO_EFFECTS.has(opcode) ? this.#handlers.get(opcode) : undefined;
    return handler ? handler(request, namespace) : atOnce(() => status.INVALID_OPCODE | status.DNR);
  }

  *#flush(request: Request): Steps {
    const { nsid } = request.command;
    if (nsid === ALL_NAMESPACES) return yield* this.#controller.flush(this.#controller.attached(), request);
    if (nsid === 0 || nsid > MOST_NAMESPACES) return INVALID_NAMESPACE;
    const namespace = this.#controller.namespace(nsid);
    return namespace ? yield* this.#controller.flush([namespace], request) : INVALID_FIELD;
  }

  *#read(request: Request, namespace: Namespace): Steps {
    const { command } = request;
    const { first, count, length } = range(command, namespace);
    const refusal =
      this.#checkLength(length + extendedBytes(namespace, count)) ||
      namespace.checkRange(first, count) ||
      this.#checkAllocated(namespace, Number(first), count);
    if (refusal) return refusal | status.DNR;
    namespace.counts.reads++;
    namespace.counts.bytesRead += length;
    request.moved = length;
    if (namespace.metadataSize > 0) return yield* this.#readWithMetadata(command, namespace, Number(first), count);
    const segments = yield* dataSegments(this.#controller, command, length);
    if (typeof segments === "number") return segments | status.DNR;
    const offset = Number(first) * namespace.blockSize;
    if (length <= PIECE) {
      const bytes = this.#buffer.subarray(0, length);
      namespace.disk.read(offset, bytes);
      return yield* scatter(this.#controller, segments, bytes);
    }
    const bytes = Buffer.allocUnsafe(length);
    yield* readPieces(namespace, offset, bytes);
    return yield* scatter(this.#controller, segments, bytes);
  }

  *#write(request: Request, namespace: Namespace): Steps {
    const { command } = request;
    const { first, count, length } = range(command, namespace);
    const refusal =
      this.#checkLength(length + extendedBytes(namespace, count)) ||
      namespace.checkRange(first, count) ||
      checkWritable(namespace);
    if (refusal) return refusal;
    request.moved = length;
    if (namespace.metadataSize > 0) {
      const problem = yield* this.#writeWithMetadata(command, namespace, Number(first), count);
      if (problem) return problem;
    } else {
      const segments = yield* dataSegments(this.#controller, command, length);
      if (typeof segments === "number") return segments | status.DNR;
      // all of it before any of it is written: a write that fails changes nothing
      const bytes = length <= PIECE ? this.#buffer.subarray(0, length) : Buffer.allocUnsafe(length);
      const problem = yield* gather(this.#controller, segments, bytes);
      if (problem) return problem;
      yield* writePieces(namespace, Number(first) * namespace.blockSize, bytes);
    }
    namespace.counts.writes++;
    namespace.counts.bytesWritten += length;
    return yield* this.#persist(request, namespace);
  }

  /** Has what was written stay, where the command or the host wants that of each write. */
  *#persist(request: Request, namespace: Namespace): Steps {
    const isForced = (request.command.dword(12) & FORCE_UNIT_ACCESS) !== 0 || !this.#controller.features.writeCache;
    return isForced ? yield* this.#controller.flush([namespace], request) : status.SUCCESS;
  }

  *#compare(request: Request, namespace: Namespace): Steps {
    const { command } = request;
    const { first, count, length } = range(command, namespace);
    const metadata = count * namespace.metadataSize;
    const refusal =
      this.#checkLength(length + extendedBytes(namespace, count)) ||
      namespace.checkRange(first, count) ||
      this.#checkAllocated(namespace, Number(first), count);
    if (refusal) return refusal;
    request.moved = length;
    const theirs = Buffer.allocUnsafe(length + metadata);
    const inline = namespace.isExtended ? length + metadata : length;
    const segments = yield* dataSegments(this.#controller, command, inline);
    if (typeof segments === "number") return segments;
    const problem = yield* gather(this.#controller, segments, theirs.subarray(0, inline));
    if (problem) return problem;
    if (inline < theirs.length) {
      const apart = yield* metadataSegments(this.#controller, command, metadata);
      if (typeof apart === "number") return apart;
      const missing = yield* gather(this.#controller, apart, theirs.subarray(inline));
      if (missing) return missing;
    }
    const ours = Buffer.allocUnsafe(theirs.length);
    if (metadata > 0) yield* this.#readBlocks(namespace, Number(first), count, ours);
    else yield* readPieces(namespace, Number(first) * namespace.blockSize, ours);
    return ours.equals(theirs) ? status.SUCCESS : status.COMPARE_FAILURE | status.DNR;
  }

  *#writeZeroes(request: Request, namespace: Namespace): Steps {
    const { first, count } = range(request.command, namespace);
    const refusal = namespace.checkRange(first, count) || checkWritable(namespace);
    if (refusal) return refusal;
    namespace.counts.writes++;
    yield* this.#zeroBlocks(namespace, Number(first), count);
    return yield* this.#persist(request, namespace);
  }

  *#zeroBlocks(namespace: Namespace, first: number, count: number): Steps<void> {
    const { blockSize, metadataSize } = namespace;
    yield* zeroPieces(namespace, first * blockSize, count * blockSize);
    if (metadataSize > 0) yield* zeroPieces(namespace, namespace.metadataOffset(first), count * metadataSize);
  }

  *#manage({ command }: Request, namespace: Namespace): Steps {
    if (!(command.dword(11) & DEALLOCATE)) return status.SUCCESS;
    const ranges = Buffer.alloc(((command.dword(10) & 0xff) + 1) * RANGE_SIZE);
    const problem = yield* fromHost(this.#controller, command, ranges);
    if (problem) return problem;
    const refusal = checkWritable(namespace);
    if (refusal) return refusal;
    const limit = discardLimit([namespace]);
    for (let at = 0; at < ranges.length; at += RANGE_SIZE) {
      const count = ranges.readUInt32LE(at + 4);
      const first = ranges.readBigUInt64LE(at + 8);
      // what cannot be is passed over: it is advice
      if (count > limit || namespace.checkRange(first, count)) continue;
      yield* zeroPieces(namespace, Number(first) * namespace.blockSize, count * namespace.blockSize);
    }
    return status.SUCCESS;
  }

  *#verify(request: Request, namespace: Namespace): Steps {
    const { command } = request;
    const { first, count, length } = range(command, namespace);
    if (length + extendedBytes(namespace, count) > this.#controller.pageSize * 2 ** VERIFY_SHIFT) return INVALID_FIELD;
    const refusal = namespace.checkRange(first, count) || this.#checkAllocated(namespace, Number(first), count);
    if (refusal) return refusal;
    for (let done = 0; done < length; done += PIECE) {
      const part = this.#buffer.subarray(0, Math.min(PIECE, length - done));
      namespace.disk.read(Number(first) * namespace.blockSize + done, part);
      yield part.length;
    }
    return status.SUCCESS;
  }

  *#copy(request: Request, namespace: Namespace): Steps {
    const { command } = request;
    const controller = this.#controller;
    const dword = command.dword(12);
    const [ranges, format] = [(dword & 0xff) + 1, (dword >>> 8) & 15];
    const limits = copyLimits(namespace);
    const crosses = format === 2 || format === 3;
    const enabled = controller.features.hostBehavior[4]!;
    if (format > 3 || (crosses && !(enabled & (1 << format)))) return INVALID_FIELD;
    if (ranges > limits.ranges) return status.SIZE_LIMIT | status.DNR;
    if (format !== 0 && format !== 2) return status.INVALID_FORMAT | status.DNR;
    const list = Buffer.alloc(ranges * COPY_RANGE_SIZE);
    const problem = yield* fromHost(controller, command, list);
    if (problem) return problem;
    const sources = Array.from({ length: ranges }, (_, index) => {
      const at = index * COPY_RANGE_SIZE;
      return {
        nsid: list.readUInt32LE(at),
        first: list.readBigUInt64LE(at + 8),
        count: list.readUInt16LE(at + 16) + 1,
      };
    });
    const total = sources.reduce((sum, { count }) => sum + count, 0);
    if (total > limits.allBlocks) return status.SIZE_LIMIT | status.DNR;
    let target = command.quadword(10);
    for (const source of sources) {
      const { first, count } = source;
      let from: Namespace | undefined = namespace;
      if (crosses && source.nsid !== namespace.id) {
        if (source.nsid === 0 || source.nsid > MOST_NAMESPACES) return INVALID_NAMESPACE;
        from = controller.namespace(source.nsid);
        if (!from) return INVALID_FIELD;
        if (from.format !== namespace.format) return status.FORMATS_DIFFER | status.DNR;
      } else if (crosses) {
        const start = command.quadword(10);
        const end = first + BigInt(count);
        if (end > start && end < start + BigInt(total)) return status.RANGES_OVERLAP | status.DNR;
      }
      if (count > copyLimits(from).rangeBlocks) return status.SIZE_LIMIT | status.DNR;
      const refusal = from.checkRange(first, count) || namespace.checkRange(target, count) || checkWritable(namespace);
      if (refusal) return refusal;
      const bytes = Buffer.allocUnsafe(count * (from.blockSize + from.metadataSize));
      yield* this.#readBlocks(from, Number(first), count, bytes);
      yield* this.#writeBlocks(namespace, Number(target), count, bytes);
      target += BigInt(count);
    }
    return yield* this.#persist(request, namespace);
  }

  #checkLength(length: number): number {
    return length > this.#controller.transferLimit ? INVALID_FIELD : status.SUCCESS;
  }

  /** Blocks that hold nothing, where the host wants to hear of that. */
  #checkAllocated(namespace: Namespace, first: number, count: number): number {
    if (!(namespace.errorRecovery & DEALLOCATED_IS_ERROR)) return status.SUCCESS;
    const start = first * namespace.blockSize;
    const end = start + count * namespace.blockSize;
    return namespace.disk.nextData(start, end) === start ? status.SUCCESS : status.DEALLOCATED;
  }

  /** Data and metadata of blocks as commands have them: one behind the other, or all data and then all metadata. */
  *#readBlocks(namespace: Namespace, first: number, count: number, into: Buffer): Steps<void> {
    const { blockSize, metadataSize } = namespace;
    const data = count * blockSize;
    const apart = namespace.isExtended ? Buffer.allocUnsafe(into.length) : into;
    yield* readPieces(namespace, first * blockSize, apart.subarray(0, data));
    if (metadataSize > 0) yield* readPieces(namespace, namespace.metadataOffset(first), apart.subarray(data));
    if (namespace.isExtended) interleave(namespace, count, apart, into, true);
  }

  *#writeBlocks(namespace: Namespace, first: number, count: number, from: Buffer): Steps<void> {
    const { blockSize, metadataSize } = namespace;
    const data = count * blockSize;
    const apart = namespace.isExtended ? Buffer.allocUnsafe(from.length) : from;
    if (namespace.isExtended) interleave(namespace, count, apart, from, false);
    yield* writePieces(namespace, first * blockSize, apart.subarray(0, data));
    if (metadataSize > 0) yield* writePieces(namespace, namespace.metadataOffset(first), apart.subarray(data));
  }

  *#readWithMetadata(command: Command, namespace: Namespace, first: number, count: number): Steps {
    const bytes = Buffer.allocUnsafe(count * (namespace.blockSize + namespace.metadataSize));
    const inline = namespace.isExtended ? bytes.length : count * namespace.blockSize;
    const segments = yield* dataSegments(this.#controller, command, inline);
    if (typeof segments === "number") return segments | status.DNR;
    yield* this.#readBlocks(namespace, first, count, bytes);
    const problem = yield* scatter(this.#controller, segments, bytes.subarray(0, inline));
    if (problem || namespace.isExtended) return problem;
    const apart = yield* metadataSegments(this.#controller, command, bytes.length - inline);
    return typeof apart === "number" ? apart : yield* scatter(this.#controller, apart, bytes.subarray(inline));
  }

  *#writeWithMetadata(command: Command, namespace: Namespace, first: number, count: number): Steps {
    const bytes = Buffer.allocUnsafe(count * (namespace.blockSize + namespace.metadataSize));
    const inline = namespace.isExtended ? bytes.length : count * namespace.blockSize;
    const segments = yield* dataSegments(this.#controller, command, inline);
    if (typeof segments === "number") return segments | status.DNR;
    const problem = yield* gather(this.#controller, segments, bytes.subarray(0, inline));
    if (problem) return problem;
    if (!namespace.isExtended) {
      const apart = yield* metadataSegments(this.#controller, command, bytes.length - inline);
      if (typeof apart === "number") return apart;
      const missing = yield* gather(this.#controller, apart, bytes.subarray(inline));
      if (missing) return missing;
    }
    yield* this.#writeBlocks(namespace, first, count, bytes);
    return status.SUCCESS;
  }
}

/** Blocks that a command is about, and their bytes. */
function range(command: Command, namespace: Namespace) {
  const count = (command.dword(12) & 0xffff) + 1;
  return { first: command.quadword(10), count, length: count * namespace.blockSize };
}

/** Bytes of metadata that go with the data. */
function extendedBytes({ isExtended, metadataSize }: Namespace, count: number): number {
  return isExtended ? count * metadataSize : 0;
}

function checkWritable({ disk }: Namespace): number {
  return disk.isReadOnly ? status.WRITE_PROTECTED | status.DNR : status.SUCCESS;
}

function* readPieces({ disk }: Namespace, offset: number, into: Uint8Array): Steps<void> {
  for (let done = 0; done < into.length; ) {
    const part = into.subarray(done, done + PIECE);
    disk.read(offset + done, part);
    done += part.length;
    if (done < into.length) yield part.length;
  }
}

function* writePieces({ disk }: Namespace, offset: number, from: Uint8Array): Steps<void> {
  for (let done = 0; done < from.length; ) {
    const part = from.subarray(done, done + PIECE);
    disk.write(offset + done, part);
    done += part.length;
    if (done < from.length) yield part.length;
  }
}

function* zeroPieces({ disk }: Namespace, offset: number, length: number): Steps<void> {
  const end = offset + length;
  for (let at = disk.nextData(offset, end); at < end; at = disk.nextData(at, end)) {
    const count = Math.min(PIECE - (at % PIECE), end - at);
    disk.zero(at, count);
    at += count;
    yield count;
  }
}

/** Puts blocks with their metadata together, or takes them apart. */
function interleave(namespace: Namespace, count: number, apart: Buffer, together: Buffer, join: boolean): void {
  const { blockSize, metadataSize } = namespace;
  for (let block = 0; block < count; block++) {
    const at = block * (blockSize + metadataSize);
    const parts = [
      [block * blockSize, at, blockSize],
      [count * blockSize + block * metadataSize, at + blockSize, metadataSize],
    ] as const;
    for (const [own, shared, length] of parts) {
      if (join) apart.copy(together, shared, own, own + length);
      else together.copy(apart, own, shared, shared + length);
    }
  }
}

/** Management of data placement: there is none, and nothing may be asked of it. */
function managed(command: Command): Steps {
  const operation = command.dword(10) & 0xff;
  if (operation === 0) return atOnce(() => status.SUCCESS);
  return atOnce(() => (operation === 1 ? status.PLACEMENT_DISABLED | status.DNR : INVALID_FIELD));
}
