import { ERRNO } from "../uapi/errno.ts";
import { HOST_CALLS } from "./host-calls.ts";
import { close, syscall } from "./libc.ts";
import { AT_FDCWD, O_CLOEXEC, O_RDONLY, O_RDWR } from "./linux.ts";
import { memoryMap } from "./memory-map.ts";
import { openPath } from "./path-stat.ts";

let isRefused: boolean | undefined;

/**
 * Whether process_vm_readv() is refused whatever it is asked for, by a container's filter (docker before 23 allows it
 * only with CAP_SYS_PTRACE): one that moves nothing works everywhere else.
 */
export function areCopiesRefused(): boolean {
  isRefused ??= syscall(HOST_CALLS.process_vm_readv, process.pid, 0, 0, 0, 0, 0) < 0;
  return isRefused;
}

/**
 * Moves bytes of a thread's memory through /proc/TID/mem, which takes the same rights, and no system call that a filter
 * refuses. It does not ask for protections (FOLL_FORCE), so the map of the memory is asked first.
 * @param at where the bytes are in our memory
 * @returns bytes moved, up to the first page that refuses; a negative errno when that is the first
 */
export function copyThroughMem(write: boolean, tid: number, address: number, at: number, length: number): number {
  const mem = openPath(AT_FDCWD, `/proc/${tid}/mem`, (write ? O_RDWR : O_RDONLY) | O_CLOEXEC);
  if (mem < 0) return mem;
  const maps = openPath(AT_FDCWD, `/proc/${tid}/maps`, O_CLOEXEC);
  let done = 0;
  if (maps >= 0) {
    const map = memoryMap(maps);
    const call = write ? HOST_CALLS.pwrite64 : HOST_CALLS.pread64;
    while (done < length) {
      const mapping = map.find(address + done);
      if (!(write ? mapping?.writable : mapping?.readable)) break;
      const part = Math.min(length - done, mapping!.end - address - done);
      const count = syscall(call, mem, at + done, part, address + done);
      if (count <= 0) break;
      done += count;
    }
    close(maps);
  }
  close(mem);
  return done > 0 ? done : -ERRNO.EFAULT;
}
