/** Controller registers in BAR 0 (NVM Express Base Specification 2.0, 3.1.3), by offset. */
export const CAP = 0x00;
export const VS = 0x08;
export const INTMS = 0x0c;
export const INTMC = 0x10;
export const CC = 0x14;
export const CSTS = 0x1c;
export const AQA = 0x24;
export const ASQ = 0x28;
export const ACQ = 0x30;
export const CMBLOC = 0x38;
export const CMBSZ = 0x3c;
export const CMBMSC = 0x50;
export const CMBSTS = 0x58;
export const PMRCAP = 0xe00;
export const PMRCTL = 0xe04;
export const PMRSTS = 0xe08;
export const PMRMSCL = 0xe14;
export const PMRMSCU = 0xe18;
/** Bytes of registers; doorbells follow. */
export const REGISTERS_SIZE = 0x1000;

/** Tail of submission queue 0, head of completion queue 0, tail of 1 ...: 4 bytes each (CAP.DSTRD 0). */
export const DOORBELLS = 0x1000;
/** Behind the doorbells: what MSI-X has in BAR 0. */
export const MSIX_TABLE = 0x2000;
export const MSIX_PENDING = 0x3000;
export const BAR_SIZE = 0x4000;

export const CC_EN = 1;
export const CC_SHN = 3 << 14;
export const CSTS_RDY = 1 << 0;
export const CSTS_CFS = 1 << 1;
export const CSTS_SHST = 3 << 2;
export const CSTS_SHUT_DOWN = 2 << 2;

/** NVM command set, and those that are chosen by Identify. */
const COMMAND_SETS = 0x41n;
/** Pages of 4 KiB to 64 KiB. */
const LARGEST_PAGE = 4n;
/** In units of 500 ms. */
const TIMEOUT = 15n;
export const VERSION = 0x0001_0400;

/** Facts in CAP that differ between controllers. */
export interface Capabilities {
  /** Entries of the largest I/O queue. */
  readonly entries: number;
  readonly cmb: boolean;
  readonly pmr: boolean;
}

export function capabilities({ entries, cmb, pmr }: Capabilities): bigint {
  const contiguous = 1n << 16n;
  const regions = (pmr ? 1n << 56n : 0n) | (cmb ? 1n << 57n : 0n);
  return BigInt(entries - 1) | contiguous | (TIMEOUT << 24n) | (COMMAND_SETS << 37n) | (LARGEST_PAGE << 52n) | regions;
}

/** The fields of CC. */
export function configuration(cc: number) {
  return {
    enabled: (cc & CC_EN) !== 0,
    commandSet: (cc >>> 4) & 7,
    pageShift: 12 + ((cc >>> 7) & 15),
    submissionEntryShift: (cc >>> 16) & 15,
    completionEntryShift: (cc >>> 20) & 15,
  };
}

/** Bits of CC.CSS that CAP.CSS has. */
export function hasCommandSet(css: number): boolean {
  return ((COMMAND_SETS >> BigInt(css)) & 1n) !== 0n;
}

export const LARGEST_PAGE_SHIFT = 12 + Number(LARGEST_PAGE);

/** log2 of the bytes of an entry of a submission queue and of a completion queue. */
export const SUBMISSION_SHIFT = 6;
export const COMPLETION_SHIFT = 4;

export function tailDoorbell(queue: number): number {
  return DOORBELLS + 8 * queue;
}

export function headDoorbell(queue: number): number {
  return DOORBELLS + 8 * queue + 4;
}
