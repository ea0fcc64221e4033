import type { AddressSpace } from "../../kernel/address-space.ts";
import { fail, hex } from "../../kernel/errors.ts";
import { CAP_IPC_LOCK, type Task } from "../../kernel/task.ts";

/** Pages that iommufds hold for each user (struct user_struct.locked_vm), in all processes. */
export type LockedByUser = Map<number, number>;

/**
 * none: no limit counts; user: the pages of all processes of a user count; process: as VFIO counts (enum iopt_pages
 * account_mode). uncounted: nothing is held, as of a dma-buf.
 */
export type AccountMode = "none" | "user" | "process" | "uncounted";

const COUNTED_BY_USER =
  " (counted by user: the default of an iommufd, IOMMU_OPTION_RLIMIT_MODE 0; mode 1 counts by process, as VFIO does)";
const COUNTED_BY_PROCESS = " (counted by process: as VFIO does, and an iommufd with IOMMU_OPTION_RLIMIT_MODE 1)";

/**
 * Whose limit pinned pages count against (the source_* fields of struct iopt_pages). All memory that a process maps for
 * the same user and in the same way has one.
 */
export class PinAccount {
  readonly mode: AccountMode;
  readonly space: AddressSpace;
  readonly #uid: number;
  readonly #locked: LockedByUser;
  /** RLIMIT_MEMLOCK in bytes, as it was when the process last had to do with these pages. */
  #memlock: number;

  constructor(task: Task, mode: AccountMode, locked: LockedByUser) {
    this.mode = mode;
    this.space = task.memory;
    this.#uid = task.euid;
    this.#locked = locked;
    this.#memlock = task.memlockLimit();
  }

  /** Whether it is that of the process, as the user that it is now. */
  isOf({ memory, euid }: Task, mode: AccountMode): boolean {
    return this.space === memory && this.#uid === euid && this.mode === mode;
  }

  /** The same for another process. */
  movedTo(task: Task): PinAccount {
    return new PinAccount(task, this.mode, this.#locked);
  }

  /** Somebody makes a call that may charge it: the limit that counts is the owner's at that time. */
  hear(task: Task): void {
    if (task.memory === this.space) this.#memlock = task.memlockLimit();
  }

  /** Counts pages; ENOMEM when they are too many (pages.c:iopt_pages_update_pinned). */
  charge(pages: number): void {
    if (this.tryCharge(pages)) return;
    if (this.mode === "user") {
      this.#refuse(this.#held, pages, `all iommufds of user ${this.#uid} have`, COUNTED_BY_USER);
    }
    this.#refuse(this.#held, pages, "the process has", COUNTED_BY_PROCESS);
  }

  /** The same; false when they are too many. */
  tryCharge(pages: number): boolean {
    if (this.mode === "uncounted") return true;
    const { space } = this;
    if (this.mode !== "none") {
      const held = this.#held;
      if (held + pages > Math.floor(this.#memlock / space.pageSize)) return false;
      if (this.mode === "user") this.#locked.set(this.#uid, held + pages);
      else space.lockedPages += pages;
    }
    space.pinnedPages += pages;
    return true;
  }

  /** Pages that count against the limit already. */
  get #held(): number {
    if (this.mode === "user") return this.#locked.get(this.#uid) ?? 0;
    return this.space.lockedPages + this.space.foreignLockedPages();
  }

  uncharge(pages: number): void {
    if (this.mode === "uncounted") return;
    const { space } = this;
    if (this.mode === "user") this.#locked.set(this.#uid, this.#locked.get(this.#uid)! - pages);
    else if (this.mode === "process") space.lockedPages -= pages;
    space.pinnedPages -= pages;
  }

  #refuse(held: number, pages: number, who: string, how: string): never {
    const bytes = (count: number) => hex(count * this.space.pageSize);
    fail(
      "ENOMEM",
      `RLIMIT_MEMLOCK is ${hex(this.#memlock)} bytes, ${who} ${bytes(held)} locked, ${bytes(pages)} more are needed${how}; raise the limit (ulimit -l) or give CAP_IPC_LOCK`,
    );
  }
}

/** The accounts of all processes that map memory. */
export class PinAccounts {
  readonly #locked: LockedByUser = new Map();
  readonly #bySpace = new WeakMap<AddressSpace, PinAccount[]>();
  #last: PinAccount | undefined;

  /** For memory that `task` maps: without limit when it has CAP_IPC_LOCK. */
  of(task: Task, mode: "user" | "process"): PinAccount {
    return this.#find(task, task.capable(CAP_IPC_LOCK) ? "none" : mode);
  }

  /** For memory of which nothing is held. */
  uncounted(task: Task): PinAccount {
    return this.#find(task, "uncounted");
  }

  #find(task: Task, mode: AccountMode): PinAccount {
    let account = this.#last?.isOf(task, mode) ? this.#last : undefined;
    if (!account) {
      const accounts = this.#bySpace.get(task.memory) ?? [];
      account = accounts.find((each) => each.isOf(task, mode));
      if (!account) {
        account = new PinAccount(task, mode, this.#locked);
        accounts.push(account);
        this.#bySpace.set(task.memory, accounts);
      }
      this.#last = account;
    }
    account.hear(task);
    return account;
  }
}
