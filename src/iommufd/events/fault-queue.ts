import { fail } from "../../kernel/errors.ts";
import { FileDescription } from "../../kernel/file-description.ts";
import type { Task } from "../../kernel/task.ts";
import type { Word } from "../../kernel/word.ts";
import { IommuHwptPageResponse, IommuHwptPgfault } from "../../uapi/iommufd-viommu.ts";
import type { IommufdContext } from "../context.ts";
import { IommufdObject } from "../object-table.ts";

/** Where page requests of devices go (struct iommufd_fault). No device here makes any, so it stays empty. */
export class FaultQueue extends IommufdObject {
  get label(): string {
    return `fault queue ${this.id}`;
  }

  destroy(): void {}
}

/** The descriptor of a fault queue: requests are read from it, responses written to it. It keeps the queue, and its iommufd. */
export class FaultQueueFile extends FileDescription {
  override readonly kind = "foreign";
  readonly #context: IommufdContext;
  readonly #queue: FaultQueue;

  constructor(context: IommufdContext, queue: FaultQueue) {
    super();
    this.#context = context;
    this.#queue = queue;
    context.get();
    queue.users++;
  }

  override get label(): string {
    return this.#queue.label;
  }

  /** eventq.c:iommufd_fault_fops_read */
  override read(_task: Task, _address: Word, count: number, _offset: Word): number {
    if (count % IommuHwptPgfault.size !== 0) {
      fail("ESPIPE", `requests are read whole, ${IommuHwptPgfault.size} bytes each`);
    }
    return 0;
  }

  /** eventq.c:iommufd_fault_fops_write */
  override write(_task: Task, _address: Word, count: number, _offset: Word): number {
    if (count % IommuHwptPageResponse.size !== 0) {
      fail("ESPIPE", `responses are written whole, ${IommuHwptPageResponse.size} bytes each`);
    }
    if (count > 0) fail("EINVAL", "no page request waits for a response");
    return 0;
  }

  override release(): void {
    this.#queue.users--;
    this.#context.put();
  }
}
