import { fail } from "../../kernel/errors.ts";
import { PROT_NONE, PROT_READ, PROT_WRITE } from "../../kernel/model-areas.ts";
import { type Word, wordFromBigInt } from "../../kernel/word.ts";
import { decodeIo, encodeIo, plainRequest } from "../../uapi/ioctl.ts";
import { roundUp } from "../../uapi/layout.ts";
import {
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  VfioIommuType1DmaMap,
  VfioIommuType1DmaUnmap,
} from "../../uapi/vfio-type1.ts";
import type { Answer, Handlers } from "./answer.ts";
import type { BytesIoctl, OperationOf, Relocation } from "./operation.ts";
import { DONE, fromHex, outcomeOf, toHex } from "./outcome.ts";
import { type ReplayedProgram, SCRATCH_SIZE } from "./program.ts";

/** Bytes that lie behind a caller's structure, to see whether something is written there. */
const GUARD = 4096;
const GUARD_BYTE = 0xa5;
const GUARDS = new Uint8Array(2 * SCRATCH_SIZE).fill(GUARD_BYTE);

/** No program has so many descriptors open. */
const CLOSED_FD = 2 ** 30;

type CallWith = (arg: Word) => () => number;

/** Requests to files. */
export function ioctlOperations(program: ReplayedProgram) {
  return {
    ioctl: (o) => ioctl(program, o),
    maploop: (o) => mapLoop(program, o),
    unmaploop: (o) => unmapLoop(program, o),
  } satisfies Partial<Handlers>;
}

function ioctl(program: ReplayedProgram, o: OperationOf<"ioctl">): Answer {
  const nr = Number(o.nr);
  const encoding = program.host.ioctlEncoding;
  const request = plainRequest(nr, encoding) ?? (encoding === "plain" ? nr : otherEncoding(nr));
  const call: CallWith = (arg) => () => program.file(o).ioctl(program.task, request, arg);
  switch (o.arg) {
    case "bytes":
      return ioctlBytes(program, o, call);
    case "int":
      return outcomeOf(call(wordFromBigInt(BigInt(o.val))));
    case "buf":
      return outcomeOf(call(program.buffer(o.buf).address));
    default:
      return outcomeOf(call(0));
  }
}

/** A request with a structure, which is put into memory of its own. */
function ioctlBytes(program: ReplayedProgram, o: BytesIoctl, call: CallWith): Answer {
  const { memory, scratch } = program;
  const input = fromHex(o.in);
  const relocated = (o.relocs ?? []).map((reloc) => ({ reloc, value: relocate(program, input, reloc) }));
  const boundary = scratch + SCRATCH_SIZE;
  const address = o.readonly_from ? boundary - o.readonly_from : o.edge ? boundary - input.length : scratch;
  const guarded = Math.min(input.length + GUARD, scratch + 2 * SCRATCH_SIZE - address);
  memory.copyOut(address, GUARDS, guarded);
  memory.copyOut(address, input, input.length);
  if (o.readonly) memory.mprotect(scratch, 2 * SCRATCH_SIZE, PROT_READ);
  if (o.readonly_from) memory.mprotect(boundary, SCRATCH_SIZE, PROT_READ);
  if (o.edge) {
    const end = roundUp(address + input.length, memory.pageSize);
    memory.mprotect(end, scratch + 2 * SCRATCH_SIZE - end, PROT_NONE);
  }
  const outcome = outcomeOf(call(address));
  memory.mprotect(scratch, 2 * SCRATCH_SIZE, PROT_READ | PROT_WRITE);
  const result = program.read(address, input.length);
  for (const { reloc, value } of relocated) {
    const field = result.subarray(reloc.off, reloc.off + reloc.w);
    if (toHex(field) === value) field.fill(0);
  }
  if (o.out_fd !== undefined && o.out_fd + 4 > result.length)
    fail("EINVAL", `a descriptor at ${o.out_fd} lies behind the structure's ${result.length} bytes`);
  const name = o.ret_is_fd;
  const opened = name !== undefined && outcome.errno === null;
  if (opened) program.nameFd(name, o.out_fd === undefined ? outcome.ret : program.view(result).s32(o.out_fd));
  if (opened && o.out_fd !== undefined) result.fill(0, o.out_fd, o.out_fd + 4);
  if (outcome.errno === null) nameReturned(program, o, result);
  const over = o.edge ? "" : overrun(program, address + input.length);
  return { ...outcome, ret: opened ? 0 : outcome.ret, bytes: toHex(result), ...(over && { over }) };
}

/** Descriptors that came back in the structure get their names; their numbers are not compared. */
function nameReturned(program: ReplayedProgram, { out_fds: returned = [] }: BytesIoctl, result: Uint8Array): void {
  for (const { off, w, fd } of returned) {
    if (w !== 4 || off + w > result.length)
      fail("EINVAL", `a descriptor of ${w} bytes at ${off} is not in the structure's ${result.length} bytes`);
    program.nameFd(fd, program.view(result).s32(off));
    result.fill(0, off, off + w);
  }
}

/** Puts an address or a descriptor number into a structure; returns its bytes. */
function relocate(
  program: ReplayedProgram,
  input: Uint8Array,
  { off, w, buf, add = 0, fd, closed }: Relocation,
): string {
  if (off + w > input.length)
    fail("EINVAL", `a relocation at ${off} lies behind the structure's ${input.length} bytes`);
  const number = closed ? CLOSED_FD : fd === undefined ? program.buffer(buf).address + add : program.fd(fd);
  const value = BigInt(number);
  const field = input.subarray(off, off + w);
  const bytes = new Uint8Array(8);
  program.view(bytes).setU64(0, BigInt.asUintN(64, value));
  field.set(program.littleEndian ? bytes.subarray(0, w) : bytes.subarray(8 - w));
  return toHex(field);
}

function overrun(program: ReplayedProgram, from: number): string {
  const behind = program.read(from, GUARD);
  let end = behind.length;
  while (end > 0 && behind[end - 1] === GUARD_BYTE) end--;
  return toHex(behind.subarray(0, end));
}

/** MAP_DMA of the same memory at rising addresses until one fails. */
function mapLoop(program: ReplayedProgram, o: OperationOf<"maploop">): Answer {
  const map = VfioIommuType1DmaMap;
  const vaddr = BigInt(program.buffer(o.vaddr).address);
  return loop(program, o, VFIO_IOMMU_MAP_DMA, (iova) =>
    map.encode({ argsz: map.size, flags: o.flags, vaddr, iova, size: BigInt(o.size) }, 0, program.littleEndian),
  );
}

/** UNMAP_DMA at rising addresses until one fails. */
function unmapLoop(program: ReplayedProgram, o: OperationOf<"unmaploop">): Answer {
  const unmap = VfioIommuType1DmaUnmap;
  return loop(program, o, VFIO_IOMMU_UNMAP_DMA, (iova) =>
    unmap.encode({ argsz: unmap.size, iova, size: BigInt(o.size) }, 0, program.littleEndian),
  );
}

function loop(
  program: ReplayedProgram,
  o: OperationOf<"maploop" | "unmaploop">,
  request: number,
  argument: (iova: bigint) => Uint8Array,
): Answer {
  const file = program.file(o);
  let iova = BigInt(o.iova);
  for (let done = 0; done < o.count; done++) {
    const bytes = argument(BigInt.asUintN(64, iova));
    program.memory.copyOut(program.scratch, bytes, bytes.length);
    const outcome = outcomeOf(() => file.ioctl(program.task, request, program.scratch));
    if (outcome.errno !== null) return { ...outcome, done };
    iova += BigInt(o.stride);
  }
  return { ...DONE, done: o.count };
}

/**
 * A number of the plain encoding is unknown on powerpc: the model would know it, and gets it with the bit that tells
 * the encodings apart.
 */
function otherEncoding(nr: number): number {
  return decodeIo(nr) ? (nr ^ encodeIo(0, 0, "powerpc")) >>> 0 : nr;
}
