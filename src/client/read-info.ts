import { viewOf } from "../uapi/layout.ts";

/** What an answer can grow to while it is asked for again; a kernel that keeps asking for more is broken. */
const MAX_CALLS = 8;

/**
 * The argsz protocol: asks with room for the fixed part, and again with as much room as the answer says it needs.
 * @param ask makes one call with room for so many bytes, and returns them
 * @param fixedSize bytes of the structure without capabilities
 */
export function readInfo(ask: (argsz: number) => Uint8Array, fixedSize: number): Uint8Array {
  let info = ask(fixedSize);
  for (let calls = 1; calls < MAX_CALLS; calls++) {
    const needed = viewOf(info).getUint32(0, true);
    if (needed <= info.length) return info;
    info = ask(needed);
  }
  return info;
}
