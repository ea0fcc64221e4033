import { addressToPage, LAST_PAGE, PAGE_SIZE, pageToAddress } from "../address/pages.ts";
import { KernelError } from "../kernel/errors.ts";
import type { DmaFault, DmaTarget } from "./dma-target.ts";

/** What an access meets at an address: so many of its bytes (at least one), carried out or, with `explain`, refused. */
export type Met<Fault> = number | Refused<Fault>;

export interface Refused<Fault> {
  readonly bytes: number;
  /**
   * Says why, which may take long: only asked for the first fault of an access.
   * @param at first byte that was refused
   */
  explain(at: bigint): Fault;
  /** The device hears of this fault at once: if it is the first, what is behind it is not tried. */
  readonly ends?: boolean;
}

/** What translates a device's accesses. */
export interface AccessMap<Fault> {
  /**
   * Carries out what an access meets at an address, at most up to where another mapping, or a gap, begins.
   * @param page the address, as a page of 4 KiB and how many bytes are before it in there
   * @param bytes of the whole access; those before `done` have been dealt with, so that the one at `done` is the one at
   * the address
   */
  meet(page: number, within: number, bytes: Uint8Array, done: number, write: boolean): Met<Fault>;
}

/**
 * The one place where a device's access is cut at the boundaries of mappings. It takes what the access meets one after
 * the other; what is refused faults, and reads as zeros, as recorded (dma_unmapped, dma_partial_page_cross). Behind the
 * last address is the first.
 * @returns the first fault
 */
export function walkAccess<Fault>(
  map: AccessMap<Fault>,
  iova: bigint,
  bytes: Uint8Array,
  write: boolean,
): Fault | undefined {
  const address = BigInt.asUintN(64, iova);
  return walkPages(map, addressToPage(address), Number(address & 0xfffn), bytes, write);
}

/** The same from a page on, of which so many bytes are before the access. */
export function walkPages<Fault>(
  map: AccessMap<Fault>,
  first: number,
  before: number,
  bytes: Uint8Array,
  write: boolean,
): Fault | undefined {
  let page = first;
  let within = before;
  let fault: Fault | undefined;
  for (let done = 0; done < bytes.length; ) {
    const met = map.meet(page, within, bytes, done, write);
    const isThere = typeof met === "number";
    const count = isThere ? met : met.bytes;
    if (!isThere) {
      if (!write) bytes.fill(0, done, done + count);
      if (fault === undefined) {
        fault = met.explain(addressIn(page, within));
        if (met.ends) break;
      }
    }
    done += count;
    page += Math.floor((within + count) / PAGE_SIZE);
    within = (within + count) % PAGE_SIZE;
    if (page > LAST_PAGE) page -= LAST_PAGE + 1;
  }
  return fault;
}

/** The address that `within` bytes of a page are before. */
export function addressIn(page: number, within: number): bigint {
  return pageToAddress(page) + BigInt(within);
}

/** DMA through mappings to memory that is held. */
export abstract class MappedDma implements DmaTarget, AccessMap<DmaFault> {
  read(iova: bigint, into: Uint8Array): DmaFault | undefined {
    return walkAccess(this, iova, into, false);
  }

  write(iova: bigint, from: Uint8Array): DmaFault | undefined {
    return walkAccess(this, iova, from, true);
  }

  abstract meet(page: number, within: number, bytes: Uint8Array, done: number, write: boolean): Met<DmaFault>;
}

/** At most so many of an access's bytes from `done` on. */
export function pieceOf(bytes: Uint8Array, done: number, most: number): Uint8Array {
  return done === 0 && most >= bytes.length ? bytes : bytes.subarray(done, done + most);
}

/** Bytes that nothing lets through. */
export function refused(bytes: number, reason: (at: bigint) => string): Refused<DmaFault> {
  return { bytes, explain: (at) => ({ iova: at, reason: reason(at) }) };
}

/**
 * Moves bytes that a mapping lets through. Held memory is always there for a kernel; a transport can lose it (a process
 * that ended, a file that was cut), and then they are refused.
 */
export function moved(piece: Uint8Array, move: () => void): Met<DmaFault> {
  try {
    move();
    return piece.length;
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
    return refused(piece.length, () => error.reason);
  }
}
