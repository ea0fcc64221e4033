import { ERRNO } from "../../../uapi/errno.ts";

/** Registers of the mediated sample device (docs/sample-mdev.md), in BAR 0, of 4 bytes each. */
export const ID = 0x00;
export const PAGE_BYTES = 0x04;
export const COMMAND = 0x08;
export const STATUS = 0x0c;
export const IOVA_LOW = 0x10;
export const IOVA_HIGH = 0x14;
export const COUNT = 0x18;
export const FLAGS = 0x1c;
export const OFFSET = 0x20;
export const IRQ_ENABLE = 0x24;
export const IRQ_STATUS = 0x28;
export const PINNED = 0x2c;
export const TAKEN = 0x30;
/**
 * Only on hosts that speak a proposal with PASIDs (docs/vsva.md): bit 31 and a PASID in bits 0-19; without the bit the
 * device's own counts.
 */
export const PASID = 0x34;
export const PASID_ENABLE = 2 ** 31;
export const PASID_MASK = 0xfffff;

/** The buffer: plain memory, read and written in any width. */
export const BUFFER_BAR = 2;
export const BUFFER_SIZE = 0x1000;

/** "mdv1" */
export const ID_VALUE = 0x3176_646d;

export const COMMANDS = [
  "NONE",
  "PIN",
  "UNPIN",
  "UNPIN_ALL",
  "READ_PINNED",
  "WRITE_PINNED",
  "READ",
  "WRITE",
  "DMA_READ",
  "DMA_WRITE",
] as const;
export type Command = (typeof COMMANDS)[number];

/** PIN: the device will write to the pages. */
export const FLAG_WRITE = 1;

export const IRQ_DONE = 1;
export const IRQ_TAKEN = 2;
export const IRQ_BITS = IRQ_DONE | IRQ_TAKEN;

/** What the device itself refuses; all other values of STATUS are the kernel's. */
export const NO_SUCH_COMMAND = ERRNO.ENOSYS;
export const NOT_PINNED = ERRNO.ENXIO;
export const PINNED_READ_ONLY = ERRNO.EROFS;
export const BEYOND_BUFFER = ERRNO.ERANGE;
/** DMA_READ and DMA_WRITE: not all of the memory was reached; a warning of its own says why. */
export const DMA_FAULT = ERRNO.EIO;

/** The same in words. */
export const REFUSALS: ReadonlyMap<number, string> = new Map([
  [NOT_PINNED, "the device holds no such page; PIN has it hold some"],
  [PINNED_READ_ONLY, "the device holds a page of it for reading only; PIN it with FLAG_WRITE"],
  [BEYOND_BUFFER, `OFFSET plus COUNT is beyond the ${BUFFER_SIZE} bytes of the buffer`],
  [DMA_FAULT, "not all of the memory was reached"],
]);
