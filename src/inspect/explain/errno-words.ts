import { ERRNO, type ErrnoName } from "../../uapi/errno.ts";

/** What strerror(3) of glibc and musl says, and how Rust calls some kinds of errors: the errnos that VFIO gives. */
const WORDS: readonly (readonly [ErrnoName, ...string[]])[] = [
  ["EPERM", "operation not permitted"],
  ["ENOENT", "no such file or directory", "NotFound"],
  ["EINTR", "interrupted system call"],
  ["EIO", "input/output error", "i/o error"],
  ["ENXIO", "no such device or address"],
  ["E2BIG", "argument list too long"],
  ["EBADF", "bad file descriptor"],
  ["EAGAIN", "resource temporarily unavailable"],
  ["ENOMEM", "cannot allocate memory", "out of memory", "OutOfMemory"],
  ["EACCES", "permission denied", "PermissionDenied"],
  ["EFAULT", "bad address"],
  ["EBUSY", "device or resource busy", "resource busy", "ResourceBusy"],
  ["EEXIST", "file exists", "AlreadyExists"],
  ["ENODEV", "no such device"],
  ["EINVAL", "invalid argument", "InvalidInput"],
  ["EMFILE", "too many open files", "no file descriptors available"],
  ["ENOTTY", "inappropriate ioctl for device", "not a tty"],
  ["ENOSPC", "no space left on device"],
  ["ERANGE", "numerical result out of range", "result not representable"],
  ["ENODATA", "no data available"],
  ["EOVERFLOW", "value too large for defined data type", "value too large for data type"],
  ["EBADFD", "file descriptor in bad state"],
  ["EMSGSIZE", "message too long"],
  ["EOPNOTSUPP", "operation not supported", "not supported", "Unsupported"],
  ["EADDRINUSE", "address already in use", "address in use"],
  ["ETIMEDOUT", "connection timed out", "operation timed out"],
];

const BY_WORDS: ReadonlyMap<string, ErrnoName> = new Map(
  WORDS.flatMap(([name, ...words]) => words.map((text) => [text.toLowerCase(), name] as const)),
);
/** The longest first: "no such device or address" is not "no such device". */
const ALL_WORDS = [...BY_WORDS.keys()].sort((a, b) => b.length - a.length);

/** Of two names for one number the kernel's (EOPNOTSUPP). */
const BY_NUMBER: ReadonlyMap<number, ErrnoName> = new Map(
  (Object.entries(ERRNO) as [ErrnoName, number][]).map(([name, number]) => [number, name]),
);

/** The errno of a number, positive or negative; undefined when there is none. */
export function errnoOfNumber(number: number): ErrnoName | undefined {
  return BY_NUMBER.get(Math.abs(number));
}

/** The errno that a text names: a number, with or without a sign, a name, or the words of strerror(3). */
export function errnoOf(text: string): ErrnoName | undefined {
  const word = text.trim();
  if (/^-?\d{1,4}$/.test(word)) return errnoOfNumber(Number(word));
  const upper = word.toUpperCase();
  if (Object.hasOwn(ERRNO, upper)) return upper as ErrnoName;
  const lower = word.toLowerCase();
  const found = ALL_WORDS.find((words) => lower.includes(words));
  if (found !== undefined) return BY_WORDS.get(found);
  const number = /(?:error|errno|code:?|os error)[ :(=]*(-?\d{1,4})\b/i.exec(word)?.[1];
  return number === undefined ? undefined : errnoOfNumber(Number(number));
}
