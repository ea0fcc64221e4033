import fs from "node:fs";
import { monotonic } from "../../kernel/monotonic.ts";
import type { Epoll } from "../epoll.ts";
import type { InjectedFile } from "../injected-file.ts";
import type { InjectedFiles } from "../injected-files.ts";
import { mappingsOf, PAGE_SIZE } from "../memory-map.ts";
import { readProc } from "../proc-file.ts";
import { BorrowedThread, type StoppedCaller } from "./borrowed-thread.ts";
import { OpenPages } from "./open-pages.ts";
import { type FaultEvent, MESSAGES, type Userfault, userfaultOf } from "./userfault.ts";
import { WatchedMemory, type WatchedPage } from "./watched-memory.ts";

/** How long a thread that is borrowed may take before it is looked at more rarely, in milliseconds. */
const SOON_MS = 10;
/** How long borrowed threads are waited for at the end, in milliseconds. */
const LAST_MS = 50;
/** Between two looks, in microseconds: at a borrowed thread, at one that takes long, at writes that have not landed. */
const BORROWED_US = 50;
const SLOW_US = 1000;

/** Who maps registers, in the middle of its mmap(). */
export interface Mapper extends StoppedCaller {
  readonly pidfd: number;
  /** The call is one that a stop would interrupt. */
  readonly isInterruptible: boolean;
}

/**
 * Hears of writes to mapped registers without looking for them: their pages are protected from writing
 * (userfaultfd(2)), in the memory of each program that maps them. A thread that writes is stopped, announced, and let
 * go on; its write lands, and the model carries it out. As long as a program goes on writing the page is left open, and
 * is looked at. What cannot be watched is looked at now and then.
 */
export class Doorbells {
  readonly #epoll: Epoll;
  readonly #files: InjectedFiles;
  readonly #notice: (message: string) => void;
  /** Processes that a notice was about. */
  readonly #noticed = new Set<number>();
  readonly #byPid = new Map<number, WatchedMemory>();
  /** By the descriptor of the userfaultfd: those of forked children too. */
  readonly #memories = new Map<number, WatchedMemory>();
  readonly #borrowed: BorrowedThread[] = [];
  /** Files with mappings that are not watched. */
  readonly #polled = new Set<InjectedFile>();
  /** Processes that are not watched, whatever they map. */
  readonly #refused = new Set<number>();
  readonly #open = new OpenPages();

  /**
   * @param epoll where announcements are waited for
   * @param notice tells a person, in one line, of a program whose registers cannot be watched where that matters
   */
  constructor(epoll: Epoll, files: InjectedFiles, notice: (message: string) => void) {
    this.#epoll = epoll;
    this.#files = files;
    this.#notice = notice;
  }

  /** To be called before a thread is let into an mmap() of a file. */
  arm(mapper: Mapper, file: InjectedFile): void {
    const pages = file.description.registerPages;
    if (pages?.length === 0) return;
    const { pid, pidfd } = mapper;
    // as long as it is not known to be watched
    this.#polled.add(file);
    if (pages === undefined) return;
    const known = this.#live(pid);
    const isUsable = !this.#refused.has(pid) && !mapper.isInterruptible;
    const watch = (userfault: Userfault | undefined) => this.#begin(pid, userfault);
    const thread =
      isUsable &&
      BorrowedThread.begin(mapper, function* (call) {
        // the thread is stopped behind its mmap(), until what it has mapped is watched
        return watch(known?.userfault ?? (yield* userfaultOf(call, pidfd)));
      });
    if (thread) this.#borrowed.push(thread);
    else this.#refuse(pid);
  }

  /** Whether a call is one that uvfio makes in a thread of the program. */
  makesCall(tid: number): boolean {
    return this.#borrowed.some((thread) => thread.tid === tid);
  }

  /** Whether some memory is watched. */
  get isUsed(): boolean {
    return this.#memories.size > 0;
  }

  /** Whether a descriptor that is ready is one for hear(). */
  has(fd: number): boolean {
    return this.#memories.has(fd);
  }

  /** Whether mappings are to be looked at now and then. */
  get mustPoll(): boolean {
    return this.#polled.size > 0;
  }

  /** Whether programs may write without being stopped, for the time being. */
  get isOpen(): boolean {
    return this.#open.any;
  }

  /** Whether step() has what is written to a file carried out, and nobody else is to. */
  awaits(file: InjectedFile): boolean {
    return this.#open.awaits(file);
  }

  /** Whether a process may have children that write to its registers, of which nobody hears. */
  get missesForks(): boolean {
    for (const { userfault } of this.#memories.values()) if (!userfault.seesForks) return true;
    return false;
  }

  /** Microseconds until step() has something to do that no descriptor announces; -1 when it has nothing. */
  get interval(): number {
    const [first] = this.#borrowed;
    if (first) return monotonic() - first.begun < SOON_MS ? BORROWED_US : SLOW_US;
    for (const { isLate } of this.#memories.values()) if (isLate) return BORROWED_US;
    return this.#open.hasUnlanded ? SLOW_US : -1;
  }

  /** Goes on with what takes several steps. */
  step(): void {
    for (const thread of [...this.#borrowed]) {
      if (!thread.step()) continue;
      this.#borrowed.splice(this.#borrowed.indexOf(thread), 1);
      if (!thread.isDone) this.#refuse(thread.pid);
    }
    for (const memory of this.#memories.values()) if (memory.isLate) memory.settle();
    this.#open.look();
    if (!this.#open.hasUnlanded) return;
    for (const fd of [...this.#memories.keys()]) this.hear(fd);
    this.#open.settle();
  }

  /** Lets go on who was announced, and has the model carry out what they write. @returns whether there was somebody */
  hear(fd: number): boolean {
    const memory = this.#memories.get(fd);
    if (memory === undefined) return false;
    const pages = new Set<WatchedPage>();
    for (let isMore = true; isMore; ) {
      const events = memory.userfault.events();
      isMore = events.length === MESSAGES;
      for (const event of events) {
        const page = this.#take(memory, event);
        if (page) pages.add(page);
      }
    }
    if (pages.size > 0) this.#open.land(pages);
    return pages.size > 0;
  }

  /** Closes the pages that programs may write to without being stopped: nothing was written for a while. */
  closePages(): void {
    this.#open.close();
  }

  /** A process is gone. */
  gone(pid: number): void {
    this.#refused.delete(pid);
    this.#noticed.delete(pid);
    const memory = this.#byPid.get(pid);
    if (memory) this.#drop(memory);
    this.sweep();
  }

  /** A process makes a virtual machine, whose writes fail where only those of the program itself are announced. */
  makesGuest(pid: number): void {
    const memory = this.#byPid.get(pid);
    if (memory?.userfault.isUserModeOnly === false) return;
    this.#refuse(pid);
    if (memory) this.#drop(memory);
  }

  /** Lets go of memories that are gone, and of files. */
  sweep(): void {
    const isThere = (file: InjectedFile) => this.#files.isMounted(file);
    for (const file of this.#polled) if (!isThere(file)) this.#polled.delete(file);
    for (const memory of [...this.#memories.values()]) {
      memory.keep(isThere);
      if (!memory.isInUse || memory.isGone()) this.#drop(memory);
    }
  }

  /** Lets go of all programs. */
  close(): void {
    // a thread that is in a call of ours comes back from it at once
    for (const end = monotonic() + LAST_MS; this.#borrowed.length > 0 && monotonic() < end; ) this.step();
    for (const memory of [...this.#memories.values()]) this.#drop(memory);
  }

  /** The memory of a process as it is watched already, unless it has become another one. */
  #live(pid: number): WatchedMemory | undefined {
    const memory = this.#byPid.get(pid);
    if (memory === undefined || (memory.isInUse && !memory.isGone())) return memory;
    this.#drop(memory);
    return undefined;
  }

  /** A thread has mapped registers, and has made what they are watched by. */
  #begin(pid: number, userfault: Userfault | undefined): void {
    const isKnown = userfault !== undefined && this.#memories.has(userfault.fd);
    if (userfault === undefined || (userfault.isUserModeOnly && isHost(pid))) {
      if (!isKnown) userfault?.close();
      this.#refuse(pid);
      return;
    }
    const memory = this.#memories.get(userfault.fd) ?? new WatchedMemory(userfault, pid);
    this.#byPid.set(pid, memory);
    if (!isKnown) this.#add(memory);
    this.#cover(pid, memory);
  }

  /** Watches all registers that a process maps. */
  #cover(pid: number, memory: WatchedMemory): void {
    const { major, minor } = this.#files.fileSystem;
    const covered = new Set<InjectedFile>();
    for (const mapping of mappingsOf(pid)) {
      const { inode, deviceMajor, deviceMinor, shared } = mapping;
      if (inode === 0 || !shared || deviceMajor !== major || deviceMinor !== minor) continue;
      const file = this.#files.find(inode, deviceMajor, deviceMinor);
      if (file === undefined || !file.description.registerPages?.length) continue;
      if (memory.add(mapping, file) || this.#isChilds(mapping.start, file)) covered.add(file);
      else {
        this.#refuse(pid);
        return;
      }
    }
    const isElsewhere = (file: InjectedFile) => [...this.#refused].some((other) => maps(other, file));
    for (const file of covered) if (!isElsewhere(file)) this.#polled.delete(file);
    // what was written before it was watched
    for (const file of covered) file.description.pollMemory();
    if (!memory.isInUse) this.#drop(memory);
  }

  /** Whether a mapping is watched that a forked child has from its parent, which nobody else can watch any more. */
  #isChilds(start: number, file: InjectedFile): boolean {
    const children = [...this.#memories.values()].filter(({ pid }) => pid === undefined);
    return children.some((memory) => memory.find(start)?.file === file);
  }

  #add(memory: WatchedMemory): void {
    this.#memories.set(memory.userfault.fd, memory);
    this.#epoll.add(memory.userfault.fd);
  }

  /** What a process maps is looked at now and then from here on. */
  #refuse(pid: number): void {
    this.#refused.add(pid);
    for (const file of this.#files.mapped) if (maps(pid, file)) this.#polled.add(file);
    for (const file of this.#polled)
      if (file.description.registerPages?.some(({ isExpected }) => isExpected)) this.#tell(pid, file);
  }

  #tell(pid: number, { description }: InjectedFile): void {
    if (this.#noticed.has(pid)) return;
    this.#noticed.add(pid);
    const tracer = Number(/^TracerPid:\s+(\d+)/m.exec(readProc(pid, "status") ?? "")?.[1] ?? 0);
    const why =
      tracer === 0 || tracer === process.pid
        ? "its memory cannot be watched"
        : `${readProc(tracer, "comm")?.trimEnd()}[${tracer}] traces it`;
    const what = "what it reads right after writing a doorbell may be old (docs/memory.md)";
    this.#notice(`process ${pid} maps registers of ${description.label}, and ${why}: ${what}`);
  }

  /** @returns the page that is written to */
  #take(memory: WatchedMemory, event: FaultEvent): WatchedPage | undefined {
    if (event.type === "write") {
      const { address, tid } = event;
      const page = memory.find(address);
      if (page) this.#open.announced(memory, page, address, tid);
      else memory.userfault.unprotect(address - (address % PAGE_SIZE));
      return page;
    }
    if (event.type === "move") {
      this.#open.forget(memory);
      memory.move(event.from, event.to, event.length);
      memory.closeAll();
      return undefined;
    }
    const child = new WatchedMemory(memory.userfault.ofChild(event.fd), undefined);
    child.copy(memory);
    this.#add(child);
    child.closeAll();
    this.sweep();
    return undefined;
  }

  #drop(memory: WatchedMemory): void {
    const { userfault, pid } = memory;
    this.#open.forget(memory);
    this.#memories.delete(userfault.fd);
    if (pid !== undefined && this.#byPid.get(pid) === memory) this.#byPid.delete(pid);
    this.#epoll.remove(userfault.fd);
    userfault.close();
  }
}

function maps(pid: number, { inode, description }: InjectedFile): boolean {
  const { registerPages } = description;
  return mappingsOf(pid).some((mapping) => mapping.inode === inode && mapping.shared) && registerPages?.length !== 0;
}

/** Whether a process has a virtual machine (KVM). */
function isHost(pid: number): boolean {
  try {
    return fs.readdirSync(`/proc/${pid}/fd`).some((fd) => linkOf(`/proc/${pid}/fd/${fd}`) === "anon_inode:kvm-vm");
  } catch {
    return true;
  }
}

function linkOf(path: string): string {
  try {
    return fs.readlinkSync(path);
  } catch {
    return "";
  }
}
