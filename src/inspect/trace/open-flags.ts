const ACCESS = ["O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE"];
const OPEN_FLAGS: readonly (readonly [number, string])[] = [
  [0o100, "O_CREAT"],
  [0o200, "O_EXCL"],
  [0o400, "O_NOCTTY"],
  [0o1000, "O_TRUNC"],
  [0o2000, "O_APPEND"],
  [0o4000, "O_NONBLOCK"],
  [0o100000, "O_LARGEFILE"],
  [0o2000000, "O_CLOEXEC"],
];

/** The flags of open() by name: "O_RDWR|O_CLOEXEC". */
export function openFlags(flags: number): string {
  return [ACCESS[flags & 3]!, ...OPEN_FLAGS.flatMap(([bit, name]) => (flags & bit ? [name] : []))].join("|");
}
