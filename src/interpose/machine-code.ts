import fs from "node:fs";
import { memoryFile } from "./descriptors.ts";
import { HOST_CALLS } from "./host-calls.ts";
import { close, syscall } from "./libc.ts";
import { MAP_PRIVATE, MFD_EXEC, PROT_EXEC, PROT_READ } from "./linux.ts";

/** Bytes from digits of which spaces do not count. */
export function codeBytes(hex: string): Buffer {
  return Buffer.from(hex.replaceAll(/\s/g, ""), "hex");
}

/** The address of machine code in this process, or a negative errno where none may be brought. */
export function loadMachineCode(code: Buffer): number {
  const file = memoryFile("uvfio-code", MFD_EXEC);
  if (file < 0) return file;
  fs.writeSync(file, code);
  const address = syscall(HOST_CALLS.mmap, 0, code.length, PROT_READ | PROT_EXEC, MAP_PRIVATE, file, 0);
  close(file);
  return address;
}
