import type { WritableFile } from "../kernel/host-kernel.ts";
import { Arena } from "./arena.ts";
import { noteShortage } from "./descriptor-shortage.ts";
import { HOST_CALLS } from "./host-calls.ts";
import { close, pwrite, syscall } from "./libc.ts";
import { O_CLOEXEC, O_NONBLOCK, O_RDWR, OPEN_HOW_SIZE, RESOLVE_IN_ROOT, RESOLVE_NO_SYMLINKS } from "./linux.ts";
import { lastStat, statDescriptor } from "./path-stat.ts";

const PATH = 32;
const arena = new Arena(1024);

interface Kept {
  readonly file: WritableFile;
  /** Ours, of the file in the program's tree. */
  readonly fd: number;
  readonly inode: number;
  readonly deviceMajor: number;
  readonly deviceMinor: number;
}

/**
 * The files of the program's tree that the host serves when they are opened for writing. Programs read them as they are, so that what they hold is
 * kept as the host says it.
 */
export class WritableFiles {
  readonly #kept: readonly Kept[];
  readonly #names: ReadonlySet<string>;

  /** @param root a descriptor of the program's root directory */
  constructor(root: number, files: readonly WritableFile[]) {
    this.#kept = files.flatMap((file) => {
      const fd = openBelow(root, file.path);
      if (fd < 0 || statDescriptor(fd) < 0) return [];
      const { inode, deviceMajor, deviceMinor } = lastStat;
      return [{ file, fd, inode, deviceMajor, deviceMinor }];
    });
    this.#names = new Set(this.#kept.map(({ file }) => baseName(file.path)));
  }

  /** Whether a path may be one of them: told by its last name, because most are not. */
  mayBe(path: string): boolean {
    return this.#names.has(baseName(path));
  }

  /** The one that the last statx() saw. */
  findLastStat(): WritableFile | undefined {
    const { inode, deviceMajor, deviceMinor } = lastStat;
    return this.#kept.find(
      (kept) => kept.inode === inode && kept.deviceMajor === deviceMajor && kept.deviceMinor === deviceMinor,
    )?.file;
  }

  /** What programs read in it from now on. */
  show(path: string, text: string): void {
    const kept = this.#kept.find(({ file }) => file.path === path);
    if (!kept) return;
    const bytes = new TextEncoder().encode(text);
    pwrite(kept.fd, bytes, 0);
    syscall(HOST_CALLS.ftruncate, kept.fd, bytes.length);
  }

  close(): void {
    for (const { fd } of this.#kept) close(fd);
  }
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

function openBelow(root: number, path: string): number {
  arena.setU64(0, O_RDWR | O_NONBLOCK | O_CLOEXEC);
  arena.setU64(8, 0);
  arena.setU64(16, RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS);
  const name = arena.text(PATH, path.slice(1));
  return noteShortage(syscall(HOST_CALLS.openat2, root, name, arena.address, OPEN_HOW_SIZE));
}
