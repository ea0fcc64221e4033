import type { HostFiles } from "../kernel/host-files.ts";
import type { CallContext, Reply } from "./call-context.ts";
import { ST_VALID, SYSFS_MAGIC } from "./linux.ts";
import { lastStat, statPath } from "./path-stat.ts";

/** struct statfs of 64-bit machines: type@0, bsize@8, namelen@64, frsize@72, flags@80, a word each. */
const SIZE = 120;
const PAGE = 4096;
const NAME_MAX = 255;

/** The file systems that a program sees as /sys, or as a part of it, and that are ours. */
export class SysfsMounts {
  readonly #devices = new Set<string>();

  /** @param root a descriptor of the program's root directory */
  constructor(root: number, { roots, grafts }: HostFiles) {
    for (const directory of [...roots, ...grafts.map((graft) => graft.directory)])
      if (directory.startsWith("/sys/") && statPath(root, directory.slice(1)) === 0) this.#devices.add(fileSystem());
  }

  /** Whether the last statx() was of a file on one of them. */
  hasLastStat(): boolean {
    return this.#devices.has(fileSystem());
  }
}

function fileSystem(): string {
  return `${lastStat.deviceMajor}:${lastStat.deviceMinor}`;
}

/**
 * fstatfs: what stands for sysfs is sysfs. libudev takes devices from nothing else (sd-device.c:device_set_syspath), and
 * with it udevadm, driverctl and libvirt.
 */
export function handleStatfs(context: CallContext): Reply {
  const { listener, task, sysfs } = context.on;
  if (!context.stat(listener.int(0)) || !sysfs.hasLastStat()) return "native";
  const answer = Buffer.alloc(SIZE);
  const words = { 0: SYSFS_MAGIC, 8: PAGE, 64: NAME_MAX, 72: PAGE, 80: ST_VALID };
  for (const [at, value] of Object.entries(words)) answer.writeBigUInt64LE(BigInt(value), Number(at));
  task.memory.copyOut(listener.word(1, context.abi), answer, SIZE);
  return 0;
}
