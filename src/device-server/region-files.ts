import { closeSync, fstatSync } from "node:fs";
import { accessOf, readAt, writeAt } from "../vfio-user/sockets.ts";

/** A client's file that DMA regions lie in. Many regions share one: a client sends a descriptor with each. */
export class RegionFile {
  readonly key: string;
  readonly #fd: number;
  users = 0;

  constructor(fd: number, key: string) {
    this.#fd = fd;
    this.key = key;
  }

  /** Whether all bytes are there, and could be read. */
  read(into: Uint8Array, offset: number): boolean {
    return readAt(this.#fd, into, offset) === into.length;
  }

  write(from: Uint8Array, offset: number): boolean {
    return writeAt(this.#fd, from, offset) === from.length;
  }

  close(): void {
    closeSync(this.#fd);
  }
}

/** The files of a client's DMA regions, each once. */
export class RegionFiles {
  readonly #files = new Map<string, RegionFile>();

  /** @param fd ours from now on */
  add(fd: number): RegionFile {
    const { dev, ino } = fstatSync(fd);
    const { read, write } = accessOf(fd);
    const key = `${dev} ${ino} ${read} ${write}`;
    let file = this.#files.get(key);
    if (file) closeSync(fd);
    else {
      file = new RegionFile(fd, key);
      this.#files.set(key, file);
    }
    file.users++;
    return file;
  }

  /** Closes one that is no memory. */
  refuse(fd: number): void {
    closeSync(fd);
  }

  drop(file: RegionFile): void {
    if (--file.users > 0) return;
    this.#files.delete(file.key);
    file.close();
  }
}
