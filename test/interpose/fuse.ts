import fs from "node:fs";

/** Whether uvfio can serve files here; where it cannot, tests of that are skipped with a line that says so. */
export const hasFuse = isUsable();

function isUsable(): boolean {
  try {
    fs.accessSync("/dev/fuse", fs.constants.R_OK | fs.constants.W_OK);
    return true;
  } catch {
    console.warn("left out: /dev/fuse cannot be opened here");
    return false;
  }
}
