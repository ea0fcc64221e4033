import { describe, expect, test } from "vitest";
import { vfioFilter } from "../../src/interpose/filter.ts";
import { SECCOMP_RET_ALLOW, SECCOMP_RET_USER_NOTIF } from "../../src/interpose/linux.ts";
import { type Abi, ARM64, IA32, type TrappedCall, X64 } from "../../src/interpose/syscall-table.ts";

/** Runs a filter as the kernel does (kernel/bpf: the five instructions that ours has). */
function run(filter: Buffer, arch: number, number: number, args: readonly bigint[]): number {
  const data = Buffer.alloc(64);
  data.writeInt32LE(number, 0);
  data.writeUInt32LE(arch, 4);
  for (const [index, value] of args.entries()) data.writeBigUInt64LE(BigInt.asUintN(64, value), 16 + 8 * index);
  let register = 0;
  for (let at = 0; ; at++) {
    const code = filter.readUInt16LE(8 * at);
    const value = filter.readUInt32LE(8 * at + 4);
    const jump = (taken: boolean) => {
      at += filter.readUInt8(8 * at + (taken ? 2 : 3));
    };
    if (code === 0x20) register = data.readUInt32LE(value);
    else if (code === 0x54) register = (register & value) >>> 0;
    else if (code === 0x15) jump(register === value);
    else if (code === 0x35) jump(register >= value);
    else if (code === 0x45) jump((register & value) !== 0);
    else if (code === 0x06) return value;
    else throw new Error(`instruction ${code}`);
  }
}

const NOTHING_MORE = { trapPathStat: false, trapReadOpens: false, trapWriteOpens: false, trapPaths: false };

function trapped(abi: Abi, call: TrappedCall, args: (number | bigint)[], trapFstat = true): boolean {
  const filter = vfioFilter({ trapFstat, ...NOTHING_MORE }, abi === ARM64 ? [ARM64] : [X64, IA32]);
  const answer = run(filter, abi.arch, abi.numbers[call]!, [...args, 0, 0, 0, 0, 0, 0].slice(0, 6).map(BigInt));
  if (answer === SECCOMP_RET_USER_NOTIF) return true;
  expect(answer).toBe(SECCOMP_RET_ALLOW);
  return false;
}

/** The first number of a descriptor of ours, the last, and the one behind. */
const [OURS, LAST, BEHIND] = [960, 1023, 1024];
const REGION_1 = 1n << 40n;
const [O_RDONLY, O_WRONLY, O_RDWR] = [0, 1, 2];
const O_PATH = 0o10000000;
const [PRIVATE, SHARED, ANONYMOUS] = [2, 1, 0x20];

describe.each([
  ["x64", X64],
  ["arm64", ARM64],
] as const)("%s", (_name, abi) => {
  test.each([
    ["ioctl", [3, 0x3b64], true],
    ["ioctl", [3, 0xffff_ffff_0000_3bffn], true],
    ["ioctl", [3, 0x4018_aee1], true],
    ["ioctl", [3, 0x5401], false],
    ["openat", [-100, 0, O_RDWR], true],
    ["openat", [-100, 0, O_RDWR | 0o100], true],
    ["openat", [-100, 0, O_PATH], true],
    ["openat", [-100, 0, O_RDONLY], false],
    ["openat", [-100, 0, O_WRONLY | 0o1000], false],
    ["openat2", [-100, 0, 0], true],
    ["pread64", [3, 0, 4096, REGION_1], true],
    ["pread64", [3, 0, 4096, REGION_1 - 1n], false],
    ["pread64", [3, 0, 8, 0x100], true],
    ["pread64", [3, 0, 9, 0x100], false],
    ["pwrite64", [3, 0, 1n << 32n, 0], false],
    ["preadv", [3, 0, 1, REGION_1], true],
    ["preadv", [3, 0, 1, 0], false],
    ["pread64", [OURS, 0, 4096, 0], true],
    ["preadv", [OURS, 0, 1, 0], true],
    ["preadv2", [BEHIND, 0, 1, 0], false],
    ["read", [OURS, 0, 4096], true],
    ["read", [OURS - 1, 0, 4], false],
    ["read", [LAST, 0, 4], true],
    ["read", [BEHIND, 0, 4], false],
    ["read", [-1, 0, 4], false],
    ["write", [OURS, 0, 8], true],
    ["write", [1, 0, 8], false],
    ["readv", [OURS, 0, 1], true],
    ["writev", [3, 0, 1], false],
    ["lseek", [OURS, 0, 0], true],
    ["lseek", [3, 0, 0], false],
    ["mmap", [0, 4096, 3, PRIVATE, OURS, 0], true],
    ["mmap", [0, 4096, 3, ANONYMOUS | PRIVATE, OURS, 0], false],
    ["mmap", [0, 4096, 3, SHARED, 3, 0], true],
    ["mmap", [0, 4096, 3, PRIVATE, 3, 0], false],
    ["mmap", [0, 4096, 3, PRIVATE, 3, REGION_1], true],
    ["mmap", [0, 4096, 3, SHARED | ANONYMOUS, -1, 0], false],
    ["execve", [0, 0, 0], true],
    ["fstat", [3, 0], true],
    ["newfstatat", [3, 0, 0, 0x1000], true],
    ["newfstatat", [-100, 0, 0, 0x100], false],
    ["statx", [3, 0, 0x1000, 0], true],
    ["statx", [-100, 0, 0, 0x1000], false],
  ] as const)("%s, case %#", (call, args, expected) => {
    expect(trapped(abi, call, [...args])).toBe(expected);
  });

  test("leaves fstat alone when that is asked for", () => {
    expect(trapped(abi, "fstat", [3, 0], false)).toBe(false);
    expect(trapped(abi, "newfstatat", [3, 0, 0, 0x1000], false)).toBe(false);
  });
});

test.each([
  ["ioctl", [3, 0x3b71], true],
  ["open", [0, O_RDWR], true],
  ["open", [0, O_RDONLY], false],
  ["open", [0, O_PATH], true],
  ["pread64", [3, 0, 4096, 0, 0x100], true],
  ["pread64", [3, 0, 4096, 0xffff_ffff, 0xff], false],
  ["pread64", [3, 0, 4, 0, 0], true],
  ["pwritev", [3, 0, 1, 0, 0x100], true],
  ["read", [OURS, 0, 4], true],
  ["write", [3, 0, 4], false],
  ["_llseek", [OURS, 0, 0, 0, 0], true],
  ["pread64", [OURS, 0, 4096, 4096, 0], true],
  ["mmap2", [0, 4096, 3, PRIVATE, OURS, 0], true],
  ["mmap2", [0, 4096, 3, SHARED, 3, 0], true],
  ["mmap2", [0, 4096, 3, PRIVATE, 3, 1 << 28], true],
  ["mmap2", [0, 4096, 3, PRIVATE, 3, 1], false],
] as const)("ia32 %s, case %#", (call, args, expected) => {
  expect(trapped(IA32, call, [...args])).toBe(expected);
});

test("an architecture or a call that is not ours is native", () => {
  const filter = vfioFilter({ trapFstat: true, ...NOTHING_MORE }, [X64, IA32]);
  expect(run(filter, 0xc000_00f3, 16, [3n, 0x3b64n])).toBe(SECCOMP_RET_ALLOW);
  expect(run(filter, X64.arch, 0x4000_0010, [3n, 0x3b64n])).toBe(SECCOMP_RET_ALLOW);
  expect(run(filter, X64.arch, 3, [3n])).toBe(SECCOMP_RET_ALLOW);
});

test("read and write of a file that is not ours take the fewest instructions", () => {
  const filter = vfioFilter({ trapFstat: true, ...NOTHING_MORE }, [X64, IA32]);
  let looked = 0;
  const counting = new Proxy(filter, {
    get(target, name) {
      if (name === "readUInt16LE") looked++;
      const value = Reflect.get(target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  for (const call of ["read", "write"] as const) {
    looked = 0;
    expect(run(counting, X64.arch, X64.numbers[call]!, [3n])).toBe(SECCOMP_RET_ALLOW);
    expect(looked).toBeLessThanOrEqual(8);
  }
});

test("opens for reading, or for writing, come to us when that is asked for", () => {
  const opens = (option: object, mode: number) => {
    const filter = vfioFilter({ trapFstat: true, ...NOTHING_MORE, ...option }, [X64, IA32]);
    const answer = run(filter, X64.arch, X64.numbers.openat!, [-100n, 0n, BigInt(mode), 0n, 0n, 0n]);
    return answer === SECCOMP_RET_USER_NOTIF;
  };
  const modes = (option: object) => [O_RDONLY, O_WRONLY, O_RDWR].map((mode) => opens(option, mode));
  expect(modes({})).toEqual([false, false, true]);
  expect(modes({ trapWriteOpens: true })).toEqual([false, true, true]);
  expect(modes({ trapReadOpens: true })).toEqual([true, true, true]);
});
