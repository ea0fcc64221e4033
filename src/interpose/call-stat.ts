import type { DeviceNode } from "../kernel/host-kernel.ts";
import type { CallContext, Reply } from "./call-context.ts";
import { S_IFCHR, S_IFMT, STATX } from "./linux.ts";
import { lastStat } from "./path-stat.ts";

/** Mode of an anonymous inode, which has no file type (fs/anon_inodes.c). */
const ANONYMOUS_MODE = 0o600;

/**
 * fstat and its kin on our descriptors: a file that was opened through a node is the character device with the node's
 * number; what an ioctl returned is an anonymous inode. (QEMU compares the number with a sysfs file.)
 */
export function handleStat(context: CallContext): Reply {
  const { listener, task, files, nodes } = context.on;
  const { abi, call } = context;
  if (!context.stat(listener.int(0))) return "native";
  const file = files.findLastStat();
  const node = file?.node ?? nodes.findLastStat();
  if (file === undefined && node === undefined) return "native";
  const name = call === "newfstatat" || call === "fstatat64" || call === "statx" ? listener.word(1, abi) : undefined;
  // AT_EMPTY_PATH allows an empty path, it does not ask for one. A null one counts as empty since Linux 6.11.
  if (name !== undefined && name !== 0 && task.memory.copyString(name, 4096) !== "") return "native";
  context.description = file?.description;
  describe(node);
  if (call === "statx") {
    task.memory.copyOut(listener.word(4, abi), lastStat.bytes, STATX.length);
    return 0;
  }
  const bytes = abi.name === "ia32" ? ia32Stat() : abi.name === "arm64" ? arm64Stat() : x64Stat();
  const target = call === "fstat" || call === "fstat64" ? 1 : 2;
  task.memory.copyOut(listener.word(target, abi), bytes, bytes.length);
  return 0;
}

/** Turns the statx of a memfd or stand-in in lastStat into that of the thing itself. */
function describe(node: DeviceNode | undefined): void {
  const bytes = lastStat.bytes;
  const mode = node === undefined ? ANONYMOUS_MODE : S_IFCHR | (node.mode & ~S_IFMT);
  bytes.writeUInt16LE(mode, STATX.mode);
  bytes.writeUInt32LE(1, STATX.nlink);
  bytes.fill(0, STATX.size, STATX.size + 16);
  bytes.writeUInt32LE(node?.major ?? 0, STATX.rdevMajor);
  bytes.writeUInt32LE(node?.minor ?? 0, STATX.rdevMinor);
  bytes.writeUInt32LE(4096, STATX.blksize);
}

/** new_encode_dev(), as struct stat holds device numbers. */
function encodedDevice(majorAt: number): number {
  const major = lastStat.bytes.readUInt32LE(majorAt);
  const minor = lastStat.bytes.readUInt32LE(majorAt + 4);
  return ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0;
}

// statx: atime@64, ctime@96, mtime@112, each {s64 seconds, u32 nanoseconds}
const TIMES = [64, 112, 96];

/** struct stat of x86-64 (asm/stat.h). */
function x64Stat(): Buffer {
  const from = lastStat.bytes;
  const to = Buffer.alloc(144);
  to.writeUInt32LE(encodedDevice(STATX.devMajor), 0);
  from.copy(to, 8, STATX.ino, STATX.ino + 8);
  to.writeUInt32LE(1, 16);
  to.writeUInt32LE(lastStat.mode, 24);
  from.copy(to, 28, STATX.uid, STATX.uid + 8);
  to.writeUInt32LE(encodedDevice(STATX.rdevMajor), 40);
  to.writeUInt32LE(4096, 56);
  for (const [index, time] of TIMES.entries()) from.copy(to, 72 + 16 * index, time, time + 12);
  return to;
}

/** struct stat64 of i386. */
function ia32Stat(): Buffer {
  const from = lastStat.bytes;
  const to = Buffer.alloc(96);
  to.writeUInt32LE(encodedDevice(STATX.devMajor), 0);
  from.copy(to, 12, STATX.ino, STATX.ino + 4);
  to.writeUInt32LE(lastStat.mode, 16);
  to.writeUInt32LE(1, 20);
  from.copy(to, 24, STATX.uid, STATX.uid + 8);
  to.writeUInt32LE(encodedDevice(STATX.rdevMajor), 32);
  to.writeUInt32LE(4096, 52);
  for (const [index, time] of TIMES.entries()) {
    from.copy(to, 64 + 8 * index, time, time + 4);
    from.copy(to, 68 + 8 * index, time + 8, time + 12);
  }
  from.copy(to, 88, STATX.ino, STATX.ino + 8);
  return to;
}

/** struct stat of arm64 (asm-generic/stat.h). */
function arm64Stat(): Buffer {
  const from = lastStat.bytes;
  const to = Buffer.alloc(128);
  to.writeUInt32LE(encodedDevice(STATX.devMajor), 0);
  from.copy(to, 8, STATX.ino, STATX.ino + 8);
  to.writeUInt32LE(lastStat.mode, 16);
  to.writeUInt32LE(1, 20);
  from.copy(to, 24, STATX.uid, STATX.uid + 8);
  to.writeUInt32LE(encodedDevice(STATX.rdevMajor), 32);
  to.writeUInt32LE(4096, 56);
  for (const [index, time] of TIMES.entries()) from.copy(to, 72 + 16 * index, time, time + 12);
  return to;
}
