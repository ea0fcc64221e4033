import { KernelError } from "../../kernel/errors.ts";
import type { FileContent } from "../../kernel/file-tree.ts";
import { type HostEntry, type HostFiles, writeText } from "../../kernel/host-files.ts";
import { monotonic } from "../../kernel/monotonic.ts";
import { ERRNO } from "../../uapi/errno.ts";
import type { CallLimit } from "../call-limit.ts";
import { O_ACCMODE, O_RDONLY, O_WRONLY } from "../linux.ts";
import { bytesOf, type Common, TEXT_SIZE, writeAttributes } from "./attributes.ts";
import { ANSWER_SIZE, FuseChannel, MAX_WRITE, Refusal } from "./fuse-channel.ts";
import { HeldWrites, type Write } from "./held-writes.ts";
import { type Inode, Inodes } from "./inodes.ts";
import * as fuse from "./protocol.ts";

const { FUSE } = fuse;

/** Until the last root is where it belongs. */
const PLACING_SECONDS = 3600;
const MANY_ROOTS = 64;
const ROOT: HostEntry = { kind: "directory" };
/** Requests are worked on for so long, in milliseconds, before others get their turn. */
const MOMENT_MS = 1;

export interface FuseHooks {
  /** Something was written and done: nodes may have come or gone. */
  acted(): void;
  failed(write: Pick<Write, "path" | "pid">, error: KernelError): void;
}

interface OpenFile {
  readonly path: string;
  readonly file: FileContent;
  /** What the file said when reading began. */
  text: Buffer | undefined;
}

interface Listed {
  readonly name: string;
  readonly kind: HostEntry["kind"];
}

/**
 * Serves a host's /sys to programs as a FUSE file system: what they read is so now, what they write acts, and the
 * writer hears the errno. The kernel remembers nothing (no entry or attribute is valid for any time), so that nothing
 * need be taken back from it; but what leads to the roots, which nobody sees once these are where they belong.
 *
 * Requests are answered by the thread that serves all calls, so that thread must never wait for a file of this file
 * system. See docs/sysfs.md.
 */
export class FuseServer {
  hooks: FuseHooks = { acted: () => {}, failed: () => {} };
  readonly #channel: FuseChannel;
  readonly #files: HostFiles;
  readonly #common: Common;
  readonly #inodes = new Inodes();
  #placing: { readonly above: ReadonlySet<string>; readonly roots: ReadonlySet<string> } | undefined;
  readonly #open = new Map<number, OpenFile>();
  readonly #directories = new Map<number, readonly Listed[]>();
  readonly #writes = new HeldWrites((write, error) => this.#written(write, error));
  #nextHandle = 1;
  #isOver = false;

  /**
   * @param fd an open /dev/fuse with O_NONBLOCK; closed at the end
   * @param owner whose the files are: root, or where there is none the user that the file system was mounted for
   * @param limit ends a read that waits, where somebody else may have the descriptor too
   */
  constructor(fd: number, files: HostFiles, owner: { readonly uid: number; readonly gid: number }, limit?: CallLimit) {
    this.#channel = new FuseChannel(fd, limit);
    this.#files = files;
    this.#common = { ...owner, born: Math.floor(Date.now() / 1000) };
  }

  /** Readable when there is a request. */
  get fd(): number {
    return this.#channel.fd;
  }

  /**
   * Whether a program has a file open, and so may have it in its memory: whoever touches that memory may have to wait
   * for us.
   */
  get hasOpenFiles(): boolean {
    return this.#open.size > 0;
  }

  /** Whether the file system is gone. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** Answers the requests that there are, for a moment. */
  take(): void {
    const end = monotonic() + MOMENT_MS;
    while (this.takeOne() && monotonic() < end);
  }

  /** Answers the next request, and returns whether there was one. */
  takeOne(): boolean {
    const next = this.#channel.next();
    if (next === "over") this.#isOver = true;
    if (next !== "request") return false;
    this.#handle();
    return true;
  }

  /** Something was given back: writes that wait for it are made again. */
  retry(): void {
    this.#writes.retry();
  }

  close(): void {
    this.#writes.close();
    this.#channel.close();
  }

  #handle(): void {
    const channel = this.#channel;
    const { opcode, unique } = channel;
    if (isUnanswered(opcode)) {
      if (opcode === FUSE.INTERRUPT) this.#interrupt();
      else this.#forget(opcode);
      return;
    }
    try {
      const size = this.#serve(opcode, unique);
      if (size !== undefined) channel.reply(unique, 0, size);
    } catch (error) {
      const isKnown = error instanceof Refusal || error instanceof KernelError;
      channel.reply(unique, isKnown ? error.errno : ERRNO.EIO, 0);
      if (!isKnown) throw error;
    }
  }

  /** Returns the bytes of the answer; undefined when it was answered, or will be later. */
  #serve(opcode: number, unique: Buffer): number | undefined {
    switch (opcode) {
      case FUSE.INIT:
        return this.#init();
      case FUSE.LOOKUP:
        return this.#lookup();
      case FUSE.GETATTR:
        return this.#attributes(this.#inode());
      case FUSE.SETATTR:
        return this.#setAttributes();
      case FUSE.READLINK:
        return this.#readlink();
      case FUSE.OPEN:
        return this.#openFile(unique);
      case FUSE.READ:
        return this.#read();
      case FUSE.WRITE:
        return this.#write(unique);
      case FUSE.RELEASE:
        this.#open.delete(this.#handleIn(fuse.RELEASE_IN.size));
        return 0;
      case FUSE.OPENDIR:
        return this.#openDirectory(unique);
      case FUSE.READDIR:
        return this.#readDirectory(false);
      case FUSE.READDIRPLUS:
        return this.#readDirectory(true);
      case FUSE.RELEASEDIR:
        this.#directories.delete(this.#handleIn(fuse.RELEASE_IN.size));
        return 0;
      case FUSE.STATFS:
        return this.#statfs();
      case FUSE.DESTROY:
        this.#isOver = true;
        return 0;
      // fs/namei.c: directories of sysfs have no create(), and nothing else that would make or take away names
      case FUSE.CREATE:
        throw new Refusal("EACCES");
      case FUSE.SYMLINK:
      case FUSE.MKNOD:
      case FUSE.MKDIR:
      case FUSE.UNLINK:
      case FUSE.RMDIR:
      case FUSE.RENAME:
      case FUSE.RENAME2:
      case FUSE.LINK:
      case FUSE.TMPFILE:
      case FUSE.SETXATTR:
      case FUSE.REMOVEXATTR:
        throw new Refusal("EPERM");
      default:
        throw new Refusal("ENOSYS");
    }
  }

  #init(): number {
    const channel = this.#channel;
    const { INIT_IN, INIT_OUT } = fuse;
    channel.require(INIT_IN.size);
    const answer = channel.clear(INIT_OUT.size);
    answer.setUint32(INIT_OUT.major, fuse.FUSE_KERNEL_VERSION, true);
    answer.setUint32(INIT_OUT.minor, Math.min(channel.u32(INIT_IN.minor), fuse.FUSE_KERNEL_MINOR_VERSION), true);
    const lists = hasManyRoots(this.#files.roots) ? fuse.FUSE_DO_READDIRPLUS | fuse.FUSE_READDIRPLUS_AUTO : 0;
    answer.setUint32(INIT_OUT.flags, fuse.FUSE_ATOMIC_O_TRUNC | fuse.FUSE_BIG_WRITES | lists, true);
    answer.setUint32(INIT_OUT.maxWrite, MAX_WRITE, true);
    answer.setUint32(INIT_OUT.timeGran, 1, true);
    return INIT_OUT.size;
  }

  #lookup(): number {
    const channel = this.#channel;
    const path = `${this.#inode().path}/${channel.name()}`;
    const entry = this.#files.find(path);
    if (entry === undefined) throw new Refusal("ENOENT");
    this.#writeEntry(channel.clear(fuse.ENTRY_OUT.size), path, entry);
    return fuse.ENTRY_OUT.size;
  }

  /** The kernel knows of the file from now on. */
  #writeEntry(answer: DataView, path: string, entry: HostEntry): void {
    const { id } = this.#inodes.tell(path, entry.kind);
    answer.setUint32(fuse.ENTRY_OUT.nodeid, id, true);
    answer.setUint32(fuse.ENTRY_OUT.entryValid, this.#rememberedFor(path), true);
    answer.setUint32(fuse.ENTRY_OUT.attrValid, this.#rememberedFor(path), true);
    writeAttributes(answer, fuse.ENTRY_OUT.attr, id, entry, this.#common);
  }

  #attributes(inode: Inode): number {
    const entry = this.#entry(inode);
    const answer = this.#channel.clear(fuse.ATTR_OUT.size);
    answer.setUint32(fuse.ATTR_OUT.attrValid, this.#rememberedFor(inode.path), true);
    writeAttributes(answer, fuse.ATTR_OUT.attr, inode.id, entry, this.#common);
    return fuse.ATTR_OUT.size;
  }

  /** Seconds: a host may have a thousand roots, and each would be asked for with all that is above it. */
  #rememberedFor(path: string): number {
    return this.#beforePlacing().above.has(path) ? PLACING_SECONDS : 0;
  }

  #beforePlacing() {
    const { roots } = this.#files;
    this.#placing ??= { above: new Set(roots.flatMap(directoriesAbove)), roots: new Set(roots) };
    return this.#placing;
  }

  /** Names of a directory. What leads to the roots shows these alone: what is below them need not be made for that. */
  #namesIn(path: string): Iterable<string> {
    const { above, roots } = this.#beforePlacing();
    if (!above.has(path)) return this.#files.names(path === "" ? "/" : path);
    const below = [...roots].filter((root) => root.startsWith(`${path}/`));
    return new Set(below.map((root) => root.slice(path.length + 1).split("/", 1)[0]!));
  }

  /** Truncating what is written anew is nothing to such files; whose they are, and who may what, does not change. */
  #setAttributes(): number {
    this.#channel.require(fuse.SETATTR_IN.size);
    if ((this.#channel.u32(fuse.SETATTR_IN.valid) & ~fuse.FATTR_TRUNCATION) !== 0) throw new Refusal("EPERM");
    return this.#attributes(this.#inode());
  }

  #readlink(): number {
    const entry = this.#entry(this.#inode());
    if (entry.kind !== "link") throw new Refusal("EINVAL");
    return this.#channel.room.write(entry.target);
  }

  /** fs/kernfs/file.c:kernfs_fop_open refuses what the file's mode does not have, root too. */
  #openFile(unique: Buffer): undefined {
    this.#channel.require(fuse.OPEN_IN.size);
    const inode = this.#inode();
    const entry = this.#entry(inode);
    if (entry.kind !== "file") throw new Refusal("EISDIR");
    const { file } = entry;
    const access = this.#channel.u32(fuse.OPEN_IN.flags) & O_ACCMODE;
    if (access !== O_WRONLY && (file.mode & 0o444) === 0) throw new Refusal("EACCES");
    if (access !== O_RDONLY && (file.mode & 0o222) === 0) throw new Refusal("EACCES");
    const handle = this.#nextHandle++;
    this.#open.set(handle, { path: inode.path, file, text: undefined });
    const flags = fuse.FOPEN_DIRECT_IO | fuse.FOPEN_NOFLUSH;
    if (!this.#replyHandle(unique, handle, flags)) this.#open.delete(handle);
    return undefined;
  }

  #read(): number {
    const open = this.#open.get(this.#handleIn(fuse.READ_IN.size));
    if (open === undefined) throw new Refusal("EBADF");
    const channel = this.#channel;
    const offset = channel.u64(fuse.READ_IN.offset);
    const wanted = Math.min(channel.u32(fuse.READ_IN.count), ANSWER_SIZE);
    const { file } = open;
    if (file.size !== undefined) {
      const count = Math.max(0, Math.min(wanted, file.size - offset));
      channel.clear(count);
      return count;
    }
    // What is read on belongs to what was read first; bytes are what they are at any time.
    if (offset === 0) open.text = undefined;
    let content = open.text;
    if (content === undefined) {
      const now = file.content;
      content = bytesOf(now);
      if (typeof now === "string") open.text = content;
    }
    if (offset >= content.length) return 0;
    return content.copy(channel.room, 0, offset, Math.min(offset + wanted, content.length));
  }

  #write(unique: Buffer): undefined {
    const { WRITE_IN } = fuse;
    const channel = this.#channel;
    const open = this.#open.get(this.#handleIn(WRITE_IN.size));
    if (open === undefined) throw new Refusal("EBADF");
    const count = channel.u32(WRITE_IN.count);
    channel.require(WRITE_IN.size + count);
    const text = channel.bytes(WRITE_IN.size, count).toString("latin1");
    const { path, file } = open;
    this.#writes.make({ unique, path, pid: channel.pid, count, make: () => writeText(path, file, text) });
    return undefined;
  }

  #written(write: Write, error: KernelError | undefined): void {
    if (error !== undefined) {
      this.#channel.reply(write.unique, error.errno, 0);
      this.hooks.failed(write, error);
      return;
    }
    this.hooks.acted();
    this.#channel.clear(fuse.WRITE_OUT.size).setUint32(fuse.WRITE_OUT.count, write.count, true);
    this.#channel.reply(write.unique, 0, fuse.WRITE_OUT.size);
  }

  #interrupt(): void {
    const { size } = fuse.INTERRUPT_IN;
    if (this.#channel.length >= size) this.#writes.interrupt(this.#channel.bytes(0, size));
  }

  #openDirectory(unique: Buffer): undefined {
    const inode = this.#inode();
    if (this.#entry(inode).kind !== "directory") throw new Refusal("ENOTDIR");
    const listed: Listed[] = [
      { name: ".", kind: "directory" },
      { name: "..", kind: "directory" },
    ];
    for (const name of this.#namesIn(inode.path)) {
      const entry = this.#files.find(`${inode.path}/${name}`);
      if (entry !== undefined) listed.push({ name, kind: entry.kind });
    }
    const handle = this.#nextHandle++;
    this.#directories.set(handle, listed);
    if (!this.#replyHandle(unique, handle, 0)) this.#directories.delete(handle);
    return undefined;
  }

  /** @param plus with what the kernel may know of roots before it looks them up */
  #readDirectory(plus: boolean): number {
    const head = plus ? fuse.ENTRY_OUT.size : 0;
    const { READ_IN, DIRENT, DT } = fuse;
    const channel = this.#channel;
    const inode = this.#inode();
    const listed = this.#directories.get(this.#handleIn(READ_IN.size));
    if (listed === undefined) throw new Refusal("EBADF");
    const most = Math.min(channel.u32(READ_IN.count), ANSWER_SIZE);
    let used = 0;
    for (let index = channel.u64(READ_IN.offset); index < listed.length; index++) {
      const { name, kind } = listed[index]!;
      const length = Buffer.byteLength(name);
      const size = (head + DIRENT.name + length + 7) & ~7;
      if (used + size > most) break;
      const entry = channel.clear(size, used);
      const path = `${inode.path}/${name}`;
      if (plus && this.#beforePlacing().roots.has(path)) {
        this.#writeEntry(entry, path, ROOT);
        entry.setUint32(fuse.ENTRY_OUT.entryValid, PLACING_SECONDS, true);
      }
      entry.setUint32(head + DIRENT.ino, this.#inodes.numberOf(path), true);
      entry.setUint32(head + DIRENT.off, index + 1, true);
      entry.setUint32(head + DIRENT.namelen, length, true);
      entry.setUint32(head + DIRENT.type, DT[kind], true);
      channel.room.write(name, used + head + DIRENT.name);
      used += size;
    }
    return used;
  }

  #statfs(): number {
    const { STATFS_OUT } = fuse;
    const answer = this.#channel.clear(STATFS_OUT.size);
    answer.setUint32(STATFS_OUT.bsize, TEXT_SIZE, true);
    answer.setUint32(STATFS_OUT.frsize, TEXT_SIZE, true);
    answer.setUint32(STATFS_OUT.namelen, 255, true);
    return STATFS_OUT.size;
  }

  #forget(opcode: number): void {
    const channel = this.#channel;
    const { FORGET_IN, FORGET_ONE, BATCH_FORGET_IN } = fuse;
    if (opcode === FUSE.FORGET) {
      if (channel.length >= FORGET_IN.size) this.#inodes.forget(channel.nodeid, channel.u64(FORGET_IN.nlookup));
      return;
    }
    const count = channel.u32(BATCH_FORGET_IN.count);
    let at: number = BATCH_FORGET_IN.size;
    for (let n = 0; n < count && at + FORGET_ONE.size <= channel.length; n++) {
      this.#inodes.forget(channel.u64(at + FORGET_ONE.nodeid), channel.u64(at + FORGET_ONE.nlookup));
      at += FORGET_ONE.size;
    }
  }

  /** The file that a request is about. */
  #inode(): Inode {
    const inode = this.#inodes.get(this.#channel.nodeid);
    if (inode === undefined) throw new Refusal("ENOENT");
    return inode;
  }

  /** What it is now: it may be gone. */
  #entry({ path }: Inode): HostEntry {
    const entry = this.#files.find(path === "" ? "/" : path);
    if (entry === undefined) throw new Refusal("ENOENT");
    return entry;
  }

  /** The handle that a request of that size begins with. */
  #handleIn(size: number): number {
    this.#channel.require(size);
    return this.#channel.u64(fuse.HANDLE);
  }

  #replyHandle(unique: Buffer, handle: number, flags: number): boolean {
    const answer = this.#channel.clear(fuse.OPEN_OUT.size);
    answer.setBigUint64(fuse.OPEN_OUT.fh, BigInt(handle), true);
    answer.setUint32(fuse.OPEN_OUT.flags, flags, true);
    return this.#channel.reply(unique, 0, fuse.OPEN_OUT.size);
  }
}

/** So many that each is not to be looked up by itself while they are put where they belong (placeFuse). */
export function hasManyRoots(roots: readonly string[]): boolean {
  return roots.length > MANY_ROOTS;
}

/** Of "/a/b": "/a", and "" for the root. */
function directoriesAbove(path: string): string[] {
  return path
    .split("/")
    .slice(0, -1)
    .map((_, count, names) => names.slice(0, count + 1).join("/"));
}

function isUnanswered(opcode: number): boolean {
  return opcode === FUSE.FORGET || opcode === FUSE.BATCH_FORGET || opcode === FUSE.INTERRUPT;
}
