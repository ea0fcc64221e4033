import { ERRNO } from "../uapi/errno.ts";
import type { Steps } from "./aside/aside-jobs.ts";
import { HOST_CALLS } from "./host-calls.ts";
import { close, syscall } from "./libc.ts";
import { F_DUPFD_CLOEXEC, O_CLOEXEC, O_PATH, OPEN_HOW_SIZE, STATX } from "./linux.ts";
import { statDescriptorTo } from "./path-stat.ts";
import type { SlowLooks } from "./slow-looks.ts";

// In a room: struct open_how @0, then a path; or struct statfs @0, then a link's text. What is found behind them.
const PATH = 32;
const STATFS_SIZE = 128;
const FOUND = 8192;
const PATH_MAX = 4096;

/** How often an openat2() is tried that met a rename or a mount on its way through "..": EAGAIN, says openat2(2). */
export const MOST_TRIES = 256;

/**
 * A walk by openat2() through what is not in memory, and perhaps served by a program. The file's stat, or a negative
 * errno.
 */
export function statAside(
  looks: SlowLooks,
  client: number,
  { at, path, flags, resolve }: { at: number; path: string; flags: number; resolve: number },
): Buffer | number {
  const steps = within(at, function* (room, own) {
    for (const [index, word] of [flags, 0, resolve].entries()) room.bytes.writeBigUInt64LE(BigInt(word), 8 * index);
    room.bytes.write(`${path}\0`, PATH, "latin1");
    let found = 0;
    for (let tries = 0; tries === 0 || (found === -ERRNO.EAGAIN && tries < MOST_TRIES); tries++)
      found = yield [HOST_CALLS.openat2, own, room.address + PATH, room.address, OPEN_HOW_SIZE];
    if (found < 0) return found;
    const stat = statDescriptorTo(found, room.address + FOUND);
    close(found);
    return stat < 0 ? stat : Buffer.from(room.bytes.subarray(FOUND, FOUND + STATX.length));
  });
  return looks.take(client, `walk ${resolve} ${path}`, steps);
}

/** Has a name in a directory come into memory. 0 or a negative errno. @param key tells it from others of the call */
export function openAside(
  looks: SlowLooks,
  client: number,
  { key, at, name, follow }: { key: string; at: number; name: string; follow: number },
): number {
  const steps = within(at, function* (room, own) {
    room.bytes.write(`${name}\0`, "latin1");
    const found = yield [HOST_CALLS.openat, own, room.address, O_PATH | O_CLOEXEC | follow, 0];
    if (found >= 0) close(found);
    return Math.min(found, 0);
  });
  return looks.take(client, key, steps);
}

interface Link {
  /** Of the filesystem that it lies on, and how that is mounted (ST_*). */
  readonly type: number;
  readonly flags: number;
  /** Bytes as characters. */
  readonly text: string;
}

/** What the link that an O_PATH descriptor is of says; undefined when it cannot be read. */
export function linkAside(looks: SlowLooks, client: number, key: string, link: number): Link | undefined {
  const steps = within(link, function* (room, own): Generator<
    readonly [number, ...number[]],
    Link | undefined,
    number
  > {
    // struct statfs: f_type u64@0, f_flags u64@80
    if ((yield [HOST_CALLS.fstatfs, own, room.address]) < 0) return undefined;
    const type = Number(room.bytes.readBigUInt64LE(0));
    const flags = Number(room.bytes.readBigUInt64LE(80));
    room.bytes[STATFS_SIZE] = 0;
    const name = room.address + STATFS_SIZE;
    const length = yield [HOST_CALLS.readlinkat, own, name, room.address + FOUND, PATH_MAX];
    if (length <= 0 || length >= PATH_MAX) return undefined;
    return { type, flags, text: room.bytes.toString("latin1", FOUND, FOUND + length) };
  });
  return looks.take(client, key, steps);
}

/** Steps with a descriptor of their own: the other one may be closed, and its number given away, before a late step. */
function within<T>(fd: number, steps: (room: Parameters<Steps<T>>[0], own: number) => ReturnType<Steps<T>>): Steps<T> {
  return function* (room) {
    const own = syscall(HOST_CALLS.fcntl, fd, F_DUPFD_CLOEXEC, 3);
    try {
      return yield* steps(room, own);
    } finally {
      if (own >= 0) close(own);
    }
  };
}
