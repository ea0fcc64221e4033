import { closeSync, constants, fdatasync, fdatasyncSync, fstatSync, openSync, readSync, writeSync } from "node:fs";
import { type Disk, DiskError, PIECE } from "./disk.ts";
import { lockImage } from "./image-lock.ts";

/** An image that cannot be a disk; the message says why in a line. */
export class ImageError extends Error {
  override readonly name = "ImageError";
}

interface ImageOptions {
  readonly readOnly: boolean;
  /** Other devices may write to it, too, that say so. */
  readonly shared: boolean;
  /** Bytes; the image is a whole number of these. */
  readonly block: number;
  /** Whether somebody goes on meanwhile, so that waiting for the storage is better done aside. */
  readonly aside: () => boolean;
}

/**
 * A file as a disk, byte for byte. What is written is in the kernel's hands at once, so that the end of this process
 * loses nothing; flush() has it reach the storage. The file is locked as QEMU locks its images, against QEMU and
 * against other hosts.
 */
export class FileDisk implements Disk {
  readonly size: number;
  readonly isReadOnly: boolean;
  readonly #fd: number;
  readonly #aside: () => boolean;
  readonly #zeros = Buffer.alloc(PIECE);
  readonly #looked = Buffer.alloc(PIECE);

  /** Throws ImageError: no such file, in use, empty, not a whole number of blocks. */
  constructor(path: string, { readOnly, shared, block, aside }: ImageOptions) {
    this.isReadOnly = readOnly;
    this.#aside = aside;
    this.#fd = open(path, readOnly);
    try {
      this.size = sizeOf(this.#fd, block);
      if (!lockImage(this.#fd, !readOnly, shared))
        throw new ImageError(
          "in use by another program or another device; one writes to an image, or all read it, or all say shared: true",
        );
    } catch (error) {
      closeSync(this.#fd);
      throw error;
    }
  }

  read(offset: number, into: Uint8Array): void {
    const done = attempt("read", () => readFully(this.#fd, into, offset));
    // somebody has made the file shorter: what is not there is zeros
    if (done < into.length) into.fill(0, done);
  }

  write(offset: number, from: Uint8Array): void {
    attempt("write", () => {
      for (let done = 0; done < from.length; )
        done += writeSync(this.#fd, from, done, from.length - done, offset + done);
    });
  }

  zero(offset: number, length: number): void {
    const looked = this.#looked.subarray(0, length);
    this.read(offset, looked);
    const zeros = this.#zeros.subarray(0, length);
    // a hole stays one
    if (!looked.equals(zeros)) this.write(offset, zeros);
  }

  nextData(offset: number): number {
    return offset;
  }

  flush(done: (worked: boolean) => void): void {
    if (this.#aside()) {
      fdatasync(this.#fd, (error) => done(error === null));
      return;
    }
    try {
      fdatasyncSync(this.#fd);
    } catch {
      done(false);
      return;
    }
    done(true);
  }

  /** Another may have the image from now on. */
  close(): void {
    closeSync(this.#fd);
  }
}

function open(path: string, readOnly: boolean): number {
  try {
    // not held up by a pipe without a writer
    return openSync(path, (readOnly ? constants.O_RDONLY : constants.O_RDWR) | constants.O_NONBLOCK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") throw new ImageError("no such file (make one: truncate -s 1G FILE)");
    if (code === "EACCES" || code === "EPERM" || code === "EROFS")
      throw new ImageError(`may not be ${readOnly ? "read" : "written (readonly: true opens it for reading only)"}`);
    if (code === "EISDIR") throw new ImageError("a directory, not a file");
    throw new ImageError(`cannot be opened: ${code}`);
  }
}

function sizeOf(fd: number, block: number): number {
  const stat = fstatSync(fd);
  if (!stat.isFile()) throw new ImageError("no regular file");
  if (stat.size < block) throw new ImageError(`has ${stat.size} bytes, less than one block of ${block}`);
  if (stat.size % block !== 0) throw new ImageError(`has ${stat.size} bytes, which is no multiple of ${block}`);
  return stat.size;
}

function readFully(fd: number, into: Uint8Array, offset: number): number {
  let done = 0;
  while (done < into.length) {
    const count = readSync(fd, into, done, into.length - done, offset + done);
    if (count === 0) break;
    done += count;
  }
  return done;
}

function attempt<T>(what: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw new DiskError(`${what}: ${(error as NodeJS.ErrnoException).code}`, { cause: error });
  }
}
