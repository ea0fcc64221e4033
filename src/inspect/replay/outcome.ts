import { fail, KernelError } from "../../kernel/errors.ts";
import type { ErrnoName } from "../../uapi/errno.ts";

/** What an operation gave: the value, or -1 with an errno and why. */
export interface Outcome {
  readonly ret: number;
  readonly errno: ErrnoName | null;
  readonly reason?: string;
}

export const DONE: Outcome = { ret: 0, errno: null };

/** Runs a call of the model and catches its errno. */
export function outcomeOf(call: () => number): Outcome {
  try {
    return { ret: call(), errno: null };
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
    return { ret: -1, errno: error.code, reason: error.reason };
  }
}

/** The same for a call that gives nothing: 0. */
export function outcomeOfVoid(call: () => void): Outcome {
  return outcomeOf(() => {
    call();
    return 0;
  });
}

export function fromHex(text: string): Uint8Array {
  if (!/^([0-9a-f]{2})*$/i.test(text)) fail("EINVAL", `not hexadecimal: "${text.slice(0, 40)}"`);
  return Uint8Array.from(Buffer.from(text, "hex"));
}

const room = Buffer.alloc(256);

export function toHex(bytes: Uint8Array): string {
  const { length } = bytes;
  if (length <= room.length) {
    // a buffer of a few bytes takes longer than their digits
    for (let i = 0; i < length; i++) room[i] = bytes[i]!;
    return room.toString("hex", 0, length);
  }
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex");
}
