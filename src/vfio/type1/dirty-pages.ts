import { addressToPage, LAST_PAGE } from "../../address/pages.ts";
import { fail, hex } from "../../kernel/errors.ts";
import type { Task } from "../../kernel/task.ts";
import { type Word, wordFromBigInt } from "../../kernel/word.ts";
import type { Decoded } from "../../uapi/layout.ts";
import {
  VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_START,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP,
  type VfioBitmap,
  VfioIommuType1DirtyBitmap,
  VfioIommuType1DirtyBitmapGet,
} from "../../uapi/vfio-type1.ts";
import { UserStruct } from "../user-struct.ts";
import { PIECE_WORDS } from "./dirty-bitmap.ts";
import { pageText } from "./explain.ts";
import type { Type1Iommu } from "./iommu.ts";
import { MAP_PINNED } from "./mapping-table.ts";

/** A struct vfio_bitmap as the caller gave it. */
export type BitmapRequest = Decoded<(typeof VfioBitmap)["fields"]>;

/** vfio_iommu_type1.c: DIRTY_BITMAP_SIZE_MAX, bytes. */
export const DIRTY_BITMAP_SIZE_MAX = 2 ** 28;

const HEAD = VfioIommuType1DirtyBitmap.endOf("flags");
const KNOWN =
  VFIO_IOMMU_DIRTY_PAGES_FLAG_START | VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP | VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP;
const user = new UserStruct(HEAD + VfioIommuType1DirtyBitmapGet.size);
/** The bitmap is copied out in pieces, so that a large one needs no large buffer. */
const piece = new Uint32Array(PIECE_WORDS);
const pieceBytes = new Uint8Array(piece.buffer);
/** The same for callers whose words are big-endian. */
const swapped = Buffer.alloc(piece.byteLength);
const word = new UserStruct(8);

/** VFIO_IOMMU_DIRTY_PAGES. Checks in the order of vfio_iommu_type1.c:vfio_iommu_type1_dirty_pages. */
export function dirtyPages(iommu: Type1Iommu, task: Task, arg: Word): number {
  if (!iommu.v2) fail("EACCES", "dirty tracking needs a v2 container (VFIO_TYPE1v2_IOMMU)");
  user.copyInSized(task, arg, HEAD, "vfio_iommu_type1_dirty_bitmap");
  const flags = user.u32(4);
  if (flags & ~KNOWN) fail("EINVAL", `unknown flag bits ${hex((flags & ~KNOWN) >>> 0)} (known: ${hex(KNOWN)})`);
  if (flags === VFIO_IOMMU_DIRTY_PAGES_FLAG_START) return start(iommu);
  if (flags === VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP) return stop(iommu);
  if (flags === VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP) return getBitmap(iommu, task, arg);
  fail("EINVAL", "exactly one of START, STOP and GET_BITMAP must be asked for");
}

function start(iommu: Type1Iommu): number {
  if (iommu.dirtyTracking) return 0;
  const { mappings } = iommu;
  for (let more = mappings.byIova.first(); more; more = mappings.byIova.next()) {
    const { start: first, pages, value: slot } = mappings.byIova;
    if (!iommu.startBitmap(slot, pages)) {
      const which = iommu.describeHere();
      mappings.dirty.clear();
      fail("EINVAL", `${which} has more pages than a dirty bitmap can have (2^31 - 1)`);
    }
    markPinned(iommu, slot, first);
  }
  iommu.dirtyTracking = true;
  return 0;
}

function stop(iommu: Type1Iommu): number {
  iommu.dirtyTracking = false;
  iommu.mappings.dirty.clear();
  return 0;
}

function getBitmap(iommu: Type1Iommu, task: Task, arg: Word): number {
  const argsz = user.u32(0);
  if (argsz - HEAD < VfioIommuType1DirtyBitmapGet.size) {
    fail(
      "EINVAL",
      `argsz ${argsz} leaves no room for the range to get, ${HEAD + VfioIommuType1DirtyBitmapGet.size} are needed`,
    );
  }
  user.copyInTail(task, arg, HEAD, VfioIommuType1DirtyBitmapGet.size);
  const { iova, size, bitmap } = VfioIommuType1DirtyBitmapGet.read(user.view, HEAD);
  const { release } = iommu.context;
  const end = iova + size;
  if (release.has("overflowErrno")) {
    if (size === 0n) fail("EINVAL", "the size is 0");
    if (end > 2n ** 64n) fail("EOVERFLOW", `iova ${hex(iova)} plus size ${hex(size)} runs past 2^64`);
  } else if (BigInt.asUintN(64, end) < iova) {
    fail("EINVAL", `iova ${hex(iova)} plus size ${hex(size)} runs up to or past 2^64`);
  }
  checkBitmap(iommu, bitmap, size);
  const unit = BigInt(iommu.pageBytes);
  if (bitmap.pgsize !== unit) fail("EINVAL", `the bitmap's page size ${hex(bitmap.pgsize)} is not ${pageText(iommu)}`);
  if (iova % unit) fail("EINVAL", `iova ${hex(iova)} is not a multiple of ${pageText(iommu)}`);
  if (size === 0n || size % unit) fail("EINVAL", `size ${hex(size)} is not a multiple of ${pageText(iommu)}`);
  if (!iommu.dirtyTracking) fail("EINVAL", "dirty tracking is off (VFIO_IOMMU_DIRTY_PAGES_FLAG_START comes first)");

  const first = addressToPage(iova);
  const last = addressToPage(end - 1n);
  refuseCuts(iommu, first, last);
  const { byIova } = iommu.mappings;
  for (let more = byIova.seek(first); more && byIova.start <= last; more = byIova.next()) {
    writeBitmap(iommu, task, bitmap, first);
    // what is pinned is dirty again at once; what was only written once is clean now
    iommu.mappings.dirty.get(byIova.value)!.clear();
    markPinned(iommu, byIova.value, byIova.start);
  }
  return 0;
}

function refuseCuts(iommu: Type1Iommu, first: number, last: number): void {
  const { byIova } = iommu.mappings;
  const cutsFirst = byIova.overlaps(first, 1) && byIova.start !== first;
  const cutsLast =
    !cutsFirst && last <= LAST_PAGE && byIova.overlaps(last, 1) && byIova.start + byIova.pages - 1 !== last;
  if (cutsFirst || cutsLast) fail("EINVAL", `the range would cut ${iommu.describeHere()}; ask for whole mappings`);
}

/** Sets the bits of the pages that mediated devices hold (vfio_dma_populate_bitmap). */
function markPinned(iommu: Type1Iommu, slot: number, start: number): void {
  const pins = iommu.mappings.external.get(slot);
  const bitmap = iommu.mappings.dirty.get(slot)!;
  if (pins) for (const page of pins.iovaPages()) bitmap.set(Math.floor((page - start) / iommu.pagesPerUnit), 1);
}

/**
 * Refuses a bitmap that cannot be written or does not fit `size` bytes of IOVA (access_ok, verify_bitmap_size).
 * The page size is compared later; here it only scales. On s390 all addresses are user memory (asm-generic/access_ok.h:
 * TASK_SIZE_MAX, user space has an address space to itself).
 */
export function checkBitmap({ context }: Type1Iommu, bitmap: BitmapRequest, size: bigint): void {
  const end = bitmap.data + bitmap.size;
  if (end >= 2n ** 63n && context.arch !== "s390x") {
    fail("EINVAL", `the bitmap at ${hex(bitmap.data)} with size ${hex(bitmap.size)} is not in user memory`);
  }
  const pages = bitmap.pgsize === 0n ? 0n : size / (bitmap.pgsize & -bitmap.pgsize);
  if (pages === 0n) fail("EINVAL", `the range of ${hex(size)} bytes has no whole page of ${hex(bitmap.pgsize)}`);
  const needed = ((pages + 63n) / 64n) * 8n;
  if (bitmap.size < needed)
    fail("EINVAL", `the bitmap has ${bitmap.size} bytes, ${needed} are needed for the pages of the range (${pages})`);
  if (bitmap.size > DIRTY_BITMAP_SIZE_MAX) {
    fail("EINVAL", `the bitmap has ${bitmap.size} bytes, at most ${DIRTY_BITMAP_SIZE_MAX} are allowed`);
  }
}

/**
 * Writes the dirty bits of the mapping at the cursor into the caller's bitmap, whose bit 0 is page `base`
 * (vfio_iommu_type1.c:update_user_bitmap). Whole 64-bit words are written; what the caller has in the first one stays.
 */
export function writeBitmap(iommu: Type1Iommu, task: Task, request: BitmapRequest, base: number): void {
  const { start, value: slot } = iommu.mappings.byIova;
  const bitmap = iommu.mappings.dirty.get(slot)!;
  // a device that does not report what it writes may have written anything that is mapped
  if (iommu.nonPinnedGroups > 0 && iommu.mappings.flagsOf(slot) & MAP_PINNED) bitmap.set(0, bitmap.bits);
  const offset = Math.floor((start - base) / iommu.pagesPerUnit);
  const shift = offset % 64;
  const target = request.data + BigInt(Math.floor(offset / 64)) * 8n;
  let kept = 0n;
  if (shift > 0) {
    word.copyIn(task, wordFromBigInt(target), 8);
    kept = word.u64(0);
  }
  const words = bitmap.words64(shift) * 2;
  const { littleEndian } = task.memory;
  for (let at = 0; at < words; at += PIECE_WORDS) {
    const count = Math.min(PIECE_WORDS, words - at);
    const whole = shift === 0 ? bitmap.wholePiece(at / PIECE_WORDS) : undefined;
    if (whole === undefined) bitmap.readShifted(shift, at, count === PIECE_WORDS ? piece : piece.subarray(0, count));
    if (at === 0 && shift > 0) {
      piece[0]! |= Number(kept & 0xffffffffn);
      piece[1]! |= Number(kept >> 32n);
    }
    const ownWords = whole === undefined ? pieceBytes : new Uint8Array(whole.buffer);
    const bytes = littleEndian ? ownWords : bigEndianWords(whole ?? piece, count);
    task.memory.copyOut(wordFromBigInt(target + BigInt(at) * 4n), bytes, count * 4);
  }
  if (shift > 0) bitmap.keepSpare(shift, kept);
}

/** The first `count` 32-bit words of `from`, an even number, as 64-bit words of a big-endian processor. */
function bigEndianWords(from: Uint32Array, count: number): Uint8Array {
  swapped.set(new Uint8Array(from.buffer, 0, count * 4));
  swapped.subarray(0, count * 4).swap64();
  return swapped;
}
