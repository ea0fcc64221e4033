import { Arena } from "../../native/arena.ts";
import { ERRNO, type ErrnoName } from "../../uapi/errno.ts";
import type { CallLimit } from "../call-limit.ts";
import { HOST_CALLS } from "../host-calls.ts";
import { close, syscall3 } from "../libc.ts";
import { IN, OUT } from "./protocol.ts";

/** One write of a program at most; sysfs takes a page at a time. */
export const MAX_WRITE = 4096;
/** Bytes of a request at most, and of what the kernel wants to have room for (FUSE_MIN_READ_BUFFER). */
const REQUEST_SIZE = 8192 + MAX_WRITE;
/** Bytes of an answer at most: further ones are read with the next request. */
export const ANSWER_SIZE = 0x1_0000;

/** Raised for what a request cannot have; the kernel hears the errno and nobody the reason. */
export class Refusal extends Error {
  readonly errno: number;

  constructor(name: ErrnoName) {
    super(name);
    this.errno = ERRNO[name];
  }
}

/** Of channels that are closed, for those to come: such memory is not collected. */
const rooms: { readonly request: Arena; readonly answer: Arena }[] = [];

/** Requests of the kernel one by one, and the answers to them. Offsets count from behind a message's header. */
export class FuseChannel {
  readonly fd: number;
  readonly #room = rooms.pop() ?? { request: new Arena(REQUEST_SIZE), answer: new Arena(OUT.size + ANSWER_SIZE) };
  readonly #request = this.#room.request;
  readonly #answer = this.#room.answer;
  readonly #limit: CallLimit | undefined;
  #length = 0;

  /**
   * @param fd an open /dev/fuse with O_NONBLOCK
   * @param limit ends a read that waits: somebody else may have the descriptor too, and take O_NONBLOCK from it
   */
  constructor(fd: number, limit?: CallLimit) {
    this.fd = fd;
    this.#limit = limit;
  }

  /** Takes the next request in hand. "none": nothing waits now. "over": the file system is gone. */
  next(): "request" | "none" | "over" {
    for (;;) {
      this.#length = this.#read();
      if (this.#length >= IN.size) return "request";
      if (this.#length === -ERRNO.EAGAIN) return "none";
      if (this.#length === -ERRNO.EINTR && this.#limit) return "none";
      // A request whose caller was killed before we had it.
      if (this.#length !== -ERRNO.ENOENT && this.#length !== -ERRNO.EINTR) return "over";
    }
  }

  #read(): number {
    const { address } = this.#request;
    return this.#limit?.isUsable
      ? this.#limit.syscall3(HOST_CALLS.read, this.fd, address, REQUEST_SIZE)
      : syscall3(HOST_CALLS.read, this.fd, address, REQUEST_SIZE);
  }

  get opcode(): number {
    return this.#request.u32(IN.opcode);
  }

  /** What the request is called in its answer. */
  get unique(): Buffer {
    return Buffer.from(this.#request.bytes.subarray(IN.unique, IN.unique + 8));
  }

  get nodeid(): number {
    return this.#request.u64(IN.nodeid);
  }

  /** The process that asks, in the numbers of our pid namespace; 0 when it is of another. */
  get pid(): number {
    return this.#request.u32(IN.pid);
  }

  /** Bytes behind the header. */
  get length(): number {
    return this.#length - IN.size;
  }

  /** EINVAL for a request that is shorter. */
  require(size: number): void {
    if (this.length < size) throw new Refusal("EINVAL");
  }

  u32(at: number): number {
    return this.#request.u32(IN.size + at);
  }

  u64(at: number): number {
    return this.#request.u64(IN.size + at);
  }

  bytes(at: number, length: number): Buffer {
    return this.#request.bytes.subarray(IN.size + at, IN.size + at + length);
  }

  /** The name that the request consists of, up to its NUL. */
  name(): string {
    const { bytes } = this.#request;
    const end = bytes.indexOf(0, IN.size);
    if (end < 0 || end >= this.#length) throw new Refusal("EINVAL");
    return bytes.toString("utf8", IN.size, end);
  }

  /** So many bytes of the answer, as zeros. */
  clear(size: number, at = 0): DataView {
    const { bytes } = this.#answer;
    const begin = OUT.size + at;
    bytes.fill(0, begin, begin + size);
    return new DataView(bytes.buffer, bytes.byteOffset + begin, size);
  }

  /** What an answer may have behind its header. */
  get room(): Buffer {
    return this.#answer.bytes.subarray(OUT.size);
  }

  /**
   * Answers with an errno, or with so many bytes of the room. Returns false when nobody waits for the answer any more.
   */
  reply(unique: Buffer, errno: number, size: number): boolean {
    const answer = this.#answer;
    answer.setU32(OUT.len, OUT.size + size);
    answer.view.setInt32(OUT.error, -errno, true);
    answer.bytes.set(unique, OUT.unique);
    return syscall3(HOST_CALLS.write, this.fd, answer.address, OUT.size + size) >= 0;
  }

  close(): void {
    close(this.fd);
    rooms.push(this.#room);
  }
}
