import type { DmaFault } from "../iommu/dma-target.ts";
import { addressIn, MappedDma, type Met, moved, pieceOf, refused } from "../iommu/dma-walk.ts";
import { fail, hex, hexRange } from "../kernel/errors.ts";
import { DirtyLog } from "./dirty-log.ts";
import type { RegionFile, RegionFiles } from "./region-files.ts";

/** DMA regions that a client may have. */
export const MOST_REGIONS = 65535;

/** A range of I/O virtual addresses that the client lets the device reach. Bytes. */
export interface DmaRegion {
  readonly start: bigint;
  readonly size: bigint;
  readonly read: boolean;
  readonly write: boolean;
  /** Where its bytes are; undefined: the client is asked for each access. */
  readonly file: RegionFile | undefined;
  /** Into the file. */
  readonly offset: number;
}

/** Accesses by message, for regions without a file. False when the client refuses. */
export interface ByMessage {
  read(address: bigint, into: Uint8Array): boolean;
  write(address: bigint, from: Uint8Array): boolean;
}

/** The memory of a client as the device reaches it: what DMA_MAP has said, and nothing else. */
export class ClientMemory extends MappedDma {
  readonly log = new DirtyLog();
  /** In the order of their addresses, without overlap. */
  readonly #regions: DmaRegion[] = [];
  readonly #files: RegionFiles;
  readonly #byMessage: ByMessage;

  constructor(files: RegionFiles, byMessage: ByMessage) {
    super();
    this.#files = files;
    this.#byMessage = byMessage;
  }

  /** EEXIST for a range that has something already, EINVAL for none and for one beyond 64 bits, ENOSPC. */
  map(region: DmaRegion): void {
    const { start, size } = region;
    if (size === 0n || start + size > 2n ** 64n)
      fail("EINVAL", `a DMA region of ${hex(size)} bytes at ${hex(start)} is empty, or runs past 2^64`);
    const at = this.#after(start);
    const [before, behind] = [this.#regions[at - 1], this.#regions[at]];
    const other = before && before.start + before.size > start ? before : behind;
    if (other && other.start < start + size && start < other.start + other.size)
      fail("EEXIST", `${shown(region)} overlaps the DMA region ${shown(other)}`);
    if (this.#regions.length === MOST_REGIONS) fail("ENOSPC", `there are ${MOST_REGIONS} DMA regions already`);
    this.#regions.splice(at, 0, region);
  }

  /** ENOENT unless there is exactly this one. */
  unmap(start: bigint, size: bigint): void {
    const index = this.#after(start) - 1;
    const region = this.#regions[index];
    if (!region || region.start !== start || region.size !== size)
      fail("ENOENT", `there is no DMA region of ${hex(size)} bytes at ${hex(start)}`);
    this.#regions.splice(index, 1);
    if (region.file) this.#files.drop(region.file);
  }

  unmapAll(): void {
    for (const { file } of this.#regions.splice(0)) if (file) this.#files.drop(file);
  }

  override write(iova: bigint, from: Uint8Array): DmaFault | undefined {
    const fault = super.write(iova, from);
    this.log.wrote(iova, from.length);
    return fault;
  }

  override meet(page: number, within: number, bytes: Uint8Array, done: number, write: boolean): Met<DmaFault> {
    const address = addressIn(page, within);
    const left = bytes.length - done;
    const at = this.#after(address);
    const region = this.#regions[at - 1];
    if (!region || region.start + region.size <= address) {
      const next = this.#regions[at]?.start ?? 2n ** 64n;
      return refused(least(left, next - address), (place) => `the client has mapped nothing at ${hex(place)}`);
    }
    const count = least(left, region.start + region.size - address);
    if (!(write ? region.write : region.read))
      return refused(count, () => `the client lets ${shown(region)} not be ${write ? "written" : "read"}`);
    const piece = pieceOf(bytes, done, count);
    return moved(piece, () => this.#move(region, address, piece, write));
  }

  #move(region: DmaRegion, address: bigint, piece: Uint8Array, write: boolean): void {
    const { file, offset, start } = region;
    if (!file) {
      if (!(write ? this.#byMessage.write(address, piece) : this.#byMessage.read(address, piece)))
        fail("EFAULT", `the client refuses the access to ${hex(address)}`);
      return;
    }
    const place = offset + Number(address - start);
    if (!(write ? file.write(piece, place) : file.read(piece, place)))
      fail("EFAULT", `the file behind ${shown(region)} is too short, or may not be ${write ? "written" : "read"}`);
  }

  /** Where the first region is that begins behind an address. */
  #after(address: bigint): number {
    let from = 0;
    let to = this.#regions.length;
    while (from < to) {
      const middle = (from + to) >> 1;
      if (this.#regions[middle]!.start > address) to = middle;
      else from = middle + 1;
    }
    return from;
  }
}

function least(bytes: number, most: bigint): number {
  return most < BigInt(bytes) ? Number(most) : bytes;
}

function shown({ start, size }: DmaRegion): string {
  return hexRange(start, start + size - 1n);
}
