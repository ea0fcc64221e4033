import { loadKoffi } from "../../native/load-koffi.ts";
import type { Port, Wire } from "./wire.ts";

/** The host's network that a port is to be on is not to be had; the message says why in a line. */
export class WireError extends Error {
  override readonly name = "WireError";
}

/** How often a descriptor is looked at, milliseconds: nobody waits for it. */
const INTERVAL_MS = 1;
/** Frames that are taken in one go, far less than a millisecond's. */
const MOST = 32;
const LONGEST = 65_536;

/** Makes the read of a descriptor that does not wait: bytes, or a negative number for none. */
export type ReadFrame = (into: Uint8Array) => number;

/**
 * Something of this machine's network behind a descriptor that gives and takes whole frames. What it cannot take just
 * now is lost, as on any network.
 */
export class DescriptorWire implements Wire {
  readonly #write: (frame: Uint8Array) => void;
  readonly #timer: NodeJS.Timeout;

  /**
   * @param resumed called after frames that came by themselves
   */
  constructor(port: Port, read: ReadFrame, write: (frame: Uint8Array) => void, resumed: () => void) {
    this.#write = write;
    const buffer = new Uint8Array(LONGEST);
    const look = () => {
      let count = 0;
      for (; count < MOST; count++) {
        const length = read(buffer);
        if (length <= 0) break;
        port.deliver(buffer.slice(0, length));
      }
      if (count > 0) resumed();
    };
    this.#timer = setInterval(look, INTERVAL_MS).unref();
  }

  send(frame: Uint8Array): void {
    this.#write(frame);
  }

  close(): void {
    clearInterval(this.#timer);
  }
}

const library = () => loadKoffi().load(null);

/** A call of the C library whose arguments are numbers and buffers. */
export function call(prototype: string): (...args: readonly unknown[]) => number {
  return library().func(prototype) as (...args: readonly unknown[]) => number;
}

/** Name of the error that the last call left. */
export function lastError(): string {
  const number = loadKoffi().errno() as number;
  const name = Object.entries(ERRORS).find(([, value]) => value === number)?.[0];
  return name ?? `errno ${number}`;
}

const ERRORS = { EPERM: 1, ENOENT: 2, EACCES: 13, EBUSY: 16, ENODEV: 19, EINVAL: 22, EADDRINUSE: 98 } as const;
