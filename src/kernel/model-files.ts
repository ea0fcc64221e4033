import { fail } from "./errors.ts";
import type { FileDescription } from "./file-description.ts";
import type { FileTable } from "./task.ts";

/** 0, 1 and 2 belong to the program's terminal. */
const FIRST_FD = 3;
/** The usual soft RLIMIT_NOFILE. */
const DEFAULT_LIMIT = 1024;

interface Descriptor {
  readonly file: FileDescription;
  readonly closeOnExec: boolean;
}

/** How many descriptors there are for a file, in all tables: a fork shares the files, not the table. */
const references = new WeakMap<FileDescription, number>();

function take(file: FileDescription): void {
  const count = references.get(file) ?? 0;
  references.set(file, count + 1);
}

function drop(file: FileDescription): void {
  const count = references.get(file)! - 1;
  references.set(file, count);
  if (count === 0) file.release();
}

/**
 * Keeps a file open without a descriptor, as a mapping does.
 * @returns ends that; what was the last reference releases the file
 */
export function holdFile(file: FileDescription): () => void {
  take(file);
  return () => drop(file);
}

/**
 * The file descriptors of a process in the model. Releases a file when its last descriptor goes, in whichever table.
 */
export class ModelFileTable implements FileTable {
  /** Descriptors from this number on are EMFILE (RLIMIT_NOFILE). */
  limit: number;
  private readonly descriptors: (Descriptor | undefined)[] = [];
  /** No descriptor from FIRST_FD up to this one is free. */
  private lowestFree = FIRST_FD;

  constructor(limit = DEFAULT_LIMIT) {
    this.limit = limit;
  }

  get(fd: number): FileDescription | undefined {
    return this.descriptors[fd]?.file;
  }

  install(file: FileDescription, closeOnExec: boolean): number {
    const fd = this.free();
    this.put(fd, file, closeOnExec);
    return fd;
  }

  /** Another descriptor for the same file. EBADF, EMFILE. */
  dup(fd: number): number {
    return this.install(this.need(fd), false);
  }

  /** The same at a given number; what is there is closed. EBADF. */
  dup2(fd: number, as: number): number {
    const file = this.need(fd);
    if (as < 0 || as >= this.limit) fail("EBADF", `descriptor ${as} is beyond the limit of ${this.limit}`);
    if (as === fd) return as;
    // The new reference first: the old file may be the same one.
    take(file);
    if (this.descriptors[as] !== undefined) this.close(as);
    this.put(as, file, false);
    drop(file);
    return as;
  }

  /** EBADF when there is no such descriptor. */
  close(fd: number): void {
    const file = this.need(fd);
    this.descriptors[fd] = undefined;
    if (fd >= FIRST_FD && fd < this.lowestFree) this.lowestFree = fd;
    drop(file);
  }

  /** The end of the process: closes in ascending order, as exit does. */
  closeAll(): void {
    for (const fd of this.open()) this.close(fd);
  }

  /** execve(): what is marked goes. */
  closeOnExec(): void {
    for (const fd of this.open()) if (this.descriptors[fd]!.closeOnExec) this.close(fd);
  }

  /** The table of a child: the same files at the same numbers. */
  fork(): ModelFileTable {
    const child = new ModelFileTable(this.limit);
    for (const fd of this.open()) {
      const { file, closeOnExec } = this.descriptors[fd]!;
      child.put(fd, file, closeOnExec);
    }
    return child;
  }

  /** The descriptors in use, ascending. */
  open(): number[] {
    return [...this.descriptors.keys()].filter((fd) => this.descriptors[fd] !== undefined);
  }

  private need(fd: number): FileDescription {
    return this.get(fd) ?? fail("EBADF", `there is no descriptor ${fd}`);
  }

  private put(fd: number, file: FileDescription, closeOnExec: boolean): void {
    take(file);
    this.descriptors[fd] = { file, closeOnExec };
  }

  private free(): number {
    let fd = this.lowestFree;
    while (this.descriptors[fd] !== undefined) fd++;
    this.lowestFree = fd;
    if (fd >= this.limit) fail("EMFILE", `all descriptors below the limit of ${this.limit} are open`);
    return fd;
  }
}
