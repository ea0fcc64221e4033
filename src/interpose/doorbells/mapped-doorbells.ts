import type { Watchpoint } from "./debug-registers.ts";
import type { DeviceMapping } from "./protocol.ts";

/** A doorbell in a process. */
export interface MappedDoorbell extends Watchpoint {
  /** The file, and where in it. */
  readonly inode: number;
  readonly offset: number;
}

/**
 * Where the doorbells of files lie in a process.
 * @param maps the text of /proc/PID/maps
 */
export function mappedDoorbells(maps: string, files: Iterable<DeviceMapping>): MappedDoorbell[] {
  const wanted = [...files];
  const found: MappedDoorbell[] = [];
  // 7f5c1c000000-7f5c1c001000 rw-s 10000000000 00:01 1234    /memfd:name
  for (const [, start, end, offset, major, minor, inode] of maps.matchAll(
    /^([0-9a-f]+)-([0-9a-f]+) \S{4} ([0-9a-f]+) ([0-9a-f]+):([0-9a-f]+) (\d+)/gm,
  )) {
    const file = wanted.find(
      (each) =>
        each.inode === Number(inode) &&
        each.deviceMajor === Number.parseInt(major!, 16) &&
        each.deviceMinor === Number.parseInt(minor!, 16),
    );
    if (file === undefined) continue;
    const from = Number.parseInt(start!, 16);
    const to = Number.parseInt(end!, 16);
    for (const { offset: place, width } of file.doorbells) {
      const address = from + place - Number.parseInt(offset!, 16);
      if (address >= from && address + width <= to && address % width === 0)
        found.push({ address, width, inode: file.inode, offset: place });
    }
  }
  return found;
}
