import { fail } from "./errors.ts";
import { FileDescription, type SharedMemory } from "./file-description.ts";

let nextNumber = 0;

/**
 * Memory of a device or a driver that others do DMA to, as long as its owner leaves it to them (struct dma_buf). What
 * programs have of it is a descriptor.
 */
export class DmaBuf {
  /** Bytes, whole pages. */
  readonly size: number;
  readonly memory: SharedMemory;
  /** Tells it from all others. */
  readonly number = nextNumber++;
  readonly #users = new Set<() => void>();
  #isRevoked = false;

  constructor(memory: SharedMemory, size: number) {
    this.memory = memory;
    this.size = size;
  }

  /**
   * Somebody is to do DMA to it.
   * @param taken called once, when its owner takes the memory back
   * @returns how to end that
   * @throws KernelError ENODEV as long as its owner has taken it back
   */
  attach(taken: () => void): () => void {
    if (this.#isRevoked) fail("ENODEV", "the owner of the dma-buf has taken its memory back");
    this.#users.add(taken);
    return () => void this.#users.delete(taken);
  }

  /** Its owner takes it back from all who have it (dma_buf_invalidate_mappings), or lets it be used again. */
  revoke(isRevoked: boolean): void {
    this.#isRevoked = isRevoked;
    for (const taken of this.#users) taken();
  }
}

/** A descriptor of a dma-buf. */
export class DmaBufFile extends FileDescription {
  override readonly kind = "foreign";
  override readonly label = "a dma-buf";
  readonly buf: DmaBuf;

  constructor(buf: DmaBuf) {
    super();
    this.buf = buf;
  }

  /** dma-buf.c:dma_buf_mmap_internal, for exporters that let nobody map it. */
  override mmap(): void {
    fail("EINVAL", "this dma-buf is for devices: its owner lets no program map it");
  }
}
