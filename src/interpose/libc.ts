import koffi from "koffi";
import { HOST_CALLS } from "./host-calls.ts";

const libc = koffi.load(null);

// int64 parameters accept plain numbers, so nothing here needs a bigint. syscall(2) is variadic in C; on x86-64 and
// arm64 Linux its integer arguments travel in the same registers as those of a prototype.
const rawSyscall = libc.func("syscall", "int64", Array(7).fill("int64"));
const rawThree = libc.func("syscall", "int64", Array(4).fill("int64"));
const rawWithBuffer = libc.func("syscall", "int64", ["int64", "int64", "void *", "int64", "int64"]);
const rawSignal = libc.func("void *signal(int, void *)");

/** Makes one system call. Returns its value, or the negative errno as the kernel itself does. */
export function syscall(number: number, a = 0, b = 0, c = 0, d = 0, e = 0, f = 0): number {
  const result = rawSyscall(number, a, b, c, d, e, f) as number;
  return result === -1 ? -koffi.errno() : result;
}

/** The same for a call of three arguments: what a trapped call consists of, and each argument takes time. */
export function syscall3(number: number, a: number, b: number, c: number): number {
  const result = rawThree(number, a, b, c) as number;
  return result === -1 ? -koffi.errno() : result;
}

/** pread64() from `fd` straight into `into`: bytes read or a negative errno. `offset` in bytes, below 2^53. */
export function pread(fd: number, into: Uint8Array, offset: number): number {
  const result = rawWithBuffer(HOST_CALLS.pread64, fd, into, into.length, offset) as number;
  return result === -1 ? -koffi.errno() : result;
}

/** pwrite64() to `fd` straight out of `from`: bytes written or a negative errno. */
export function pwrite(fd: number, from: Uint8Array, offset: number): number {
  const result = rawWithBuffer(HOST_CALLS.pwrite64, fd, from, from.length, offset) as number;
  return result === -1 ? -koffi.errno() : result;
}

export function close(fd: number): void {
  syscall(HOST_CALLS.close, fd);
}

/** Gives a signal its default action back. */
export function defaultSignal(signal: number): void {
  rawSignal(signal, null);
}
