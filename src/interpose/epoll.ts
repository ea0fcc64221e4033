import { Arena } from "../native/arena.ts";
import type { CallChain } from "./call-chain.ts";
import { HOST_CALLS } from "./host-calls.ts";
import { close, syscall, syscallAside } from "./libc.ts";
import { EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLLIN, O_CLOEXEC } from "./linux.ts";

const MAX_EVENTS = 32;
/** Bytes of struct epoll_event {u32 events; u64 data}: packed on x86-64 only. */
const EVENT_SIZE = process.arch === "x64" ? 12 : 16;
const DATA = process.arch === "x64" ? 4 : 8;

/** Waits for several descriptors to become readable. */
export class Epoll {
  /** Readable when one of them is: it may be one of another's. */
  readonly fd = syscall(HOST_CALLS.epoll_create1, O_CLOEXEC);
  readonly #events = new Arena(MAX_EVENTS * EVENT_SIZE);
  /** struct epoll_event of its own: the other ones may be waited for. */
  readonly #change = new Arena(16);
  /** struct timespec. */
  readonly #timeout = new Arena(16);

  /** @param events what is waited for beside EPOLLERR and EPOLLHUP */
  add(fd: number, events = EPOLLIN): void {
    this.#change.setU32(0, events);
    this.#change.setU64(DATA, fd);
    syscall(HOST_CALLS.epoll_ctl, this.fd, EPOLL_CTL_ADD, fd, this.#change.address);
  }

  remove(fd: number): void {
    syscall(HOST_CALLS.epoll_ctl, this.fd, EPOLL_CTL_DEL, fd, this.#change.address);
  }

  /** Has steps of a chain do what wait() does, and end the chain unless one descriptor alone is readable: `fd`. */
  putWait(chain: CallChain, step: number, fd: number): void {
    const { address } = this.#events;
    chain.call(step, HOST_CALLS.epoll_pwait2, this.fd, address, MAX_EVENTS);
    chain.checkResult(step, 1);
    chain.check(step + 1, address, EPOLLIN);
    chain.check(step + 2, address + DATA, fd);
  }

  /** How long putWait()'s step waits: microseconds; -1: for ever. */
  putTimeout(chain: CallChain, step: number, microseconds: number): void {
    chain.argument(step, 3, this.#timespec(microseconds));
  }

  /** @param timeout microseconds; -1 waits for ever. Returns how many are ready; less than 1 when none is. */
  wait(timeout: number): number {
    return syscall(HOST_CALLS.epoll_pwait2, this.fd, this.#events.address, MAX_EVENTS, this.#timespec(timeout));
  }

  /** The descriptors that are ready now, as many as one question tells. */
  ready(): readonly number[] {
    return Array.from({ length: Math.max(this.wait(0), 0) }, (_, index) => this.descriptor(index));
  }

  /** Waits aside, while this thread's event loop goes on. */
  waitAside(timeout: number): Promise<number> {
    return syscallAside(HOST_CALLS.epoll_pwait2, this.fd, this.#events.address, MAX_EVENTS, this.#timespec(timeout));
  }

  /** Address of a timeout, 0 for none. */
  #timespec(timeout: number): number {
    if (timeout < 0) return 0;
    this.#timeout.setU64(0, Math.trunc(timeout / 1_000_000));
    this.#timeout.setU64(8, (timeout % 1_000_000) * 1000);
    return this.#timeout.address;
  }

  /** Whether more may be ready than were told. */
  isFull(count: number): boolean {
    return count === MAX_EVENTS;
  }

  /** The descriptor of the n-th that is ready, until the next wait, add or remove. */
  descriptor(index: number): number {
    return this.#events.u32(index * EVENT_SIZE + DATA);
  }

  /** Its EPOLL* bits. */
  events(index: number): number {
    return this.#events.u32(index * EVENT_SIZE);
  }

  close(): void {
    close(this.fd);
  }
}
