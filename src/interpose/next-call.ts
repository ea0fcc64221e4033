import { CallChain } from "./call-chain.ts";
import { EarlyLooks } from "./early-looks.ts";
import type { Epoll } from "./epoll.ts";
import type { KeptInfos } from "./kept-infos.ts";
import type { Listener } from "./listener.ts";
import type { SlowLooks } from "./slow-looks.ts";

// the steps: answer one call, wait for the next of the same program, take it; if it is about the descriptor that the
// last one was about, look at what it is known to ask for, and read what the descriptor is
const SEND = 0;
const WAIT = 1;
const RECEIVE = 4;
const EXPECT = 5;
const ENTER = 7;
const READ = 8;
const LOOKS = 9;
const STEPS = LOOKS + EarlyLooks.steps;

type Kept = KeptInfos["last"];

/** What all programs of a server are waited for with. */
export interface Waiting {
  readonly epoll: Epoll;
  readonly infos: KeptInfos;
}

/**
 * A program that makes one call after the other is served by one call out of JavaScript for what lies between two of
 * them, and not by ten.
 */
export class NextCall {
  readonly #epoll: Epoll;
  readonly #infos: KeptInfos;
  readonly #listener: Listener;
  readonly #looks: SlowLooks;
  readonly #early: EarlyLooks;
  #chain: CallChain | undefined;
  /** What the chain's steps expect a call to be about. */
  #kept: Kept;
  /** What the last call was about. */
  #before: Kept;
  #timeout = 0;
  /** The step behind the last one. */
  #end = EXPECT;
  /** There is something to look at ahead. */
  #hasLooks = false;
  #isEntered = false;

  /** @param looks say whether the program's memory may be looked at by this thread */
  constructor({ epoll, infos }: Waiting, listener: Listener, looks: SlowLooks, early: EarlyLooks) {
    this.#epoll = epoll;
    this.#infos = infos;
    this.#listener = listener;
    this.#looks = looks;
    this.#early = early;
    const chain = listener.isChainable ? CallChain.make(STEPS) : undefined;
    this.#chain = chain;
    if (chain === undefined) return;
    listener.putSend(chain, SEND);
    epoll.putWait(chain, WAIT, listener.fd);
    listener.putReceive(chain, RECEIVE);
  }

  /** Whether the listener's answers may be held until wait(). */
  get mayHold(): boolean {
    return this.#chain !== undefined;
  }

  /**
   * Of the call of the only descriptor that the last wait found readable: true when it has been taken already, false
   * when it vanished before it could be; undefined when nobody has tried to take it.
   */
  received: boolean | undefined;

  /**
   * Sends the answer that the listener holds, if it does, and waits as epoll.wait() does.
   * @param timeout microseconds; -1: for ever
   */
  wait(timeout: number): number {
    this.received = undefined;
    const chain = this.#chain;
    const listener = this.#listener;
    if (chain === undefined || !listener.isHeld) return this.#epoll.wait(timeout);
    const { last } = this.#infos;
    if (this.#early.hasChanged) this.#look(chain);
    if (this.#kept !== last) this.#expect(chain, last);
    else this.#end = last === undefined ? EXPECT : STEPS;
    this.#before = last;
    if (timeout >= 0 || this.#timeout !== timeout) this.#epoll.putTimeout(chain, WAIT, timeout);
    this.#timeout = timeout;
    listener.empty();
    this.#enter(chain, this.#hasLooks && !this.#looks.required);
    this.#early.empty();
    const stop = chain.run(SEND, this.#end);
    if (stop === SEND) {
      listener.sendHeld();
      return this.#epoll.wait(timeout);
    }
    listener.heldIsSent();
    if (stop >= RECEIVE) this.received = stop > RECEIVE;
    if (stop === READ) {
      const length = chain.result(READ);
      this.#infos.hasRead(length);
      // What was read is of a thread, not of a number. So that thread was there when all the rest was looked at by its
      // number; and as its filter has WAIT_KILLABLE_RECV, it was in its call.
      if (length > 0) this.#early.took(chain, LOOKS);
    }
    return chain.result(WAIT);
  }

  /** Gives its memory back: the listener is closed. */
  free(): void {
    this.#chain?.free();
    this.#chain = undefined;
    this.#early.free();
  }

  /** The call in hand has been handled: what was learnt of it ahead is no more. */
  handled(): void {
    this.received = undefined;
    this.#infos.hasRead(undefined);
    this.#early.forget();
  }

  #look(chain: CallChain): void {
    this.#hasLooks = this.#early.put(chain, LOOKS, READ, this.#listener);
    if (this.#kept) this.#early.setThread(chain, LOOKS, this.#kept.tid);
  }

  /** Calls are expected to be about what the last two were about: others in turn are no more than taken. */
  #expect(chain: CallChain, kept: Kept): void {
    const isLikely = kept !== undefined && kept === this.#before;
    this.#end = isLikely ? STEPS : EXPECT;
    if (!isLikely) return;
    const before = this.#kept;
    this.#kept = kept;
    this.#listener.putExpect(chain, EXPECT, kept.tid, kept.number);
    this.#infos.putRead(chain, READ, kept);
    chain.end(READ);
    if (before?.tid !== kept.tid) this.#early.setThread(chain, LOOKS, kept.tid);
  }

  /** Whether the chain goes by the looks. */
  #enter(chain: CallChain, isOn: boolean): void {
    if (this.#isEntered === isOn) return;
    this.#isEntered = isOn;
    chain.nothing(ENTER);
    if (!isOn) return;
    chain.end(ENTER);
    chain.otherwise(ENTER, LOOKS);
  }
}
