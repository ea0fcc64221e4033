import { AddressSpace } from "../../kernel/address-space.ts";
import type { Word } from "../../kernel/word.ts";
import { ERRNO } from "../../uapi/errno.ts";
import type { Pin, Watcher } from "./watcher.ts";

/** The memory of a process as the model sees it while somebody watches. What the model counts there is counted here. */
export class WatchedMemory extends AddressSpace {
  override readonly pageSize: number;
  override readonly littleEndian: boolean;
  readonly inner: AddressSpace;
  readonly #watchers: readonly Watcher[];
  readonly #pins = new Map<number, Pin>();

  constructor(inner: AddressSpace, watchers: readonly Watcher[]) {
    super();
    this.inner = inner;
    this.pageSize = inner.pageSize;
    this.littleEndian = inner.littleEndian;
    this.#watchers = watchers;
  }

  override foreignLockedPages(): number {
    return this.inner.foreignLockedPages();
  }

  override copyIn(address: Word, into: Uint8Array, length: number): void {
    this.#copy(address, into.subarray(0, length), "model", () => this.inner.copyIn(address, into, length));
  }

  override copyOut(address: Word, from: Uint8Array, length: number): void {
    this.#copy(address, from.subarray(0, length), "program", () => this.inner.copyOut(address, from, length));
  }

  override copyString(address: Word, max: number): string {
    const text = this.#string(address, max);
    const bytes = new TextEncoder().encode(`${text}\0`);
    for (const watcher of this.#watchers) watcher.copied?.(this.inner, Number(address), bytes, "model");
    return text;
  }

  override pin(vaddr: number, pages: number, write: boolean, budget: number): number {
    return this.#note(this.inner.pin(vaddr, pages, write, budget), vaddr, pages, write);
  }

  override pinFast(vaddr: number, pages: number, write: boolean): number {
    return this.#note(this.inner.pinFast(vaddr, pages, write), vaddr, pages, write);
  }

  override unpin(id: number): void {
    this.inner.unpin(id);
    const pin = this.#pins.get(id);
    this.#pins.delete(id);
    if (pin) for (const watcher of this.#watchers) watcher.unpinned?.(pin);
  }

  override pinnable(vaddr: number, pages: number, write: boolean): number {
    const count = this.inner.pinnable(vaddr, pages, write);
    const { inner, pageSize } = this;
    if (count < pages) {
      const refused = vaddr + count * pageSize;
      for (const watcher of this.#watchers) watcher.notPinned?.(inner, refused, pageSize, write, -ERRNO.EFAULT);
    }
    if (count > 0) this.#tellPinned({ space: inner, vaddr, length: count * pageSize, write, charged: count });
    return count;
  }

  override hugePageShift(vaddr: number): number {
    return this.inner.hugePageShift(vaddr);
  }

  override pageIdentity(vaddr: number): string | undefined {
    return this.inner.pageIdentity(vaddr);
  }

  override heldIdentity(id: number, vaddr: number, page: number): string | undefined {
    return this.inner.heldIdentity(id, vaddr, page);
  }

  override readPinned(id: number, vaddr: number, offset: number, into: Uint8Array): void {
    this.#reach(id, vaddr + offset, into, false, () => this.inner.readPinned(id, vaddr, offset, into));
  }

  override writePinned(id: number, vaddr: number, offset: number, from: Uint8Array): void {
    this.#reach(id, vaddr + offset, from, true, () => this.inner.writePinned(id, vaddr, offset, from));
  }

  #string(address: Word, max: number): string {
    try {
      return this.inner.copyString(address, max);
    } catch (error) {
      // how much of it could be read is not said; the first byte stands for it
      for (const watcher of this.#watchers) watcher.notCopied?.(this.inner, Number(address), 1, "model");
      throw error;
    }
  }

  #copy(address: Word, bytes: Uint8Array, into: "model" | "program", copy: () => void): void {
    const { inner } = this;
    let failed = true;
    try {
      copy();
      failed = false;
    } finally {
      for (const watcher of this.#watchers) {
        if (failed) watcher.notCopied?.(inner, Number(address), bytes.length, into);
        else watcher.copied?.(inner, Number(address), bytes, into);
      }
    }
  }

  #note(id: number, vaddr: number, pages: number, write: boolean): number {
    const { inner, pageSize } = this;
    this.charged = inner.charged;
    const length = pages * pageSize;
    if (id < 0) {
      for (const watcher of this.#watchers) watcher.notPinned?.(inner, vaddr, length, write, id);
      return id;
    }
    const pin = { space: inner, vaddr, length, write, charged: inner.charged };
    this.#pins.set(id, pin);
    this.#tellPinned(pin);
    return id;
  }

  #tellPinned(pin: Pin): void {
    for (const watcher of this.#watchers) watcher.pinned?.(pin);
  }

  #reach(id: number, address: number, bytes: Uint8Array, write: boolean, access: () => void): void {
    let failed = true;
    try {
      access();
      failed = false;
    } finally {
      const pin = this.#pins.get(id);
      if (pin) for (const watcher of this.#watchers) watcher.reached?.(pin, address, bytes, write, failed);
    }
  }
}
