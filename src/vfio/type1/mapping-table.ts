import { IntervalMap } from "../../address/interval-map.ts";
import type { AddressSpace } from "../../kernel/address-space.ts";
import type { DirtyBitmap } from "./dirty-bitmap.ts";
import type { ExternalPins } from "./external-pins.ts";

/** State bits of a mapping. READ and WRITE are the values of VFIO_DMA_MAP_FLAG_READ and _WRITE. */
export const MAP_READ = 1;
export const MAP_WRITE = 2;
/** Its vaddr was taken away (VFIO_DMA_UNMAP_FLAG_VADDR) and not given back yet. */
export const MAP_VADDR_INVALID = 4;
/** Its pages are pinned and in the IOMMU's tables (vfio_dma.iommu_mapped). */
export const MAP_PINNED = 8;
/** Made with CAP_IPC_LOCK: what it pins later is not held against the limit (vfio_dma.lock_cap). */
export const MAP_LOCK_CAPABLE = 16;

/**
 * All mappings of a container (struct vfio_dma), as columns of typed arrays: the interval map finds a slot by IOVA page,
 * the columns hold the rest. What few mappings have lies in sparse tables beside them.
 */
export class MappingTable {
  readonly byIova = new IntervalMap();
  /** Page number of the first user page. */
  vaddrPage = new Float64Array(64);
  flags = new Uint8Array(64);
  /** Pages (the host's PAGE_SIZE) charged to the owner's RLIMIT_MEMLOCK. */
  charged = new Float64Array(64);
  /** What AddressSpace.pin() returned. */
  pin = new Float64Array(64);
  /** Index into spaces: whose memory it is. */
  space = new Uint16Array(64);
  readonly spaces: AddressSpace[] = [];
  /** By the index in `spaces`: RLIMIT_MEMLOCK of the process in bytes, as it was when it last had to do with its mappings. */
  readonly memlock: number[] = [];
  readonly dirty = new Map<number, DirtyBitmap>();
  readonly external = new Map<number, ExternalPins>();
  #free = new Uint32Array(64);
  #freeCount = 0;
  #used = 0;

  get size(): number {
    return this.byIova.size;
  }

  /** Adds a mapping whose pages are not pinned yet; returns its slot. The caller has checked for overlap. */
  add(iovaPage: number, pages: number, vaddrPage: number, flags: number, space: AddressSpace): number {
    const slot = this.#takeSlot();
    this.vaddrPage[slot] = vaddrPage;
    this.flags[slot] = flags;
    this.charged[slot] = 0;
    this.pin[slot] = 0;
    this.space[slot] = this.#spaceIndex(space);
    this.byIova.insert(iovaPage, pages, slot);
    return slot;
  }

  /** Forgets the mapping at the cursor; the cursor is then on the next one, false when there is none. */
  removeHere(): boolean {
    const slot = this.byIova.value;
    this.dirty.delete(slot);
    this.external.delete(slot);
    if (this.#freeCount === this.#free.length) this.#free = grown(this.#free, new Uint32Array(this.#free.length * 2));
    this.#free[this.#freeCount++] = slot;
    return this.byIova.removeHere();
  }

  spaceOf(slot: number): AddressSpace {
    return this.spaces[this.space[slot]!]!;
  }

  setSpace(slot: number, space: AddressSpace): void {
    this.space[slot] = this.#spaceIndex(space);
  }

  /** A process makes a mapping, or a call that may charge one: from now on its limit is this, in bytes. */
  hearLimit(space: AddressSpace, memlock: number): void {
    const index = this.spaces.indexOf(space);
    if (index >= 0) this.memlock[index] = memlock;
  }

  /** RLIMIT_MEMLOCK in bytes of the process whose memory the mapping shows. */
  limitOf(slot: number): number {
    return this.memlock[this.space[slot]!] ?? Number.POSITIVE_INFINITY;
  }

  #takeSlot(): number {
    if (this.#freeCount > 0) return this.#free[--this.#freeCount]!;
    const slot = this.#used++;
    if (slot === this.flags.length) {
      const size = slot * 2;
      this.vaddrPage = grown(this.vaddrPage, new Float64Array(size));
      this.flags = grown(this.flags, new Uint8Array(size));
      this.charged = grown(this.charged, new Float64Array(size));
      this.pin = grown(this.pin, new Float64Array(size));
      this.space = grown(this.space, new Uint16Array(size));
    }
    return slot;
  }

  #spaceIndex(space: AddressSpace): number {
    const index = this.spaces.indexOf(space);
    return index >= 0 ? index : this.spaces.push(space) - 1;
  }
}

function grown<T extends Float64Array | Uint8Array | Uint16Array | Uint32Array>(old: T, larger: T): T {
  larger.set(old);
  return larger;
}
