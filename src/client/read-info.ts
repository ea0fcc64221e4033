import { StructView } from "../uapi/struct-view.ts";

/** What an answer can grow to while it is asked for again; a kernel that keeps asking for more is broken. */
const MAX_CALLS = 8;

/**
 * The argsz protocol: asks with room for the fixed part, and again with as much room as the answer says it needs.
 * @param ask makes one call with room for so many bytes, and returns them
 * @param fixedSize bytes of the structure without capabilities
 * @param littleEndian the kernel's byte order
 */
export function readInfo(ask: (argsz: number) => Uint8Array, fixedSize: number, littleEndian: boolean): Uint8Array {
  let info = ask(fixedSize);
  for (let calls = 1; calls < MAX_CALLS; calls++) {
    const needed = new StructView(info, littleEndian).u32(0);
    if (needed <= info.length) return info;
    info = ask(needed);
  }
  return info;
}
