import type { Command } from "./command.ts";
import type { ControllerMemory } from "./controller-memory.ts";
import * as status from "./status.ts";
import type { Steps } from "./steps.ts";

/** Memory of the host that a command's data lie in, in order. */
export interface Segment {
  readonly address: bigint;
  readonly length: number;
}

/** Where pointers are followed. */
export interface PointerContext {
  readonly memory: ControllerMemory;
  /** Bytes of a page in CC.MPS: a power of two. */
  readonly pageSize: number;
}

const ENTRY = 8;
const DESCRIPTOR = 16;
/** Descriptors that are read at a time. */
const CHUNK = 256;
const ALL = 2n ** 64n;

const DATA_BLOCK = 0;
const SEGMENT = 2;
const LAST_SEGMENT = 3;

/**
 * The memory that a command's data pointer names for `length` bytes.
 * @returns the segments, or a status
 */
export function* dataSegments(context: PointerContext, command: Command, length: number): Steps<Segment[] | number> {
  if (length === 0) return [];
  if (command.psdt === 0) return yield* prpSegments(context, command, length);
  if (command.psdt === 3) return status.INVALID_FIELD;
  return yield* sglSegments(context, command.sgl, length);
}

/**
 * The memory of the metadata of a command, where it is apart from the data.
 * @returns the segments, or a status
 */
export function* metadataSegments(
  context: PointerContext,
  command: Command,
  length: number,
): Steps<Segment[] | number> {
  const { metadata: address, psdt } = command;
  if (psdt !== 2) return [{ address, length }];
  const descriptor = new Uint8Array(DESCRIPTOR);
  if (!context.memory.read(address, descriptor)) return status.DATA_TRANSFER_ERROR;
  const found = yield* sglSegments(context, descriptor, length);
  const isLength = typeof found === "number" && (found & ~status.DNR) === status.SGL_LENGTH_INVALID;
  return isLength ? status.METADATA_SGL_LENGTH_INVALID | status.DNR : found;
}

/**
 * Physical region pages: the first one at any offset; a second one, or lists of them, each with its successor in its
 * last entry.
 */
function* prpSegments(context: PointerContext, command: Command, length: number): Steps<Segment[] | number> {
  const { memory, pageSize } = context;
  const { prp1, prp2 } = command;
  const mask = BigInt(pageSize - 1);
  const segments = new Segments();
  const first = Math.min(length, pageSize - Number(prp1 & mask));
  segments.add(prp1, first);
  let left = length - first;
  if (left === 0) return segments.all;
  if (left <= pageSize) {
    if (prp2 & mask) return status.PRP_OFFSET_INVALID | status.DNR;
    segments.add(prp2, left);
    return segments.all;
  }
  for (let list = prp2; left > 0; ) {
    const here = (pageSize - Number(list & mask)) >>> 3;
    const wanted = Math.ceil(left / pageSize);
    const entries = new BigUint64Array(Math.min(here, wanted));
    if (!readList(memory, list, entries)) return status.DATA_TRANSFER_ERROR;
    const isChained = wanted > here;
    for (const [index, entry] of entries.entries()) {
      if (entry & mask) return status.PRP_OFFSET_INVALID | status.DNR;
      if (isChained && index === here - 1) {
        list = entry;
        break;
      }
      const count = Math.min(left, pageSize);
      segments.add(entry, count);
      left -= count;
    }
    if (left > 0) yield entries.byteLength;
  }
  return segments.all;
}

function readList(memory: ControllerMemory, address: bigint, entries: BigUint64Array): boolean {
  const bytes = new Uint8Array(entries.buffer);
  if (address + BigInt(bytes.length) > ALL || !memory.read(address, bytes)) return false;
  const view = new DataView(entries.buffer);
  for (let i = 0; i < entries.length; i++) entries[i] = view.getBigUint64(i * ENTRY, true);
  return true;
}

interface Descriptor {
  readonly type: number;
  readonly address: bigint;
  readonly length: number;
}

function descriptorAt(view: DataView, index: number): Descriptor {
  const at = index * DESCRIPTOR;
  return {
    type: view.getUint8(at + 15) >>> 4,
    address: view.getBigUint64(at, true),
    length: view.getUint32(at + 8, true),
  };
}

/**
 * A scatter gather list: one data block, or segments of descriptors, of which the last one leads to the next segment.
 */
function* sglSegments(context: PointerContext, first: Uint8Array, length: number): Steps<Segment[] | number> {
  const segments = new Segments();
  let left = length;
  /** Takes over the data blocks among descriptors; returns a status. */
  const take = (descriptors: DataView, count: number): number => {
    for (let i = 0; i < count; i++) {
      const { type, address, length: bytes } = descriptorAt(descriptors, i);
      if (type === SEGMENT || type === LAST_SEGMENT) return status.INVALID_SGL_COUNT | status.DNR;
      if (type !== DATA_BLOCK) return status.SGL_TYPE_INVALID | status.DNR;
      if (bytes === 0) continue;
      if (left === 0 || ALL - 1n - address < BigInt(bytes)) return status.SGL_LENGTH_INVALID | status.DNR;
      const part = Math.min(left, bytes);
      segments.add(address, part);
      left -= part;
    }
    return status.SUCCESS;
  };
  const end = () => (left > 0 ? status.SGL_LENGTH_INVALID | status.DNR : segments.all);

  const own = new DataView(first.buffer, first.byteOffset, DESCRIPTOR);
  let descriptor = descriptorAt(own, 0);
  if (descriptor.type === DATA_BLOCK) return take(own, 1) || end();
  for (;;) {
    const { type, address, length: bytes } = descriptor;
    const before = left;
    if ((type !== SEGMENT && type !== LAST_SEGMENT) || bytes === 0 || bytes % DESCRIPTOR !== 0)
      return status.INVALID_SGL_SEGMENT | status.DNR;
    if (ALL - 1n - address < BigInt(bytes)) return status.SGL_LENGTH_INVALID | status.DNR;
    const total = bytes / DESCRIPTOR;
    let last: { readonly view: DataView; readonly count: number } | undefined;
    for (let done = 0; done < total; ) {
      if (last) {
        const problem = take(last.view, last.count);
        if (problem) return problem;
      }
      const count = Math.min(CHUNK, total - done);
      const chunk = new Uint8Array(count * DESCRIPTOR);
      if (!context.memory.read(address + BigInt(done * DESCRIPTOR), chunk)) return status.DATA_TRANSFER_ERROR;
      last = { view: new DataView(chunk.buffer), count };
      done += count;
      yield chunk.length;
    }
    const { view, count } = last!;
    const next = descriptorAt(view, count - 1);
    if (next.type === DATA_BLOCK) return take(view, count) || end();
    if (type === LAST_SEGMENT) return status.INVALID_SGL_SEGMENT | status.DNR;
    const problem = take(view, count - 1);
    if (problem) return problem;
    // a segment that names nothing may be part of a circle
    if (left === before) return status.INVALID_SGL_SEGMENT | status.DNR;
    descriptor = next;
  }
}

/** Neighbours are one. */
class Segments {
  readonly all: Segment[] = [];

  add(address: bigint, length: number): void {
    const last = this.all.at(-1);
    if (last && last.address + BigInt(last.length) === address) {
      this.all[this.all.length - 1] = { address: last.address, length: last.length + length };
      return;
    }
    this.all.push({ address, length });
  }
}
