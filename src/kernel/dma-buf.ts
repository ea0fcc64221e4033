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
  /** It is one piece of its owner's memory. */
  readonly isOnePiece: boolean;
  /** What its owner does when neither a descriptor nor anybody who does DMA to it is left. */
  gone: (() => void) | undefined;
  readonly #users = new Set<() => void>();
  #isOpen = true;
  #isRevoked = false;

  constructor(memory: SharedMemory, size: number, isOnePiece = true) {
    this.memory = memory;
    this.size = size;
    this.isOnePiece = isOnePiece;
  }

  /** Its owner has taken its memory back. */
  get isRevoked(): boolean {
    return this.#isRevoked;
  }

  /**
   * Somebody is to do DMA to it.
   * @param taken called once, when its owner takes the memory back
   * @returns how to end that
   * @throws KernelError ENODEV as long as its owner has taken it back; EOPNOTSUPP for several pieces
   * (vfio_pci_dmabuf.c:vfio_pci_dma_buf_iommufd_map)
   */
  attach(taken: () => void): () => void {
    if (this.#isRevoked) fail("ENODEV", "the owner of the dma-buf has taken its memory back");
    if (!this.isOnePiece) fail("EOPNOTSUPP", "the dma-buf is made of several ranges; an iommufd maps those of one");
    this.#users.add(taken);
    return () => {
      this.#users.delete(taken);
      this.#end();
    };
  }

  /** Its descriptor is closed; who does DMA to it goes on. */
  close(): void {
    this.#isOpen = false;
    this.#end();
  }

  #end(): void {
    if (!this.#isOpen && this.#users.size === 0) this.gone?.();
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

  override release(): void {
    this.buf.close();
  }

  /** dma-buf.c:dma_buf_mmap_internal, for exporters that let nobody map it. */
  override mmap(): void {
    fail("EINVAL", "this dma-buf is for devices: its owner lets no program map it");
  }
}
