import {
  closeSync,
  fstatSync,
  ftruncateSync,
  lstatSync,
  readlinkSync,
  readSync,
  rmSync,
  statfsSync,
  writeSync,
} from "node:fs";
import { Arena } from "../native/arena.ts";
import type { CFunction, Koffi } from "../native/c-functions.ts";
import { loadKoffi } from "../native/load-koffi.ts";
import { errnoName } from "../uapi/errno.ts";
import { PeerError, PeerGone } from "./peer-error.ts";

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const MSG_CMSG_CLOEXEC = 0x40000000;
const MSG_CTRUNC = 0x8;
const EFD_CLOEXEC = 0o2000000;
const EFD_NONBLOCK = 0o4000;
const EINTR = 4;
const EAGAIN = 11;

/** sun_path with its NUL. */
const PATH_SIZE = 108;
/** struct msghdr of 64-bit machines: name@0, namelen@8, iov@16, iovlen@24, control@32, controllen@40, flags@48 */
const MSGHDR = 56;
const IOV = MSGHDR;
const CONTROL = IOV + 16;
/** struct cmsghdr: len u64@0, level s32@8, type s32@12 */
const CMSG_HEADER = 16;
/** SCM_MAX_FD */
export const MOST_DESCRIPTORS = 253;
const CONTROL_SIZE = CMSG_HEADER + 4 * (MOST_DESCRIPTORS + 1);
const PIECE = 256 * 1024;

export const POLLIN = 1;
export const POLLOUT = 4;
export const POLLHUP = 16;

interface Calls {
  readonly koffi: Koffi;
  readonly socket: CFunction;
  readonly connect: CFunction;
  readonly bind: CFunction;
  readonly listen: CFunction;
  readonly accept4: CFunction;
  readonly sendmsg: CFunction;
  readonly recvmsg: CFunction;
  readonly poll: CFunction;
  readonly eventfd: CFunction;
  readonly pread: CFunction;
  readonly pwrite: CFunction;
  readonly fcntl: CFunction;
  readonly memfd: CFunction;
}

let loaded: Calls | undefined;

/** The C library's, loaded when the first socket is made. */
function calls(): Calls {
  if (loaded) return loaded;
  const koffi = loadKoffi();
  const libc = koffi.load(null);
  loaded = {
    koffi,
    socket: libc.func("int socket(int, int, int)"),
    connect: libc.func("int connect(int, const void *, uint32_t)"),
    bind: libc.func("int bind(int, const void *, uint32_t)"),
    listen: libc.func("int listen(int, int)"),
    accept4: libc.func("int accept4(int, void *, void *, int)"),
    sendmsg: libc.func("int64 sendmsg(int, int64, int)"),
    recvmsg: libc.func("int64 recvmsg(int, int64, int)"),
    poll: libc.func("int poll(int64, uint64, int)"),
    eventfd: libc.func("int eventfd(uint32_t, int)"),
    pread: libc.func("int64 pread(int, void *, uint64, int64)"),
    pwrite: libc.func("int64 pwrite(int, const void *, uint64, int64)"),
    fcntl: libc.func("int fcntl(int, int, int)"),
    memfd: libc.func("int memfd_create(const char *, uint32_t)"),
  };
  return loaded;
}

/** Of the last call that failed: "ENOENT". */
function lastError(): string {
  return errnoName(calls().koffi.errno());
}

/** What one sendmsg() or recvmsg() takes, at a place that does not move. Calls are made one after the other. */
interface Room {
  readonly message: Arena;
  readonly data: Arena;
  readonly polled: Arena;
}

let room: Room | undefined;

function theRoom(): Room {
  room ??= { message: new Arena(CONTROL + CONTROL_SIZE), data: new Arena(PIECE), polled: new Arena(8 * 64) };
  return room;
}

function addressOf(path: string): Buffer {
  const bytes = Buffer.from(path);
  // these would be no names of files
  if (bytes.length === 0 || bytes.includes(0)) throw new PeerError("the path of a socket is empty, or has a NUL in it");
  if (bytes.length >= PATH_SIZE)
    throw new PeerError(`the path of a socket has at most ${PATH_SIZE - 1} bytes, this one has ${bytes.length}`);
  const address = Buffer.alloc(2 + PATH_SIZE);
  address.writeUInt16LE(AF_UNIX, 0);
  bytes.copy(address, 2);
  return address;
}

function newSocket(): number {
  const fd = calls().socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0) as number;
  if (fd < 0) throw new PeerError(`no socket can be made: ${lastError()}`);
  return fd;
}

/** Connects to a Unix socket without waiting. @returns a descriptor, or the name of the errno: "ENOENT", "EAGAIN" */
export function connectTo(path: string): number | string {
  const address = addressOf(path);
  const fd = newSocket();
  if (calls().connect(fd, address, address.length) === 0) return fd;
  const error = lastError();
  closeSync(fd);
  return error;
}

/** Listens at a path, where nothing is yet. @returns a descriptor, or the name of the errno */
export function listenAt(path: string): number | string {
  const address = addressOf(path);
  const fd = newSocket();
  const { bind, listen } = calls();
  if (bind(fd, address, address.length) === 0 && listen(fd, 1) === 0) return fd;
  const error = lastError();
  closeSync(fd);
  return error;
}

/** Removes a socket that its server has left. @returns whether somebody serves there */
export function removeLeft(path: string): boolean {
  if (!lstatSync(path, { throwIfNoEntry: false })?.isSocket()) return false;
  const other = connectTo(path);
  if (typeof other === "number") closeSync(other);
  else if (other === "ECONNREFUSED") rmSync(path, { force: true });
  return typeof other === "number" || other === "EAGAIN";
}

/** The next that wants to talk; undefined when there is none. */
export function accept(fd: number): number | undefined {
  const accepted = calls().accept4(fd, null, null, SOCK_NONBLOCK | SOCK_CLOEXEC) as number;
  return accepted < 0 ? undefined : accepted;
}

/** An eventfd of ours that does not wait. */
export function newEvent(): number {
  const fd = calls().eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) as number;
  if (fd < 0) throw new PeerError(`no eventfd can be made: ${lastError()}`);
  return fd;
}

/**
 * Sends bytes, as many as there is room for, and descriptors with the first of them.
 * @returns how many; 0 when there is no room now
 * @throws PeerError when nobody is there
 */
export function send(fd: number, bytes: Uint8Array, descriptors: readonly number[]): number {
  const { message, data } = theRoom();
  const length = Math.min(bytes.length, PIECE);
  data.bytes.set(length === bytes.length ? bytes : bytes.subarray(0, length));
  let control = 0;
  if (descriptors.length > 0) {
    control = CMSG_HEADER + 4 * descriptors.length;
    message.setU64(CONTROL, control);
    message.setU32(CONTROL + 8, SOL_SOCKET);
    message.setU32(CONTROL + 12, SCM_RIGHTS);
    for (const [i, descriptor] of descriptors.entries()) message.setU32(CONTROL + CMSG_HEADER + 4 * i, descriptor);
  }
  fill(message, data, length, control);
  const sent = calls().sendmsg(fd, message.address, MSG_DONTWAIT | MSG_NOSIGNAL) as number;
  if (sent >= 0) return sent;
  const errno = calls().koffi.errno();
  if (errno === EAGAIN || errno === EINTR) return 0;
  throw new PeerGone(`it has gone (${errnoName(errno)})`);
}

/** What came in one piece: descriptors belong to the last message that begins in it. */
export interface Received {
  /** A copy. */
  readonly bytes: Buffer;
  /** The caller's from now on. */
  readonly descriptors: readonly number[];
}

/**
 * Takes what has come, without waiting.
 * @returns undefined when nothing has
 * @throws PeerError when the other side has ended it
 */
export function receive(fd: number): Received | undefined {
  const { message, data } = theRoom();
  fill(message, data, PIECE, CONTROL_SIZE);
  const count = calls().recvmsg(fd, message.address, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) as number;
  if (count < 0) {
    const errno = calls().koffi.errno();
    if (errno === EAGAIN || errno === EINTR) return undefined;
    throw new PeerGone(`it has gone (${errnoName(errno)})`);
  }
  const descriptors = receivedDescriptors(message);
  if (message.u32(48) & MSG_CTRUNC) {
    for (const each of descriptors) closeSync(each);
    throw new PeerError(`descriptors were sent that there was no room for (RLIMIT_NOFILE)`);
  }
  if (count === 0) {
    for (const each of descriptors) closeSync(each);
    throw new PeerGone("it has ended the connection");
  }
  return { bytes: Buffer.from(data.bytes.subarray(0, count)), descriptors };
}

function fill(message: Arena, data: Arena, length: number, control: number): void {
  message.clear(0, MSGHDR);
  message.setU64(16, message.address + IOV);
  message.setU64(24, 1);
  message.setU64(IOV, data.address);
  message.setU64(IOV + 8, length);
  if (control === 0) return;
  message.setU64(32, message.address + CONTROL);
  message.setU64(40, control);
}

function receivedDescriptors(message: Arena): number[] {
  const end = message.u64(40);
  const found: number[] = [];
  for (let at = 0; at + CMSG_HEADER <= end; ) {
    const length = message.u64(CONTROL + at);
    if (length < CMSG_HEADER) break;
    if (message.s32(CONTROL + at + 8) === SOL_SOCKET && message.s32(CONTROL + at + 12) === SCM_RIGHTS)
      for (let i = CMSG_HEADER; i + 4 <= length; i += 4) found.push(message.s32(CONTROL + at + i));
    at += Math.ceil(length / 8) * 8;
  }
  return found;
}

/**
 * Waits for one descriptor.
 * @param events POLL*
 * @param milliseconds rounded up
 * @returns POLL* that are there; 0 after the time; "interrupted" by a signal
 */
export function pollOne(fd: number, events: number, milliseconds: number): number | "interrupted" {
  const { polled } = theRoom();
  polled.setU32(0, fd);
  polled.setU32(4, events);
  const count = calls().poll(polled.address, 1, Math.ceil(milliseconds)) as number;
  if (count < 0) return "interrupted";
  return count === 0 ? 0 : polled.u32(4) >>> 16;
}

/** Whether a descriptor is of an eventfd. */
export function isEvent(fd: number): boolean {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`) === "anon_inode:[eventfd]";
  } catch {
    return false;
  }
}

const ONE = new Uint8Array(new BigUint64Array([1n]).buffer);

/** Adds one to an eventfd of somebody else, unless its counter is as high as it gets. */
export function raiseEvent(fd: number): void {
  if (pollOne(fd, POLLOUT, 0) === POLLOUT) writeSync(fd, ONE);
}

/** What is in an eventfd of ours: whether there is something. It is empty then. */
export function takeEvent(fd: number): boolean {
  try {
    return readSync(fd, new Uint8Array(8)) === 8;
  } catch {
    return false;
  }
}

const MFD_CLOEXEC = 1;

/** Memory of so many bytes that can be handed on. */
export function newMemory(name: string, size: number): number {
  const fd = calls().memfd(name, MFD_CLOEXEC) as number;
  if (fd < 0) throw new PeerError(`no memory can be made: ${lastError()}`);
  ftruncateSync(fd, size);
  return fd;
}

/** Descriptors that are waited for together. */
export class PollSet {
  readonly #fds: readonly number[];
  readonly #arena: Arena;

  constructor(fds: readonly number[]) {
    this.#fds = fds;
    this.#arena = new Arena(8 * Math.max(1, fds.length));
    for (const [i, fd] of fds.entries()) this.#arena.setU32(8 * i, fd);
  }

  /** Waits in this thread. Milliseconds. @returns whether one of them has something to read, or an end */
  wait(milliseconds: number): boolean {
    this.#prepare();
    return calls().poll(this.#arena.address, this.#fds.length, milliseconds) > 0;
  }

  /** Waits aside until one of them has, while this thread's event loop goes on. */
  waitAside(): Promise<boolean> {
    this.#prepare();
    return new Promise((resolve, reject) => {
      calls().poll.async(this.#arena.address, this.#fds.length, -1, (error: Error | null, count: number) =>
        error ? reject(error) : resolve(count > 0),
      );
    });
  }

  /** Whether the wait has found something of a descriptor. */
  has(fd: number): boolean {
    return this.#arena.u32(8 * this.#fds.indexOf(fd) + 4) >>> 16 !== 0;
  }

  #prepare(): void {
    for (const i of this.#fds.keys()) this.#arena.setU32(8 * i + 4, POLLIN);
  }
}

/** pread(): how many bytes, or a negative number. */
export function readAt(fd: number, into: Uint8Array, offset: number): number {
  return calls().pread(fd, into, into.length, offset) as number;
}

/** pwrite() */
export function writeAt(fd: number, from: Uint8Array, offset: number): number {
  return calls().pwrite(fd, from, from.length, offset) as number;
}

const F_GETFL = 3;
const O_ACCMODE = 3;
const O_RDONLY = 0;
const O_WRONLY = 1;

/** How a descriptor was opened. */
export function accessOf(fd: number): { readonly read: boolean; readonly write: boolean } {
  const mode = (calls().fcntl(fd, F_GETFL, 0) as number) & O_ACCMODE;
  return { read: mode !== O_WRONLY, write: mode !== O_RDONLY };
}

/** File systems where an access may wait for another process or machine: FUSE, NFS, CIFS, SMB2, 9P, Ceph. */
const MAY_WAIT = new Set([0x65735546, 0x6969, 0xff534d42, 0xfe534d42, 0x01021997, 0x00c36400]);

/** Whether a descriptor is of a file whose bytes are here: memory, or a disk of this machine. */
export function isMemoryFile(fd: number): boolean {
  try {
    return fstatSync(fd).isFile() && !MAY_WAIT.has(Number(statfsSync(`/proc/self/fd/${fd}`).type) >>> 0);
  } catch {
    return false;
  }
}
