import { koffi } from "../native/koffi.ts";
import { HOST_CALLS } from "./host-calls.ts";
import { SEEK_SET } from "./linux.ts";

const libc = koffi.load(null);

// int64 parameters accept plain numbers, so nothing here needs a bigint. syscall(2) is variadic in C; on x86-64 and
// arm64 Linux its integer arguments travel in the same registers as those of a prototype.
const rawSyscall = libc.func("syscall", "int64", Array(7).fill("int64"));
const rawThree = libc.func("syscall", "int64", Array(4).fill("int64"));
const rawFour = libc.func("syscall", "int64", Array(5).fill("int64"));
const rawLongSeek = rawThree as (number: number, fd: number, offset: bigint, whence: number) => number;
const LLONG_MAX = 2n ** 63n - 1n;
const rawWithBuffer = libc.func("syscall", "int64", ["int64", "int64", "void *", "int64", "int64"]);

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

/** The same of four. */
export function syscall4(number: number, a: number, b: number, c: number, d: number): number {
  const result = rawFour(number, a, b, c, d) as number;
  return result === -1 ? -koffi.errno() : result;
}

/**
 * The same in another thread, for a call that waits: this thread's event loop goes on. The errno of a failure is lost:
 * -1.
 */
export function syscallAside(number: number, a = 0, b = 0, c = 0, d = 0): Promise<number> {
  return new Promise((resolve, reject) => {
    rawSyscall.async(number, a, b, c, d, 0, 0, (error: Error | null, result: number) =>
      error ? reject(error) : resolve(result),
    );
  });
}

/** Room for glibc's and musl's posix_spawn_file_actions_t and posix_spawnattr_t. */
const SPAWN_BLOCK = 512;
const POSIX_SPAWN_SETSID = 128;

export interface Spawn {
  readonly path: string;
  readonly argv: readonly string[];
  /** What the process has: its number, and ours. */
  readonly descriptors: ReadonlyMap<number, number>;
  /** In a session of its own. */
  readonly session?: boolean;
}

/**
 * Starts a program without environment. Returns its process id or a negative errno. Much cheaper to load than
 * node:child_process.
 */
export function posixSpawn({ path, argv, descriptors, session = false }: Spawn): number {
  const actions = koffi.alloc("uint8_t", SPAWN_BLOCK);
  const attributes = koffi.alloc("uint8_t", SPAWN_BLOCK);
  const pid = koffi.alloc("int", 1);
  const call = (name: string, types: string) => libc.func(`int ${name}(${types})`);
  call("posix_spawn_file_actions_init", "void *")(actions);
  const duplicate = call("posix_spawn_file_actions_adddup2", "void *, int, int");
  for (const [theirs, ours] of descriptors) duplicate(actions, ours, theirs);
  call("posix_spawnattr_init", "void *")(attributes);
  call("posix_spawnattr_setflags", "void *, short")(attributes, session ? POSIX_SPAWN_SETSID : 0);
  const spawn = call("posix_spawn", "void *, const char *, void *, void *, const char **, const char **");
  const error = spawn(pid, path, actions, attributes, [...argv, null], [null]) as number;
  call("posix_spawn_file_actions_destroy", "void *")(actions);
  call("posix_spawnattr_destroy", "void *")(attributes);
  return error === 0 ? (koffi.decode(pid, "int") as number) : -error;
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

/** lseek() to LLONG_MAX, which is no number that JavaScript has. */
export function seekEnd(fd: number): void {
  rawLongSeek(HOST_CALLS.lseek, fd, LLONG_MAX, SEEK_SET);
}

export function close(fd: number): void {
  syscall(HOST_CALLS.close, fd);
}
