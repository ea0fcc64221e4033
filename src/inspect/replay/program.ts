import type { Host } from "../../host/host.ts";
import { CdevFile } from "../../iommufd/cdev-file.ts";
import { fail } from "../../kernel/errors.ts";
import { type FileDescription, ForeignFile } from "../../kernel/file-description.ts";
import { PROT_READ, PROT_WRITE } from "../../kernel/model-areas.ts";
import { holdFile } from "../../kernel/model-files.ts";
import type { ModelMemory } from "../../kernel/model-memory.ts";
import { ModelTask } from "../../kernel/model-task.ts";
import { StructView } from "../../uapi/struct-view.ts";
import { PciDeviceFile } from "../../vfio/pci/device-file.ts";
import type { Answer } from "./answer.ts";
import { DONE, outcomeOf } from "./outcome.ts";

/** Memory that a recording names. */
export interface Buffer {
  readonly address: number;
  readonly size: number;
  /** Of a mapped device: its file, and where in it the buffer begins. */
  readonly device?: { readonly file: PciDeviceFile; readonly offset: number };
}

/** A process, and what it has by name. */
interface Process {
  readonly task: ModelTask;
  readonly fds: Map<string, number>;
  readonly buffers: Map<string, Buffer>;
  /** Mappings of files, which keep those open. */
  readonly mapped: { readonly address: number; readonly size: number; readonly release: () => void }[];
}

/**
 * Looks at a polled register that many times before giving up: in the model everything that it can wait for is done at
 * once.
 */
export const POLLS = 3;

/**
 * How much time is over for a program that waits, milliseconds: for something that comes, as long as a link needs to
 * come up; for something that does not, as short as recorded programs waited.
 */
const WAIT_MS = 600;
const SHORT_WAIT_MS = 20;

/** Where structures are put: far from the addresses that recorded programs chose for their buffers. */
const SCRATCH_ADDRESS = 0x7000_0000_0000;
/** Bytes of each of the two parts of the scratch memory: the largest page of any host. */
export const SCRATCH_SIZE = 65536;

/** What a recorded program was, as far as it is known. */
export interface ProgramIdentity {
  /** Its short name. */
  readonly name?: string;
  /** Its processes by their numbers in the recording, from 1. */
  readonly pids?: ReadonlyMap<number, number>;
  /**
   * Its calls were written down as the model saw them: a pread of a file that has no place to read from is a read.
   * Others never reach the model.
   */
  readonly isTraced?: boolean;
}

/** The program of a recording: its processes, and what it has by name. */
export class ReplayedProgram {
  readonly host: Host;
  readonly littleEndian: boolean;
  /** See ProgramIdentity. */
  readonly isTraced: boolean;
  /** Two pages for structures: the second one can be taken away, for those that end where memory ends. */
  readonly scratch = SCRATCH_ADDRESS;
  /** The one that makes the calls: the program, a child that it forked, or another process of a trace. */
  #current: Process;
  /** Processes that wait for their child. */
  readonly #parents: Process[] = [];
  /** The processes of a trace, by number. */
  readonly #processes = new Map<number, Process>();
  /** The files behind named descriptors, for processes that got them without a call. */
  readonly #files = new Map<string, FileDescription>();

  readonly #identity: ProgramIdentity;

  /**
   * @param littleEndian how the recorded program's processor stores numbers
   * @param identity what it was, for messages
   */
  constructor(host: Host, littleEndian: boolean, identity: ProgramIdentity = {}) {
    this.host = host;
    this.littleEndian = littleEndian;
    this.#identity = identity;
    this.isTraced = identity.isTraced === true;
    this.#current = this.#begin(1);
    this.#processes.set(1, this.#current);
  }

  /** Descriptors 0, 1 and 2 were there in the recorded program, and two for what it wrote down. They are not VFIO's. */
  #begin(number: number): Process {
    const { name = "replay", pids } = this.#identity;
    const pid = pids?.get(number);
    const task = new ModelTask({
      name,
      ...(pid !== undefined && { pid }),
      pageSize: this.host.description.pageSize,
      littleEndian: this.littleEndian,
    });
    const fd = task.files.install(new ForeignFile(), false);
    for (const standard of [0, 1, 2]) task.files.dup2(fd, standard);
    task.files.dup(fd);
    const protection = PROT_READ | PROT_WRITE;
    task.memory.mmap({ address: SCRATCH_ADDRESS, length: 2 * SCRATCH_SIZE, protection });
    return { task, fds: new Map(), buffers: new Map(), mapped: [] };
  }

  get task(): ModelTask {
    return this.#current.task;
  }

  get memory(): ModelMemory {
    return this.task.memory;
  }

  /**
   * What follows happens in that process of a trace; its number is its only name. Within a forked child nothing
   * changes.
   */
  become(number: number): void {
    if (this.#parents.length > 0) return;
    let process = this.#processes.get(number);
    if (!process) {
      process = this.#begin(number);
      this.#processes.set(number, process);
    }
    this.#current = process;
  }

  /** What follows happens in a child: the same files, other memory. */
  fork(): void {
    const { task, fds, buffers } = this.#current;
    this.#parents.push(this.#current);
    this.#current = { task: task.fork(), fds: new Map(fds), buffers: new Map(buffers), mapped: [] };
  }

  /** The child exits, and its parent goes on. */
  wait(): void {
    const parent = this.#parents.pop();
    if (!parent) fail("EINVAL", "child-end without child-begin in the recording");
    this.task.exit();
    this.#current = parent;
  }

  /** A mapping keeps its file open. */
  holdMapped(file: FileDescription, address: number, size: number): void {
    this.#current.mapped.push({ address, size, release: holdFile(file) });
  }

  /** What lies within a range is mapped no more. */
  releaseMapped(address: number, size: number): void {
    const { mapped } = this.#current;
    for (const [index, part] of [...mapped.entries()].reverse()) {
      if (part.address < address || part.address + part.size > address + size) continue;
      mapped.splice(index, 1);
      part.release();
    }
  }

  /** All processes end: their descriptors are closed. */
  exit(): void {
    for (const { mapped } of [...this.#parents, this.#current, ...this.#processes.values()])
      for (const { release } of mapped.splice(0)) release();
    for (const { task } of [...this.#parents, this.#current, ...this.#processes.values()]) task.exit();
  }

  /** The program waits. @param comes whether what it waits for came */
  pass(comes: boolean): void {
    this.host.deviceWork.pass(comes ? WAIT_MS : SHORT_WAIT_MS);
  }

  kilobytes(pages: number): number {
    return (pages * this.memory.pageSize) / 1024;
  }

  /** A call that returns a descriptor, known to the rest of the recording by name. */
  installed(name: string | -1 | undefined, call: () => number): Answer {
    const outcome = outcomeOf(call);
    if (outcome.errno === null && typeof name === "string") this.nameFd(name, outcome.ret);
    return outcome.errno === null ? DONE : outcome;
  }

  nameFd(name: string, fd: number): void {
    this.#current.fds.set(name, fd);
    const file = this.task.files.get(fd);
    if (file) this.#files.set(name, file);
  }

  /** The number of a named descriptor; -1 for one that could not be opened. */
  fd(name: string | -1 | undefined): number {
    if (typeof name !== "string") return -1;
    return this.#current.fds.get(name) ?? this.#inherited(name) ?? -1;
  }

  /** A descriptor that this process of a trace has from another one: by fork, or sent through a socket. */
  #inherited(name: string): number | undefined {
    const file = this.#processes.size > 1 ? this.#files.get(name) : undefined;
    if (!file) return undefined;
    const fd = this.task.files.install(file, false);
    this.#current.fds.set(name, fd);
    return fd;
  }

  /** Closes a named descriptor. With several processes, the last one of it goes, wherever it is. EBADF. */
  close(name: string | -1): void {
    if (this.#processes.size === 1 || typeof name !== "string") {
      this.task.files.close(this.fd(name));
      // its number may be another one's from now on
      if (typeof name === "string") this.#current.fds.delete(name);
      return;
    }
    const holders = [...this.#processes.values()].filter(({ fds }) => fds.has(name));
    if (holders.length === 0) fail("EBADF", `there is no descriptor ${name}`);
    this.#files.delete(name);
    for (const { task, fds } of holders) {
      task.files.close(fds.get(name)!);
      fds.delete(name);
    }
  }

  /** The file that an operation is made on. EBADF. */
  file(o: { readonly fd: string | -1 }): FileDescription {
    const fd = this.fd(o.fd);
    return this.task.files.get(fd) ?? fail("EBADF", `file descriptor ${fd} is not open`);
  }

  /** The file behind a named descriptor; undefined when no process has it. */
  find(name: string): FileDescription | undefined {
    return this.#files.get(name);
  }

  nameBuffer(name: string, buffer: Buffer): void {
    this.#current.buffers.set(name, buffer);
  }

  /** A named buffer; an empty one at address 0 where there is none. */
  buffer(name: string | undefined): Buffer {
    return this.#current.buffers.get(name ?? "") ?? { address: 0, size: 0 };
  }

  /** The address that an operation is about. */
  at(o: { readonly buf: string; readonly off?: number | string }): number {
    return this.buffer(o.buf).address + Number(o.off ?? 0);
  }

  read(address: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    this.memory.copyIn(address, bytes, length);
    return bytes;
  }

  /** What the program's processor makes of bytes in its memory. */
  view(bytes: Uint8Array): StructView {
    return new StructView(bytes, this.littleEndian);
  }
}

/** The device behind a file, which may have been opened by its group or by its own node. */
export function deviceOf(file: FileDescription | undefined): PciDeviceFile | undefined {
  const opened = file instanceof CdevFile ? file.opened : file;
  return opened instanceof PciDeviceFile ? opened : undefined;
}
