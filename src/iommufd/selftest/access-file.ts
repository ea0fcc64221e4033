import { fail, hex } from "../../kernel/errors.ts";
import { faultPoint } from "../../kernel/fault-points.ts";
import { FileDescription } from "../../kernel/file-description.ts";
import type { Task } from "../../kernel/task.ts";
import { AccessObject } from "../access-object.ts";
import type { IommufdContext } from "../context.ts";
import type { Ioas } from "../ioas.ts";
import type { PinnedRange, TableAccess } from "../memory/table-access.ts";

/** Pages that a test holds (selftest.c:struct selftest_access_item). */
export interface HeldItem {
  readonly iova: bigint;
  readonly last: bigint;
  readonly range: PinnedRange;
  readonly access: TableAccess;
  /** Undefined until it has been checked. */
  number: number | undefined;
}

/**
 * The descriptor of an access that a test has made: it stands for a driver that uses mappings without a page table
 * (selftest.c:struct selftest_access). Its close is the driver's leaving.
 */
export class AccessFile extends FileDescription {
  override readonly kind = "foreign";
  override readonly label = "an access of iommufd's selftests";
  readonly object: AccessObject;
  readonly #canPin: boolean;
  readonly #items = new Set<HeldItem>();
  #nextId = 0;

  /** @param canPin it may hold pages: what is mapped must be whole pages then */
  constructor(context: IommufdContext, canPin: boolean) {
    super();
    this.#canPin = canPin;
    this.object = new AccessObject(context, canPin ? {} : { alignment: 1n }, (iova, length) =>
      this.#giveBack(iova, iova + length - 1n),
    );
  }

  attach(ioas: Ioas): void {
    this.object.attach(ioas);
  }

  /** Holds pages. EOPNOTSUPP, and what a driver's holding is refused with. */
  pin(
    task: Task,
    { iova, length, write }: { readonly iova: bigint; readonly length: bigint; readonly write: boolean },
  ): HeldItem {
    if (!this.#canPin) fail("EOPNOTSUPP", "this access was not made to hold pages (NEEDS_PIN_PAGES)");
    faultPoint("failslab");
    const { access } = this.object;
    const range = access.pinRange(task, iova, length, write);
    const item = { iova, last: iova + length - 1n, range, access, number: undefined };
    this.#items.add(item);
    return item;
  }

  /** What is held gets its number. */
  number(item: HeldItem): number {
    item.number = this.#nextId++;
    return item.number;
  }

  /** False once it was given back, as for an unmap. */
  holds(item: HeldItem): boolean {
    return this.#items.has(item);
  }

  /** Gives it back; nothing when it was. */
  letGo(item: HeldItem): void {
    if (this.#items.delete(item)) item.access.unpinRange(item.range);
  }

  /** Gives back what has a number. ENOENT. */
  unpin(number: number): void {
    const item = [...this.#items].find((each) => each.number === number);
    this.letGo(item ?? fail("ENOENT", `nothing that is held has the number ${number}`));
  }

  /** selftest.c:iommufd_test_access_unmap */
  #giveBack(start: bigint, last: bigint): void {
    for (const item of this.#items) if (item.iova <= last && item.last >= start) this.letGo(item);
  }

  override release(): void {
    this.object.end();
  }
}

/** selftest.c:iommufd_access_get. EBADFD for a descriptor that is no access. */
export function accessFile({ files }: Task, fd: number): AccessFile {
  const file = files.get(fd | 0);
  if (file instanceof AccessFile) return file;
  fail("EBADFD", `descriptor ${hex(fd)} is no access of iommufd's selftests but ${file?.label ?? "none"}`);
}
