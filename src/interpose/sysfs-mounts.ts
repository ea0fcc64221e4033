import type { HostFiles } from "../kernel/host-files.ts";
import { lastStat, statPath } from "./path-stat.ts";

/** The file systems that a program sees as /sys, or as a part of it, and that are ours. */
export class SysfsMounts {
  readonly #devices = new Set<string>();
  /** Writes to them act. */
  readonly isServed: boolean;

  /** @param root a descriptor of the program's root directory; undefined when nothing is mounted there */
  constructor(root: number | undefined, { roots, grafts }: HostFiles, isServed: boolean) {
    this.isServed = isServed;
    if (root === undefined) return;
    const isThere = (directory: string) => directory.startsWith("/sys/") && statPath(root, directory.slice(1)) === 0;
    // all of one file system, where they are served
    if (roots.some(isThere)) this.#devices.add(fileSystem());
    const real = isThere("/sys/") ? fileSystem() : undefined;
    // a directory that needs no mount of its own is the real one (launch/graft.ts)
    for (const { directory } of grafts)
      if (isThere(directory) && fileSystem() !== real) this.#devices.add(fileSystem());
  }

  /** Whether the last statx() was of a file on one of them. */
  hasLastStat(): boolean {
    return this.#devices.has(fileSystem());
  }
}

function fileSystem(): string {
  return `${lastStat.deviceMajor}:${lastStat.deviceMinor}`;
}
