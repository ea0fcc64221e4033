import { type Refused, refuse } from "../../iommu/vtd/access.ts";
import type { SecondLevel, SecondLevelHit } from "../../iommu/vtd/second-level.ts";
import type { AddressSpace } from "../../kernel/address-space.ts";
import { KernelError } from "../../kernel/errors.ts";

/** User addresses end here on the processors that have PASIDs (x86-64 with 4-level tables). */
const USER_END = 1n << 47n;

/** The memory of a process as the processor's own page table shows it to a device (SVA): what the process can touch, as long as it can. */
export class ProcessLevel implements SecondLevel {
  readonly #space: AddressSpace;

  constructor(space: AddressSpace) {
    this.#space = space;
  }

  translate(address: bigint): SecondLevelHit | Refused {
    if (address >= USER_END) return refuse("beyondSecond");
    return { address, shift: 12, read: true, write: true };
  }

  read(address: bigint, into: Uint8Array): boolean {
    return reached(() => this.#space.copyIn(Number(address), into, into.length));
  }

  write(address: bigint, from: Uint8Array): boolean {
    return reached(() => this.#space.copyOut(Number(address), from, from.length));
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
