import { fstatSync } from "node:fs";
import { isatty } from "node:tty";

/** Of /dev/null and its kin (Documentation/admin-guide/devices.txt). */
const MEMORY_MAJOR = 1;

/**
 * Whether text for a descriptor is to be coloured: on a terminal, unless NO_COLOR (no-color.org) or a terminal without
 * colours says otherwise.
 */
export function hasColours(fd: 1 | 2): boolean {
  return !process.env.NO_COLOR && process.env.TERM !== "dumb" && isTerminal(fd);
}

/** Whether a person sees what is written there. node's module that says so is loaded only where it can be. */
export function isTerminal(fd: 1 | 2): boolean {
  try {
    const stat = fstatSync(fd);
    return stat.isCharacterDevice() && stat.rdev >> 8 !== MEMORY_MAJOR && isatty(fd);
  } catch {
    // closed
    return false;
  }
}
