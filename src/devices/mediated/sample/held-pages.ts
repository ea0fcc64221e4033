import type { MediatedMemory, PinnedPage } from "../mediated-model.ts";

/** A page that the device holds, perhaps several times. */
interface HeldPage {
  readonly page: PinnedPage;
  references: number;
  /** Whether it was pinned for writing, the last time. */
  isWritable: boolean;
}

/** A piece of a transfer that lies in one page. */
interface Piece {
  readonly held: HeldPage;
  /** Bytes into the page. */
  readonly offset: number;
  /** Bytes into the transfer. */
  readonly done: number;
  readonly length: number;
}

/** The pages that a mediated device holds, by IOVA: what its driver has to keep, since vfio_unpin_pages() does not. */
export class HeldPages {
  readonly #memory: MediatedMemory;
  readonly #pages = new Map<bigint, HeldPage>();

  constructor(memory: MediatedMemory) {
    this.#memory = memory;
  }

  get size(): number {
    return this.#pages.size;
  }

  /** @param iova a multiple of the page */
  pin(iova: bigint, count: number, isWritable: boolean): void {
    const pinned = this.#memory.pin(iova, count, isWritable);
    for (const [i, page] of pinned.entries()) {
      const at = this.#pageAt(iova, i);
      const held = this.#pages.get(at);
      this.#pages.set(at, {
        page,
        references: (held?.references ?? 0) + 1,
        isWritable: isWritable || (held?.isWritable ?? false),
      });
    }
  }

  /** Gives back one reference to each page. False, with nothing done, when one of them is not held. */
  unpin(iova: bigint, count: number): boolean {
    for (let i = 0; i < count; i++) if (!this.#pages.has(this.#pageAt(iova, i))) return false;
    for (let i = 0; i < count; i++) {
      const at = this.#pageAt(iova, i);
      const held = this.#pages.get(at)!;
      this.#memory.unpin(at, 1);
      if (--held.references === 0) this.#pages.delete(at);
    }
    return true;
  }

  /** Gives back all that is held of a range; returns how many pages that were. */
  release(iova: bigint, size: bigint): number {
    let count = 0;
    for (const at of this.#heldIn(iova, size)) {
      const { references } = this.#pages.get(at)!;
      for (let i = 0; i < references; i++) this.#memory.unpin(at, 1);
      this.#pages.delete(at);
      count++;
    }
    return count;
  }

  /** Looks at the pages of the range or at all held ones, whichever are fewer. */
  #heldIn(iova: bigint, size: bigint): bigint[] {
    const page = BigInt(this.#memory.pageSize);
    const first = ((iova + page - 1n) / page) * page;
    if ((size + page - 1n) / page > BigInt(this.#pages.size)) {
      return [...this.#pages.keys()].filter((at) => at >= iova && at < iova + size);
    }
    const found: bigint[] = [];
    for (let at = first; at < iova + size; at += page) if (this.#pages.has(at)) found.push(at);
    return found;
  }

  releaseAll(): void {
    this.release(0n, 2n ** 64n);
  }

  /** The held pages that a transfer touches; undefined when one is not held. */
  pieces(iova: bigint, length: number): readonly Piece[] | undefined {
    const { pageSize } = this.#memory;
    const pieces: Piece[] = [];
    for (let done = 0; done < length; ) {
      const at = iova + BigInt(done);
      const offset = Number(at % BigInt(pageSize));
      const held = this.#pages.get(at - BigInt(offset));
      if (held === undefined) return undefined;
      const count = Math.min(length - done, pageSize - offset);
      pieces.push({ held, offset, done, length: count });
      done += count;
    }
    return pieces;
  }

  #pageAt(iova: bigint, index: number): bigint {
    return iova + BigInt(index) * BigInt(this.#memory.pageSize);
  }
}
