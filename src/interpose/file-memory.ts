import fs from "node:fs";
import { fail, hex, KernelError } from "../kernel/errors.ts";
import type { FileMemory } from "../kernel/file-description.ts";
import { borrowMemoryFile } from "./borrow.ts";
import { refuseShortage } from "./descriptor-shortage.ts";
import { HOST_CALLS } from "./host-calls.ts";
import { close, pwrite, syscall } from "./libc.ts";
import {
  F_GETFL,
  HUGETLBFS_MAGIC,
  MAP_NORESERVE,
  MAP_SHARED,
  O_ACCMODE,
  O_APPEND,
  O_WRONLY,
  PROT_READ,
  PROT_WRITE,
  S_IFMT,
  S_IFREG,
  TMPFS_MAGIC,
} from "./linux.ts";
import { PAGE_SIZE } from "./memory-map.ts";
import { lastStat, statDescriptor } from "./path-stat.ts";
import { copyFromThread, copyToThread } from "./user-copy.ts";

/**
 * The memory of a program's memfd, or of its file in tmpfs or hugetlbfs, held by the program's own open file and a
 * mapping of that: what is written shows in the program's mappings at once. It is moved by process_vm_readv and _writev
 * on ourselves, which fail where an access would be a bus error.
 *
 * A device may do what the program may do with the descriptor that it gave: the kernel decides that when the file is
 * mapped, by how it was opened and by its seals. It is never opened anew, which would ask for our rights and not for
 * those of the program.
 */
export class HeldFileMemory implements FileMemory {
  readonly #fd: number;
  #address = 0;
  #length = 0;
  #isReadable = false;
  #isWritable = false;

  private constructor(fd: number) {
    this.#fd = fd;
  }

  /**
   * @param fd a descriptor of another process
   * @returns undefined for files that are no memory (mm/gup.c:memfd_pin_folios asks shmem_file() and
   * is_file_hugepages())
   */
  static open(pidfd: number, fd: number): HeldFileMemory | undefined {
    const own = borrowMemoryFile(pidfd, fd);
    if (own < 0) {
      refuseShortage(own);
      return undefined;
    }
    if (!isMemoryFile(own)) {
      close(own);
      return undefined;
    }
    const memory = new HeldFileMemory(own);
    // Rights are those of this moment: a seal that comes later does not take them from what is held
    // (F_SEAL_FUTURE_WRITE).
    const { size } = memory;
    if (size > 0) memory.#map(size);
    return memory;
  }

  get size(): number {
    return statDescriptor(this.#fd) < 0 ? 0 : lastStat.size;
  }

  pageIdentity(offset: number): string {
    if (statDescriptor(this.#fd) < 0) return `gone ${this.#fd}`;
    return filePage(lastStat.deviceMajor, lastStat.deviceMinor, lastStat.inode, offset);
  }

  read(offset: number, into: Uint8Array): void {
    const address = this.#reach(offset, into.length);
    if (!this.#isReadable) fail("EFAULT", "the program's descriptor of the file is one for writing only");
    this.#move(offset, () => copyFromThread(process.pid, address, into, into.length));
  }

  write(offset: number, from: Uint8Array): void {
    const address = this.#reach(offset, from.length);
    if (!this.#isWritable)
      fail(
        "EFAULT",
        "the program itself may not write to the file: its descriptor is one for reading, or the file is sealed",
      );
    if (this.#isReadable) this.#move(offset, () => copyToThread(process.pid, address, from, from.length));
    else if (pwrite(this.#fd, from, offset) !== from.length)
      fail("EFAULT", `the file's bytes from ${hex(offset)} on cannot be written`);
  }

  release(): void {
    this.#unmap();
    close(this.#fd);
  }

  /** The address of a byte of the file. The file may have grown since it was mapped. */
  #reach(offset: number, length: number): number {
    if (offset + length > this.#length) {
      const { size } = this;
      if (offset + length > size) fail("EFAULT", `the file has ${hex(size)} bytes only, by now`);
      this.#unmap();
      if (!this.#map(size)) fail("EFAULT", "the file cannot be mapped by uvfio");
    }
    return this.#address + offset;
  }

  /** @returns whether the file can be reached at all */
  #map(size: number): boolean {
    let address = this.#mapAs(this.#fd, size, PROT_READ | PROT_WRITE);
    this.#isWritable = address >= 0;
    if (address < 0) address = this.#mapAs(this.#fd, size, PROT_READ);
    this.#isReadable = address >= 0;
    if (address < 0) {
      // What is open for writing only cannot be mapped. A device writes at offsets, never at the end.
      const flags = syscall(HOST_CALLS.fcntl, this.#fd, F_GETFL);
      this.#isWritable = (flags & (O_ACCMODE | O_APPEND)) === O_WRONLY;
      return this.#isWritable;
    }
    this.#address = address;
    this.#length = size;
    return true;
  }

  #mapAs(fd: number, size: number, protection: number): number {
    return syscall(HOST_CALLS.mmap, 0, size, protection, MAP_SHARED | MAP_NORESERVE, fd, 0);
  }

  #unmap(): void {
    if (this.#length > 0) syscall(HOST_CALLS.munmap, this.#address, this.#length);
    this.#length = 0;
  }

  #move(offset: number, copy: () => void): void {
    try {
      copy();
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
      fail("EFAULT", `the file's bytes from ${hex(offset)} on are gone: it was cut, or no huge page is free`);
    }
  }
}

/** What tells a page of a file from all others. */
export function filePage(deviceMajor: number, deviceMinor: number, inode: number, offset: number): string {
  return `${deviceMajor}:${deviceMinor}:${inode}:${Math.floor(offset / PAGE_SIZE)}`;
}

/** Whether a descriptor is of memory: a memfd, a file of tmpfs or hugetlbfs. */
export function isMemoryFile(fd: number): boolean {
  if (statDescriptor(fd) < 0 || (lastStat.mode & S_IFMT) !== S_IFREG) return false;
  try {
    const { type } = fs.statfsSync(`/proc/self/fd/${fd}`);
    return type === TMPFS_MAGIC || type === HUGETLBFS_MAGIC;
  } catch {
    return false;
  }
}
