import { isatty } from "node:tty";

/**
 * Whether text for a descriptor is to be coloured: on a terminal, unless NO_COLOR (no-color.org) or a terminal without
 * colours says otherwise.
 */
export function hasColours(fd: 1 | 2): boolean {
  return isatty(fd) && !process.env.NO_COLOR && process.env.TERM !== "dumb";
}
