import { fail, hex, PutOffError } from "../kernel/errors.ts";
import type { Word } from "../kernel/word.ts";
import type { Steps } from "./aside/aside-jobs.ts";
import type { EarlyLooks } from "./early-looks.ts";
import type { HeldMemory } from "./held-memory.ts";
import type { Listener } from "./listener.ts";
import { PAGE_SIZE } from "./memory-map.ts";
import { READ_AT, READ_MOST, remoteRead } from "./remote-read.ts";
import type { SlowLooks } from "./slow-looks.ts";
import { copyFromThread, longString, stringFromThread, unreadable } from "./user-copy.ts";

/** The memory that a caller lives in, and whose it is. */
export interface Owner {
  /** Its process. Only asked for when a look may take long, as is the other. */
  client(): number;
  /** The memory itself, which answers at once: what has to be waited for it refuses. */
  held(): HeldMemory | undefined;
}

/**
 * What the caller hands to its call by address. It is looked at by the caller's number, and counts when the caller
 * waits still afterwards: a number is nobody else's before that.
 */
export class CallerMemory {
  readonly #listener: Listener;
  readonly #looks: SlowLooks;
  readonly #early: EarlyLooks;
  /** The call changes nothing, or proves its caller itself before it does: what it reads need not be proved. */
  isHarmless = false;
  /** Something was found by the caller's number that has not been proved yet. */
  isUnproved = false;

  constructor(listener: Listener, looks: SlowLooks, early: EarlyLooks) {
    this.#listener = listener;
    this.#looks = looks;
    this.#early = early;
  }

  /**
   * copy_from_user(): EFAULT when any byte cannot be read.
   */
  read(owner: Owner, tid: number, address: Word, into: Uint8Array, length: number): void {
    if (!this.#looks.required || typeof address !== "number") copyFromThread(tid, address, into, length);
    else if (length > 0 && !this.#quick(owner)?.copyIn(address, into, length)) {
      const bytes = this.#looks.take(owner.client(), `read ${address} ${length}`, readSteps(tid, address, length));
      if (bytes === undefined) unreadable(address, length);
      into.set(bytes);
    }
    if (!this.isHarmless) this.prove();
  }

  /** strndup_user(): EINVAL when `max` bytes hold no NUL, EFAULT as above. */
  string(owner: Owner, tid: number, address: Word, max: number, encoding: "utf8" | "latin1" = "utf8"): string {
    let text: string | undefined;
    if (!this.#looks.required || typeof address !== "number") text = stringFromThread(tid, address, max, encoding);
    else {
      const quick = this.#quick(owner)?.copyString(address, max);
      const found =
        quick ?? this.#looks.take(owner.client(), `string ${address} ${max}`, stringSteps(tid, address, max));
      if (found === "unreadable") fail("EFAULT", `no string can be read at ${hex(address)}`);
      if (found === "too long") longString(address, max);
      text = found.toString(encoding);
    }
    if (!this.isHarmless) this.prove();
    return text;
  }

  /** Where a look into held memory may be taken first. */
  #quick(owner: Owner): HeldMemory | undefined {
    if (this.#looks.forHeldToo || this.#looks.isBlocked) return undefined;
    const held = owner.held();
    return held?.map.isQuick ? held : undefined;
  }

  /** As prove(), of what was found out before anything else was: which file the call is about. */
  proveFile(): void {
    if (!this.#early.isValid) this.prove();
  }

  /** Throws when the caller is gone: what was found by its number may be another's. Nobody hears it then. */
  prove(): void {
    this.isUnproved = false;
    if (!this.#listener.isValid()) throw new PutOffError("EINTR", "the caller is gone");
  }
}

/** The bytes, or undefined when one cannot be read. */
function readSteps(tid: number, address: number, length: number): Steps<Buffer | undefined> {
  return function* (room) {
    const bytes = Buffer.alloc(length);
    for (let done = 0; done < length; done += READ_MOST) {
      const part = Math.min(length - done, READ_MOST);
      if ((yield remoteRead(room, tid, address + done, part)) !== part) return undefined;
      room.bytes.copy(bytes, done, READ_AT, READ_AT + part);
    }
    return bytes;
  };
}

function stringSteps(tid: number, address: number, max: number): Steps<Buffer | "unreadable" | "too long"> {
  return function* (room) {
    const parts: Buffer[] = [];
    for (let done = 0; done < max; ) {
      const part = Math.min(max - done, PAGE_SIZE - ((address + done) % PAGE_SIZE));
      if ((yield remoteRead(room, tid, address + done, part)) !== part) return "unreadable";
      const bytes = Buffer.from(room.bytes.subarray(READ_AT, READ_AT + part));
      const end = bytes.indexOf(0);
      parts.push(end < 0 ? bytes : bytes.subarray(0, end));
      if (end >= 0) return Buffer.concat(parts);
      done += part;
    }
    return "too long";
  };
}
