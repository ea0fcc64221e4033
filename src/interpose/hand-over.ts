import type { SharedFile } from "../kernel/address-space.ts";
import { isMemoryFile } from "./file-memory.ts";
import type { HeldMemory } from "./held-memory.ts";
import { HOST_CALLS } from "./host-calls.ts";
import { close, syscall } from "./libc.ts";
import { F_GETFL, O_ACCMODE, O_RDWR } from "./linux.ts";
import { type FileIdentity, isSameFile } from "./memory-map.ts";
import { lastStat, statThreadDescriptor } from "./path-stat.ts";
import { descriptorsOf } from "./proc-file.ts";

const oneByte = new Uint8Array(1);

/**
 * The program's own open file behind a range of its memory, when all of the range is one shared mapping of it and the
 * file is memory. It is taken from the descriptors of the program, which says what may be done with it; one that the
 * program has closed is not opened anew.
 * @param pid the process whose memory is held
 */
export function handOver(held: HeldMemory, pid: number, vaddr: number, bytes: number): SharedFile | undefined {
  held.map.refresh();
  const mapping = held.map.find(vaddr);
  if (!mapping?.shared || mapping.inode === 0 || mapping.end < vaddr + bytes) return undefined;
  const { inode, deviceMajor, deviceMinor, offset, start, writable } = mapping;
  const pidfd = syscall(HOST_CALLS.pidfd_open, pid, 0);
  if (pidfd < 0) return undefined;
  try {
    // as long as the memory has users, the number that it was taken from is a process of it
    if (held.read(vaddr, oneByte) !== 1) return undefined;
    for (const number of descriptorsOf(pid)) {
      if (!isFile(pid, number, { inode, deviceMajor, deviceMinor })) continue;
      const fd = take(pidfd, number, writable);
      if (fd !== undefined) return { fd, offset: offset + vaddr - start };
    }
    return undefined;
  } finally {
    close(pidfd);
  }
}

/** Whether a descriptor of a process is of that file; what it leads to is not opened. */
function isFile(pid: number, number: string, file: FileIdentity): boolean {
  return statThreadDescriptor(pid, Number(number)) >= 0 && isSameFile(lastStat, file);
}

function take(pidfd: number, number: string, write: boolean): number | undefined {
  const fd = syscall(HOST_CALLS.pidfd_getfd, pidfd, Number(number), 0);
  if (fd < 0) return undefined;
  if (isMemoryFile(fd) && (!write || isWritable(fd))) return fd;
  close(fd);
  return undefined;
}

function isWritable(fd: number): boolean {
  return (syscall(HOST_CALLS.fcntl, fd, F_GETFL) & O_ACCMODE) === O_RDWR;
}
