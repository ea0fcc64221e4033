import { Arena } from "../native/arena.ts";
import { koffi } from "../native/koffi.ts";
import { HOST_CALLS } from "./host-calls.ts";
import { close, syscall3 } from "./libc.ts";
import { AT_FDCWD, O_CLOEXEC } from "./linux.ts";
import { openPath } from "./path-stat.ts";

// include/uapi/linux/aio_abi.h. struct iocb: opcode u16@16 (IOCB_CMD_PREAD is 0), fildes u32@20, buf u64@24,
// nbytes u64@32, flags u32@56, resfd u32@60; behind it the list of one, struct iocb *@64; aio_context_t@72
const FILE = 20;
const FLAGS = 56;
const EVENT = 60;
const LIST = 64;
const CONTEXT = 72;
const IOCB_FLAG_RESFD = 1;
// struct aio_ring (fs/aio.c), in words: id, nr, head, tail, magic; the context's number is its address
const RING_SIZE = 32;
const HEAD = 2;
const TAIL = 3;
const MAGIC = 4;
const AIO_RING_MAGIC = 0xa10a10a1;

/**
 * eventfd_signal() from outside of the kernel: a read of nothing, which is over at once, and by whose end the kernel
 * signals an eventfd (io_submit(2)). It never waits: as in the kernel a signal is lost where the counter is as high as
 * it gets. A write() would wait there, and to keep it from that takes longer than all else.
 */
export class EventSignaller {
  readonly #arena = new Arena(CONTEXT + 8);
  readonly #file: number;
  /** The ring that ends of reads are noted in; undefined where the machine has no such reads, or no more of them. */
  readonly #ring: Uint32Array | undefined;

  constructor() {
    this.#file = openPath(AT_FDCWD, "/dev/null", O_CLOEXEC);
    this.#ring = this.#file < 0 ? undefined : this.#setUp();
    const arena = this.#arena;
    arena.setU32(FILE, this.#file);
    arena.setU32(FLAGS, IOCB_FLAG_RESFD);
    arena.setU64(LIST, arena.address);
  }

  /** Adds one to an eventfd's counter. False when that has to be done otherwise. */
  signal(fd: number): boolean {
    const ring = this.#ring;
    if (ring === undefined) return false;
    const arena = this.#arena;
    arena.setU32(EVENT, fd);
    const submitted = syscall3(HOST_CALLS.io_submit, arena.u64(CONTEXT), 1, arena.address + LIST);
    // taken out, as io_getevents() does it in user space too
    ring[HEAD] = ring[TAIL]!;
    return submitted === 1;
  }

  close(): void {
    if (this.#ring !== undefined) syscall3(HOST_CALLS.io_destroy, this.#arena.u64(CONTEXT), 0, 0);
    if (this.#file >= 0) close(this.#file);
  }

  #setUp(): Uint32Array | undefined {
    const arena = this.#arena;
    arena.clear(0, arena.size);
    if (syscall3(HOST_CALLS.io_setup, 1, arena.address + CONTEXT, 0) < 0) return undefined;
    const ring = new Uint32Array(koffi.view(arena.u64(CONTEXT), RING_SIZE));
    if (ring[MAGIC] === AIO_RING_MAGIC) return ring;
    syscall3(HOST_CALLS.io_destroy, arena.u64(CONTEXT), 0, 0);
    return undefined;
  }
}
