import { FileDescription } from "../kernel/file-description.ts";
import { monotonic } from "../kernel/monotonic.ts";
import { Arena } from "../native/arena.ts";
import { ERRNO } from "../uapi/errno.ts";
import { noteShortage } from "./descriptor-shortage.ts";
import { memoryFile } from "./descriptors.ts";
import { HOST_CALLS } from "./host-calls.ts";
import { InjectedFile, markOpened, type Origin } from "./injected-file.ts";
import { close, seekEnd, syscall, syscall3 } from "./libc.ts";
import {
  AT_FDCWD,
  F_ADD_SEALS,
  F_SEAL_GROW,
  F_SEAL_SEAL,
  F_SEAL_SHRINK,
  F_SETLEASE,
  F_WRLCK,
  IN_CLOSE,
  IN_OPEN,
  IN_Q_OVERFLOW,
  MFD_ALLOW_SEALING,
  MFD_NOEXEC_SEAL,
  O_ACCMODE,
  O_APPEND,
  O_CLOEXEC,
  O_NONBLOCK,
  O_RDWR,
} from "./linux.ts";
import { lastStat, openPath, statDescriptor } from "./path-stat.ts";
import { StreamFiles } from "./stream-files.ts";

/** Nine regions of vfio-pci, each at its index << 40 (VFIO_PCI_OFFSET_SHIFT); sparse. */
const PCI_DEVICE_SIZE = 9 * 2 ** 40;
/** How long a file that reported a close may still have a writer before that writer is believed to be another one. */
const UNDECIDED_MS = 1000;
const EVENTS = 4096;
const NAME = 0;
const arena = new Arena(256 + EVENTS);

/** Every file that programs hold, and when the last reference to one goes. */
export class InjectedFiles {
  /** Readable when a file was closed. */
  readonly inotify: number;
  /**
   * A program opened something with O_PATH that may have been a file here: descriptors are looked at before they are
   * used.
   */
  arePathsOpen = false;
  /** Who gets the files that are made from now on. */
  creator: object | undefined;
  readonly #counts = new Map<object, number>();
  readonly #byInode = new Map<number, InjectedFile>();
  readonly #byWatch = new Map<number, InjectedFile>();
  readonly #mapped = new Set<InjectedFile>();
  readonly #streams: StreamFiles;
  /** Files that reported a close, and since when it has not been the last one. */
  readonly #closing = new Map<InjectedFile, number>();
  readonly #onRelease: (description: FileDescription) => void;
  readonly #pids: () => Iterable<number>;
  // All memfds live on one internal mount; other filesystems may use the same inode numbers.
  #deviceMajor = -1;
  #deviceMinor = -1;
  #mountId = -1;

  /**
   * @param onRelease the last descriptor and the last mapping of a file are gone
   * @param pids the processes that are known
   */
  constructor(onRelease: (description: FileDescription) => void, pids: () => Iterable<number> = () => []) {
    this.#onRelease = onRelease;
    this.#pids = pids;
    this.#streams = new StreamFiles(onRelease);
    this.inotify = syscall(HOST_CALLS.inotify_init1, O_CLOEXEC | O_NONBLOCK);
  }

  /** Readable when a stream was closed by its last reader. */
  get streamEvent(): number {
    return this.#streams.event;
  }

  get size(): number {
    return this.#byInode.size + this.#streams.size;
  }

  /** Files that somebody got first, as far as they are not streams, and that are open still. */
  countOf(creator: object): number {
    return this.#counts.get(creator) ?? 0;
  }

  #count(creator: object | undefined, change: number): void {
    if (creator === undefined) return;
    const count = this.countOf(creator) + change;
    if (count === 0) this.#counts.delete(creator);
    else this.#counts.set(creator, count);
  }

  /** Files of which programs have mappings, whose memory the model wants to look at. */
  get mapped(): ReadonlySet<InjectedFile> {
    return this.#mapped;
  }

  /** A program maps a file: from now on, until its release, its memory may be written at any time. */
  noteMapping(file: InjectedFile): void {
    if (file.description.pollMemory !== FileDescription.prototype.pollMemory) this.#mapped.add(file);
  }

  /**
   * Lets the model look at memory that programs can write to.
   * @param isLeft of which files it does not
   * @returns whether one has
   */
  pollMappings(isLeft: (file: InjectedFile) => boolean): boolean {
    let written = false;
    for (const file of this.#mapped) if (!isLeft(file) && file.description.pollMemory()) written = true;
    return written;
  }

  /** The device number of all files here. */
  get fileSystem(): { readonly major: number; readonly minor: number } {
    return { major: this.#deviceMajor, minor: this.#deviceMinor };
  }

  find(inode: number, deviceMajor: number, deviceMinor: number): InjectedFile | undefined {
    const file = this.#byInode.get(inode);
    return file !== undefined && deviceMajor === this.#deviceMajor && deviceMinor === this.#deviceMinor
      ? file
      : this.#streams.find(inode, deviceMajor, deviceMinor);
  }

  /** The file with that inode on that mount, which is none of a stream. */
  findMounted(inode: number, mountId: number): InjectedFile | undefined {
    return mountId === this.#mountId ? this.#byInode.get(inode) : undefined;
  }

  /** Whether findMounted() would find a file. */
  isMounted(file: InjectedFile): boolean {
    return this.#byInode.get(file.inode) === file;
  }

  /** The file that the last statx() saw. */
  findLastStat(): InjectedFile | undefined {
    return this.size === 0 ? undefined : this.find(lastStat.inode, lastStat.deviceMajor, lastStat.deviceMinor);
  }

  /**
   * Makes the memory for a description, and a descriptor of it to give away: close that one afterwards. Returns a
   * negative errno when the machine has no more of something (EMFILE, ENFILE, ENOMEM).
   * @param origin the node that it was opened through; undefined for what an ioctl returned
   * @param flags the open() flags that the program gave
   */
  create(
    description: FileDescription,
    origin: Origin | undefined,
    flags: number,
  ): { file: InjectedFile; fd: number } | number {
    const { readiness } = description;
    if (readiness) return this.#streams.create(description, readiness, flags);
    const memory = this.#memory(description.kind);
    if (memory < 0) return memory;
    const size = description.memorySize || (description.kind === "device" ? PCI_DEVICE_SIZE : 0);
    if (size > 0) syscall(HOST_CALLS.ftruncate, memory, size);
    // A program that truncates it takes nothing away from its mappings and ours.
    syscall(HOST_CALLS.fcntl, memory, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    const path = `/proc/self/fd/${memory}`;
    const kept = flags & (O_ACCMODE | O_NONBLOCK | O_APPEND);
    const fd = noteShortage(openPath(AT_FDCWD, path, kept | O_CLOEXEC));
    // Opens that are announced from here on are others'.
    const watch =
      fd < 0 ? fd : syscall(HOST_CALLS.inotify_add_watch, this.inotify, arena.text(NAME, path), IN_CLOSE | IN_OPEN);
    if (watch < 0) {
      close(memory);
      if (fd >= 0) close(fd);
      return watch;
    }
    makeUnreadable(fd);
    markOpened(fd);
    // Who opens it once more, through /proc/self/fd, needs the rights that the node asks for; what has no node cannot
    // be opened.
    syscall(HOST_CALLS.fchmod, memory, origin === undefined ? 0 : origin.mode & 0o7777);
    statDescriptor(memory);
    if (origin && (origin.uid !== lastStat.uid || origin.gid !== lastStat.gid))
      syscall(HOST_CALLS.fchown, memory, origin.uid, origin.gid);
    this.#deviceMajor = lastStat.deviceMajor;
    this.#deviceMinor = lastStat.deviceMinor;
    this.#mountId = lastStat.mountId;
    const { creator } = this;
    const { inode } = lastStat;
    const made = { inode, watch, memory, mode: flags & O_ACCMODE, creator };
    const file = new InjectedFile(description, origin?.node, made, this.#pids);
    this.#count(creator, 1);
    this.#byInode.set(file.inode, file);
    this.#byWatch.set(watch, file);
    description.attachMemory(file);
    return { file, fd };
  }

  /** Forgets a file that no program got: without a release. */
  forget(file: InjectedFile): void {
    if (this.#streams.forget(file)) return;
    if (this.#byInode.delete(file.inode)) this.#count(file.creator, -1);
    this.#byWatch.delete(file.watch);
    this.#closing.delete(file);
    this.#mapped.delete(file);
    // The watch goes with the memory, of which this is the last descriptor, or will be.
    file.close();
  }

  /**
   * Releases what was closed since the last time. The event is queued before the close() returns, so what a program
   * does after it finds the file released when this runs before the call is handled.
   * @param announced there may be something in the queue
   */
  drain(announced: boolean): void {
    while (announced) {
      const length = syscall3(HOST_CALLS.read, this.inotify, arena.address + 256, EVENTS);
      if (length <= 0) break;
      // struct inotify_event: wd s32@0, mask u32@4, cookie u32@8, len u32@12, name
      for (let at = 256; at < 256 + length; at += 16 + arena.u32(at + 12)) {
        const mask = arena.u32(at + 4);
        if ((mask & IN_Q_OVERFLOW) !== 0) this.#lookAtAll();
        const file = this.#byWatch.get(arena.s32(at));
        if (file === undefined) continue;
        if ((mask & IN_CLOSE) !== 0) this.#closing.set(file, 0);
        if ((mask & IN_OPEN) !== 0) file.isOpenedAgain = true;
      }
      if (length < EVENTS / 2) break;
    }
    if (this.#closing.size > 0) this.#releaseClosed();
    this.#streams.drain();
  }

  /** Events were lost: any of them may have been closed, and opened again. */
  #lookAtAll(): void {
    for (const file of this.#byWatch.values()) {
      this.#closing.set(file, 0);
      file.isOpenedAgain = true;
    }
  }

  /** Whether files are being looked at that were closed by somebody, perhaps not by the last: drain() again soon. */
  get undecided(): boolean {
    return this.#closing.size > 0;
  }

  /** Releases everything, whoever holds it still. */
  releaseAll(): void {
    for (const file of [...this.#byInode.values()]) this.#release(file);
    this.#streams.releaseAll();
  }

  close(): void {
    close(this.inotify);
    this.#streams.close();
  }

  /**
   * A program can open /proc/self/fd/N and so get a second description of the same inode, whose close is no last close.
   * A write lease is given only to the one writer that an inode has. The event comes a moment before the writer is
   * counted off (__fput() in fs/file_table.c), so a refusal is believed only when it lasts.
   */
  #releaseClosed(): void {
    const now = monotonic();
    for (const [file, since] of this.#closing) {
      const lease = syscall(HOST_CALLS.fcntl, file.memory, F_SETLEASE, F_WRLCK);
      if (lease === -ERRNO.EAGAIN) {
        if (since === 0) this.#closing.set(file, now);
        else if (now - since > UNDECIDED_MS) this.#closing.delete(file);
        continue;
      }
      // which closes the descriptor, and so gives the lease back
      this.#release(file);
    }
  }

  #release(file: InjectedFile): void {
    this.forget(file);
    this.#onRelease(file.description);
  }

  /** A memfd, opened once more: the description that memfd_create() makes reports no close and counts as no writer. */
  #memory(kind: string): number {
    const made = noteShortage(memoryFile(`uvfio-${kind}`, MFD_NOEXEC_SEAL, MFD_ALLOW_SEALING));
    if (made < 0) return made;
    const memory = noteShortage(openPath(AT_FDCWD, `/proc/self/fd/${made}`, O_RDWR | O_CLOEXEC));
    close(made);
    return memory;
  }
}

/**
 * Puts a descriptor at the very end of what a file can have, LLONG_MAX: reads and writes there answer EINVAL
 * (fs/read_write.c:rw_verify_area), as they do on containers and groups. Those that the filter does not hand to us must
 * not get at the memory behind the file.
 */
function makeUnreadable(fd: number): void {
  seekEnd(fd);
}
