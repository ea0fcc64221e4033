import type { FileDescription, Readiness } from "../kernel/file-description.ts";
import { Arena } from "../native/arena.ts";
import { briefly, closeBrief, noteShortage } from "./descriptor-shortage.ts";
import { Epoll } from "./epoll.ts";
import { HOST_CALLS } from "./host-calls.ts";
import { InjectedFile } from "./injected-file.ts";
import { close, syscall, syscall3 } from "./libc.ts";
import { AT_FDCWD, O_ACCMODE, O_CLOEXEC, O_NONBLOCK, O_RDONLY } from "./linux.ts";
import { lastStat, openPath, statDescriptor } from "./path-stat.ts";

// int fds[2] @0; a byte @8
const PIPE = 0;
const BYTE = 8;
const arena = new Arena(16);

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
  readonly #byMemory = new Map<number, Stream>();
  /** Tells of those that have lost their last reader: one question, however many there are. */
  readonly #closings = new Epoll();
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

  /** Readable when there is something to release. */
  get event(): number {
    return this.#closings.fd;
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
    this.#byMemory.set(memory, stream);
    this.#closings.add(memory, 0);
    show(stream);
    return { file, fd };
  }

  /** Forgets a file, without a release. False for a file of another kind. */
  forget(file: InjectedFile): boolean {
    const stream = this.#byInode.get(file.inode);
    if (stream?.file !== file) return false;
    stream.stop();
    this.#byInode.delete(file.inode);
    this.#byMemory.delete(file.memory);
    this.#closings.remove(file.memory);
    close(file.memory);
    return true;
  }

  /** Releases those that no program has any more: nobody could read what is written into their pipes. */
  drain(): void {
    if (this.#byInode.size === 0) return;
    for (let isMore = true; isMore; ) {
      const closed = this.#closings.ready();
      isMore = this.#closings.isFull(closed.length);
      for (const memory of closed) {
        const stream = this.#byMemory.get(memory);
        if (stream) this.#release(stream.file);
      }
    }
  }

  /** Releases everything, whoever holds it still. */
  releaseAll(): void {
    for (const { file } of [...this.#byInode.values()]) this.#release(file);
  }

  close(): void {
    this.#closings.close();
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
