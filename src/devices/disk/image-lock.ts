import { loadKoffi } from "../../native/load-koffi.ts";

/**
 * The locks that QEMU puts on the images it has open (block/file-posix.c:raw_apply_lock_bytes, raw_check_lock_bytes):
 * of the file's bytes from 100 on, one for each permission that is used, and from 200 on, one for each that others must
 * not have, are locked for reading. Whoever comes tests whether he could lock the opposite ones for writing. They
 * belong to the open file (OFD) and end with it, however its process ends.
 */
const USED = 100;
const NOT_SHARED = 200;
/**
 * Bits of QEMU's permissions (include/block/block-common.h): consistent reads, writes, writes of what is there, a new
 * size.
 */
const CONSISTENT_READ = 0;
const WRITE = 1;
const RESIZE = 3;

const F_OFD_GETLK = 36;
const F_OFD_SETLK = 37;
const F_RDLCK = 0;
const F_WRLCK = 1;
const F_UNLCK = 2;
/** struct flock of 64-bit machines: type and whence of 16 bits, then from 8 on start, length, pid. */
const FLOCK_SIZE = 32;

/**
 * Locks an open image for as long as it is open.
 * @param write it is written to, and nobody else may do that; otherwise it is read, and nobody may write
 * @param shared others may write to it all the same, who say so too
 * @returns false when that does not go together with what others do with it
 */
export function lockImage(fd: number, write: boolean, shared: boolean): boolean {
  const used = write ? [CONSISTENT_READ, WRITE] : [CONSISTENT_READ];
  const notShared = shared ? [RESIZE] : [WRITE, RESIZE];
  const call = fcntl();
  for (const bit of used) if (!call(fd, F_OFD_SETLK, F_RDLCK, USED + bit)) return true;
  for (const bit of notShared) call(fd, F_OFD_SETLK, F_RDLCK, NOT_SHARED + bit);
  return (
    used.every((bit) => call(fd, F_OFD_GETLK, F_WRLCK, NOT_SHARED + bit)) &&
    notShared.every((bit) => call(fd, F_OFD_GETLK, F_WRLCK, USED + bit))
  );
}

type LockCall = (fd: number, command: number, type: number, byte: number) => boolean;
let lockCall: LockCall | undefined;

/** The C library's, loaded when the first image is opened. True when the lock was set, or could be. */
function fcntl(): LockCall {
  if (lockCall) return lockCall;
  const call = loadKoffi().load(null).func("int fcntl(int fd, int command, void *lock)");
  lockCall = (fd, command, type, byte) => {
    const lock = Buffer.alloc(FLOCK_SIZE);
    lock.writeInt16LE(type, 0);
    lock.writeBigInt64LE(BigInt(byte), 8);
    lock.writeBigInt64LE(1n, 16);
    const result = call(fd, command, lock);
    return result === 0 && (command !== F_OFD_GETLK || lock.readInt16LE(0) === F_UNLCK);
  };
  return lockCall;
}
