/** Numbers of the Linux user API that this folder uses, under the names of the kernel's headers. */

// fcntl.h (O_DIRECTORY and O_DIRECT differ between x86 and arm64)
export const O_ACCMODE = 0o3;
export const O_RDONLY = 0;
export const O_WRONLY = 0o1;
export const O_RDWR = 0o2;
export const O_CREAT = 0o100;
export const O_EXCL = 0o200;
export const O_APPEND = 0o2000;
export const O_NONBLOCK = 0o4000;
export const O_DIRECTORY = process.arch === "arm64" ? 0o40000 : 0o200000;
export const O_NOFOLLOW = process.arch === "arm64" ? 0o100000 : 0o400000;
export const O_CLOEXEC = 0o2000000;
export const O_TRUNC = 0o1000;
export const O_NOCTTY = 0o400;
export const O_DSYNC = 0o10000;
export const O_ASYNC = 0o20000;
export const O_DIRECT = process.arch === "arm64" ? 0o200000 : 0o40000;
export const O_LARGEFILE = process.arch === "arm64" ? 0o400000 : 0o100000;
export const O_NOATIME = 0o1000000;
/** The bit of its own; O_DIRECTORY comes with it. */
export const O_TMPFILE = 0o20000000;
export const O_SYNC = 0o4010000;
export const O_PATH = 0o10000000;
export const AT_FDCWD = -100;
export const AT_EMPTY_PATH = 0x1000;
export const AT_SYMLINK_NOFOLLOW = 0x100;
export const AT_STATX_DONT_SYNC = 0x4000;
export const F_SETFD = 2;
export const F_GETFL = 3;
export const F_SETSIG = 10;
export const F_GETSIG = 11;
export const F_DUPFD_CLOEXEC = 1030;
export const F_SETLEASE = 1024;
export const F_ADD_SEALS = 1033;
export const F_SEAL_SEAL = 1;
export const F_SEAL_SHRINK = 2;
export const F_SEAL_GROW = 4;
export const F_WRLCK = 1;
export const F_UNLCK = 2;
export const FD_CLOEXEC = 1;

// openat2.h
export const RESOLVE_NO_XDEV = 0x01;
export const RESOLVE_NO_MAGICLINKS = 0x02;
export const RESOLVE_NO_SYMLINKS = 0x04;
export const RESOLVE_BENEATH = 0x08;
export const RESOLVE_IN_ROOT = 0x10;
/** Linux 5.12: EAGAIN for what is not in memory and would have to be waited for. */
export const RESOLVE_CACHED = 0x20;
/** sizeof(struct open_how): flags, mode, resolve. */
export const OPEN_HOW_SIZE = 24;

// stat.h
export const S_IFMT = 0o170000;
export const S_IFCHR = 0o020000;
export const S_IFDIR = 0o040000;
export const S_IFREG = 0o100000;
export const S_IFLNK = 0o120000;
export const S_ISVTX = 0o1000;
export const STATX_MODE = 2;
export const STATX_BASIC_STATS = 0x7ff;
/** Linux 5.8. */
export const STATX_MNT_ID = 0x1000;
/** Offsets in struct statx. */
export const STATX = {
  mask: 0,
  blksize: 4,
  nlink: 16,
  uid: 20,
  gid: 24,
  mode: 28,
  ino: 32,
  size: 40,
  blocks: 48,
  rdevMajor: 128,
  rdevMinor: 132,
  devMajor: 136,
  devMinor: 140,
  mountId: 144,
  length: 256,
} as const;

// magic.h: struct statfs.f_type
export const TMPFS_MAGIC = 0x0102_1994;
export const SYSFS_MAGIC = 0x6265_6572;
export const HUGETLBFS_MAGIC = 0x9584_58f6;
export const PROC_SUPER_MAGIC = 0x9fa0;
// statfs.h: struct statfs.f_flags
export const ST_VALID = 0x20;
export const ST_NODEV = 4;
export const ST_NOSYMFOLLOW = 0x2000;

// seccomp.h
export const SECCOMP_SET_MODE_FILTER = 1;
export const SECCOMP_FILTER_FLAG_NEW_LISTENER = 1 << 3;
export const SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV = 1 << 5;
export const SECCOMP_RET_USER_NOTIF = 0x7fc0_0000;
export const SECCOMP_RET_ALLOW = 0x7fff_0000;
export const SECCOMP_USER_NOTIF_FLAG_CONTINUE = 1;
export const PR_SET_NO_NEW_PRIVS = 38;
export const SECCOMP_ADDFD_FLAG_SETFD = 1;
export const SECCOMP_IOCTL_NOTIF_RECV = 0xc050_2100;
export const SECCOMP_IOCTL_NOTIF_SEND = 0xc018_2101;
export const SECCOMP_IOCTL_NOTIF_ID_VALID = 0x4008_2102;
export const SECCOMP_IOCTL_NOTIF_ADDFD = 0x4018_2103;
/** Its argument is the flags themselves. */
export const SECCOMP_IOCTL_NOTIF_SET_FLAGS = 0x4008_2104;
export const SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP = 1;

// audit.h
export const AUDIT_ARCH_X86_64 = 0xc000_003e;
export const AUDIT_ARCH_I386 = 0x4000_0003;
export const AUDIT_ARCH_AARCH64 = 0xc000_00b7;

// mount.h, sched.h, prctl.h
export const MS_RDONLY = 1;
export const MS_NOSUID = 2;
export const MS_NODEV = 4;
export const MS_NOEXEC = 8;
export const MS_REMOUNT = 32;
export const MS_BIND = 4096;
export const MS_MOVE = 8192;
export const MS_REC = 16384;
export const MS_UNBINDABLE = 1 << 17;
export const MS_PRIVATE = 1 << 18;
export const MS_SLAVE = 1 << 19;
export const MS_SHARED = 1 << 20;
export const MNT_DETACH = 2;
export const CLONE_NEWNS = 0x0002_0000;
export const CLONE_NEWUSER = 0x1000_0000;
/** Yama's; the letters of its name. */
export const PR_SET_PTRACER = 0x5961_6d61;
export const PR_SET_TIMERSLACK = 29;
export const PR_SET_CHILD_SUBREAPER = 36;
export const LINUX_CAPABILITY_VERSION_3 = 0x2008_0522;
export const RLIMIT_NOFILE = 7;
export const RLIMIT_MEMLOCK = 8;

// fs.h
export const SEEK_SET = 0;
/** The last of the ways to seek: SEEK_HOLE. */
export const SEEK_MAX = 4;
export const RWF_HIPRI = 1;
export const RWF_NOWAIT = 8;

// mman.h
export const MAP_SHARED = 1;
export const MAP_TYPE = 0xf;
export const MAP_PRIVATE = 2;
export const MAP_FIXED = 0x10;
export const MAP_ANONYMOUS = 0x20;
export const MAP_NORESERVE = 0x4000;
export const PROT_READ = 1;
export const PROT_WRITE = 2;
export const PROT_EXEC = 4;

// poll.h
export const POLLOUT = 4;
export const POLLERR = 8;
// signal.h
/** Bytes of the kernel's sigset_t and struct sigaction. */
export const SIGSET_SIZE = 8;
export const SIGACTION_SIZE = 32;
export const SIG_SETMASK = 2;
export const SA_RESTORER = 0x0400_0000;
export const SIGEV_THREAD_ID = 4;
export const CLOCK_MONOTONIC = 1;

// futex.h
export const FUTEX_WAIT_PRIVATE = 128;
export const FUTEX_WAKE_PRIVATE = 129;

// socket.h
export const AF_UNIX = 1;
export const SOCK_STREAM = 1;
export const SOCK_CLOEXEC = 0o2000000;
export const SOCK_NONBLOCK = 0o4000;
export const SOL_SOCKET = 1;
export const SO_PEERCRED = 17;
export const SCM_RIGHTS = 1;
export const MSG_DONTWAIT = 0x40;
export const MSG_NOSIGNAL = 0x4000;
export const MSG_CMSG_CLOEXEC = 0x4000_0000;

// mount.h
export const OPEN_TREE_CLONE = 1;
export const AT_RECURSIVE = 0x8000;
export const MOVE_MOUNT_F_EMPTY_PATH = 4;
export const UMOUNT_NOFOLLOW = 8;

// file.h
export const LOCK_EX = 2;
export const LOCK_NB = 4;

// epoll, inotify, memfd
export const EPOLLIN = 1;
export const EPOLLHUP = 16;
export const EPOLL_CTL_ADD = 1;
export const EPOLL_CTL_DEL = 2;
export const IN_CLOSE = 0x18;
export const IN_OPEN = 0x20;
export const IN_Q_OVERFLOW = 0x4000;
export const MFD_CLOEXEC = 1;
export const MFD_ALLOW_SEALING = 2;
export const MFD_NOEXEC_SEAL = 8;
export const MFD_EXEC = 16;

// kvm.h: KVM_SET_DEVICE_ATTR and the group that hands VFIO files to KVM
export const KVM_SET_DEVICE_ATTR = 0x4018_aee1;
export const KVM_DEV_VFIO_FILE = 1;
export const KVM_DEV_VFIO_FILE_ADD = 1;
export const KVM_DEV_VFIO_FILE_DEL = 2;
export const KVM_CREATE_VM = 0xae01;

// userfaultfd.h: makes one from an open /dev/userfaultfd
export const USERFAULTFD_IOC_NEW = 0xaa00;
