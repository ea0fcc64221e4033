import type { EventFd } from "./transport.ts";

/** The eventfd of a transport, of the calls that it makes on it. */
export class OpenEventFd implements EventFd {
  readonly fd: number;
  readonly #calls: EventFdCalls;
  #isOpen = true;

  constructor(fd: number, calls: EventFdCalls) {
    this.fd = fd;
    this.#calls = calls;
  }

  take(): bigint {
    return this.#calls.take();
  }

  add(count: bigint): void {
    this.#calls.add(count);
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#calls.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Each throws SystemCallError when it fails. */
export interface EventFdCalls {
  /** 0 when nothing is in it. */
  take(): bigint;
  add(count: bigint): void;
  close(): void;
}
