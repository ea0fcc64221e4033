import { Arena } from "../../native/arena.ts";
import { ERRNO } from "../../uapi/errno.ts";
import { HOST_CALLS } from "../host-calls.ts";
import { syscall } from "../libc.ts";
import {
  AF_UNIX,
  MSG_CMSG_CLOEXEC,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
  SCM_RIGHTS,
  SO_PEERCRED,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  SOL_SOCKET,
} from "../linux.ts";

/** Bytes of struct sockaddr_un's path, its NUL included. */
const PATH_ROOM = 108;
const BACKLOG = 128;
/** Bytes that one read takes. */
const READ_SIZE = 0x1_0000;
/** Descriptors that one read takes; the kernel closes further ones. */
const MAX_DESCRIPTORS = 4;

// struct sockaddr_un { u16 family; path }
const ADDRESS = 0;
// struct ucred {s32 pid, u32 uid, u32 gid}, its length behind it
const PEER = 128;
// struct msghdr: name@0, namelen@8, iov@16, iovlen@24, control@32, controllen@40, flags@48
const MESSAGE = 160;
// struct iovec {base, length}
const VECTOR = 224;
// struct cmsghdr: len u64@0, level s32@8, type s32@12, data@16
const CONTROL = 256;
const CONTROL_HEADER = 16;
const CONTROL_SIZE = 64;
const DATA = 512;
const arena = new Arena(DATA + READ_SIZE);

/** Who is at the other end of a socket, as the kernel knows it: when it connected. */
export interface Peer {
  /** 0 when it is in a pid namespace that this process does not see. */
  readonly pid: number;
  readonly uid: number;
}

/** A path that a socket can have is short. */
export function fitsSocket(path: string): boolean {
  return Buffer.byteLength(path) < PATH_ROOM;
}

/** A socket that others can connect to at `path`; or a negative errno. */
export function listenAt(path: string): number {
  const fd = newSocket(SOCK_NONBLOCK);
  if (fd < 0) return fd;
  const bound = syscall(HOST_CALLS.bind, fd, address(path), addressSize(path));
  const result = bound < 0 ? bound : syscall(HOST_CALLS.listen, fd, BACKLOG);
  if (result >= 0) return fd;
  syscall(HOST_CALLS.close, fd);
  return result;
}

/** A socket that is connected to `path`; or a negative errno. */
export function connectTo(path: string): number {
  const fd = newSocket(0);
  if (fd < 0) return fd;
  const result = syscall(HOST_CALLS.connect, fd, address(path), addressSize(path));
  if (result >= 0) return fd;
  syscall(HOST_CALLS.close, fd);
  return result;
}

/** The next one that connects; or a negative errno, EAGAIN when there is none. */
export function acceptFrom(listener: number): number {
  return syscall(HOST_CALLS.accept4, listener, 0, 0, SOCK_CLOEXEC | SOCK_NONBLOCK);
}

/** SO_PEERCRED. */
export function peerOf(fd: number): Peer {
  arena.setU32(PEER + 16, 12);
  const result = syscall(
    HOST_CALLS.getsockopt,
    fd,
    SOL_SOCKET,
    SO_PEERCRED,
    arena.address + PEER,
    arena.address + PEER + 16,
  );
  return result < 0 ? { pid: 0, uid: -1 } : { pid: arena.s32(PEER), uid: arena.u32(PEER + 4) };
}

/**
 * Sends what goes at once, with a descriptor of ours when one is given. Returns how many bytes went, or a negative
 * errno.
 * @param waits for room, instead of EAGAIN
 */
export function sendSome(fd: number, bytes: Uint8Array, descriptor: number | undefined, waits = false): number {
  const count = Math.min(bytes.length, READ_SIZE);
  arena.bytes.set(bytes.subarray(0, count), DATA);
  prepare(count, descriptor === undefined ? 0 : CONTROL_HEADER + 4);
  if (descriptor !== undefined) {
    arena.setU64(CONTROL, CONTROL_HEADER + 4);
    arena.setU32(CONTROL + 8, SOL_SOCKET);
    arena.setU32(CONTROL + 12, SCM_RIGHTS);
    arena.setU32(CONTROL + CONTROL_HEADER, descriptor);
  }
  const flags = MSG_NOSIGNAL | (waits ? 0 : MSG_DONTWAIT);
  return retried(() => syscall(HOST_CALLS.sendmsg, fd, arena.address + MESSAGE, flags));
}

/** What came over a socket. */
export interface Received {
  /** A copy; empty at the end. */
  readonly bytes: Buffer;
  /** They are the receiver's to close. */
  readonly descriptors: readonly number[];
}

/** Takes what is there, or a negative errno. @param waits for something, instead of EAGAIN */
export function receiveSome(fd: number, waits = false): Received | number {
  prepare(READ_SIZE, CONTROL_SIZE);
  const flags = MSG_CMSG_CLOEXEC | (waits ? 0 : MSG_DONTWAIT);
  const count = retried(() => syscall(HOST_CALLS.recvmsg, fd, arena.address + MESSAGE, flags));
  if (count < 0) return count;
  return { bytes: Buffer.from(arena.bytes.subarray(DATA, DATA + count)), descriptors: receivedDescriptors() };
}

function receivedDescriptors(): number[] {
  const descriptors: number[] = [];
  const end = CONTROL + Math.min(arena.u64(MESSAGE + 40), CONTROL_SIZE);
  for (let at = CONTROL; at + CONTROL_HEADER <= end; ) {
    const length = arena.u64(at);
    if (length < CONTROL_HEADER) break;
    if (arena.u32(at + 8) === SOL_SOCKET && arena.u32(at + 12) === SCM_RIGHTS) {
      for (let each = at + CONTROL_HEADER; each + 4 <= Math.min(at + length, end); each += 4)
        descriptors.push(arena.s32(each));
    }
    at += Math.ceil(length / 8) * 8;
  }
  return descriptors;
}

/** Room for MAX_DESCRIPTORS is all that the kernel is given. */
function prepare(count: number, control: number): void {
  arena.clear(MESSAGE, 56);
  arena.setU64(VECTOR, arena.address + DATA);
  arena.setU64(VECTOR + 8, count);
  arena.setU64(MESSAGE + 16, arena.address + VECTOR);
  arena.setU64(MESSAGE + 24, 1);
  if (control === 0) return;
  arena.setU64(MESSAGE + 32, arena.address + CONTROL);
  arena.setU64(MESSAGE + 40, Math.min(control, CONTROL_HEADER + 4 * MAX_DESCRIPTORS));
}

function newSocket(flags: number): number {
  return syscall(HOST_CALLS.socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
}

function address(path: string): number {
  arena.bytes.writeUInt16LE(AF_UNIX, ADDRESS);
  arena.text(ADDRESS + 2, path);
  return arena.address + ADDRESS;
}

function addressSize(path: string): number {
  return 2 + Buffer.byteLength(path) + 1;
}

function retried(call: () => number): number {
  for (;;) {
    const result = call();
    if (result !== -ERRNO.EINTR) return result;
  }
}
