import { closeSync } from "node:fs";
import { StructView } from "../../../uapi/struct-view.ts";
import { VfioInfoCapHeader } from "../../../uapi/vfio.ts";
import {
  VfioRegionSparseMmapArea as AREA,
  VfioRegionInfoCapSparseMmap as SPARSE,
  VFIO_REGION_INFO_CAP_SPARSE_MMAP,
  VFIO_REGION_INFO_FLAG_CAPS,
  VFIO_REGION_INFO_FLAG_MMAP,
  VfioRegionInfo,
} from "../../../uapi/vfio-device.ts";
import { isMemoryFile, readAt, writeAt } from "../../../vfio-user/sockets.ts";
import type { AccessWidth, MappableArea, MappedRegister } from "../../device-model.ts";

const PAGE = 4096;
const WORD = 4;
/** Transports look at each word of what is mapped: bytes of a region that they can in far less than a millisecond. */
const MOST = 32 * 1024;
/** Capabilities of one region. */
const MOST_CAPABILITIES = 16;

/** A part of a region as it was when it was looked at last. */
interface Area extends MappableArea {
  readonly bytes: Buffer;
  readonly fresh: Buffer;
}

/**
 * The parts of a region whose memory a server shares by a descriptor. An access goes there, and is no message. It is
 * read and written by calls, and not mapped here: a server that cuts its file does no harm.
 */
export class RemoteWindow {
  readonly areas: readonly Area[];
  readonly registers: readonly MappedRegister[];
  readonly #fd: number;
  readonly #place: number;
  #isOpen = true;

  /** @param place where the region begins in the file, bytes */
  private constructor(fd: number, place: number, areas: readonly MappableArea[]) {
    this.#fd = fd;
    this.#place = place;
    this.areas = areas.map((area) => ({ ...area, bytes: Buffer.alloc(area.size), fresh: Buffer.alloc(area.size) }));
    this.registers = areas.flatMap(({ offset, size }) =>
      Array.from({ length: size / WORD }, (_, i) => ({ offset: offset + WORD * i, width: WORD as AccessWidth })),
    );
    this.look();
  }

  /**
   * @param info a server's answer to GET_REGION_INFO
   * @param fd the descriptor that came with it: it is kept, or closed
   * @returns undefined when there is nothing of that kind, or nothing that can be used; a text says why
   */
  static open(info: Buffer, fd: number | undefined): RemoteWindow | string | undefined {
    const { flags, size, offset } = VfioRegionInfo.decode(info);
    const found = flags & VFIO_REGION_INFO_FLAG_MMAP && fd !== undefined ? areasOf(info, Number(size)) : undefined;
    const problem = found && fd !== undefined ? problemOf(found, fd, offset) : undefined;
    if (fd === undefined || !found || problem !== undefined) {
      if (fd !== undefined) closeSync(fd);
      return problem;
    }
    return new RemoteWindow(fd, Number(offset), found);
  }

  /** Whether an access is wholly in one of the parts. */
  has(offset: number, width: number): boolean {
    return this.#at(offset, width) !== undefined;
  }

  /** What is behind the file's end is zeros. */
  read(offset: number, width: number): Buffer {
    const bytes = Buffer.alloc(width);
    if (this.#isOpen) readAt(this.#fd, bytes, this.#place + offset);
    return bytes;
  }

  write(offset: number, bytes: Uint8Array): void {
    if (!this.#isOpen) return;
    writeAt(this.#fd, bytes, this.#place + offset);
    const area = this.#at(offset, bytes.length);
    area?.bytes.set(bytes, offset - area.offset);
  }

  /** Whether something has changed since the last look. */
  look(): boolean {
    let isAny = false;
    for (const { offset, bytes, fresh } of this.areas) {
      if (this.#isOpen) readAt(this.#fd, fresh, this.#place + offset);
      if (fresh.equals(bytes)) continue;
      fresh.copy(bytes);
      isAny = true;
    }
    return isAny;
  }

  /** A word as it was when it was looked at; undefined elsewhere. */
  word(offset: number): number | undefined {
    const area = this.#at(offset, WORD);
    return area?.bytes.readUInt32LE(offset - area.offset);
  }

  close(): void {
    if (this.#isOpen) closeSync(this.#fd);
    this.#isOpen = false;
  }

  #at(offset: number, width: number): Area | undefined {
    return this.areas.find((area) => offset >= area.offset && offset + width <= area.offset + area.size);
  }
}

function problemOf(areas: readonly MappableArea[], fd: number, offset: bigint): string | undefined {
  if (!isMemoryFile(fd)) return "its descriptor is of no memory";
  if (offset > 2n ** 52n) return `no file has an offset of ${offset}`;
  const bytes = areas.reduce((sum, { size }) => sum + size, 0);
  return bytes > MOST ? `${bytes} bytes of it are more than the ${MOST} that are looked at` : undefined;
}

/** All of the region, or the parts that the capability for it lists, as far as they are whole pages of it. */
function areasOf(info: Buffer, size: number): readonly MappableArea[] | undefined {
  const areas = sparseAreas(info) ?? [{ offset: 0, size }];
  const fits = areas.filter(
    (area) => area.size > 0 && area.offset % PAGE === 0 && area.size % PAGE === 0 && area.offset + area.size <= size,
  );
  return fits.length > 0 ? fits : undefined;
}

function sparseAreas(info: Buffer): readonly MappableArea[] | undefined {
  const view = new StructView(info, true);
  const { flags, cap_offset } = VfioRegionInfo.decode(info);
  if (!(flags & VFIO_REGION_INFO_FLAG_CAPS)) return undefined;
  for (let at = cap_offset, count = 0; at !== 0 && count < MOST_CAPABILITIES; count++) {
    if (at + VfioInfoCapHeader.size > info.length) return undefined;
    const { id, next } = VfioInfoCapHeader.read(view, at);
    if (id === VFIO_REGION_INFO_CAP_SPARSE_MMAP) return at + SPARSE.size > info.length ? undefined : listed(info, at);
    at = next;
  }
  return undefined;
}

function listed(info: Buffer, at: number): readonly MappableArea[] {
  const view = new StructView(info, true);
  const count = Math.min(SPARSE.read(view, at).nr_areas, Math.floor((info.length - at - SPARSE.size) / AREA.size));
  return Array.from({ length: count }, (_, i) => AREA.read(view, at + SPARSE.size + i * AREA.size)).map((area) => ({
    offset: Number(area.offset),
    size: Number(area.size),
  }));
}
