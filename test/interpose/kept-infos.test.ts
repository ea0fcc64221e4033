import fs from "node:fs";
import { afterEach, expect, test } from "vitest";
import { HOST_CALLS } from "../../src/interpose/host-calls.ts";
import { KeptInfos } from "../../src/interpose/kept-infos.ts";
import { syscall } from "../../src/interpose/libc.ts";
import { AT_FDCWD, O_CLOEXEC, O_PATH } from "../../src/interpose/linux.ts";
import { lastStat, openPath, statThreadDescriptor } from "../../src/interpose/path-stat.ts";

const { pid } = process;
const infos = new KeptInfos();
const opened: number[] = [];
afterEach(() => {
  infos.clear();
  for (const fd of opened.splice(0)) fs.closeSync(fd);
});

function open(path: string): number {
  const fd = fs.openSync(path, "r");
  opened.push(fd);
  return fd;
}

function keep(fd: number): void {
  infos.note(pid, pid, fd);
  infos.note(pid, pid, fd);
}

/** What statx() says of a descriptor, as foreign files are noted. */
function infoOf(fd: number): { inode: number; mountId: number } {
  expect(statThreadDescriptor(pid, fd)).toBe(0);
  const { inode, mountId } = lastStat;
  return { inode, mountId };
}

/** How many of our descriptors are of /proc/PID/fdinfo. */
function kept(): number {
  return fs.readdirSync("/proc/self/fd").filter((fd) => {
    try {
      return fs.readlinkSync(`/proc/self/fd/${fd}`).includes("/fdinfo/");
    } catch {
      return false;
    }
  }).length;
}

test("a descriptor that is used the second time is known from then on, as what it is now", () => {
  const fd = open("/dev/null");
  infos.note(pid, pid, fd);
  expect(infos.find(pid, fd)).toBeUndefined();
  infos.note(pid, pid, fd);
  expect(infos.find(pid, fd)).toMatchObject({ inode: fs.fstatSync(fd).ino, isPathOnly: false });
  const other = open("/dev/zero");
  expect(syscall(HOST_CALLS.dup3, other, fd, O_CLOEXEC)).toBe(fd);
  expect(infos.find(pid, fd)?.inode).toBe(fs.fstatSync(other).ino);
});

test("a file that is none of ours is known as that, until the descriptor is of another one", () => {
  const fd = open("/dev/null");
  keep(fd);
  expect(infos.find(pid, fd)?.isForeign).toBe(false);
  infos.clear();
  const { inode, mountId } = infoOf(fd);
  infos.note(pid, pid, fd, { inode, mountId });
  infos.note(pid, pid, fd, { inode, mountId });
  expect(infos.find(pid, fd)?.isForeign).toBe(true);
  const other = open("/dev/zero");
  expect(syscall(HOST_CALLS.dup3, other, fd, O_CLOEXEC)).toBe(fd);
  expect(infos.find(pid, fd)?.isForeign).toBe(false);
});

test("one that was closed, or opened with O_PATH, is not taken for what it was", () => {
  const fd = fs.openSync("/dev/null", "r");
  keep(fd);
  fs.closeSync(fd);
  expect(infos.find(pid, fd)).toBeUndefined();
  const again = openPath(AT_FDCWD, "/dev/null", O_PATH | O_CLOEXEC);
  opened.push(again);
  keep(again);
  expect(infos.find(pid, again)?.isPathOnly).toBe(true);
});

test("what is kept is bounded, and goes with its process", () => {
  const fds = Array.from({ length: 100 }, () => open("/dev/null"));
  for (const fd of fds) keep(fd);
  expect(kept()).toBe(64);
  expect(infos.find(pid, fds[0]!)).toBeUndefined();
  expect(infos.find(pid, fds[99]!)).toBeDefined();
  infos.gone(pid + 1);
  expect(kept()).toBe(64);
  infos.gone(pid);
  expect(kept()).toBe(0);
});
