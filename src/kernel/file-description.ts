import { NO_REQUESTS, type RequestDialect } from "../uapi/requests/dialect.ts";
import { fail, hex } from "./errors.ts";
import type { MemoryObject } from "./model-object.ts";
import type { RequestSteps } from "./request-steps.ts";
import type { Task } from "./task.ts";
import type { Word } from "./word.ts";

/** What kind of file a description is. */
export type FileKind = "container" | "group" | "device" | "iommufd" | "foreign";

/** A mapping that a program asks for on a file. */
export interface MmapRequest {
  /** Bytes into the file. */
  readonly offset: Word;
  readonly length: number;
  readonly read: boolean;
  readonly write: boolean;
  readonly shared: boolean;
}

/** A page of a file's memory in which programs write registers. */
export interface RegisterPage {
  /** Where it begins, bytes into the file. */
  readonly offset: number;
  /**
   * A register in it has the device act, and a program that has written it goes on at once as if it had. So each write
   * to the page is announced to the model before it lands, by expectWrite().
   */
  readonly isExpected: boolean;
}

/**
 * Memory behind a file that programs map: both sides see each other's writes at once. Offsets are bytes into the file.
 */
export interface SharedMemory {
  read(offset: number, into: Uint8Array): void;
  write(offset: number, from: Uint8Array): void;
  /**
   * Writes 1, 2, 4 or 8 bytes, aligned, unless a program has changed them: no write of its own that lands just then is
   * lost. A transport that cannot leaves it out.
   * @returns whether they were as expected
   */
  replace?(offset: number, expected: Uint8Array, by: Uint8Array): boolean;
  /** Whether a program maps some of a range. A transport that cannot tell leaves it out. */
  isMapped?(offset: number, length: number): boolean;
}

/** The memory of a file that can be held for DMA. */
export interface FileMemory extends SharedMemory {
  /** Bytes, now. */
  readonly size: number;
  /** Which page a byte is in, as AddressSpace.pageIdentity() tells it of mappings of the file. */
  pageIdentity?(offset: number): string;
  /** It is needed no more (fput()). Left out where there is nothing to close. */
  release?(): void;
}

/** What shows behind a mapping that a program in this process makes. */
export interface MappedObject {
  readonly object: MemoryObject;
  /** Bytes into the object that the mapping begins at. */
  readonly offset: number;
}

/** A reference to an eventfd of a program (struct eventfd_ctx): what an interrupt raises. */
export interface EventSignal {
  /** eventfd_signal(): adds one. */
  signal(): void;
  /** eventfd_ctx_put() */
  release(): void;
  /**
   * Calls `handler` whenever somebody writes to the eventfd, and at once when something is in it already
   * (vfio_virqfd_enable). A transport that cannot notice that leaves it out; what depends on it then never happens.
   * @returns stops it
   */
  watch?(handler: () => void): () => void;
  /**
   * Whether no program has a descriptor of it any more: what watches it lets go then, as the kernel does on EPOLLHUP
   * (virqfd.c:virqfd_wakeup). Asked when it matters; a transport that cannot tell leaves it out.
   */
  isAbandoned?(): boolean;
}

/** What programs wait for on a file (poll): that there is something to read. */
export interface Readiness {
  readonly isReadable: boolean;
  /** Whether it always takes what programs write (POLLOUT); absent where it takes nothing. */
  readonly isWritable?: true;
  /** Calls `changed` whenever `isReadable` may have changed; returns how to stop that. */
  watch(changed: () => void): () => void;
}

/**
 * An open file (the kernel's struct file): what descriptors, dups and forked processes share. Transports keep count of
 * the references; the model hears only of the last one going, through release().
 */
export abstract class FileDescription {
  /** What kind of file it is. */
  abstract readonly kind: FileKind;

  /** Which one it is, for messages: "group 12", "device 0000:00:1b.0". */
  abstract readonly label: string;

  /** What request numbers mean on it. */
  get dialect(): RequestDialect {
    return NO_REQUESTS;
  }

  /** Where read() and write() without an offset go on (f_pos), for transports that keep it here. Bytes. */
  position = 0;

  /** Bytes of memory that a transport keeps behind the file for mappings to show; 0 leaves it to the transport. */
  get memorySize(): number {
    return 0;
  }

  /**
   * A transport that lets programs map files hands that memory over: once, before there is a descriptor for the file.
   */
  attachMemory(_memory: SharedMemory): void {}

  /**
   * Looks for what programs have written to the attached memory where writes mean something (registers), and does it. A
   * transport calls it when it thinks that there may be something: before it handles a call of the program, and again
   * and again while the file is mapped. Calls to the file itself look on their own.
   * @returns whether there was something
   */
  pollMemory(): boolean {
    return false;
  }

  /** Whether pollMemory() would find that programs have written something. Does nothing yet. */
  hasNewWrites(): boolean {
    return false;
  }

  /**
   * Where programs write registers in the attached memory: a transport that can notice writes there needs not look as
   * long as none comes. Undefined when it has to look again and again all the same, because what the registers show
   * changes without anybody saying so.
   */
  get registerPages(): readonly RegisterPage[] | undefined {
    return undefined;
  }

  /**
   * A program is about to write to a byte of the attached memory, at an offset into the file: registers show that until
   * the write has been carried out, or forgetWrites().
   * @returns whether one that changes nothing is for carryOutWrite()
   */
  expectWrite(_offset: number): boolean {
    return false;
  }

  /** Whether a write that was expected there has not been carried out yet. */
  isExpected(_offset: number): boolean {
    return false;
  }

  /** A write that was expected there has landed, and has changed nothing: it is carried out with the value there. */
  carryOutWrite(_offset: number): void {}

  /** No write is expected any more. */
  forgetWrites(): void {}

  /**
   * Carries out one request; returns the ioctl's value. Throws KernelError.
   * @param request the low 32 bits of the request number in the plain encoding of _IO(); a transport translates
   * powerpc's
   * @param _arg a user address, or a value, as the request has it
   */
  ioctl(_task: Task, request: number, _arg: Word): number {
    fail("ENOTTY", `${this.label} knows no request ${hex(request)}`);
  }

  /**
   * The same for a transport that has others to serve: the steps of a request that may take long, or the value of any
   * other. A task is there during a step as it is during a call.
   */
  ioctlInSteps(task: Task, request: number, arg: Word): number | RequestSteps {
    return this.ioctl(task, request, arg);
  }

  /**
   * For files that are not always ready; they are streams, which are read() and written without offsets. Others leave
   * it undefined.
   */
  get readiness(): Readiness | undefined {
    return undefined;
  }

  /** Whether programs read and write it, for files that are no device and always ready. */
  get isRead(): boolean {
    return false;
  }

  /** pread()/read() at `offset` into user memory: the number of bytes. */
  read(_task: Task, _address: Word, _count: number, _offset: Word): number {
    fail("EINVAL", `${this.label} cannot be read`);
  }

  /** pwrite()/write() at `offset` from user memory: the number of bytes. */
  write(_task: Task, _address: Word, _count: number, _offset: Word): number {
    fail("EINVAL", `${this.label} cannot be written`);
  }

  /** read() for a transport that has others to serve, as ioctlInSteps() is. */
  readInSteps(task: Task, address: Word, count: number, offset: Word): number | RequestSteps {
    return this.read(task, address, count, offset);
  }

  /** The same of write(). */
  writeInSteps(task: Task, address: Word, count: number, offset: Word): number | RequestSteps {
    return this.write(task, address, count, offset);
  }

  /** Whether a mapping may be made; throws when not. The memory behind it is the transport's matter. */
  mmap(_task: Task, _request: MmapRequest): void {
    fail("ENODEV", `${this.label} cannot be mapped`);
  }

  /**
   * What a mapping that mmap() has allowed shows, for transports whose programs live in this process: every access to
   * it is an access to the file's memory or registers. Undefined for files without memory.
   */
  mappedObject(_request: MmapRequest): MappedObject | undefined {
    return undefined;
  }

  /** The last reference is gone (f_op->release). Must not throw. */
  release(): void {}
}

/** A file that belongs to the world outside the model. */
export class ForeignFile extends FileDescription {
  override readonly kind = "foreign";
  override readonly label: string;

  constructor(label = "a file that is not VFIO's") {
    super();
    this.label = label;
  }

  /** eventfd_ctx_fdget(): a reference that outlives the call, or undefined when this is no eventfd. */
  event(): EventSignal | undefined {
    return undefined;
  }

  /**
   * What memfd_pin_folios() pins: the memory of a memfd, or of a file of tmpfs or hugetlbfs, for as long as whoever
   * asked does not release it. Undefined for other files, and out of a transport's reach.
   */
  memory(): FileMemory | undefined {
    return undefined;
  }
}
