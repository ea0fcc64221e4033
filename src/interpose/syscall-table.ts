import { AUDIT_ARCH_AARCH64, AUDIT_ARCH_I386, AUDIT_ARCH_X86_64 } from "./linux.ts";

/** A system call that the filter can hand to us. */
export type TrappedCall =
  | "open"
  | "openat"
  | "openat2"
  | "ioctl"
  | "read"
  | "write"
  | "readv"
  | "writev"
  | "lseek"
  | "_llseek"
  | "pread64"
  | "pwrite64"
  | "preadv"
  | "pwritev"
  | "preadv2"
  | "pwritev2"
  | "mmap"
  | "mmap2"
  | "fstat"
  | "fstat64"
  | "fstatfs"
  | "stat"
  | "stat64"
  | "lstat"
  | "lstat64"
  | "newfstatat"
  | "fstatat64"
  | "statx"
  | "execve"
  | "execveat"
  | "userfaultfd"
  | "mount"
  | "unshare"
  | "setns"
  | "fsopen"
  | "readlink"
  | "readlinkat"
  | "access"
  | "faccessat"
  | "faccessat2"
  | "eventfd"
  | "eventfd2"
  | "getxattr"
  | "lgetxattr"
  | "listxattr"
  | "llistxattr";

/** How one architecture's programs call the kernel. */
export interface Abi {
  readonly name: "x64" | "ia32" | "arm64";
  /** AUDIT_ARCH_* as seccomp reports it. */
  readonly arch: number;
  /** Registers hold 32 bits: a 64-bit argument takes two of them, low half first. */
  readonly halves: boolean;
  readonly numbers: Readonly<Partial<Record<TrappedCall, number>>>;
}

export const X64: Abi = {
  name: "x64",
  arch: AUDIT_ARCH_X86_64,
  halves: false,
  numbers: {
    open: 2,
    openat: 257,
    openat2: 437,
    ioctl: 16,
    read: 0,
    write: 1,
    readv: 19,
    writev: 20,
    lseek: 8,
    pread64: 17,
    pwrite64: 18,
    preadv: 295,
    pwritev: 296,
    preadv2: 327,
    pwritev2: 328,
    mmap: 9,
    fstat: 5,
    fstatfs: 138,
    stat: 4,
    lstat: 6,
    newfstatat: 262,
    statx: 332,
    execve: 59,
    execveat: 322,
    userfaultfd: 323,
    mount: 165,
    unshare: 272,
    setns: 308,
    fsopen: 430,
    readlink: 89,
    readlinkat: 267,
    access: 21,
    faccessat: 269,
    faccessat2: 439,
    eventfd: 284,
    eventfd2: 290,
    getxattr: 191,
    lgetxattr: 192,
    listxattr: 194,
    llistxattr: 195,
  },
};

export const IA32: Abi = {
  name: "ia32",
  arch: AUDIT_ARCH_I386,
  halves: true,
  numbers: {
    open: 5,
    openat: 295,
    openat2: 437,
    ioctl: 54,
    read: 3,
    write: 4,
    readv: 145,
    writev: 146,
    lseek: 19,
    _llseek: 140,
    pread64: 180,
    pwrite64: 181,
    preadv: 333,
    pwritev: 334,
    preadv2: 378,
    pwritev2: 379,
    mmap2: 192,
    fstat64: 197,
    stat64: 195,
    lstat64: 196,
    fstatat64: 300,
    statx: 383,
    execve: 11,
    execveat: 358,
    userfaultfd: 374,
    mount: 21,
    unshare: 310,
    setns: 346,
    fsopen: 430,
    readlink: 85,
    readlinkat: 305,
    access: 33,
    faccessat: 307,
    faccessat2: 439,
    eventfd: 323,
    eventfd2: 328,
    getxattr: 229,
    lgetxattr: 230,
    listxattr: 232,
    llistxattr: 233,
  },
};

export const ARM64: Abi = {
  name: "arm64",
  arch: AUDIT_ARCH_AARCH64,
  halves: false,
  numbers: {
    openat: 56,
    openat2: 437,
    ioctl: 29,
    read: 63,
    write: 64,
    readv: 65,
    writev: 66,
    lseek: 62,
    pread64: 67,
    pwrite64: 68,
    preadv: 69,
    pwritev: 70,
    preadv2: 286,
    pwritev2: 287,
    mmap: 222,
    fstat: 80,
    fstatfs: 44,
    newfstatat: 79,
    statx: 291,
    execve: 221,
    execveat: 281,
    userfaultfd: 282,
    mount: 40,
    unshare: 97,
    setns: 268,
    fsopen: 430,
    readlinkat: 78,
    faccessat: 48,
    faccessat2: 439,
    eventfd2: 19,
    getxattr: 8,
    lgetxattr: 9,
    listxattr: 11,
    llistxattr: 12,
  },
};

/** The kinds of program that this machine runs. 32-bit ARM programs and x32 are not served. */
export const HOST_ABIS: readonly Abi[] = process.arch === "arm64" ? [ARM64] : [X64, IA32];

interface AbiCalls {
  readonly abi: Abi;
  readonly names: readonly (TrappedCall | undefined)[];
}

/** Finds the ABI and the name of a trapped call without a search: one array per architecture. */
export class CallNames {
  readonly #byArch = new Map<number, AbiCalls>();
  #last: AbiCalls | undefined;

  constructor(abis: readonly Abi[] = HOST_ABIS) {
    for (const abi of abis) {
      const names: (TrappedCall | undefined)[] = [];
      for (const [name, number] of Object.entries(abi.numbers)) names[number] = name as TrappedCall;
      this.#byArch.set(abi.arch, { abi, names });
    }
  }

  /** The calls of an AUDIT_ARCH_*, by their numbers; undefined for one that no program here has. */
  of(arch: number): AbiCalls | undefined {
    // most programs have one
    if (this.#last?.abi.arch !== arch) this.#last = this.#byArch.get(arch);
    return this.#last;
  }
}
