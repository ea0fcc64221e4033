import { fail } from "../../kernel/errors.ts";
import { IOMMUFD_PAGE_RESP_INVALID, IOMMUFD_PAGE_RESP_SUCCESS } from "../../uapi/iommufd-viommu.ts";
import { IommufdObject } from "../object-table.ts";

/** A page request that a device made (struct iopf_group): each is a group of its own. */
export interface PageRequest {
  /** The attachment that it was made under: with its end the request is answered. */
  readonly handle: object;
  /** The object's id of the device that was attached. */
  readonly deviceId: number;
  /** Undefined for requests without one. */
  readonly pasid: number | undefined;
  /** The device hears the PASID with the answer, and says so in the request. */
  readonly responseNeedsPasid: boolean;
  /** The device's number for it: 9 bits. */
  readonly group: number;
  /** IOMMU_PGFAULT_PERM_* */
  readonly permissions: number;
  /** First byte of the page. */
  readonly address: bigint;
  /** The device hears: the page is there, or will not be. */
  answered(granted: boolean): void;
}

/** Where page requests of devices go (struct iommufd_fault). */
export class FaultQueue extends IommufdObject {
  /** Not read yet, oldest first. */
  readonly #waiting: PageRequest[] = [];
  /** Read and not answered yet, by cookie. */
  readonly #read = new Map<number, PageRequest>();
  readonly #watchers = new Set<() => void>();

  get label(): string {
    return `fault queue ${this.id}`;
  }

  /** The oldest request that nobody has read. */
  get next(): PageRequest | undefined {
    return this.#waiting[0];
  }

  /** Calls `changed` whenever a request came or went; returns how to stop that. */
  watch(changed: () => void): () => void {
    this.#watchers.add(changed);
    return () => this.#watchers.delete(changed);
  }

  /** A device asks (eventq.c:iommufd_fault_iopf_handler). */
  raise(request: PageRequest): void {
    this.#waiting.push(request);
    this.#changed();
  }

  /** The lowest free cookie: what the next request that is read gets (xa_alloc() from 1 on). */
  get freeCookie(): number {
    let cookie = 1;
    while (this.#read.has(cookie)) cookie++;
    return cookie;
  }

  /** The next request was read under a cookie. */
  take(cookie: number): void {
    this.#read.set(cookie, this.#waiting.shift()!);
    this.#changed();
  }

  /** The answer to a request. EINVAL for what is no answer, or answers nothing. */
  respond(cookie: number, code: number): void {
    if (code !== IOMMUFD_PAGE_RESP_SUCCESS && code !== IOMMUFD_PAGE_RESP_INVALID) {
      fail("EINVAL", `code ${code} of a response is unknown (0 success, 1 invalid)`);
    }
    const request =
      this.#read.get(cookie) ?? fail("EINVAL", `no page request with cookie ${cookie} waits for a response`);
    this.#read.delete(cookie);
    request.answered(code === IOMMUFD_PAGE_RESP_SUCCESS);
  }

  /** An attachment is over: what was asked for under it is refused (eventq.c:iommufd_auto_response_faults). */
  refuseAll(handle: object): void {
    const refused = this.#waiting.filter((request) => request.handle === handle);
    const kept = this.#waiting.filter((request) => request.handle !== handle);
    this.#waiting.splice(0, this.#waiting.length, ...kept);
    for (const [cookie, request] of this.#read) {
      if (request.handle !== handle) continue;
      this.#read.delete(cookie);
      refused.push(request);
    }
    for (const request of refused) request.answered(false);
    if (refused.length > 0) this.#changed();
  }

  /** eventq.c:iommufd_fault_destroy. No attachment is left by then, so that nothing waits. */
  destroy(): void {
    this.#watchers.clear();
  }

  #changed(): void {
    for (const changed of this.#watchers) changed();
  }
}
