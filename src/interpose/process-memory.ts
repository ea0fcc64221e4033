import { AddressSpace, type SharedFile } from "../kernel/address-space.ts";
import { fail, hex } from "../kernel/errors.ts";
import { monotonic } from "../kernel/monotonic.ts";
import type { Word } from "../kernel/word.ts";
import { ERRNO } from "../uapi/errno.ts";
import type { CallerMemory, Owner } from "./caller-memory.ts";
import type { EarlyLooks } from "./early-looks.ts";
import { filePage } from "./file-memory.ts";
import { handOver } from "./hand-over.ts";
import { HeldMemory, type Survey } from "./held-memory.ts";
import type { Mapping } from "./memory-map.ts";
import { PAGE_SIZE } from "./memory-map.ts";
import { readProc } from "./proc-file.ts";
import { type FilePlace, SharedMappings, type SharedPlace } from "./shared-mappings.ts";
import type { SlowLooks } from "./slow-looks.ts";
import { copyToThread, unwritable } from "./user-copy.ts";

/** Whether a mapped file is the memory of one of our devices. */
export type DeviceMemoryTest = (inode: number, deviceMajor: number, deviceMinor: number) => boolean;

/** What the memories of all processes need. */
export interface MemoryTools {
  readonly caller: CallerMemory;
  readonly looks: SlowLooks;
  readonly early: EarlyLooks;
  readonly isDeviceMemory: DeviceMemoryTest;
  /** Another process that maps a byte of a file. */
  readonly sharing: (place: FilePlace) => SharedPlace | undefined;
}

/**
 * How long all DMA of a process is waited for, in milliseconds, to memory that has to be brought; then it must come
 * almost at once.
 */
const PATIENCE_MS = 20;
const SHORT_PATIENCE_MS = 0.5;
/** Pages that are looked at one by one. */
const FEW_PAGES = 16;

const oneByte = new Uint8Array(1);
let nextNumber = 0;

/**
 * The memory of one process. What a call reads is read by its caller's number, and proved afterwards
 * (caller-memory.ts); what is written to it, and all DMA, goes through the memory itself, held from its first call on:
 * so it never reaches another process, whatever becomes of this one.
 */
export class ProcessMemory extends AddressSpace {
  override readonly pageSize = PAGE_SIZE;
  /** Programs of this machine, whatever the host's arch is: there are x86-64 and arm64. */
  override readonly littleEndian = true;
  /** A thread that lives in this memory: the one that makes the call in hand. */
  caller: number;
  readonly #pid: number;
  readonly #tools: MemoryTools;
  readonly #owner: Owner = { client: () => this.#pid, held: () => this.#held };
  #held: HeldMemory | undefined;
  readonly #shared = new SharedMappings();
  /** What DMA may still wait for pages, in milliseconds. */
  #patience = PATIENCE_MS;
  /** Tells it from all others, also from one that a process of the same number had. */
  readonly #number = nextNumber++;
  #pins = 0;
  #nextPin = 0;
  #isRetired = false;

  /** Takes hold of the memory of `caller`, which waits for an answer. Throws when it is gone. */
  constructor(pid: number, caller: number, tools: MemoryTools) {
    super();
    this.#pid = pid;
    this.caller = caller;
    this.#tools = tools;
    this.#held = HeldMemory.open(caller);
    try {
      tools.caller.prove();
    } catch (error) {
      this.#held?.close();
      throw error;
    }
  }

  override copyIn(address: Word, into: Uint8Array, length: number, words?: Int32Array): void {
    const { caller, early } = this.#tools;
    const held = this.#held;
    if (held?.isOpen && early.read(held, address, into, length, words)) return;
    caller.read(this.#owner, this.caller, address, into, length);
    if (held?.isOpen) early.noteRead(held, address, length);
  }

  override copyString(address: Word, max: number): string {
    return this.#tools.caller.string(this.#owner, this.caller, address, max);
  }

  override copyOut(address: Word, from: Uint8Array, length: number): void {
    const held = this.#held;
    const { looks, caller } = this.#tools;
    const { early } = this.#tools;
    early.wrote();
    // Only kernel addresses are beyond what a number holds.
    if (typeof address !== "number") unwritable(address, length);
    if (held === undefined || !held.map.isQuick) {
      // By number there is a moment, behind this, in which a caller would have to die and its number to go once around.
      caller.prove();
      copyToThread(this.caller, address, from, length);
    } else if (early.isWritable(held, address, length) && held.write(address, from, length) === length) {
      return;
    } else if (!looks.isBlocked) {
      // The map is asked first because /proc/PID/mem writes to what is protected, too. Another thread of the program
      // may protect the memory in between: its own, private copy of it is written then, which hurts nobody.
      const done = looks.forHeldToo ? 0 : held.copyOut(address, from, length);
      if (done === length) return;
      if (!looks.required) unwritable(address, length);
      looks.write(this.#pid, held.copySteps(this.caller, address + done, Uint8Array.from(from.subarray(done, length))));
    }
  }

  /**
   * check_vma_flags() and the faulting-in of pin_user_pages() (mm/gup.c), from outside: a mapping must be there and
   * allow the access, and a page behind the end of a file, or one that only a driver can reach, does not fault in.
   */
  override pin(vaddr: number, pages: number, write: boolean, budget: number): number {
    this.charged = 0;
    if (this.#tools.caller.isUnproved) this.#tools.caller.prove();
    const held = this.#held;
    if (held === undefined) return -ERRNO.EFAULT;
    const survey = this.#survey(held, vaddr, pages);
    if (survey === "waits") return -ERRNO.EFAULT;
    held.map.refresh();
    const end = vaddr + pages * PAGE_SIZE;
    let charged = 0;
    for (let at = vaddr; at < end; ) {
      const mapping = survey ? surveyed(survey, at) : (this.#tools.early.find(held, at) ?? held.map.find(at));
      if (mapping === undefined || !(write ? mapping.writable : mapping.readable)) return -ERRNO.EFAULT;
      const stop = Math.min(mapping.end, end);
      const count = (stop - at) / PAGE_SIZE;
      const { inode, deviceMajor, deviceMinor } = mapping;
      const isFile = inode !== 0;
      if (isFile && this.#tools.isDeviceMemory(inode, deviceMajor, deviceMinor)) {
        at = stop;
        continue;
      }
      // Pages are pinned before they are counted, so one that is not there comes before a budget that it would exceed.
      if (isFile && mapping.shared) this.#shared.note(mapping);
      const over = charged + count > budget;
      if (isFile) {
        const probe = over ? at + Math.max(0, budget - charged) * PAGE_SIZE : stop - PAGE_SIZE;
        const isThere = survey ? probe < vaddr + survey.readable * PAGE_SIZE : held.read(probe, oneByte) === 1;
        if (!isThere) return -ERRNO.EFAULT;
      }
      if (over) return -ERRNO.ENOMEM;
      charged += count;
      at = stop;
    }
    this.charged = charged;
    this.#pins++;
    return this.#nextPin++;
  }

  override handOver(vaddr: number, bytes: number): SharedFile | undefined {
    const held = this.#held;
    if (held === undefined || this.#isRetired) return undefined;
    return handOver(held, this.#pid, vaddr, bytes);
  }

  override unpin(_pin: number): void {
    this.#pins--;
    if (this.#isRetired && this.#pins === 0) this.#close();
  }

  override readPinned(_pin: number, vaddr: number, offset: number, into: Uint8Array): void {
    const address = vaddr + offset;
    this.#move(address, into.length, (held, at, done, length) => held.read(at, rest(into, done, length)), {
      aside: (held, at) => held.readSteps(this.#pid, at, into),
    });
  }

  override writePinned(_pin: number, vaddr: number, offset: number, from: Uint8Array): void {
    const address = vaddr + offset;
    this.#move(address, from.length, (held, at, done, length) => held.write(at, rest(from, done, length)), {
      aside: (held, at) => held.writeSteps(this.#pid, at, from),
    });
  }

  /** By what the mapping says; a kernel without that question (before 6.11) leaves all pages ordinary. */
  override hugePageShift(vaddr: number): number {
    const size = this.#held?.map.find(vaddr)?.pageSize ?? 0;
    return size > PAGE_SIZE ? Math.log2(size) : 0;
  }

  /**
   * By the mapping that is there: the file's page of a shared one, else a page of this memory's own. A private page
   * that a fork shares until somebody writes to it counts as two.
   */
  override pageIdentity(vaddr: number): string | undefined {
    const mapping = this.#held?.map.find(vaddr);
    if (!mapping) return undefined;
    const { start, shared, offset, inode, deviceMajor, deviceMinor } = mapping;
    if (shared && inode !== 0) return filePage(deviceMajor, deviceMinor, inode, offset + vaddr - start);
    return `${this.#number}@${Math.floor(vaddr / PAGE_SIZE)}`;
  }

  #move(
    address: number,
    length: number,
    part: (held: HeldMemory, at: number, done: number, length: number) => number,
    { aside }: { aside: (held: HeldMemory, at: number) => ReturnType<HeldMemory["readSteps"]> },
  ): void {
    const held = this.#held;
    const { looks } = this.#tools;
    let done = 0;
    while (done < length && !looks.forHeldToo) {
      const count = held === undefined ? 0 : part(held, address + done, done, length - done);
      if (count <= 0) break;
      done += count;
    }
    while (done < length && !looks.required) {
      const other = this.#elsewhere(address + done);
      const count = other ? part(other.held, other.address, done, Math.min(other.length, length - done)) : 0;
      if (count <= 0) break;
      done += count;
    }
    if (done === length) return;
    if (held === undefined || !looks.required) fail("EFAULT", `the memory at ${hex(address + done)} is gone`);
    const tryAside = (from: HeldMemory, at: number) => {
      const start = monotonic();
      const moved = looks.move(this.#pid, aside(from, at), Math.max(this.#patience, SHORT_PATIENCE_MS));
      this.#patience -= monotonic() - start;
      return moved;
    };
    if (tryAside(held, address)) return;
    const other = this.#elsewhere(address);
    if (other && other.length >= length && tryAside(other.held, other.address)) return;
    fail("EFAULT", `the memory at ${hex(address)} is gone, or does not come`);
  }

  /** Where another process maps the same memory, for what this process has left with its end. */
  #elsewhere(address: number): SharedPlace | undefined {
    const place = this.#shared.find(address);
    return place && this.#tools.sharing(place);
  }

  /** Where memory may wait: the range as it was found aside, all of it being there by then. */
  #survey(held: HeldMemory, vaddr: number, pages: number): Survey | "waits" | undefined {
    const { looks } = this.#tools;
    if (!looks.required || !held.map.isQuick) return undefined;
    if (!looks.forHeldToo && pages <= FEW_PAGES && held.areThere(vaddr, pages)) return undefined;
    const steps = held.surveySteps(this.caller, vaddr, pages);
    try {
      return looks.take(this.#pid, `pin ${vaddr} ${pages}`, steps);
    } catch {
      return "waits";
    }
  }

  /** VmLck: pages under mlock(). The model's own are not in it, because the real kernel knows nothing of them. */
  override foreignLockedPages(): number {
    const kilobytes = /^VmLck:\s+(\d+) kB/m.exec(readProc(this.caller, "status") ?? "")?.[1] ?? 0;
    return Math.ceil((Number(kilobytes) * 1024) / PAGE_SIZE);
  }

  /** The memory itself, as long as it is held. */
  get held(): HeldMemory | undefined {
    return this.#held;
  }

  /** Whether a thread lives in it, after an execve() of its process that may have failed. */
  isMemoryOf(tid: number): boolean {
    const held = this.#held;
    return held !== undefined && this.#tools.looks.take(this.#pid, `exec ${tid}`, held.sameSteps(tid));
  }

  /** The process is gone, or has other memory now. What is pinned stays held until it is unpinned. */
  retire(): void {
    this.#isRetired = true;
    if (this.#pins === 0) this.#close();
  }

  #close(): void {
    this.#held?.close();
    this.#held = undefined;
  }
}

function rest(bytes: Uint8Array, done: number, length: number): Uint8Array {
  return done === 0 && length === bytes.length ? bytes : bytes.subarray(done, done + length);
}

function surveyed({ mappings }: Survey, address: number): Mapping | undefined {
  return mappings.find(({ end }) => end > address);
}
