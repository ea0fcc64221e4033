import { fail, KernelError } from "../kernel/errors.ts";
import type { FileDescription } from "../kernel/file-description.ts";
import { FileLookup } from "../kernel/file-lookup.ts";
import type { HostKernel } from "../kernel/host-kernel.ts";
import { PROT_READ, PROT_WRITE } from "../kernel/model-areas.ts";
import { EventFile } from "../kernel/model-event.ts";
import { holdFile } from "../kernel/model-files.ts";
import type { ModelMemory } from "../kernel/model-memory.ts";
import { FlatMemory } from "../kernel/model-pages.ts";
import { ModelTask } from "../kernel/model-task.ts";
import type { Word } from "../kernel/word.ts";
import { decodeIo, encodeIo, type IoctlEncoding } from "../uapi/ioctl.ts";
import { roundUp } from "../uapi/layout.ts";
import { OpenEventFd } from "./event-fd.ts";
import {
  type AccessWidth,
  checkAccess,
  type EventFd,
  type MapFile,
  type Mapping,
  type Memory,
  O_CLOEXEC,
  SystemCallError,
  systemCallError,
  type Transport,
} from "./transport.ts";

const RW = PROT_READ | PROT_WRITE;

/** Who calls, where that is not root on a machine of the host's kind. */
export interface ModelTransportOptions {
  /** Makes the process that calls; root with pages of 4096 bytes and the byte order of the host when left out. */
  readonly makeTask?: () => ModelTask;
  /** How the host's architecture encodes requests. */
  readonly encoding?: IoctlEncoding;
}

/**
 * Asks the model in this process: no privileges, no kernel module, and a reason for each error. The process that it
 * speaks for has its own descriptors and memory (`task`).
 */
export class ModelTransport implements Transport, Disposable {
  /** The process that calls. */
  readonly task: ModelTask;
  private readonly kernel: HostKernel;
  private readonly encoding: IoctlEncoding;
  private readonly mappings = new Set<Mapping>();
  /** A page of the process for the structures of calls; undefined while a call uses it. */
  private scratch: { readonly address: number; readonly bytes: Uint8Array } | undefined;
  private readonly names: FileLookup;

  /** Of a booted host. */
  constructor(kernel: HostKernel, options: ModelTransportOptions = {}) {
    const { littleEndian = true } = kernel;
    const { makeTask = () => new ModelTask({ littleEndian }), encoding = "plain" } = options;
    this.kernel = kernel;
    this.names = new FileLookup(kernel.files);
    this.task = makeTask();
    this.encoding = encoding;
    this.scratch = this.makeScratch();
  }

  get littleEndian(): boolean {
    return this.task.memory.littleEndian;
  }

  open(path: string, flags: number): number {
    return named(`open ${path}`, () => {
      const file = this.kernel.open(this.task, path, flags);
      try {
        return this.task.files.install(file, (flags & O_CLOEXEC) !== 0);
      } catch (error) {
        // No descriptor, no reference: nobody else would release it.
        file.release();
        throw error;
      }
    });
  }

  close(fd: number): void {
    named(`close ${fd}`, () => this.task.files.close(fd));
  }

  ioctl(
    fd: number,
    request: number,
    arg: number | Uint8Array | string,
    name = `ioctl 0x${request.toString(16)}`,
  ): number {
    const decoded = decodeIo(request);
    const number = decoded === undefined ? request : encodeIo(decoded.type, decoded.nr, this.encoding);
    return named(name, () => {
      const file = this.file(fd);
      if (typeof arg === "number") return file.ioctl(this.task, number, arg);
      const bytes = typeof arg === "string" ? new TextEncoder().encode(`${arg}\0`) : arg;
      return this.inMemory(bytes, true, (address) => file.ioctl(this.task, number, address));
    });
  }

  pread(fd: number, into: Uint8Array, offset: Word): number {
    return named(`pread ${fd}`, () =>
      this.inMemory(into, true, (address) => this.file(fd).read(this.task, address, into.length, offset)),
    );
  }

  pwrite(fd: number, from: Uint8Array, offset: Word): number {
    return named(`pwrite ${fd}`, () =>
      this.inMemory(from, false, (address) => this.file(fd).write(this.task, address, from.length, offset)),
    );
  }

  allocate(size: number): Memory {
    const { memory } = this.task;
    const length = roundUp(size, memory.pageSize);
    return named(`mmap of ${length} bytes`, () => {
      const bytes = new Uint8Array(length);
      const object = new FlatMemory(memory.pageSize, bytes);
      const address = memory.mmap({ length, protection: RW, object, shared: true });
      const free = () => memory.munmap(address, length);
      return { address: BigInt(address), bytes, free, [Symbol.dispose]: free };
    });
  }

  eventfd(): EventFd {
    return named("eventfd", () => {
      const file = new EventFile();
      const fd = this.task.files.install(file, true);
      return new OpenEventFd(fd, {
        take: () => file.takeAll(),
        add: (count) => file.add(count),
        close: () => this.close(fd),
      });
    });
  }

  mmap(fd: number, request: MapFile): Mapping {
    const { offset, length, read = true, write = true } = request;
    const { memory } = this.task;
    return named(`mmap of ${length} bytes`, () => {
      const file = this.file(fd);
      if (length === 0) fail("EINVAL", "a mapping of 0 bytes");
      if (BigInt(offset) % BigInt(memory.pageSize) !== 0n) fail("EINVAL", `offset ${offset} is not page-aligned`);
      const wanted = { offset, length, read, write, shared: true };
      file.mmap(this.task, wanted);
      const shown = file.mappedObject(wanted) ?? fail("ENODEV", `${file.label} cannot be mapped`);
      const protection = (read ? PROT_READ : 0) | (write ? PROT_WRITE : 0);
      const address = memory.mmap({ length, protection, ...shown, shared: true });
      const release = holdFile(file);
      const mapping: Mapping = new MappedFile(memory, address, length, () => {
        this.mappings.delete(mapping);
        memory.munmap(address, length);
        release();
      });
      this.mappings.add(mapping);
      return mapping;
    });
  }

  readlink(path: string): string {
    const target = this.names.readlink(path);
    if (target !== undefined) return target;
    if (this.exists(path)) throw systemCallError(`readlink ${path}`, "EINVAL", "this is no link");
    throw systemCallError(`readlink ${path}`, "ENOENT", "the host has no such file");
  }

  exists(path: string): boolean {
    return this.names.find(path) !== undefined || this.kernel.deviceNodes().some((node) => node.path === path);
  }

  list(path: string): readonly string[] {
    return this.names.list(path);
  }

  /** The process ends: its mappings go, its files are closed. */
  exit(): void {
    for (const mapping of [...this.mappings]) mapping.unmap();
    this.task.exit();
  }

  /** As exit(). */
  [Symbol.dispose](): void {
    this.exit();
  }

  private file(fd: number): FileDescription {
    return this.task.files.get(fd) ?? fail("EBADF", `there is no descriptor ${fd}`);
  }

  /**
   * Makes a call with bytes at an address of the process.
   * @param back whether the call can change them
   */
  private inMemory(bytes: Uint8Array, back: boolean, call: (address: number) => number): number {
    if (bytes.length === 0) return call(0);
    const { memory } = this.task;
    const { scratch } = this;
    if (scratch !== undefined && bytes.length <= scratch.bytes.length) {
      // who calls again from within a call finds none
      this.scratch = undefined;
      scratch.bytes.set(bytes);
      try {
        return call(scratch.address);
      } finally {
        // A request that fails can have written too.
        if (back)
          bytes.set(scratch.bytes.length === bytes.length ? scratch.bytes : scratch.bytes.subarray(0, bytes.length));
        scratch.bytes.fill(0);
        this.scratch = scratch;
      }
    }
    const length = roundUp(bytes.length, memory.pageSize);
    const address = memory.mmap({ length, protection: RW });
    try {
      memory.copyOut(address, bytes, bytes.length);
      return call(address);
    } finally {
      // A request that fails can have written too.
      if (back) memory.copyIn(address, bytes, bytes.length);
      memory.munmap(address, length);
    }
  }

  private makeScratch(): { readonly address: number; readonly bytes: Uint8Array } {
    const { memory } = this.task;
    const bytes = new Uint8Array(memory.pageSize);
    const object = new FlatMemory(memory.pageSize, bytes);
    return { address: memory.mmap({ length: bytes.length, protection: RW, object, shared: true }), bytes };
  }
}

/** A mapping in the memory of a process in the model: each access is one to the device, of the width that is used. */
class MappedFile implements Mapping {
  readonly length: number;
  private readonly memory: ModelMemory;
  private readonly address: number;
  private release: (() => void) | undefined;

  constructor(memory: ModelMemory, address: number, length: number, release: () => void) {
    this.memory = memory;
    this.address = address;
    this.length = length;
    this.release = release;
  }

  read(offset: number, width: AccessWidth): bigint {
    const bytes = new Uint8Array(8);
    this.access(offset, width, (address) => this.memory.copyIn(address, bytes, width));
    return new DataView(bytes.buffer).getBigUint64(0, true);
  }

  write(offset: number, width: AccessWidth, value: bigint): void {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, value, true);
    this.access(offset, width, (address) => this.memory.copyOut(address, bytes.subarray(0, width), width));
  }

  unmap(): void {
    this.release?.();
    this.release = undefined;
  }

  [Symbol.dispose](): void {
    this.unmap();
  }

  private access(offset: number, width: AccessWidth, call: (address: number) => void): void {
    if (this.release === undefined) throw new TypeError("the mapping was taken away");
    checkAccess(this, offset, width);
    named(`access to a mapping at ${offset}`, () => call(this.address + offset));
  }
}

/** Makes the model's errors those of a system call. */
function named<T>(call: string, body: () => T): T {
  try {
    return body();
  } catch (error) {
    if (error instanceof KernelError) throw new SystemCallError(call, error.errno, error.reason);
    throw error;
  }
}
