import type { Word } from "../kernel/word.ts";
import { Arena } from "../native/arena.ts";
import type { CallChain } from "./call-chain.ts";
import type { HeldMemory } from "./held-memory.ts";
import { HOST_CALLS } from "./host-calls.ts";
import { LINUX_CAPABILITY_VERSION_3, RLIMIT_MEMLOCK } from "./linux.ts";
import type { Listener } from "./listener.ts";
import { isReadable, isWritable, type Mapping, MapQuery, noMapping, type Place } from "./memory-map.ts";

/** Requests that are looked ahead for. */
const MOST = 6;
/** How often a request is made before that. */
const OFTEN = 8;
/** A structure that is elsewhere so often in a row is looked for there. */
const MISSES = 3;
/** Requests whose calls are counted. */
const MAX_COUNTED = 64;
/** Bytes that are read ahead. */
const MOST_BYTES = 256;
/** Up to here, in bytes, a loop copies faster than set(), which needs a view of the part first. */
const SMALL = 64;
/** The argument of an ioctl. */
const ARGUMENT = 2;
// the steps of a request: is it this one, is its structure where it was the last time, the structure, what the caller
// may do, the mapping that the structure names, which request that was
const REQUEST = 0;
const WHERE = 1;
const QUERY = 2;
const SAME = 3;
const FROM = SAME + MapQuery.sameSteps;
const READ = FROM + 1;
const CAPABILITIES = READ + 1;
const LIMIT = READ + 2;
const NAMED = READ + 3;
const NAMED_QUERY = READ + 4;
const DONE = READ + 5;
const REQUEST_STEPS = DONE + 1;
// struct __user_cap_header_struct, {effective, permitted, inheritable}[2], struct rlimit64, two struct procmap_query
const HEADER = 0;
const SETS = 8;
const SOFT_LIMIT = 32;
const OWN_QUERY = 48;
const THEIR_QUERY = OWN_QUERY + MapQuery.size;
// which request was looked ahead for, u64, and the numbers that are put there
const WHICH = THEIR_QUERY + MapQuery.size;
const NUMBERS = WHICH + 8;
const NONE = MOST;
const DATA = NUMBERS + 8 * MOST;
const UNLIMITED = 2 ** 64;

/** What the calls of one request look at, as far as earlier ones have shown. */
interface Known {
  readonly request: number;
  /** Bytes of the structure. */
  readonly length: number;
  /** The mapping that it lay in. */
  readonly place: Place;
  /** Where in it the address of a mapping lies that is asked for, in bytes; -1: none is. */
  named: number;
  /** Whether what the caller may pin is asked for. */
  asksRights: boolean;
  /** How often in a row the structure was not where it was looked for. */
  misses: number;
}

/**
 * What an ioctl is known to ask of its caller, because the same request has asked for it before: it is looked at in the
 * chain that takes the call (next-call.ts), and found here. It counts when the thread was there still afterwards.
 */
export class EarlyLooks {
  /** Steps of a chain that put() fills at most. */
  static readonly steps = MOST * REQUEST_STEPS;
  readonly #arena = new Arena(DATA + MOST_BYTES);
  readonly #ownQuery = new MapQuery(this.#arena, OWN_QUERY);
  readonly #theirQuery = new MapQuery(this.#arena, THEIR_QUERY);
  readonly #mapping = noMapping();
  readonly #counts = new Map<number, number>();
  /** In the order of their steps. */
  readonly #known: Known[] = [];
  #replaced = 0;
  #hasChanged = true;
  /** The memory that they look into. */
  #held: HeldMemory | undefined;
  /** What was looked at for the call in hand, and in which memory. */
  #found: Known | undefined;
  #foundIn: HeldMemory | undefined;
  /** Bytes of the structure that were read; what is learnt in the call may say more for the next. */
  #length = 0;
  #hasRights = false;
  #hasLimit = false;
  #hasMapping = false;
  #isValid = false;
  /** The call in hand, when it is an ioctl: its request, and its argument. */
  #request = 0;
  #address: Word = 0;

  constructor() {
    this.#arena.setU32(HEADER, LINUX_CAPABILITY_VERSION_3);
    for (let index = 0; index < MOST; index++) this.#arena.setU64(NUMBERS + 8 * index, index);
  }

  /** Gives its memory back: the chain is gone. */
  free(): void {
    this.#arena.free();
  }

  /** Whether put() would write other steps than the last time. */
  get hasChanged(): boolean {
    return this.#hasChanged || this.#held?.isOpen === false;
  }

  /**
   * Has steps of a chain from `first` on look at what the call that `listener` has received by then asks for, and go on
   * with step `then`. Returns whether there is anything to look at.
   */
  put(chain: CallChain, first: number, then: number, listener: Listener): boolean {
    this.#hasChanged = false;
    if (this.#held?.isOpen === false) this.#held = undefined;
    const held = this.#held;
    if (held === undefined) return false;
    for (const [index, known] of this.#known.entries()) {
      const step = first + index * REQUEST_STEPS;
      listener.putExpectRequest(chain, step + REQUEST, known.request);
      chain.otherwise(step + REQUEST, index < this.#known.length - 1 ? step + REQUEST_STEPS : then);
      this.#putStructure(chain, step, listener, held, known);
      for (let each = step + QUERY; each < step + FROM; each++) chain.otherwise(each, then);
      this.#putRights(chain, step, known);
      const { address } = this.#arena;
      chain.move(step + DONE, address + NUMBERS + 8 * index, address + WHICH);
      chain.end(step + DONE);
      chain.otherwise(step + DONE, then);
    }
    return this.#known.length > 0;
  }

  /** Whose calls are looked ahead for, behind put(). */
  setThread(chain: CallChain, first: number, tid: number): void {
    this.#arena.setU32(HEADER + 4, tid);
    for (const [index, { asksRights }] of this.#known.entries())
      if (asksRights) chain.argument(first + index * REQUEST_STEPS + LIMIT, 0, tid);
  }

  /** Before the chain runs. */
  empty(): void {
    this.#arena.setU32(WHICH, NONE);
  }

  #putStructure(chain: CallChain, step: number, listener: Listener, held: HeldMemory, known: Known): void {
    const { address } = this.#arena;
    listener.putMoveArgument(chain, step + WHERE, ARGUMENT, this.#ownQuery.addressField);
    held.map.putQuery?.(chain, step + QUERY, this.#ownQuery);
    this.#ownQuery.putSame(chain, step + SAME, known.place);
    listener.putMoveArgument(chain, step + FROM, ARGUMENT, chain.argumentAddress(step + READ, 3));
    held.putRead(chain, step + READ, address + DATA, known.length);
    if (known.named < 0) {
      chain.nothing(step + NAMED);
      chain.nothing(step + NAMED_QUERY);
      return;
    }
    chain.move(step + NAMED, address + DATA + known.named, this.#theirQuery.addressField);
    held.map.putQuery?.(chain, step + NAMED_QUERY, this.#theirQuery);
    chain.always(step + NAMED_QUERY);
  }

  /** Of a thread that setThread() says. */
  #putRights(chain: CallChain, step: number, { asksRights }: Known): void {
    const { address } = this.#arena;
    if (asksRights) {
      chain.call(step + CAPABILITIES, HOST_CALLS.capget, address + HEADER, address + SETS);
      chain.call(step + LIMIT, HOST_CALLS.prlimit64, 0, RLIMIT_MEMLOCK, 0, address + SOFT_LIMIT);
    } else {
      chain.nothing(step + CAPABILITIES);
      chain.nothing(step + LIMIT);
    }
  }

  /**
   * The call in hand was received by a chain whose steps from `first` on put() has filled, and its thread was there
   * still when they had been made.
   */
  took(chain: CallChain, first: number): void {
    this.#isValid = true;
    const index = this.#arena.u32(WHICH);
    const known = index === NONE ? undefined : this.#known[index];
    if (known === undefined) return;
    const step = first + index * REQUEST_STEPS;
    this.#found = known;
    this.#foundIn = this.#held;
    this.#length = chain.result(step + READ) === known.length ? known.length : 0;
    this.#hasRights = known.asksRights && chain.result(step + CAPABILITIES) === 0;
    this.#hasLimit = known.asksRights && chain.result(step + LIMIT) === 0;
    this.#hasMapping = this.#length > 0 && known.named >= 0 && chain.result(step + NAMED_QUERY) === 0;
  }

  /** What was looked at counts no more: the call has been handled. */
  forget(): void {
    this.#found = undefined;
    this.#request = 0;
    this.#length = 0;
    this.#hasRights = false;
    this.#hasLimit = false;
    this.#hasMapping = false;
    this.#isValid = false;
  }

  /** An ioctl is being handled. */
  begin(request: number, address: Word): void {
    this.#request = request;
    this.#address = address;
    const found = this.#found;
    // the chain has found where the structure begins; behind the mapping there may be one that cannot be read
    if (found && (typeof address !== "number" || address + this.#length > found.place.end)) this.#length = 0;
  }

  /** Whether the caller was there still when it and its file had been looked at. */
  get isValid(): boolean {
    return this.#isValid;
  }

  /**
   * Reads of the caller's memory what has been read already; false when it has not been.
   * @param words as AddressSpace.copyIn() has them
   */
  read(held: HeldMemory, address: Word, into: Uint8Array, length: number, words: Int32Array | undefined): boolean {
    if (this.#length === 0 || held !== this.#foundIn) return false;
    const at = this.#place(address, length);
    if (at < 0 || at + length > this.#length) return false;
    this.#found!.misses = 0;
    const { bytes, words: all } = this.#arena;
    if (words !== undefined && (at | length) % 4 === 0) {
      const from = (DATA + at) >>> 2;
      for (let i = 0; i < length >>> 2; i++) words[i] = all[from + i]!;
    } else if (length > SMALL) bytes.copy(into, 0, DATA + at, DATA + at + length);
    else for (let i = 0; i < length; i++) into[i] = bytes[DATA + at + i]!;
    return true;
  }

  /** The call in hand has read of its caller's memory. */
  noteRead(held: HeldMemory, address: Word, length: number): void {
    const at = this.#place(address, length);
    if (at < 0 || !held.map.isQuick) return;
    const known = this.#wanted();
    if (known === undefined) return;
    const start = this.#address as number;
    const whole = Math.max(known.length, at + length);
    if (known.length === whole) {
      const isMissed = this.#isValid && (this.#found === undefined || this.#foundIn !== held);
      if (!isMissed || ++known.misses < MISSES) return;
    }
    const mapping = held.map.find(start);
    const place = mapping && held.map.place?.();
    if (place === undefined || !isReadable(place) || start + whole > place.end) return;
    this.#known[this.#known.indexOf(known)] = { ...known, length: whole, place, misses: 0 };
    this.#held = held;
    this.#hasChanged = true;
  }

  /** Whether a range lies in a mapping that was found to be writable, for the call in hand. */
  isWritable(held: HeldMemory, address: number, length: number): boolean {
    const place = this.#found?.place;
    if (place === undefined || held !== this.#foundIn || !isWritable(place)) return false;
    return typeof this.#address === "number" && address >= this.#address && address + length <= place.end;
  }

  /** What is written to the caller may be where its structure was: that is read anew. */
  wrote(): void {
    this.#length = 0;
  }

  /** The mapping that the call's structure names, when it was looked for; valid until the next call. */
  find(held: HeldMemory, address: number): Mapping | undefined {
    if (held !== this.#foundIn || this.#found === undefined) return undefined;
    if (this.#hasMapping && this.#theirQuery.askedAddress === address) return this.#theirQuery.read(this.#mapping);
    if (this.#found.named < 0) this.#noteNamed(this.#found, address);
    return undefined;
  }

  /** The first 32, or else the next, of the caller's effective capabilities; undefined when they were not looked at. */
  effective(isHigh: boolean): number | undefined {
    return this.#hasRights ? this.#arena.u32(isHigh ? SETS + 12 : SETS) : undefined;
  }

  /** Its soft RLIMIT_MEMLOCK in bytes; undefined when that was not looked at. */
  get memlockLimit(): number | undefined {
    if (!this.#hasLimit) return undefined;
    const limit = this.#arena.u64(SOFT_LIMIT);
    return limit >= UNLIMITED ? Number.POSITIVE_INFINITY : limit;
  }

  /** What the caller may pin is asked for. */
  noteRights(): void {
    const known = this.#found;
    if (known === undefined || known.asksRights) return;
    known.asksRights = true;
    this.#hasChanged = true;
  }

  /** A mapping is asked for: its address may be in the structure. */
  #noteNamed(known: Known, address: number): void {
    for (let at = 0; at + 8 <= this.#length; at += 8) {
      if (this.#arena.u64(DATA + at) !== address) continue;
      known.named = at;
      this.#hasChanged = true;
      return;
    }
  }

  /** Where in the structure of the call in hand a range lies, in bytes; -1 when it does not. */
  #place(address: Word, length: number): number {
    if (this.#request === 0 || typeof address !== "number" || typeof this.#address !== "number") return -1;
    const at = address - this.#address;
    return length > 0 && at >= 0 && at + length <= MOST_BYTES ? at : -1;
  }

  /** What is known of the request in hand; undefined when it is not made often. */
  #wanted(): Known | undefined {
    const request = this.#request;
    const known = this.#known.find((each) => each.request === request);
    if (known !== undefined) return known;
    const count = (this.#counts.get(request) ?? 0) + 1;
    if (count < OFTEN) {
      if (this.#counts.size >= MAX_COUNTED) this.#counts.clear();
      this.#counts.set(request, count);
      return undefined;
    }
    this.#counts.delete(request);
    const place = { start: 0, end: 0, flags: 0 };
    const fresh = { request, length: 0, place, named: -1, asksRights: false, misses: 0 };
    if (this.#known.length < MOST) this.#known.push(fresh);
    else this.#known[this.#replaced++ % MOST] = fresh;
    this.#hasChanged = true;
    return fresh;
  }
}
