import { fail, hex } from "../../kernel/errors.ts";
import { faultPoint } from "../../kernel/fault-points.ts";
import { FileDescription } from "../../kernel/file-description.ts";
import type { Task } from "../../kernel/task.ts";
import { AccessObject } from "../access-object.ts";
import type { IommufdContext } from "../context.ts";
import type { Ioas } from "../ioas.ts";
import type { PinnedRange, TableAccess } from "../memory/table-access.ts";

/** Pages that a test holds (selftest.c:struct selftest_access_item). */
interface Item {
  readonly iova: bigint;
  readonly last: bigint;
  readonly range: PinnedRange;
  readonly access: TableAccess;
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
  readonly #items = new Map<number, Item>();
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

  /** Holds pages; returns the number of what is held. EOPNOTSUPP, and what a driver's holding is refused with. */
  pin(
    task: Task,
    { iova, length, write }: { readonly iova: bigint; readonly length: bigint; readonly write: boolean },
  ): number {
    if (!this.#canPin) fail("EOPNOTSUPP", "this access was not made to hold pages (NEEDS_PIN_PAGES)");
    faultPoint("failslab");
    const { access } = this.object;
    const range = access.pinRange(task, iova, length, write);
    const id = this.#nextId++;
    this.#items.set(id, { iova, last: iova + length - 1n, range, access });
    return id;
  }

  /** What is held under a number; undefined when it was given back. */
  rangeOf(id: number): PinnedRange | undefined {
    return this.#items.get(id)?.range;
  }

  /** Gives back what has a number. ENOENT. */
  unpin(id: number): void {
    const item = this.#items.get(id) ?? fail("ENOENT", `nothing that is held has the number ${id}`);
    this.#items.delete(id);
    item.access.unpinRange(item.range);
  }

  /** selftest.c:iommufd_test_access_unmap */
  #giveBack(start: bigint, last: bigint): void {
    for (const [id, item] of this.#items) if (item.iova <= last && item.last >= start) this.unpin(id);
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
