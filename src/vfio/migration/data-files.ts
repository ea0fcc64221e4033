import type { SavedMemory } from "../../devices/saved-state.ts";
import { fail, KernelError } from "../../kernel/errors.ts";
import { FileDescription, type Readiness } from "../../kernel/file-description.ts";
import type { Task } from "../../kernel/task.ts";
import { type Word, wordAdd } from "../../kernel/word.ts";
import type { RequestDialect } from "../../uapi/requests/dialect.ts";
import { MIGRATION_DIALECT } from "../../uapi/requests/dialects.ts";
import { VFIO_MIG_GET_PRECOPY_INFO } from "../../uapi/vfio-migration.ts";
import type { SavingStream } from "./saving-stream.ts";
import { StreamError, StreamReader, type StreamTaker } from "./stream.ts";

/** The most bytes that one read or write moves: far less than a millisecond. The rest is for the next call. */
const MOST = 128 * 1024;

/** A data file of a migration, until the device leaves the state that it belongs to. */
abstract class DataFile extends FileDescription {
  override readonly kind = "foreign";
  override readonly label: string;
  #isOver = false;
  readonly #watchers = new Set<() => void>();

  constructor(label: string) {
    super();
    this.label = label;
  }

  override get dialect(): RequestDialect {
    return MIGRATION_DIALECT;
  }

  /** The device is in another state: the file is good for nothing any more. */
  end(): void {
    this.#isOver = true;
    this.changed();
  }

  override get readiness(): Readiness {
    const file = this;
    return {
      get isReadable() {
        return file.#isOver || file.hasData;
      },
      watch: (changed) => {
        this.#watchers.add(changed);
        return () => this.#watchers.delete(changed);
      },
    };
  }

  /** Whether poll() says so; errors are there to be read too. */
  protected abstract readonly hasData: boolean;

  changed(): void {
    for (const changed of this.#watchers) changed();
  }

  protected check(offset: Word): void {
    if (offset) fail("ESPIPE", `${this.label} is read and written without an offset`);
    this.refuseOver();
  }

  /** ENODEV for a file whose device is elsewhere by now. */
  refuseOver(): void {
    if (this.#isOver) fail("ENODEV", `${this.label} is over: its device has left the state that it belongs to`);
  }
}

/** What VFIO_MIG_GET_PRECOPY_INFO needs of the device. */
export type PrecopyInfo = (file: SavingFile, task: Task, arg: Word) => number;

/** The file that a device's state is read from (mlx5/main.c:mlx5vf_save_fops). */
export class SavingFile extends DataFile {
  readonly stream: SavingStream;
  readonly #info: PrecopyInfo;
  /** Bytes of a record that were not read yet. */
  #left: Uint8Array = new Uint8Array();
  #leftIsInitial = false;

  constructor(device: string, stream: SavingStream, info: PrecopyInfo) {
    super(`migration data of ${device}`);
    this.stream = stream;
    this.#info = info;
    stream.onChange = () => this.changed();
  }

  protected override get hasData(): boolean {
    return this.#left.length > 0 || this.stream.hasMore || this.stream.isComplete;
  }

  /** Estimates of what is to be read, in bytes. */
  get remaining(): { readonly initial: number; readonly dirty: number } {
    const { initial, dirty } = this.stream.remaining;
    const left = this.#left.length;
    return this.#leftIsInitial || initial > 0 ? { initial: initial + left, dirty } : { initial, dirty: dirty + left };
  }

  /** Until the state is complete, ENOMSG says that there is nothing for the moment; then 0 is the end. */
  override read(task: Task, address: Word, count: number, offset: Word): number {
    this.check(offset);
    const wanted = Math.min(count, MOST);
    let done = 0;
    while (done < wanted) {
      if (this.#left.length === 0) {
        const next = this.stream.next();
        if (next === undefined) break;
        this.#left = next.bytes;
        this.#leftIsInitial = next.isInitial;
      }
      const part = this.#left.subarray(0, wanted - done);
      try {
        task.memory.copyOut(wordAdd(address, done), part, part.length);
      } catch (error) {
        // what was read stays read
        if (done > 0 && error instanceof KernelError) break;
        throw error;
      }
      this.#left = this.#left.subarray(part.length);
      done += part.length;
    }
    if (done > 0) this.changed();
    else if (wanted > 0 && !this.stream.isComplete)
      fail("ENOMSG", `${this.label}: nothing has changed since it was read; there is more in STOP_COPY`);
    return done;
  }

  override write(): number {
    fail("EBADF", `${this.label} is open for reading only`);
  }

  override ioctl(task: Task, request: number, arg: Word): number {
    if (request === VFIO_MIG_GET_PRECOPY_INFO) return this.#info(this, task, arg);
    return super.ioctl(task, request, arg);
  }

  override end(): void {
    this.stream.stop();
    super.end();
  }
}

/** The file that a device's state is written to (mlx5/main.c:mlx5vf_resume_fops). Nothing reaches the device yet. */
export class ResumingFile extends DataFile implements StreamTaker {
  readonly identity: string;
  readonly reader = new StreamReader(this);
  /** The pieces of each memory that came. */
  readonly pieces: readonly Map<number, Uint8Array>[];
  /** Why the stream is none that the device takes. */
  failure: string | undefined;
  readonly #memories: readonly SavedMemory[];

  constructor(device: string, identity: string, memories: readonly SavedMemory[]) {
    super(`migration data for ${device}`);
    this.identity = identity;
    this.#memories = memories;
    this.pieces = memories.map(() => new Map());
  }

  protected override get hasData(): boolean {
    return true;
  }

  memory(which: number, piece: number, bytes: Uint8Array | undefined): void {
    const memory = this.#memories[which];
    const pieces = this.pieces[which];
    if (!memory || !pieces || piece * memory.pieceSize >= memory.size)
      throw new StreamError(`the device has no piece ${piece} of memory ${which}`);
    if (bytes === undefined) pieces.delete(piece);
    else if (bytes.length === memory.pieceSize) pieces.set(piece, bytes);
    else throw new StreamError(`a piece of memory ${which} has ${bytes.length} bytes, not ${memory.pieceSize}`);
  }

  override read(): number {
    fail("EBADF", `${this.label} is open for writing only`);
  }

  override write(task: Task, address: Word, count: number, offset: Word): number {
    this.check(offset);
    if (this.failure !== undefined) fail("ENODEV", `${this.label} was refused: ${this.failure}`);
    const bytes = new Uint8Array(Math.min(count, MOST));
    task.memory.copyIn(address, bytes, bytes.length);
    try {
      this.reader.take(bytes);
    } catch (error) {
      if (!(error instanceof StreamError)) throw error;
      this.failure = error.message;
      fail("EINVAL", `${this.label} is refused: ${error.message}`);
    }
    return bytes.length;
  }
}
