import fs from "node:fs";
import { memoryFile } from "./descriptors.ts";
import { HOST_CALLS } from "./host-calls.ts";
import { close, syscall } from "./libc.ts";
import { MAP_ANONYMOUS, MAP_FIXED, MAP_PRIVATE, MFD_EXEC, PROT_EXEC, PROT_READ, PROT_WRITE } from "./linux.ts";

/** Bytes from digits of which spaces do not count. */
export function codeBytes(hex: string): Buffer {
  return Buffer.from(hex.replaceAll(/\s/g, ""), "hex");
}

/** Behind the start of code that has been loaded lies so far away a page of memory for its data. Bytes. */
export const DATA_BEHIND = 4096;

/** The address of machine code in this process, of a page at most, or a negative errno where none may be brought. */
export function loadMachineCode(code: Buffer): number {
  const file = memoryFile("uvfio-code", MFD_EXEC);
  if (file < 0) return file;
  fs.writeSync(file, code);
  const both = PROT_READ | PROT_WRITE;
  const size = 2 * DATA_BEHIND;
  let address = syscall(HOST_CALLS.mmap, 0, size, both, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (address > 0)
    address = syscall(HOST_CALLS.mmap, address, DATA_BEHIND, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, file, 0);
  close(file);
  return address;
}
