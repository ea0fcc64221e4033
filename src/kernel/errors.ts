import { ERRNO, type ErrnoName } from "../uapi/errno.ts";

/**
 * A request that failed: the errno is the kernel's and goes to the program, the reason is ours and goes to the person.
 * A reason names addresses in hex, the device or group, the limit and its current value, and what to change.
 */
export class KernelError extends Error {
  /** "EINVAL". */
  readonly code: ErrnoName;
  /** Positive errno. */
  readonly errno: number;
  /** Why, in words. */
  readonly reason: string;

  constructor(code: ErrnoName, reason: string) {
    // An answer, and no mistake in the code: to find out where it was made takes many times as long as the request
    // itself.
    const { stackTraceLimit } = Error;
    Error.stackTraceLimit = 0;
    super(`${code}: ${reason}`);
    Error.stackTraceLimit = stackTraceLimit;
    this.name = "KernelError";
    this.code = code;
    this.errno = ERRNO[code];
    this.reason = reason;
  }
}

/**
 * No answer of a kernel: a call that leaves all as it was, and that the transport makes again, or whose caller is gone.
 */
export class PutOffError extends KernelError {}

/** Fails the request in hand. Reads as a statement of what is wrong: `fail("EINVAL", "the size is 0")`. */
export function fail(code: ErrnoName, reason: string): never {
  throw new KernelError(code, reason);
}

/** A count of bytes or an address for a reason text: always hex, never padded. */
export function hex(value: number | bigint): string {
  return `0x${value.toString(16)}`;
}

/** An inclusive range for a reason text. */
export function hexRange(start: number | bigint, last: number | bigint): string {
  return `${hex(start)}-${hex(last)}`;
}
