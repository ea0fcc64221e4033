import { peekUser, pokeUser } from "./ptrace.ts";

/** Watchpoints that the processor has. */
export const SLOTS = 4;
/** offsetof(struct user, u_debugreg) of x86-64 (sys/user.h). */
const DEBUG_REGISTERS = 848;
const register = (number: number) => DEBUG_REGISTERS + 8 * number;
const STATUS = register(6);
const CONTROL = register(7);
/** DR7's encoding of a length. */
const LENGTHS: Readonly<Record<number, number>> = { 1: 0, 2: 1, 4: 3, 8: 2 };
const ON_WRITE = 1;

/** Bytes of a process that are watched for writes; aligned to their width. */
export interface Watchpoint {
  readonly address: number;
  /** 1, 2, 4 or 8 bytes. */
  readonly width: number;
}

/**
 * Gives a stopped thread these watchpoints and no others: as many as there is room for. False when the kernel refuses
 * one.
 */
export function setWatchpoints(tid: number, watchpoints: readonly Watchpoint[]): boolean {
  // The kernel checks an address against the length that DR7 has just then.
  if (pokeUser(tid, CONTROL, 0) < 0) return false;
  let control = 0;
  for (const [slot, { address, width }] of watchpoints.slice(0, SLOTS).entries()) {
    if (pokeUser(tid, register(slot), address) < 0) return false;
    control += 2 ** (2 * slot) + (ON_WRITE + 4 * LENGTHS[width]!) * 2 ** (16 + 4 * slot);
  }
  return control === 0 || pokeUser(tid, CONTROL, control) === 0;
}

/**
 * The slots of the watchpoints that the SIGTRAP which a thread has stopped for is about, and forgets them; empty when
 * it is another SIGTRAP.
 */
export function takeHits(tid: number): number[] {
  const status = peekUser(tid, STATUS);
  const hits = Array.from({ length: SLOTS }, (_, slot) => slot).filter((slot) => status & (1 << slot));
  if (hits.length > 0) pokeUser(tid, STATUS, 0);
  return hits;
}
