import fs from "node:fs";
import { fail, hex, KernelError } from "../kernel/errors.ts";
import type { FileMemory } from "../kernel/file-description.ts";
import { HOST_CALLS } from "./host-calls.ts";
import { close, syscall } from "./libc.ts";
import {
  AT_FDCWD,
  HUGETLBFS_MAGIC,
  MAP_NORESERVE,
  MAP_SHARED,
  O_CLOEXEC,
  O_RDWR,
  PROT_READ,
  PROT_WRITE,
  S_IFMT,
  S_IFREG,
  TMPFS_MAGIC,
} from "./linux.ts";
import { lastStat, openPath, statDescriptor } from "./path-stat.ts";
import { copyFromThread, copyToThread } from "./user-copy.ts";

/**
 * The memory of a program's memfd, or of its file in tmpfs or hugetlbfs, held by a descriptor and a mapping of our own: what is written shows in
 * the program's mappings at once. It is moved by process_vm_readv and _writev on ourselves, which fail where an access would be a bus error.
 */
export class HeldFileMemory implements FileMemory {
  readonly #fd: number;
  #address = 0;
  #length = 0;
  #isWritable = false;

  private constructor(fd: number) {
    this.#fd = fd;
  }

  /**
   * @param fd a descriptor of another process
   * @returns undefined for files that are no memory (mm/gup.c:memfd_pin_folios asks shmem_file() and is_file_hugepages())
   */
  static open(pidfd: number, fd: number): HeldFileMemory | undefined {
    const own = syscall(HOST_CALLS.pidfd_getfd, pidfd, fd, 0);
    if (own < 0) return undefined;
    if (isMemory(own)) return new HeldFileMemory(own);
    close(own);
    return undefined;
  }

  get size(): number {
    return statDescriptor(this.#fd) < 0 ? 0 : lastStat.size;
  }

  read(offset: number, into: Uint8Array): void {
    const address = this.#reach(offset, into.length);
    this.#move(offset, () => copyFromThread(process.pid, address, into, into.length));
  }

  write(offset: number, from: Uint8Array): void {
    const address = this.#reach(offset, from.length);
    if (!this.#isWritable)
      fail("EFAULT", "uvfio cannot write to the file: it is sealed, or not the program's to write");
    this.#move(offset, () => copyToThread(process.pid, address, from, from.length));
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
      this.#map(size);
    }
    return this.#address + offset;
  }

  #map(size: number): void {
    let address = this.#mapAs(this.#fd, size, PROT_READ | PROT_WRITE);
    this.#isWritable = address >= 0;
    // a descriptor for reading only does not keep a kernel from writing
    if (address < 0) {
      const fd = openPath(AT_FDCWD, `/proc/self/fd/${this.#fd}`, O_RDWR | O_CLOEXEC);
      if (fd >= 0) {
        address = this.#mapAs(fd, size, PROT_READ | PROT_WRITE);
        this.#isWritable = address >= 0;
        close(fd);
      }
    }
    if (address < 0) address = this.#mapAs(this.#fd, size, PROT_READ);
    if (address < 0) fail("EFAULT", "the file cannot be mapped by uvfio");
    this.#address = address;
    this.#length = size;
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

function isMemory(fd: number): boolean {
  if (statDescriptor(fd) < 0 || (lastStat.mode & S_IFMT) !== S_IFREG) return false;
  try {
    const { type } = fs.statfsSync(`/proc/self/fd/${fd}`);
    return type === TMPFS_MAGIC || type === HUGETLBFS_MAGIC;
  } catch {
    return false;
  }
}
