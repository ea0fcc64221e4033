import type { Request } from "./queues.ts";
import * as status from "./status.ts";

/** Types of events; the log page that tells more of each; what is the matter. */
export const ERROR_EVENT = { type: 0, page: 0x01 } as const;
export const HEALTH_EVENT = { type: 1, page: 0x02 } as const;
export const NOTICE_EVENT = { type: 2, page: 0x04 } as const;
export const INVALID_DOORBELL_REGISTER = 0;
export const INVALID_DOORBELL_VALUE = 1;
export const TEMPERATURE_THRESHOLD = 1;
export const NAMESPACES_CHANGED = 0;

interface EventSource {
  readonly type: number;
  readonly page: number;
}

interface Event extends EventSource {
  readonly info: number;
}

/** As they are saved. */
export interface EventsState {
  /** Commands, 64 bytes each in hex. */
  readonly requests: readonly string[];
  readonly kept: readonly Event[];
  readonly told: readonly number[];
}

/** The most events that are kept for requests to come. */
const MOST_KEPT = 64;

/** Asynchronous events: what happens, and the requests of the host that are completed by it. */
export class Events {
  readonly #complete: (request: Request, status: number, result: number) => void;
  readonly #most: number;
  #requests: Request[] = [];
  #kept: Event[] = [];
  /** Types of which one was told, and the host has not read the log page since. */
  readonly #told = new Set<number>();

  /**
   * @param most requests that may be outstanding
   * @param complete completes a request
   */
  constructor(most: number, complete: (request: Request, status: number, result: number) => void) {
    this.#most = most;
    this.#complete = complete;
  }

  get hasRequests(): boolean {
    return this.#requests.length > 0;
  }

  /** Keeps a request; returns a status when there are too many. */
  add(request: Request): number {
    if (this.#requests.length >= this.#most) return status.EVENT_LIMIT_EXCEEDED;
    this.#requests.push(request);
    this.#tell();
    return status.SUCCESS;
  }

  /** Something has happened. */
  raise({ type, page }: EventSource, info: number): void {
    if (this.#kept.length === MOST_KEPT) return;
    this.#kept.push({ type, page, info });
    this.#tell();
  }

  /** The host has read the log page: events of the type are told again. */
  clear({ type }: EventSource): void {
    this.#told.delete(type);
    this.#kept = this.#kept.filter((event) => event.type !== type);
  }

  /** Gives up a request; false when there is none with that identifier. */
  abort(id: number): boolean {
    const index = this.#requests.findIndex(({ command }) => command.id === id);
    if (index < 0) return false;
    const [request] = this.#requests.splice(index, 1);
    this.#complete(request!, status.ABORT_REQUESTED, 0);
    return true;
  }

  reset(): void {
    this.#requests = [];
    this.#kept = [];
    this.#told.clear();
  }

  save(): EventsState {
    const requests = this.#requests.map(({ command }) => Buffer.from(command.bytes).toString("hex"));
    return { requests, kept: this.#kept, told: [...this.#told] };
  }

  /** @param request makes a request again, of the bytes of its command */
  restore({ requests, kept, told }: EventsState, request: (command: Uint8Array) => Request): void {
    this.reset();
    this.#requests = requests.map((bytes) => request(Buffer.from(bytes, "hex")));
    this.#kept = [...kept];
    for (const type of told) this.#told.add(type);
  }

  /** One event of a type at a time, by the request that came last (recorded: nv_aer_error_events). */
  #tell(): void {
    for (const event of [...this.#kept]) {
      if (this.#requests.length === 0) return;
      if (this.#told.has(event.type)) continue;
      this.#kept.splice(this.#kept.indexOf(event), 1);
      this.#told.add(event.type);
      this.#complete(this.#requests.pop()!, status.SUCCESS, event.type | (event.info << 8) | (event.page << 16));
    }
  }
}
