import { PAGE_SIZE } from "../../address/pages.ts";
import type { MappedPiece, Mappings } from "../../iommu/domain.ts";
import type { AddressSpace } from "../../kernel/address-space.ts";
import { KernelError } from "../../kernel/errors.ts";

/** User addresses end here on the processors that have PASIDs (x86-64 with 4-level tables). */
export const USER_LAST = (1n << 47n) - 1n;

/**
 * The memory of a process as the processor's own page table shows it to a device (SVA): what the process can touch, as
 * long as it can.
 */
export class ProcessMappings implements Mappings {
  readonly #space: AddressSpace;

  constructor(space: AddressSpace) {
    this.#space = space;
  }

  find(): MappedPiece {
    return { shift: 12, read: true, write: true };
  }

  read(page: number, within: number, into: Uint8Array): boolean {
    return reached(() => this.#space.copyIn(page * PAGE_SIZE + within, into, into.length));
  }

  write(page: number, within: number, from: Uint8Array): boolean {
    return reached(() => this.#space.copyOut(page * PAGE_SIZE + within, from, from.length));
  }
}

function reached(copy: () => void): boolean {
  try {
    copy();
    return true;
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
    return false;
  }
}
