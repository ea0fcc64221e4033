/**
 * Messages between Linux and who serves a FUSE file system, under the names of include/uapi/linux/fuse.h. A request is
 * a header and what its opcode has behind it, an answer the same. All words are in the machine's byte order, which is
 * little-endian wherever uvfio runs.
 */

/** The version that is spoken; the kernel's is at least that since Linux 5.2. */
export const FUSE_KERNEL_VERSION = 7;
export const FUSE_KERNEL_MINOR_VERSION = 31;

export const FUSE_ROOT_ID = 1;

/** What a request asks for. */
export const FUSE = {
  LOOKUP: 1,
  FORGET: 2,
  GETATTR: 3,
  SETATTR: 4,
  READLINK: 5,
  SYMLINK: 6,
  MKNOD: 8,
  MKDIR: 9,
  UNLINK: 10,
  RMDIR: 11,
  RENAME: 12,
  LINK: 13,
  OPEN: 14,
  READ: 15,
  WRITE: 16,
  STATFS: 17,
  RELEASE: 18,
  SETXATTR: 21,
  REMOVEXATTR: 24,
  INIT: 26,
  OPENDIR: 27,
  READDIR: 28,
  RELEASEDIR: 29,
  CREATE: 35,
  INTERRUPT: 36,
  DESTROY: 38,
  BATCH_FORGET: 42,
  READDIRPLUS: 44,
  RENAME2: 45,
  TMPFILE: 51,
} as const;

/** struct fuse_in_header: len, opcode, unique, nodeid, uid, gid, pid. */
export const IN = { len: 0, opcode: 4, unique: 8, nodeid: 16, pid: 32, size: 40 } as const;
/** struct fuse_out_header: len, error (negative errno), unique. */
export const OUT = { len: 0, error: 4, unique: 8, size: 16 } as const;

/** struct fuse_init_in and fuse_init_out. */
export const INIT_IN = { minor: 4, size: 16 } as const;
export const INIT_OUT = {
  major: 0,
  minor: 4,
  flags: 12,
  maxBackground: 16,
  threshold: 18,
  maxWrite: 20,
  timeGran: 24,
  size: 64,
} as const;
/** O_TRUNC comes with OPEN, not as a SETATTR before it. */
export const FUSE_ATOMIC_O_TRUNC = 1 << 3;
export const FUSE_BIG_WRITES = 1 << 5;

/** READDIRPLUS, a list with what a LOOKUP of each entry would say, comes in the place of READDIR where it is of use. */
export const FUSE_DO_READDIRPLUS = 1 << 13;
export const FUSE_READDIRPLUS_AUTO = 1 << 14;

/** struct fuse_attr. */
export const ATTR = {
  ino: 0,
  size: 8,
  blocks: 16,
  times: 24,
  mode: 60,
  nlink: 64,
  uid: 68,
  gid: 72,
  blksize: 80,
  length: 88,
} as const;
/** struct fuse_entry_out; for so many seconds the kernel may remember the entry, and the attributes. */
export const ENTRY_OUT = { nodeid: 0, entryValid: 16, attrValid: 24, attr: 40, size: 128 } as const;
/** struct fuse_attr_out. */
export const ATTR_OUT = { attrValid: 0, attr: 16, size: 104 } as const;
/** struct fuse_setattr_in. */
export const SETATTR_IN = { valid: 0, size: 88 } as const;
/** What a truncation changes: size and times. */
export const FATTR_TRUNCATION =
  (1 << 3) | (1 << 4) | (1 << 5) | (1 << 6) | (1 << 7) | (1 << 8) | (1 << 9) | (1 << 10) | (1 << 11);

/** struct fuse_open_in, fuse_open_out. */
export const OPEN_IN = { flags: 0, size: 8 } as const;
export const OPEN_OUT = { fh: 0, flags: 8, size: 16 } as const;
export const FOPEN_DIRECT_IO = 1;
export const FOPEN_NOFLUSH = 32;

/** Where structures that name an open file have its handle. */
export const HANDLE = 0;
/** struct fuse_read_in, fuse_write_in (bytes follow), fuse_release_in. */
export const READ_IN = { offset: 8, count: 16, size: 40 } as const;
export const WRITE_IN = { count: 16, size: 40 } as const;
export const WRITE_OUT = { count: 0, size: 8 } as const;
export const RELEASE_IN = { size: 24 } as const;

/**
 * struct fuse_dirent: ino, off, namelen, type, name; a multiple of 8. In struct fuse_direntplus it is behind a struct
 * fuse_entry_out, whose nodeid is 0 where nothing more is said.
 */
export const DIRENT = { ino: 0, off: 8, namelen: 16, type: 20, name: 24 } as const;
/** DT_DIR, DT_REG, DT_LNK. */
export const DT = { directory: 4, file: 8, link: 10 } as const;

/** struct fuse_forget_in; fuse_batch_forget_in and an array of fuse_forget_one. */
export const FORGET_IN = { nlookup: 0, size: 8 } as const;
export const BATCH_FORGET_IN = { count: 0, size: 8 } as const;
export const FORGET_ONE = { nodeid: 0, nlookup: 8, size: 16 } as const;

export const INTERRUPT_IN = { size: 8 } as const;

/** struct fuse_kstatfs. */
export const STATFS_OUT = { bsize: 40, namelen: 44, frsize: 48, size: 80 } as const;
