import { AddressSpace } from "../kernel/address-space.ts";
import { fail } from "../kernel/errors.ts";
import { type EventSignal, type FileDescription, ForeignFile } from "../kernel/file-description.ts";
import type { FileTable, Task } from "../kernel/task.ts";
import type { Word } from "../kernel/word.ts";
import { ERRNO } from "../uapi/errno.ts";
import { isEvent, raiseEvent } from "../vfio-user/sockets.ts";

/** Where what a message says lies in the memory that requests are made from. */
export const PLACE = 0x1000;

/** The memory of a request: the structure of one message, which grows to what the answer has. */
export class MessageMemory extends AddressSpace {
  override readonly pageSize = 4096;
  override readonly littleEndian = true;
  bytes: Uint8Array = new Uint8Array(0);

  override copyIn(address: Word, into: Uint8Array, length: number): void {
    into.set(this.#part(address, length));
  }

  override copyOut(address: Word, from: Uint8Array, length: number): void {
    this.#part(address, length).set(from.length === length ? from : from.subarray(0, length));
  }

  override copyString(): string {
    fail("EFAULT", "no text comes with a message");
  }

  override pin(): number {
    return -ERRNO.EFAULT;
  }

  override unpin(): void {}

  override readPinned(): void {
    fail("EFAULT", "nothing is pinned");
  }

  override writePinned(): void {
    fail("EFAULT", "nothing is pinned");
  }

  #part(address: Word, length: number): Uint8Array {
    const at = Number(address) - PLACE;
    if (at < 0 || at + length > this.bytes.length) fail("EFAULT", `the message has ${this.bytes.length} bytes only`);
    return this.bytes.subarray(at, at + length);
  }
}

/** The files that a client's requests name: eventfds that came with the message in hand, and what a request opens. */
class ClientFiles implements FileTable {
  readonly #files = new Map<number, FileDescription>();
  #next = 1000;

  get(fd: number): FileDescription | undefined {
    return this.#files.get(fd);
  }

  install(file: FileDescription): number {
    const fd = this.#next++;
    this.#files.set(fd, file);
    return fd;
  }

  clear(): void {
    this.#files.clear();
  }

  /** Takes one out of the table: the caller has it from now on. */
  take(fd: number): FileDescription | undefined {
    const file = this.#files.get(fd);
    this.#files.delete(fd);
    return file;
  }
}

/** Who makes the requests that messages stand for. */
export class ClientTask implements Task {
  readonly tid = process.pid;
  readonly pid = process.pid;
  readonly name = "client";
  readonly memory = new MessageMemory();
  readonly files = new ClientFiles();
  readonly euid = 0;

  capable(): boolean {
    return true;
  }

  memlockLimit(): number {
    return Number.POSITIVE_INFINITY;
  }
}

/** An eventfd that a client has sent. Closed when nothing refers to it, by whoever was told to. */
export class ClientEvent extends ForeignFile {
  readonly #fd: number;
  readonly #close: () => void;
  #users = 0;
  #isHeld = true;

  /** @param close is called once, when the last reference is gone */
  constructor(fd: number, close: () => void) {
    super("a descriptor of the client");
    this.#fd = fd;
    this.#close = close;
  }

  override event(): EventSignal | undefined {
    if (!isEvent(this.#fd)) return undefined;
    this.#users++;
    let isReleased = false;
    return {
      signal: () => {
        if (!isReleased) raiseEvent(this.#fd);
      },
      release: () => {
        if (isReleased) return;
        isReleased = true;
        this.#users--;
        this.#drop();
      },
    };
  }

  /** The message that it came with has been dealt with. */
  override release(): void {
    this.#isHeld = false;
    this.#drop();
  }

  #drop(): void {
    if (!this.#isHeld && this.#users === 0) this.#close();
  }
}
