import { AddressSpace } from "../kernel/address-space.ts";
import { fail, hex } from "../kernel/errors.ts";
import type { Word } from "../kernel/word.ts";
import { ERRNO } from "../uapi/errno.ts";
import { close, pread, pwrite } from "./libc.ts";
import { AT_FDCWD, O_CLOEXEC, O_RDWR } from "./linux.ts";
import { type MemoryMap, memoryMap } from "./memory-map.ts";
import { openPath } from "./path-stat.ts";
import { readProc } from "./proc-file.ts";
import {
  copyFromThread,
  copyToThread,
  PAGE_SIZE,
  readFromProcess,
  stringFromThread,
  writeToProcess,
} from "./user-copy.ts";

/** Whether a mapped file is the memory of one of our devices. */
export type DeviceMemoryTest = (inode: number, deviceMajor: number, deviceMinor: number) => boolean;

const oneByte = new Uint8Array(1);
/** Pieces from this size on, in bytes, do not go through /proc/PID/mem, which copies each page twice (fs/proc/base.c:mem_rw). */
const DIRECT_SIZE = 32 * 1024;

/**
 * The memory of one process. Copies go through process_vm_readv/writev, which respect protections; what is held for DMA
 * goes through an open /proc/PID/mem, which stays with this memory after an exec() and reads nothing once it is gone.
 */
export class ProcessMemory extends AddressSpace {
  override readonly pageSize = PAGE_SIZE;
  /** A thread that lives in this memory: the one that makes the call in hand. */
  caller: number;
  /** An execve() of the process was let through: whose memory its number means now is not known. */
  execPending = false;
  readonly #pid: number;
  readonly #isDeviceMemory: DeviceMemoryTest;
  #mem = -1;
  #maps = -1;
  #map: MemoryMap | undefined;
  #pins = 0;
  #nextPin = 0;
  #retired = false;

  constructor(pid: number, caller: number, isDeviceMemory: DeviceMemoryTest) {
    super();
    this.#pid = pid;
    this.caller = caller;
    this.#isDeviceMemory = isDeviceMemory;
  }

  override copyIn(address: Word, into: Uint8Array, length: number): void {
    copyFromThread(this.caller, address, into, length);
  }

  override copyOut(address: Word, from: Uint8Array, length: number): void {
    copyToThread(this.caller, address, from, length);
  }

  override copyString(address: Word, max: number): string {
    return stringFromThread(this.caller, address, max);
  }

  /**
   * check_vma_flags() and the faulting-in of pin_user_pages() (mm/gup.c), from outside: a mapping must be there and allow
   * the access, and a page behind the end of a file, or one that only a driver can reach, does not fault in.
   */
  override pin(vaddr: number, pages: number, write: boolean, budget: number): number {
    this.charged = 0;
    const map = this.#openMap();
    if (map === undefined) return -ERRNO.EFAULT;
    map.refresh();
    const end = vaddr + pages * PAGE_SIZE;
    let charged = 0;
    for (let at = vaddr; at < end; ) {
      const mapping = map.find(at);
      if (mapping === undefined || !(write ? mapping.writable : mapping.readable)) return -ERRNO.EFAULT;
      const stop = Math.min(mapping.end, end);
      const count = (stop - at) / PAGE_SIZE;
      const { inode, deviceMajor, deviceMinor } = mapping;
      const isFile = inode !== 0;
      if (isFile && this.#isDeviceMemory(inode, deviceMajor, deviceMinor)) {
        at = stop;
        continue;
      }
      // Pages are pinned before they are counted, so one that is not there comes before a budget that it would exceed.
      const over = charged + count > budget;
      if (isFile) {
        const probe = over ? at + Math.max(0, budget - charged) * PAGE_SIZE : stop - PAGE_SIZE;
        if (pread(this.#mem, oneByte, probe) !== 1) return -ERRNO.EFAULT;
      }
      if (over) return -ERRNO.ENOMEM;
      charged += count;
      at = stop;
    }
    this.charged = charged;
    this.#pins++;
    return this.#nextPin++;
  }

  override unpin(_pin: number): void {
    this.#pins--;
    if (this.#retired && this.#pins === 0) this.#close();
  }

  override readPinned(_pin: number, vaddr: number, offset: number, into: Uint8Array): void {
    let done = this.#isDirect(into.length) ? readFromProcess(this.#pid, vaddr + offset, into) : 0;
    for (done = Math.max(done, 0); done < into.length; ) {
      const count = pread(this.#mem, done === 0 ? into : into.subarray(done), vaddr + offset + done);
      if (count <= 0) fail("EFAULT", `the memory at ${hex(vaddr + offset + done)} is gone`);
      done += count;
    }
  }

  override writePinned(_pin: number, vaddr: number, offset: number, from: Uint8Array): void {
    let done = this.#isDirect(from.length) ? writeToProcess(this.#pid, vaddr + offset, from) : 0;
    for (done = Math.max(done, 0); done < from.length; ) {
      const count = pwrite(this.#mem, done === 0 ? from : from.subarray(done), vaddr + offset + done);
      if (count <= 0) fail("EFAULT", `the memory at ${hex(vaddr + offset + done)} is gone`);
      done += count;
    }
  }

  /**
   * Whether a piece of DMA may go by the process' number. It respects protections, which DMA does not: what it leaves
   * undone goes through what is held.
   */
  #isDirect(length: number): boolean {
    return length >= DIRECT_SIZE && !this.execPending && !this.#retired && this.isCurrent();
  }

  /** VmLck: pages under mlock(). The model's own are not in it, because the real kernel knows nothing of them. */
  override foreignLockedPages(): number {
    const kilobytes = /^VmLck:\s+(\d+) kB/m.exec(readProc(this.caller, "status") ?? "")?.[1] ?? 0;
    return Math.ceil((Number(kilobytes) * 1024) / PAGE_SIZE);
  }

  /** Takes hold of the memory, so that isCurrent() can tell after an exec() whether it succeeded. */
  hold(): void {
    if (this.#mem < 0) this.#mem = openPath(AT_FDCWD, `/proc/${this.caller}/mem`, O_RDWR | O_CLOEXEC);
  }

  /** Whether the memory has users still. An exec() that succeeded leaves it without, and then every read ends at once. */
  isCurrent(): boolean {
    return this.#mem < 0 || pread(this.#mem, oneByte, 0) !== 0;
  }

  /** The process is gone, or has other memory now. What is pinned stays held until it is unpinned. */
  retire(): void {
    this.#retired = true;
    if (this.#pins === 0) this.#close();
  }

  #openMap(): MemoryMap | undefined {
    if (this.#map !== undefined || this.#retired) return this.#map;
    this.hold();
    if (this.#mem < 0) return undefined;
    this.#maps = openPath(AT_FDCWD, `/proc/${this.caller}/maps`, O_CLOEXEC);
    if (this.#maps >= 0) this.#map = memoryMap(this.#maps);
    return this.#map;
  }

  #close(): void {
    if (this.#mem >= 0) close(this.#mem);
    if (this.#maps >= 0) close(this.#maps);
    this.#mem = -1;
    this.#maps = -1;
    this.#map = undefined;
  }
}
