import { CdevFile } from "../../iommufd/cdev-file.ts";
import { fail } from "../../kernel/errors.ts";
import { type FileDescription, ForeignFile } from "../../kernel/file-description.ts";
import { PROT_READ, PROT_WRITE } from "../../kernel/model-areas.ts";
import type { ModelMemory } from "../../kernel/model-memory.ts";
import { ModelTask } from "../../kernel/model-task.ts";
import type { Host } from "../../vfio/host.ts";
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

/** What a process has by name, for when a forked child is done. */
interface Names {
  readonly task: ModelTask;
  readonly fds: ReadonlyMap<string, number>;
  readonly buffers: ReadonlyMap<string, Buffer>;
}

/** Where structures are put: far from the addresses that recorded programs chose for their buffers. */
const SCRATCH_ADDRESS = 0x7000_0000_0000;
/** Bytes of each of the two parts of the scratch memory: the largest page of any host. */
export const SCRATCH_SIZE = 65536;

/** The program of a recording: its processes, and what it has by name. */
export class ReplayedProgram {
  readonly host: Host;
  /** The process that makes the calls: the program, or a child that it forked. */
  task: ModelTask;
  /** Two pages for structures: the second one can be taken away, for those that end where memory ends. */
  readonly scratch: number;
  #fds = new Map<string, number>();
  #buffers = new Map<string, Buffer>();
  /** Processes that wait for their child. */
  readonly #parents: Names[] = [];

  constructor(host: Host) {
    this.host = host;
    this.task = new ModelTask({ name: "replay", pageSize: host.description.pageSize });
    this.#openTerminal();
    this.scratch = this.memory.mmap({
      address: SCRATCH_ADDRESS,
      length: 2 * SCRATCH_SIZE,
      protection: PROT_READ | PROT_WRITE,
    });
  }

  /** Descriptors 0, 1 and 2 were there in the recorded program, and two for what it wrote down. They are not VFIO's. */
  #openTerminal(): void {
    const { files } = this.task;
    const fd = files.install(new ForeignFile(), false);
    for (const standard of [0, 1, 2]) files.dup2(fd, standard);
    files.dup(fd);
  }

  get memory(): ModelMemory {
    return this.task.memory;
  }

  /** What follows happens in a child: the same files, other memory. */
  fork(): void {
    this.#parents.push({ task: this.task, fds: this.#fds, buffers: this.#buffers });
    this.task = this.task.fork();
    this.#fds = new Map(this.#fds);
    this.#buffers = new Map(this.#buffers);
  }

  /** The child exits, and its parent goes on. */
  wait(): void {
    const parent = this.#parents.pop();
    if (!parent) fail("EINVAL", "child-end without child-begin in the recording");
    this.task.exit();
    this.task = parent.task;
    this.#fds = new Map(parent.fds);
    this.#buffers = new Map(parent.buffers);
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
    this.#fds.set(name, fd);
  }

  /** The number of a named descriptor; -1 for one that could not be opened. */
  fd(name: string | -1 | undefined): number {
    return typeof name === "string" ? (this.#fds.get(name) ?? -1) : -1;
  }

  /** The file that an operation is made on. EBADF. */
  file(o: { readonly fd: string | -1 }): FileDescription {
    const fd = this.fd(o.fd);
    return this.task.files.get(fd) ?? fail("EBADF", `file descriptor ${fd} is not open`);
  }

  nameBuffer(name: string, buffer: Buffer): void {
    this.#buffers.set(name, buffer);
  }

  /** A named buffer; an empty one at address 0 where there is none. */
  buffer(name: string | undefined): Buffer {
    return this.#buffers.get(name ?? "") ?? { address: 0, size: 0 };
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
}

/** The device behind a file, which may have been opened by its group or by its own node. */
export function deviceOf(file: FileDescription | undefined): PciDeviceFile | undefined {
  const opened = file instanceof CdevFile ? file.opened : file;
  return opened instanceof PciDeviceFile ? opened : undefined;
}
