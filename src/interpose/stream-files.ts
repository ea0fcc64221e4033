import type { FileDescription, Readiness } from "../kernel/file-description.ts";
import { Arena } from "../native/arena.ts";
import { briefly, closeBrief, noteShortage } from "./descriptor-shortage.ts";
import { HOST_CALLS } from "./host-calls.ts";
import { InjectedFile } from "./injected-file.ts";
import { close, syscall, syscall3 } from "./libc.ts";
import { AT_FDCWD, O_ACCMODE, O_CLOEXEC, O_NONBLOCK, O_RDONLY, POLLERR } from "./linux.ts";
import { lastStat, openPath, statDescriptor } from "./path-stat.ts";

// struct pollfd {s32 fd, s16 events, s16 revents} @0; struct timespec of 0 @16; int fds[2] @32; a byte @40
const POLL = 0;
const TIMEOUT = 16;
const PIPE = 32;
const BYTE = 40;
const arena = new Arena(48);

interface Stream {
  readonly file: InjectedFile;
  readonly readiness: Readiness;
  /** A byte is in the pipe. */
  isFilled: boolean;
  stop(): void;
}

/**
 * Files of the model that programs wait for: each is a pipe, open for both directions in the program, with a byte in it
 * while the model has something to read. So poll(), select() and epoll work on it by themselves; reads and writes come
 * to us. Our own end is one for writing: when the program's last descriptor goes, it has an error.
 */
export class StreamFiles {
  readonly #byInode = new Map<number, Stream>();
  readonly #onRelease: (description: FileDescription) => void;
  // All pipes live on one internal mount.
  #deviceMajor = -1;
  #deviceMinor = -1;

  constructor(onRelease: (description: FileDescription) => void) {
    this.#onRelease = onRelease;
  }

  get size(): number {
    return this.#byInode.size;
  }

  find(inode: number, deviceMajor: number, deviceMinor: number): InjectedFile | undefined {
    if (deviceMajor !== this.#deviceMajor || deviceMinor !== this.#deviceMinor) return undefined;
    return this.#byInode.get(inode)?.file;
  }

  /** As InjectedFiles.create(). */
  create(
    description: FileDescription,
    readiness: Readiness,
    flags: number,
  ): { file: InjectedFile; fd: number } | number {
    const made = noteShortage(syscall(HOST_CALLS.pipe2, arena.address + PIPE, O_CLOEXEC | O_NONBLOCK));
    if (made < 0) return made;
    const [reading, memory] = [arena.s32(PIPE), arena.s32(PIPE + 4)];
    const path = `/proc/self/fd/${reading}`;
    const fd = noteShortage(openPath(AT_FDCWD, path, (flags & O_ACCMODE) | O_NONBLOCK | O_CLOEXEC));
    close(reading);
    if (fd < 0) {
      close(memory);
      return fd;
    }
    statDescriptor(memory);
    this.#deviceMajor = lastStat.deviceMajor;
    this.#deviceMinor = lastStat.deviceMinor;
    const { inode } = lastStat;
    const file = new InjectedFile(
      description,
      undefined,
      { inode, watch: -1, memory, mode: flags & O_ACCMODE },
      () => [],
    );
    const stream: Stream = { file, readiness, isFilled: false, stop: readiness.watch(() => show(stream)) };
    this.#byInode.set(inode, stream);
    show(stream);
    return { file, fd };
  }

  /** Forgets a file, without a release. False for a file of another kind. */
  forget(file: InjectedFile): boolean {
    const stream = this.#byInode.get(file.inode);
    if (stream?.file !== file) return false;
    stream.stop();
    this.#byInode.delete(file.inode);
    close(file.memory);
    return true;
  }

  /** Releases those that no program has any more. */
  drain(): void {
    if (this.#byInode.size === 0) return;
    const closed = [...this.#byInode.values()].filter(({ file }) => isClosed(file));
    for (const { file } of closed) this.#release(file);
  }

  /** Releases everything, whoever holds it still. */
  releaseAll(): void {
    for (const { file } of [...this.#byInode.values()]) this.#release(file);
  }

  #release(file: InjectedFile): void {
    this.forget(file);
    this.#onRelease(file.description);
  }
}

/** Puts the byte into the pipe, or takes it out. */
function show(stream: Stream): void {
  const { file, readiness } = stream;
  if (readiness.isReadable === stream.isFilled) return;
  stream.isFilled = readiness.isReadable;
  if (stream.isFilled) {
    syscall3(HOST_CALLS.write, file.memory, arena.address + BYTE, 1);
    return;
  }
  const path = `/proc/self/fd/${file.memory}`;
  const reading = briefly(() => openPath(AT_FDCWD, path, O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  syscall3(HOST_CALLS.read, reading, arena.address + BYTE, 1);
  closeBrief(reading);
}

/** Nobody could read what is written into the pipe. */
function isClosed({ memory }: InjectedFile): boolean {
  arena.setU32(POLL, memory);
  arena.setU32(POLL + 4, 0);
  const count = syscall(HOST_CALLS.ppoll, arena.address + POLL, 1, arena.address + TIMEOUT, 0, 0);
  return count === 1 && arena.u32(POLL + 4) >>> 16 === POLLERR;
}
