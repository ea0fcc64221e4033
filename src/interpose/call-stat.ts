import type { DeviceNode } from "../kernel/host-kernel.ts";
import type { CallContext, Reply } from "./call-context.ts";
import { statLed } from "./call-led.ts";
import { AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW, O_NOFOLLOW, S_IFCHR, S_IFMT, STATX } from "./linux.ts";
import type { Opening } from "./path-resolver.ts";
import { lastStat } from "./path-stat.ts";

/** Mode of an anonymous inode, which has no file type (fs/anon_inodes.c). */
const ANONYMOUS_MODE = 0o600;
const PATH_MAX = 4096;

/** fstat and its kin on descriptors. */
export function handleStat(context: CallContext): Reply {
  return statDescriptor(context, context.on.listener.int(0), 1);
}

/** stat, lstat: of a path. */
export function handlePathStat(context: CallContext): Reply {
  const { call } = context;
  const path = pathIn(context, 0);
  if (path === undefined) return "native";
  const flags = call === "lstat" || call === "lstat64" ? O_NOFOLLOW : 0;
  return statByPath(context, { directory: AT_FDCWD, path, flags }, 1);
}

/** fstatat, statx: of a descriptor, or of a path. AT_EMPTY_PATH allows an empty path, it does not ask for one. */
export function handleStatAt(context: CallContext): Reply {
  const { call } = context;
  const { listener } = context.on;
  const target = call === "statx" ? 4 : 2;
  const path = pathIn(context, 1);
  if (path === undefined) return "native";
  const flags = listener.low(call === "statx" ? 2 : 3);
  if (path === "") return (flags & AT_EMPTY_PATH) === 0 ? "native" : statDescriptor(context, listener.int(0), target);
  const follow = (flags & AT_SYMLINK_NOFOLLOW) === 0 ? 0 : O_NOFOLLOW;
  return statByPath(context, { directory: listener.int(0), path, flags: follow }, target);
}

/** A path, bytes as characters; "" for a null one, which counts as empty since Linux 6.11. Undefined: none. */
function pathIn({ abi, on: { listener, task } }: CallContext, argument: number): string | undefined {
  const address = listener.word(argument, abi);
  if (address === 0) return "";
  try {
    return task.copyString(address, PATH_MAX, "latin1");
  } catch {
    return undefined;
  }
}

/**
 * A file that was opened through a node is the character device with the node's number; what an ioctl returned is an
 * anonymous inode. (QEMU compares the number with a sysfs file.)
 */
function statDescriptor(context: CallContext, fd: number, target: number): Reply {
  const { files, nodes } = context.on;
  if (!context.stat(fd)) return "native";
  const file = files.findLastStat();
  const node = file?.node ?? nodes.findLastStat();
  if (file === undefined && node === undefined) return "native";
  context.description = file?.description;
  return writeStat(context, node, target);
}

/** What stands in for a node is the node. Who copies it with mknod needs its number. */
function statByPath(
  context: CallContext,
  opening: Pick<Opening, "directory" | "path" | "flags">,
  target: number,
): Reply {
  const { task, resolver } = context.on;
  const found = resolver.resolve({ tid: task.tid, resolve: 0, ...opening });
  if (found === undefined) {
    const led = statLed(context, opening.directory, opening.path, opening.flags);
    if (led === undefined) return "native";
    return led < 0 ? led : writeLastStat(context, target);
  }
  lastStat.bytes.set(found.stat);
  return writeStat(context, found.node ?? found.file?.node, target);
}

/** Writes what lastStat is of to the caller. @param target which argument says where */
function writeStat(context: CallContext, node: DeviceNode | undefined, target: number): Reply {
  describe(node);
  return writeLastStat(context, target);
}

function writeLastStat({ abi, call, on: { listener, task } }: CallContext, target: number): Reply {
  const bytes =
    call === "statx"
      ? lastStat.bytes
      : abi.name === "ia32"
        ? ia32Stat()
        : abi.name === "arm64"
          ? arm64Stat()
          : x64Stat();
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
  from.copy(to, 16, STATX.nlink, STATX.nlink + 4);
  to.writeUInt32LE(lastStat.mode, 24);
  from.copy(to, 28, STATX.uid, STATX.uid + 8);
  to.writeUInt32LE(encodedDevice(STATX.rdevMajor), 40);
  from.copy(to, 48, STATX.size, STATX.size + 8);
  to.writeUInt32LE(4096, 56);
  from.copy(to, 64, STATX.size + 8, STATX.size + 16);
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
  from.copy(to, 20, STATX.nlink, STATX.nlink + 4);
  from.copy(to, 24, STATX.uid, STATX.uid + 8);
  to.writeUInt32LE(encodedDevice(STATX.rdevMajor), 32);
  from.copy(to, 44, STATX.size, STATX.size + 8);
  to.writeUInt32LE(4096, 52);
  from.copy(to, 56, STATX.size + 8, STATX.size + 16);
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
  from.copy(to, 20, STATX.nlink, STATX.nlink + 4);
  from.copy(to, 24, STATX.uid, STATX.uid + 8);
  to.writeUInt32LE(encodedDevice(STATX.rdevMajor), 32);
  from.copy(to, 48, STATX.size, STATX.size + 8);
  to.writeUInt32LE(4096, 56);
  from.copy(to, 64, STATX.size + 8, STATX.size + 16);
  for (const [index, time] of TIMES.entries()) from.copy(to, 72 + 16 * index, time, time + 12);
  return to;
}
