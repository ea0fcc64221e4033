import type { ModelCall } from "../watch/watcher.ts";
import { readBytes } from "./call-argument.ts";

/** Of what is written, so much is recorded whatever the model does with it. Bytes. */
const SHOWN = 64;

/** The buffer of a read or a write that the model is carrying out. */
export class AccessInHand {
  readonly #start: number;
  readonly #count: number;
  /** What the buffer holds, as far as the model has read or written it. */
  #bytes: Uint8Array;
  /** How many bytes at the buffer's start could be accessed; undefined when all could that the model wanted. */
  fault: number | undefined;

  constructor(call: Extract<ModelCall, { op: "pread" | "pwrite" }>) {
    this.#start = Number(call.address);
    this.#count = call.count;
    const shown = call.op === "pwrite" ? Math.min(call.count, SHOWN) : 0;
    this.#bytes = readBytes(call.task!, call.address, shown).bytes;
  }

  get bytes(): Uint8Array {
    return this.#bytes;
  }

  /** The model copied bytes. Whether they are the buffer's. */
  copied(address: number, bytes: Uint8Array): boolean {
    if (!this.#has(address, bytes.length)) return false;
    const at = address - this.#start;
    if (at + bytes.length > this.#bytes.length) {
      const longer = new Uint8Array(at + bytes.length);
      longer.set(this.#bytes);
      this.#bytes = longer;
    }
    this.#bytes.set(bytes, at);
    return true;
  }

  /** The model could not copy bytes: as copied(). */
  notCopied(address: number, length: number): boolean {
    if (!this.#has(address, length)) return false;
    const at = address - this.#start;
    this.fault = Math.min(this.fault ?? at, at);
    return true;
  }

  #has(address: number, length: number): boolean {
    return address >= this.#start && address + length <= this.#start + this.#count;
  }
}
