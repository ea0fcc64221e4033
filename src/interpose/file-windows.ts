import fs from "node:fs";
import { koffi } from "../native/koffi.ts";
import { HOST_CALLS } from "./host-calls.ts";
import { pwrite, syscall } from "./libc.ts";
import { MAP_SHARED, PROT_READ, PROT_WRITE } from "./linux.ts";

/** Bytes of a window; windows begin at multiples of it. */
const SIZE = 2 ** 20;
/** As many bytes as are read by a window. */
const FEW = 4096;
/** Windows of a file at a time. */
const MAX_WINDOWS = 32;

interface Window {
  readonly address: number;
  readonly bytes: Uint8Array;
}

/**
 * Writes to a file in memory that programs have too, and reads what lies there. Through mappings of it, because a
 * write() takes the file's lock, which a program can hold for as long as it likes: by a write() of its own from memory
 * that does not come.
 */
export class FileWindows {
  readonly #fd: number;
  readonly #windows = new Map<number, Window>();
  #size: number | undefined;

  /** @param fd a file whose size does not change */
  constructor(fd: number) {
    this.#fd = fd;
  }

  /** What lies behind the end of the file is left out. */
  write(offset: number, from: Uint8Array): void {
    this.#size ??= fs.fstatSync(this.#fd).size;
    const length = Math.min(from.length, this.#size - offset);
    for (let done = 0; done < length; ) {
      const at = (offset + done) % SIZE;
      const part = Math.min(length - done, SIZE - at);
      const window = this.#window(offset + done - at);
      const piece = part === from.length ? from : from.subarray(done, done + part);
      if (window !== undefined) window.bytes.set(piece, at);
      // No more mappings: as a last resort.
      else pwrite(this.#fd, piece, offset + done);
      done += part;
    }
  }

  /**
   * Reads a few bytes that are near to some that were written, without a system call. False when it has to be read from
   * the file: what was never written would take memory here.
   */
  read(offset: number, into: Uint8Array): boolean {
    const at = offset % SIZE;
    const window = this.#windows.get(offset - at);
    if (window === undefined || into.length > FEW || at + into.length > SIZE) return false;
    into.set(window.bytes.subarray(at, at + into.length));
    return true;
  }

  close(): void {
    for (const start of [...this.#windows.keys()]) this.#unmap(start);
  }

  #window(start: number): Window | undefined {
    const known = this.#windows.get(start);
    if (known !== undefined) return known;
    for (const oldest of this.#windows.keys()) {
      if (this.#windows.size < MAX_WINDOWS) break;
      this.#unmap(oldest);
    }
    const address = syscall(HOST_CALLS.mmap, 0, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, this.#fd, start);
    if (address < 0) return undefined;
    const window = { address, bytes: new Uint8Array(koffi.view(address, SIZE)) };
    this.#windows.set(start, window);
    return window;
  }

  #unmap(start: number): void {
    const window = this.#windows.get(start);
    this.#windows.delete(start);
    if (window !== undefined) syscall(HOST_CALLS.munmap, window.address, SIZE);
  }
}
