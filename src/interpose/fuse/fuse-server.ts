import { KernelError } from "../../kernel/errors.ts";
import type { FileContent } from "../../kernel/file-tree.ts";
import { type HostEntry, type HostFiles, WaitsError, writeText } from "../../kernel/host-files.ts";
import { ERRNO, type ErrnoName } from "../../uapi/errno.ts";
import { Arena } from "../arena.ts";
import { HOST_CALLS } from "../host-calls.ts";
import { close, syscall3 } from "../libc.ts";
import { O_ACCMODE, O_RDONLY, O_WRONLY, S_IFDIR, S_IFLNK, S_IFREG } from "../linux.ts";
import { type Inode, Inodes } from "./inodes.ts";
import * as fuse from "./protocol.ts";

const { FUSE, IN, OUT } = fuse;

/** One write of a program at most; sysfs takes a page at a time. */
const MAX_WRITE = 4096;
/** Bytes of a request at most, and of what the kernel wants to have room for (FUSE_MIN_READ_BUFFER). */
const REQUEST_SIZE = 8192 + MAX_WRITE;
/** Bytes of an answer at most: further ones are read with the next request. */
const ANSWER_SIZE = 0x1_0000;
/** What text attributes count as, whatever is in them (fs/sysfs/file.c:sysfs_add_file_mode_ns). */
const TEXT_SIZE = 4096;
const DIRECTORY_MODE = 0o755;
/** Requests are worked on for so long, in milliseconds, before others get their turn. */
const MOMENT_MS = 1;
/** How often who has a device that a writer waits for is asked for it again (vfio_main.c: vfio_unregister_group_dev). */
const ASK_AGAIN_MS = 10_000;

/** A write that failed. */
export interface FailedWrite {
  readonly path: string;
  /** The writer's process, in the numbers of our pid namespace; 0 when it is of another. */
  readonly pid: number;
  readonly error: KernelError;
}

export interface FuseHooks {
  /** Something was written and done: nodes may have come or gone. */
  acted(): void;
  failed(write: FailedWrite): void;
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

interface HeldWrite {
  readonly unique: Buffer;
  readonly path: string;
  readonly pid: number;
  readonly count: number;
  readonly again: () => void;
}

/** Raised for what a request cannot have; the kernel hears the errno and nobody the reason. */
class Refusal extends Error {
  readonly errno: number;

  constructor(name: ErrnoName) {
    super(name);
    this.errno = ERRNO[name];
  }
}

/**
 * Serves a host's /sys to programs as a FUSE file system: what they read is so now, what they write acts, and the writer hears the errno. The kernel
 * remembers nothing (no entry or attribute is valid for any time), so that nothing need be taken back from it.
 *
 * Requests are answered by the thread that serves all calls, so that thread must never wait for a file of this file system. See docs/sysfs.md.
 */
export class FuseServer {
  /** Readable when there is a request. */
  readonly fd: number;
  readonly #files: HostFiles;
  readonly #owner: { readonly uid: number; readonly gid: number };
  hooks: FuseHooks = { acted: () => {}, failed: () => {} };
  readonly #inodes = new Inodes();
  readonly #open = new Map<number, OpenFile>();
  readonly #directories = new Map<number, readonly Listed[]>();
  readonly #held: HeldWrite[] = [];
  readonly #request = new Arena(REQUEST_SIZE);
  readonly #answer = new Arena(OUT.size + ANSWER_SIZE);
  readonly #born = Math.floor(Date.now() / 1000);
  #nextHandle = 1;
  #timer: NodeJS.Timeout | undefined;
  #isOver = false;

  /**
   * @param fd an open /dev/fuse with O_NONBLOCK; closed at the end
   * @param owner whose the files are: root, or where there is none the user that the file system was mounted for
   */
  constructor(fd: number, files: HostFiles, owner: { readonly uid: number; readonly gid: number }) {
    this.fd = fd;
    this.#files = files;
    this.#owner = owner;
  }

  /** Whether a program has a file open, and so may have it in its memory: whoever touches that memory may have to wait for us. */
  get hasOpenFiles(): boolean {
    return this.#open.size > 0;
  }

  /** Whether the file system is gone. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** Answers the requests that there are, for a moment. */
  take(): void {
    const end = performance.now() + MOMENT_MS;
    do {
      const length = syscall3(HOST_CALLS.read, this.fd, this.#request.address, REQUEST_SIZE);
      if (length === -ERRNO.EAGAIN) return;
      // A request whose caller was killed before we had it.
      if (length === -ERRNO.ENOENT || length === -ERRNO.EINTR) continue;
      if (length < IN.size) {
        this.#isOver = true;
        return;
      }
      this.#handle(length);
    } while (performance.now() < end);
  }

  /** Something was given back: writes that wait for it are made again. */
  retry(): void {
    for (const held of this.#held.splice(0)) this.#act(held);
  }

  close(): void {
    clearTimeout(this.#timer);
    close(this.fd);
  }

  #handle(length: number): void {
    const { view, bytes } = this.#request;
    const opcode = view.getUint32(IN.opcode, true);
    const unique = Buffer.from(bytes.subarray(IN.unique, IN.unique + 8));
    const isForget = opcode === FUSE.FORGET || opcode === FUSE.BATCH_FORGET;
    if (isForget) this.#forget(opcode, length);
    else if (opcode === FUSE.INTERRUPT) this.#interrupt();
    // these two have no answer
    if (isForget || opcode === FUSE.INTERRUPT) return;
    try {
      const size = this.#serve(opcode, length, unique);
      if (size !== undefined) this.#reply(unique, 0, size);
    } catch (error) {
      if (error instanceof Refusal) this.#reply(unique, error.errno, 0);
      else if (error instanceof KernelError) this.#reply(unique, error.errno, 0);
      else {
        this.#reply(unique, ERRNO.EIO, 0);
        throw error;
      }
    }
  }

  /** Returns the bytes of the answer, which stand behind its header; undefined when the answer comes later. */
  #serve(opcode: number, length: number, unique: Buffer): number | undefined {
    switch (opcode) {
      case FUSE.INIT:
        return this.#init(length);
      case FUSE.LOOKUP:
        return this.#lookup(length);
      case FUSE.GETATTR:
        return this.#attributes(this.#inode());
      case FUSE.SETATTR:
        return this.#setAttributes(length);
      case FUSE.READLINK:
        return this.#readlink();
      case FUSE.OPEN:
        return this.#openFile(length, unique);
      case FUSE.READ:
        return this.#read(length);
      case FUSE.WRITE:
        return this.#write(length, unique);
      case FUSE.RELEASE:
        this.#open.delete(this.#handleAt(fuse.RELEASE_IN.fh, length, fuse.RELEASE_IN.size));
        return 0;
      case FUSE.OPENDIR:
        return this.#openDirectory(unique);
      case FUSE.READDIR:
        return this.#readDirectory(length);
      case FUSE.RELEASEDIR:
        this.#directories.delete(this.#handleAt(fuse.RELEASE_IN.fh, length, fuse.RELEASE_IN.size));
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

  #init(length: number): number {
    this.#require(length, fuse.INIT_IN.size);
    const { view } = this.#request;
    const { INIT_OUT } = fuse;
    const answer = this.#clear(INIT_OUT.size);
    answer.setUint32(INIT_OUT.major, fuse.FUSE_KERNEL_VERSION, true);
    const theirs = view.getUint32(IN.size + fuse.INIT_IN.minor, true);
    answer.setUint32(INIT_OUT.minor, Math.min(theirs, fuse.FUSE_KERNEL_MINOR_VERSION), true);
    answer.setUint32(INIT_OUT.flags, fuse.FUSE_ATOMIC_O_TRUNC | fuse.FUSE_BIG_WRITES, true);
    answer.setUint32(INIT_OUT.maxWrite, MAX_WRITE, true);
    answer.setUint32(INIT_OUT.timeGran, 1, true);
    return INIT_OUT.size;
  }

  #lookup(length: number): number {
    const parent = this.#inode();
    const { bytes } = this.#request;
    const end = bytes.indexOf(0, IN.size);
    if (end < 0 || end >= length) throw new Refusal("EINVAL");
    const path = `${parent.path}/${bytes.toString("utf8", IN.size, end)}`;
    const entry = this.#files.find(path);
    if (entry === undefined) throw new Refusal("ENOENT");
    const inode = this.#inodes.tell(path, entry.kind);
    const answer = this.#clear(fuse.ENTRY_OUT.size);
    answer.setUint32(fuse.ENTRY_OUT.nodeid, inode.id, true);
    this.#writeAttributes(answer, fuse.ENTRY_OUT.attr, inode, entry);
    return fuse.ENTRY_OUT.size;
  }

  #attributes(inode: Inode): number {
    const answer = this.#clear(fuse.ATTR_OUT.size);
    this.#writeAttributes(answer, fuse.ATTR_OUT.attr, inode, this.#entry(inode));
    return fuse.ATTR_OUT.size;
  }

  #writeAttributes(answer: DataView, at: number, { id }: Inode, entry: HostEntry): void {
    const { ATTR } = fuse;
    const size = sizeOf(entry);
    answer.setUint32(at + ATTR.ino, id, true);
    answer.setBigUint64(at + ATTR.size, BigInt(size), true);
    for (let n = 0; n < 3; n++) answer.setBigUint64(at + ATTR.times + 8 * n, BigInt(this.#born), true);
    answer.setUint32(at + ATTR.mode, modeOf(entry), true);
    answer.setUint32(at + ATTR.nlink, 1, true);
    answer.setUint32(at + ATTR.uid, this.#owner.uid, true);
    answer.setUint32(at + ATTR.gid, this.#owner.gid, true);
    answer.setUint32(at + ATTR.blksize, TEXT_SIZE, true);
  }

  /** Truncating what is written anew is nothing to such files; whose they are, and who may what, does not change. */
  #setAttributes(length: number): number {
    this.#require(length, fuse.SETATTR_IN.size);
    const valid = this.#request.view.getUint32(IN.size + fuse.SETATTR_IN.valid, true);
    if ((valid & ~fuse.FATTR_TRUNCATION) !== 0) throw new Refusal("EPERM");
    return this.#attributes(this.#inode());
  }

  #readlink(): number {
    const entry = this.#entry(this.#inode());
    if (entry.kind !== "link") throw new Refusal("EINVAL");
    return this.#answer.bytes.write(entry.target, OUT.size);
  }

  /** fs/kernfs/file.c:kernfs_fop_open refuses what the file's mode does not have, root too. */
  #openFile(length: number, unique: Buffer): undefined {
    this.#require(length, fuse.OPEN_IN.size);
    const inode = this.#inode();
    const entry = this.#entry(inode);
    if (entry.kind !== "file") throw new Refusal("EISDIR");
    const { file } = entry;
    const access = this.#request.view.getUint32(IN.size + fuse.OPEN_IN.flags, true) & O_ACCMODE;
    if (access !== O_WRONLY && (file.mode & 0o444) === 0) throw new Refusal("EACCES");
    if (access !== O_RDONLY && (file.mode & 0o222) === 0) throw new Refusal("EACCES");
    const handle = this.#nextHandle++;
    this.#open.set(handle, { path: inode.path, file, text: undefined });
    const flags = fuse.FOPEN_DIRECT_IO | fuse.FOPEN_NOFLUSH;
    if (!this.#replyHandle(unique, handle, flags)) this.#open.delete(handle);
    return undefined;
  }

  #read(length: number): number {
    this.#require(length, fuse.READ_IN.size);
    const { view } = this.#request;
    const open = this.#open.get(this.#handleAt(fuse.READ_IN.fh, length, fuse.READ_IN.size));
    if (open === undefined) throw new Refusal("EBADF");
    const offset = this.#request.u64(IN.size + fuse.READ_IN.offset);
    const wanted = Math.min(view.getUint32(IN.size + fuse.READ_IN.count, true), ANSWER_SIZE);
    const { file } = open;
    if (file.size !== undefined && offset < file.size) {
      const count = Math.min(wanted, file.size - offset);
      this.#answer.bytes.fill(0, OUT.size, OUT.size + count);
      return count;
    }
    // What is read on belongs to what was read first; bytes are what they are at any time.
    if (offset === 0 || open.text === undefined) open.text = undefined;
    const content = open.text ?? bytesOf(file.content);
    if (typeof file.content === "string") open.text = content;
    const part = content.subarray(offset, offset + wanted);
    this.#answer.bytes.set(part, OUT.size);
    return part.length;
  }

  #write(length: number, unique: Buffer): undefined {
    this.#require(length, fuse.WRITE_IN.size);
    const { view, bytes } = this.#request;
    const open = this.#open.get(this.#handleAt(fuse.WRITE_IN.fh, length, fuse.WRITE_IN.size));
    if (open === undefined) throw new Refusal("EBADF");
    const count = view.getUint32(IN.size + fuse.WRITE_IN.count, true);
    const start = IN.size + fuse.WRITE_IN.size;
    this.#require(length, fuse.WRITE_IN.size + count);
    const text = bytes.toString("latin1", start, start + count);
    const { path, file } = open;
    this.#act({ unique, path, pid: view.getUint32(IN.pid, true), count, again: () => writeText(path, file, text) });
    return undefined;
  }

  /** Makes a write, and answers it unless it waits. */
  #act(write: HeldWrite): void {
    const { unique, path, pid, count, again } = write;
    try {
      again();
    } catch (error) {
      if (error instanceof WaitsError) {
        this.#held.push(write);
        this.#timer ??= setTimeout(() => this.#askAgain(), ASK_AGAIN_MS).unref();
        return;
      }
      const known = error instanceof KernelError;
      this.#reply(unique, known ? error.errno : ERRNO.EIO, 0);
      if (!known) throw error;
      this.hooks.failed({ path, pid, error });
      return;
    }
    this.hooks.acted();
    this.#clear(fuse.WRITE_OUT.size).setUint32(fuse.WRITE_OUT.count, count, true);
    this.#reply(unique, 0, fuse.WRITE_OUT.size);
  }

  #askAgain(): void {
    this.#timer = undefined;
    this.retry();
  }

  /** A writer that waits has got a signal: it need not wait on. */
  #interrupt(): void {
    const unique = this.#request.bytes.subarray(IN.size, IN.size + 8);
    const index = this.#held.findIndex((held) => held.unique.equals(unique));
    if (index < 0) return;
    const [held] = this.#held.splice(index, 1);
    this.#reply(held!.unique, ERRNO.EINTR, 0);
  }

  #openDirectory(unique: Buffer): undefined {
    const inode = this.#inode();
    if (this.#entry(inode).kind !== "directory") throw new Refusal("ENOTDIR");
    const listed: Listed[] = [
      { name: ".", kind: "directory" },
      { name: "..", kind: "directory" },
    ];
    for (const name of this.#files.names(inode.path === "" ? "/" : inode.path)) {
      const entry = this.#files.find(`${inode.path}/${name}`);
      if (entry !== undefined) listed.push({ name, kind: entry.kind });
    }
    const handle = this.#nextHandle++;
    this.#directories.set(handle, listed);
    if (!this.#replyHandle(unique, handle, 0)) this.#directories.delete(handle);
    return undefined;
  }

  #readDirectory(length: number): number {
    const { READ_IN, DIRENT, DT } = fuse;
    const inode = this.#inode();
    const listed = this.#directories.get(this.#handleAt(READ_IN.fh, length, READ_IN.size));
    if (listed === undefined) throw new Refusal("EBADF");
    const { view } = this.#request;
    const room = Math.min(view.getUint32(IN.size + READ_IN.count, true), ANSWER_SIZE);
    const { bytes, view: answer } = this.#answer;
    let used = 0;
    for (let index = this.#request.u64(IN.size + READ_IN.offset); index < listed.length; index++) {
      const { name, kind } = listed[index]!;
      const size = Buffer.byteLength(name);
      const total = (DIRENT.name + size + 7) & ~7;
      if (used + total > room) break;
      const at = OUT.size + used;
      bytes.fill(0, at, at + total);
      answer.setUint32(at + DIRENT.ino, this.#inodes.numberOf(`${inode.path}/${name}`), true);
      answer.setUint32(at + DIRENT.off, index + 1, true);
      answer.setUint32(at + DIRENT.namelen, size, true);
      answer.setUint32(at + DIRENT.type, DT[kind], true);
      bytes.write(name, at + DIRENT.name);
      used += total;
    }
    return used;
  }

  #statfs(): number {
    const { STATFS_OUT } = fuse;
    const answer = this.#clear(STATFS_OUT.size);
    answer.setUint32(STATFS_OUT.bsize, TEXT_SIZE, true);
    answer.setUint32(STATFS_OUT.frsize, TEXT_SIZE, true);
    answer.setUint32(STATFS_OUT.namelen, 255, true);
    return STATFS_OUT.size;
  }

  #forget(opcode: number, length: number): void {
    const { view } = this.#request;
    const { FORGET_IN, FORGET_ONE, BATCH_FORGET_IN } = fuse;
    const count = (at: number) => this.#request.u64(at);
    if (opcode === FUSE.FORGET) {
      if (length >= IN.size + FORGET_IN.size) this.#inodes.forget(count(IN.nodeid), count(IN.size + FORGET_IN.nlookup));
      return;
    }
    const all = view.getUint32(IN.size + BATCH_FORGET_IN.count, true);
    for (let n = 0, at = IN.size + BATCH_FORGET_IN.size; n < all && at + FORGET_ONE.size <= length; n++) {
      this.#inodes.forget(count(at + FORGET_ONE.nodeid), count(at + FORGET_ONE.nlookup));
      at += FORGET_ONE.size;
    }
  }

  /** The file that a request is about. */
  #inode(): Inode {
    const inode = this.#inodes.get(this.#request.u64(IN.nodeid));
    if (inode === undefined) throw new Refusal("ENOENT");
    return inode;
  }

  /** What it is now: it may be gone. */
  #entry({ path }: Inode): HostEntry {
    const entry = this.#files.find(path === "" ? "/" : path);
    if (entry === undefined) throw new Refusal("ENOENT");
    return entry;
  }

  #handleAt(offset: number, length: number, size: number): number {
    this.#require(length, size);
    return this.#request.u64(IN.size + offset);
  }

  #require(length: number, size: number): void {
    if (length < IN.size + size) throw new Refusal("EINVAL");
  }

  /** What an answer has behind its header, as zeros. */
  #clear(size: number): DataView {
    const { bytes } = this.#answer;
    bytes.fill(0, OUT.size, OUT.size + size);
    return new DataView(bytes.buffer, bytes.byteOffset + OUT.size, size);
  }

  #replyHandle(unique: Buffer, handle: number, flags: number): boolean {
    const answer = this.#clear(fuse.OPEN_OUT.size);
    answer.setBigUint64(fuse.OPEN_OUT.fh, BigInt(handle), true);
    answer.setUint32(fuse.OPEN_OUT.flags, flags, true);
    return this.#reply(unique, 0, fuse.OPEN_OUT.size);
  }

  /** Returns false when nobody waits for the answer any more. */
  #reply(unique: Buffer, errno: number, size: number): boolean {
    const { view, bytes, address } = this.#answer;
    view.setUint32(OUT.len, OUT.size + size, true);
    view.setInt32(OUT.error, -errno, true);
    bytes.set(unique, OUT.unique);
    return syscall3(HOST_CALLS.write, this.fd, address, OUT.size + size) >= 0;
  }
}

function modeOf(entry: HostEntry): number {
  if (entry.kind === "directory") return S_IFDIR | DIRECTORY_MODE;
  return entry.kind === "link" ? S_IFLNK | 0o777 : S_IFREG | entry.file.mode;
}

function sizeOf(entry: HostEntry): number {
  if (entry.kind === "directory") return 0;
  if (entry.kind === "link") return Buffer.byteLength(entry.target);
  const { file } = entry;
  if (file.size !== undefined) return file.size;
  const { content } = file;
  return typeof content === "string" ? TEXT_SIZE : content.length;
}

/** Characters beyond Latin are UTF-8, as in descriptions. */
function bytesOf(content: string | Uint8Array): Buffer {
  return typeof content === "string" ? Buffer.from(content, "utf8") : Buffer.from(content);
}
