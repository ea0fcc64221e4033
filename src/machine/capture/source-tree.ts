import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
  realpathSync,
  statSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";

/** Bytes. Files of /sys and /proc do not say how large they are. */
const FILE_MAX = 4 << 20;

function readWhole(fd: number): Buffer {
  const chunks: Buffer[] = [];
  for (let total = 0; total < FILE_MAX; ) {
    const chunk = Buffer.allocUnsafe(1 << 16);
    const length = readSync(fd, chunk, 0, chunk.length, null);
    if (length === 0) break;
    chunks.push(chunk.subarray(0, length));
    total += length;
  }
  return Buffer.concat(chunks);
}

/**
 * The files of a host below some directory: / for the one it runs on. Absence is no error: what is missing is asked for
 * by its name.
 */
export class SourceTree {
  readonly root: string;
  /** Whether this is the machine itself, so that what the process knows about it counts as well. */
  readonly isLive: boolean;
  readonly #missing: string[] = [];

  constructor(root: string) {
    this.root = root;
    this.isLive = root === "/";
  }

  /** What could not be found out, a line each. */
  get missing(): readonly string[] {
    return this.#missing;
  }

  miss(line: string): void {
    if (!this.#missing.includes(line)) this.#missing.push(line);
  }

  exists(path: string): boolean {
    return existsSync(join(this.root, path));
  }

  /** Bytes that a file says it has; undefined when it is not there. */
  size(path: string): number | undefined {
    return statSync(join(this.root, path), { throwIfNoEntry: false })?.size;
  }

  /**
   * A file without the line end; undefined when it is not there or cannot be read. tar fills what it copies of /sys up
   * with zeros, to the size that the file claims.
   */
  text(path: string): string | undefined {
    const bytes = this.bytes(path);
    if (bytes === undefined) return undefined;
    const end = this.isLive ? -1 : bytes.indexOf(0);
    return bytes.toString("utf8", 0, end < 0 ? bytes.length : end).replace(/\n$/, "");
  }

  /**
   * A file's first bytes: nothing that a host is described by has more than FILE_MAX. Only of regular files; others may
   * never end.
   */
  bytes(path: string): Buffer | undefined {
    try {
      if (!this.isLive && this.#leadsOut(path)) return undefined;
      // a FIFO would not be opened before somebody writes to it
      const fd = openSync(join(this.root, path), constants.O_RDONLY | constants.O_NONBLOCK);
      try {
        return fstatSync(fd).isFile() ? readWhole(fd) : undefined;
      } finally {
        closeSync(fd);
      }
    } catch {
      return undefined;
    }
  }

  /** Whether a link of a copied tree leads to files of this machine. */
  #leadsOut(path: string): boolean {
    const real = realpathSync(join(this.root, path));
    const root = realpathSync(this.root);
    return real !== root && !real.startsWith(`${root}/`);
  }

  /** A number as sysfs writes it, 0x hex or decimal. */
  number(path: string): number | undefined {
    const text = this.text(path)?.trim();
    return text !== undefined && /^(0x[0-9a-f]+|\d+)$/i.test(text) ? Number(text) : undefined;
  }

  /** Names in a directory, sorted; undefined when there is no such directory. */
  list(path: string): readonly string[] | undefined {
    try {
      return readdirSync(join(this.root, path)).sort();
    } catch {
      return undefined;
    }
  }

  /** The last part of a link's target: sysfs says with links what belongs together. */
  linkName(path: string): string | undefined {
    try {
      return basename(readlinkSync(join(this.root, path)));
    } catch {
      return undefined;
    }
  }

  /** The name of the directory that something really lies in. */
  parentName(path: string): string | undefined {
    try {
      return basename(dirname(realpathSync(join(this.root, path))));
    } catch {
      return undefined;
    }
  }
}
