import type { Transport } from "./transport.ts";

/** A file that is open through a transport. `using file = ...` closes it at the end of the block. */
export abstract class OpenFile implements Disposable {
  /** Its descriptor, for requests that this client has no method for (transport.ioctl). */
  readonly fd: number;
  /** What it is open through. */
  readonly transport: Transport;
  #isOpen = true;

  protected constructor(transport: Transport, fd: number) {
    this.transport = transport;
    this.fd = fd;
  }

  /** Closes the descriptor. Does nothing the second time: the number may be another file's by then. */
  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.transport.close(this.fd);
  }

  /** As close(). */
  [Symbol.dispose](): void {
    this.close();
  }
}
