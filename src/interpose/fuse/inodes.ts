import type { HostEntry } from "../../kernel/host-files.ts";
import { FUSE_ROOT_ID } from "./protocol.ts";

/** What the kernel remembers under a number. */
export interface Inode {
  readonly id: number;
  /** Of the host; "" for its root. */
  readonly path: string;
  readonly kind: HostEntry["kind"];
  /** How often the kernel was told of it and has not said that it forgets it. */
  lookups: number;
}

/** The files that the kernel knows by number. A path that comes back as something else gets another number. */
export class Inodes {
  readonly #byId = new Map<number, Inode>();
  readonly #byPath = new Map<string, Inode>();
  #next = FUSE_ROOT_ID + 1;

  constructor() {
    this.#byId.set(FUSE_ROOT_ID, { id: FUSE_ROOT_ID, path: "", kind: "directory", lookups: 1 });
  }

  get(id: number): Inode | undefined {
    return this.#byId.get(id);
  }

  /** The kernel is told of a file. */
  tell(path: string, kind: HostEntry["kind"]): Inode {
    let inode = this.#byPath.get(path);
    if (inode?.kind !== kind) {
      inode = { id: this.#next++, path, kind, lookups: 0 };
      this.#byId.set(inode.id, inode);
      this.#byPath.set(path, inode);
    }
    inode.lookups++;
    return inode;
  }

  /** The number of a file that the kernel may not know yet, for a directory's list. */
  numberOf(path: string): number {
    return this.#byPath.get(path)?.id ?? 1;
  }

  forget(id: number, count: number): void {
    const inode = this.#byId.get(id);
    if (inode === undefined || id === FUSE_ROOT_ID) return;
    inode.lookups -= count;
    if (inode.lookups > 0) return;
    this.#byId.delete(id);
    if (this.#byPath.get(inode.path) === inode) this.#byPath.delete(inode.path);
  }
}
