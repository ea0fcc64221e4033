import { assemble, BPF, type Instruction, type Line } from "./bpf.ts";
import { WINDOW_END, WINDOW_FIRST } from "./descriptor-window.ts";
import {
  AT_EMPTY_PATH,
  KVM_CREATE_VM,
  KVM_SET_DEVICE_ATTR,
  MAP_ANONYMOUS,
  MAP_SHARED,
  MS_BIND,
  MS_MOVE,
  MS_PRIVATE,
  MS_REMOUNT,
  MS_SHARED,
  MS_SLAVE,
  MS_UNBINDABLE,
  O_ACCMODE,
  O_PATH,
  O_RDWR,
  O_WRONLY,
  SECCOMP_RET_ALLOW,
  SECCOMP_RET_USER_NOTIF,
  USERFAULTFD_IOC_NEW,
} from "./linux.ts";
import { type Abi, HOST_ABIS, type TrappedCall } from "./syscall-table.ts";

/** Upper half of 1 << 40: region 1 of a vfio-pci device begins there (VFIO_PCI_OFFSET_SHIFT). */
const FIRST_REGION_HIGH = 0x100;
/** The same in pages, as mmap2 counts. */
const FIRST_REGION_PAGES = 1 << 28;
/** A register is at most this wide; region 0 lies at offset 0, where other files' data lies too. */
const REGISTER_BYTES = 8;
/** Flags of a mount() that makes no file system, but changes or moves one that is there. */
const NO_NEW_FILE_SYSTEM = MS_REMOUNT | MS_BIND | MS_MOVE | MS_UNBINDABLE | MS_PRIVATE | MS_SLAVE | MS_SHARED;
/** Numbers from here on are x32's, which is not served. */
const X32_BIT = 0x4000_0000;

// struct seccomp_data: nr u32@0, arch u32@4, instruction pointer u64@8, args u64[6]@16
const NUMBER = 0;
const ARCH = 4;
const low = (argument: number) => 16 + 8 * argument;
const high = (argument: number) => 20 + 8 * argument;

/** Beside opens and stats, what names a file by its path and is answered for the host's; and eventfds. */
const LED_CALLS = [
  "readlink",
  "readlinkat",
  "access",
  "faccessat",
  "faccessat2",
  "getxattr",
  "lgetxattr",
  "listxattr",
  "llistxattr",
  "eventfd",
  "eventfd2",
] as const;

const load = (value: number): Instruction => ({ code: BPF.load, value });
const and = (value: number): Instruction => ({ code: BPF.and, value });
const equal = (value: number, ifTrue?: string, ifFalse?: string): Instruction => ({
  code: BPF.equal,
  value,
  ifTrue,
  ifFalse,
});
const atLeast = (value: number, ifTrue?: string, ifFalse?: string): Instruction => ({
  code: BPF.atLeast,
  value,
  ifTrue,
  ifFalse,
});
const anyBit = (value: number, ifTrue?: string, ifFalse?: string): Instruction => ({
  code: BPF.anyBit,
  value,
  ifTrue,
  ifFalse,
});
const ret = (value: number): Instruction => ({ code: BPF.return, value });

export interface FilterOptions {
  /** Trap fstat() and its kin on descriptors, so that ours look like the character devices they stand for. */
  readonly trapFstat: boolean;
  /** Trap stat() by path too: the nodes show VFIO's numbers there. Every stat() takes some 10 us more then. */
  readonly trapPathStat: boolean;
  /** Trap opens for reading too: a program then reads of itself in /proc what the model holds of it. */
  readonly trapReadOpens: boolean;
  /** Opens for writing only are handed over too: of files of /sys that nobody serves, so that the reason is told. */
  readonly trapWriteOpens: boolean;
  /**
   * The host's files are where calls lead to (led-tree.ts), and not where the program looks: every call with a path is
   * trapped. Eventfds too, which cannot be fetched then.
   */
  readonly trapPaths: boolean;
}

/**
 * The filter as struct sock_filter[]: which calls come to us and which stay native. A filter sees registers, not
 * memory, so it picks by what is rare in other programs:
 * - ioctl: the type byte is VFIO's ';' (0x3b), or it is KVM_SET_DEVICE_ATTR or KVM_CREATE_VM;
 * - open: read and write, as VFIO's nodes are opened, others when asked for, and with O_PATH, which may make
 *   descriptors of our files that are not for using (openat2 keeps its flags in memory: always);
 * - read, write, lseek and all their kin: descriptors with the numbers that ours get;
 * - pread, pwrite of others, which may be copies of ours: behind 1 TiB, or as small as a register; the vector forms
 *   only behind 1 TiB;
 * - mmap: shared mappings of files, private ones of descriptors with our numbers or behind 1 TiB;
 * - fstat, fstatat and statx with AT_EMPTY_PATH when asked for, and with paths when that is asked for;
 * - fstatfs, so that what stands for sysfs is sysfs;
 * - execve, because the memory of a process is another one afterwards;
 * - unshare and setns, after which a thread may be in another user namespace;
 * - userfaultfd, by its call or by /dev/userfaultfd, and mounts of file systems, because memory and files may have to
 *   be waited for afterwards.
 *
 * read and write come first: programs make more of them than of all others together, and each instruction counts.
 */
export function vfioFilter(options: FilterOptions, abis: readonly Abi[] = HOST_ABIS): Buffer {
  const lines: Line[] = [load(ARCH)];
  for (const abi of abis) lines.push(equal(abi.arch, abi.name));
  lines.push(ret(SECCOMP_RET_ALLOW));
  for (const abi of abis) lines.push(...abiSection(abi, options));
  return assemble(lines);
}

function abiSection(
  abi: Abi,
  { trapFstat, trapPathStat, trapReadOpens, trapWriteOpens, trapPaths }: FilterOptions,
): Line[] {
  const label = (name: string) => `${abi.name}:${name}`;
  const notify = label("notify");
  const allow = label("allow");
  const lines: Line[] = [abi.name, load(NUMBER)];
  const jump = (call: TrappedCall, target: string) => {
    const number = abi.numbers[call];
    if (number !== undefined) lines.push(equal(number, target));
  };
  for (const call of ["read", "write"] as const) jump(call, label("descriptor"));
  if (abi.name === "x64") lines.push(atLeast(X32_BIT, allow));
  jump("ioctl", label("ioctl"));
  jump("openat", label("openat"));
  jump("open", label("open"));
  for (const call of ["pread64", "pwrite64"] as const) jump(call, label("access"));
  for (const call of ["mmap", "mmap2"] as const) jump(call, label("mmap"));
  for (const call of ["preadv", "pwritev", "preadv2", "pwritev2"] as const) jump(call, label("vector"));
  for (const call of ["readv", "writev", "lseek", "_llseek"] as const) jump(call, label("descriptor"));
  for (const call of ["openat2", "execve", "execveat", "fstatfs", "userfaultfd", "fsopen", "unshare", "setns"] as const)
    jump(call, notify);
  jump("mount", label("mount"));
  if (trapPaths) for (const call of LED_CALLS) jump(call, notify);
  if (trapPathStat || trapPaths)
    for (const call of ["stat", "stat64", "lstat", "lstat64", "newfstatat", "fstatat64", "statx"] as const)
      jump(call, notify);
  if (trapFstat) {
    for (const call of ["fstat", "fstat64"] as const) jump(call, notify);
    for (const call of ["newfstatat", "fstatat64"] as const) jump(call, label("fstatat"));
    jump("statx", label("statx"));
  }
  lines.push(ret(SECCOMP_RET_ALLOW));

  // Goes on behind when the descriptor in an argument has none of our numbers.
  const inWindow = (argument: number, otherwise: string): Line[] => [
    load(low(argument)),
    atLeast(WINDOW_END, otherwise),
    atLeast(WINDOW_FIRST, notify),
    otherwise,
  ];
  lines.push(
    label("descriptor"),
    load(low(0)),
    atLeast(WINDOW_FIRST, undefined, allow),
    atLeast(WINDOW_END, allow, notify),
  );
  lines.push(label("ioctl"), load(low(1)), equal(KVM_SET_DEVICE_ATTR, notify), equal(KVM_CREATE_VM, notify));
  lines.push(equal(USERFAULTFD_IOC_NEW, notify), and(0xff00));
  lines.push(equal(0x3b00, notify, allow));
  lines.push(label("mount"), load(low(3)), anyBit(NO_NEW_FILE_SYSTEM, allow, notify));
  const otherOpens = trapReadOpens || trapPaths ? notify : allow;
  const byMode = trapWriteOpens
    ? [equal(O_RDWR, notify), equal(O_WRONLY, notify, otherOpens)]
    : [equal(O_RDWR, notify, otherOpens)];
  lines.push(label("openat"), load(low(2)), anyBit(O_PATH, notify), and(O_ACCMODE), ...byMode);
  if (abi.numbers.open !== undefined) {
    lines.push(label("open"), load(low(1)), anyBit(O_PATH, notify), and(O_ACCMODE), ...byMode);
  }
  if (trapFstat) {
    lines.push(label("fstatat"), load(low(3)), anyBit(AT_EMPTY_PATH, notify, allow));
    lines.push(label("statx"), load(low(2)), anyBit(AT_EMPTY_PATH, notify, allow));
  }
  // The offset is one register, or two with the low half first.
  const offsetHigh = abi.halves ? low(4) : high(3);
  lines.push(
    label("access"),
    ...inWindow(0, label("access elsewhere")),
    load(offsetHigh),
    atLeast(FIRST_REGION_HIGH, notify),
  );
  if (!abi.halves) lines.push(load(high(2)), equal(0, undefined, allow));
  lines.push(load(low(2)), atLeast(REGISTER_BYTES + 1, allow, notify));
  lines.push(
    label("vector"),
    ...inWindow(0, label("vector elsewhere")),
    load(offsetHigh),
    atLeast(FIRST_REGION_HIGH, notify, allow),
  );
  lines.push(label("mmap"), load(low(3)), anyBit(MAP_ANONYMOUS, allow), anyBit(MAP_SHARED, notify));
  lines.push(...inWindow(4, label("private")));
  if (abi.halves) lines.push(load(low(5)), atLeast(FIRST_REGION_PAGES, notify, allow));
  else lines.push(load(high(5)), atLeast(FIRST_REGION_HIGH, notify, allow));
  lines.push(notify, ret(SECCOMP_RET_USER_NOTIF), allow, ret(SECCOMP_RET_ALLOW));
  return lines;
}
