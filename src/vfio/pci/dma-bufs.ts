import type { DmaBuf } from "../../kernel/dma-buf.ts";

/** The dma-bufs of a device that is open (struct vfio_pci_core_device: dmabufs). */
export class DmaBufs {
  readonly #bufs = new Set<DmaBuf>();

  /** @param isRevoked its memory does not answer now */
  add(buf: DmaBuf, isRevoked: boolean): void {
    this.#bufs.add(buf);
    if (isRevoked) buf.revoke(true);
    buf.gone = () => this.#bufs.delete(buf);
  }

  /** The memory is taken back, or can be used by who asks anew (vfio_pci_dma_buf_move). */
  move(isRevoked: boolean): void {
    for (const buf of this.#bufs) if (buf.isRevoked !== isRevoked) buf.revoke(isRevoked);
  }

  /** The device is closed: what was given out is good for nothing any more (vfio_pci_dma_buf_cleanup). */
  close(): void {
    this.move(true);
    this.#bufs.clear();
  }
}
