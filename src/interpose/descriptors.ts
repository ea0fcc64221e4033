import { Arena } from "../native/arena.ts";
import { ERRNO } from "../uapi/errno.ts";
import { HOST_CALLS } from "./host-calls.ts";
import { syscall } from "./libc.ts";
import { AF_UNIX, MFD_CLOEXEC, SOCK_CLOEXEC, SOCK_STREAM } from "./linux.ts";

const arena = new Arena(256);

/** A pair of connected stream sockets of this process alone, or undefined when there are no more descriptors. */
export function socketPair(): [number, number] | undefined {
  const made = syscall(HOST_CALLS.socketpair, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, arena.address);
  return made < 0 ? undefined : [arena.s32(0), arena.s32(4)];
}

/**
 * A file in memory, memfd_create(2): its descriptor or a negative errno.
 * @param newer MFD_EXEC or MFD_NOEXEC_SEAL: Linux 6.3 wants one of them, and one before does not know them
 */
export function memoryFile(name: string, newer: number, flags = 0): number {
  const text = arena.text(0, name);
  const made = syscall(HOST_CALLS.memfd_create, text, MFD_CLOEXEC | flags | newer);
  return made === -ERRNO.EINVAL ? syscall(HOST_CALLS.memfd_create, text, MFD_CLOEXEC | flags) : made;
}
