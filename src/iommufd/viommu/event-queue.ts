import { IOMMU_VEVENTQ_FLAG_LOST_EVENTS } from "../../uapi/iommufd-viommu.ts";
import { IommufdObject } from "../object-table.ts";

/** INT_MAX: sequence numbers start again behind it. */
const LAST_SEQUENCE = 2 ** 31 - 1;
const NO_BODY = new Uint8Array();

/** A virtual IOMMU, as its queues know it. */
export interface QueueOwner {
  users: number;
  addQueue(queue: EventQueue): void;
  removeQueue(queue: EventQueue): void;
}

/** An event as it is read: a head, and what the IOMMU's driver says behind it. */
export interface VirtualEvent {
  /** IOMMU_VEVENTQ_FLAG_* */
  readonly flags: number;
  readonly sequence: number;
  readonly body: Uint8Array;
}

/** Where events of one type of a virtual IOMMU go (struct iommufd_veventq). */
export class EventQueue extends IommufdObject {
  readonly type: number;
  readonly #viommu: QueueOwner;
  readonly #depth: number;
  /** Oldest first. The mark of lost events takes none of the depth. */
  readonly #waiting: VirtualEvent[] = [];
  readonly #watchers = new Set<() => void>();
  #sequence = 0;

  /** @param depth how many events wait at most */
  constructor(viommu: QueueOwner, type: number, depth: number) {
    super();
    this.#viommu = viommu;
    this.type = type;
    this.#depth = depth;
    viommu.users++;
    viommu.addQueue(this);
  }

  get label(): string {
    return `event queue ${this.id}`;
  }

  /** The oldest that nobody has read. */
  get next(): VirtualEvent | undefined {
    return this.#waiting[0];
  }

  /** The next one was read. */
  take(): void {
    this.#waiting.shift();
    this.#changed();
  }

  watch(changed: () => void): () => void {
    this.#watchers.add(changed);
    return () => this.#watchers.delete(changed);
  }

  /**
   * Notes an event, or that it was lost (iommufd_private.h:iommufd_vevent_handler). A mark of lost events that is the
   * last goes: another one takes its place, or the number of the event tells.
   */
  report(body: Uint8Array): void {
    const waiting = this.#waiting;
    const isMarked = isMark(waiting.at(-1));
    const isFull = waiting.length - (isMarked ? 1 : 0) === this.#depth;
    if (isMarked) waiting.pop();
    const sequence = this.#sequence;
    waiting.push(
      isFull ? { flags: IOMMU_VEVENTQ_FLAG_LOST_EVENTS, sequence, body: NO_BODY } : { flags: 0, sequence, body },
    );
    this.#sequence = sequence === LAST_SEQUENCE ? 0 : sequence + 1;
    this.#changed();
  }

  destroy(): void {
    this.#watchers.clear();
    this.#viommu.removeQueue(this);
    this.#viommu.users--;
  }

  #changed(): void {
    for (const changed of this.#watchers) changed();
  }
}

function isMark(event: VirtualEvent | undefined): boolean {
  return event !== undefined && (event.flags & IOMMU_VEVENTQ_FLAG_LOST_EVENTS) !== 0;
}
