import { Arena } from "../native/arena.ts";
import { koffi } from "../native/koffi.ts";
import { codeBytes, loadMachineCode } from "./machine-code.ts";

/**
 * What runs a chain: for each step, `{u64 number, u64 arguments[6] @8, u64 result @56, u32 *check @64, u32 expected
 * @72, step *otherwise @80}`, it makes the system call, and goes on with the next when `*check` is `expected`; else
 * with `otherwise`, unless that is null. It returns the address of the step that it ended at.
 * test/clients/chain-x64.s and chain-arm64.s assemble to it.
 */
const CODE: Readonly<Record<string, string>> = {
  x64: `
    5341544889fb4989f44c39e3745b488b034885c0783d488b7b08488b7310488b53184c8b53204c8b43284c8b4b300f05
    48894338488b43408b003b434875064883c358ebc4488b43504885c0741b4889c3ebb64883f8fe75db488b4308488b53
    10488b00488902ebcb4889d8415c5bc3`,
  arm64: `
    e90300aaea0301aa3f010aeb20030054280140f92802f8b7208540a9228d41a9249542a9010000d4201d00f92b2140f9
    6b0140b92c4940b97f010c6b6100005429610191f1ffff172b2940f92b0100b4e9030baaedffff171f0900b181feff54
    2bb140a96b0140f98b0100f9f0ffff17e00309aac0035fd6`,
};
const ARGUMENTS = 8;
const RESULT = 56;
const CHECK = 64;
const EXPECTED = 72;
const OTHERWISE = 80;
const SIZE = 88;
/** In the place of a system call's number. */
const NONE = -1;
const MOVE = -2;

/** The machine code for an architecture as node names it; undefined for one that has none. */
export function chainCode(architecture: string): Buffer | undefined {
  const hex = CODE[architecture];
  return hex === undefined ? undefined : codeBytes(hex);
}

type Run = (first: number, end: number) => number;
let loaded: Run | undefined | "none";

function loadedRun(): Run | undefined {
  if (loaded === undefined) {
    const code = chainCode(process.arch);
    const address = code === undefined ? -1 : loadMachineCode(code);
    loaded = address < 0 ? "none" : (koffi.decode(address, koffi.proto("int64", ["int64", "int64"])) as Run);
  }
  return loaded === "none" ? undefined : loaded;
}

/**
 * System calls that are made one after the other without coming back to JavaScript in between, which takes as long as
 * the cheapest of them. Each step has a check of 32 bits of memory, and one that fails ends the chain, or has it go on
 * elsewhere.
 */
export class CallChain {
  readonly #run: Run;
  readonly #arena: Arena;
  readonly #zero: number;

  private constructor(run: Run, steps: number) {
    this.#run = run;
    this.#arena = new Arena(steps * SIZE + 8);
    this.#zero = this.#arena.address + steps * SIZE;
    this.#arena.clear(0, this.#arena.size);
    for (let step = 0; step < steps; step++) this.nothing(step);
  }

  /** A chain of so many steps, which do nothing yet; undefined where no machine code can be brought. */
  static make(steps: number): CallChain | undefined {
    const run = loadedRun();
    return run === undefined ? undefined : new CallChain(run, steps);
  }

  /** Gives its memory back. It may not be used afterwards. */
  free(): void {
    this.#arena.free();
  }

  /** Has a step do nothing but its check, which always holds. */
  nothing(step: number): void {
    this.#setNumber(step, NONE);
    this.always(step);
  }

  /** Has a step make a system call, whatever comes of it. */
  call(step: number, number: number, a = 0, b = 0, c = 0, d = 0, e = 0, f = 0): void {
    this.#setNumber(step, number);
    this.argument(step, 0, a);
    this.argument(step, 1, b);
    this.argument(step, 2, c);
    this.argument(step, 3, d);
    this.argument(step, 4, e);
    this.argument(step, 5, f);
    this.always(step);
  }

  /** Has a step copy 64 bits of memory from one address to another. */
  move(step: number, from: number, to: number): void {
    this.call(step, MOVE, from, to);
  }

  /** Changes one argument of a step's system call. */
  argument(step: number, index: number, value: number): void {
    this.#arena.setU64(step * SIZE + ARGUMENTS + 8 * index, value);
  }

  /** Has the chain end at a step, behind what it does, unless 32 bits of memory are `expected`. */
  check(step: number, address: number, expected: number): void {
    this.#arena.setU64(step * SIZE + CHECK, address);
    this.#arena.setU32(step * SIZE + EXPECTED, expected);
    this.#arena.setU64(step * SIZE + OTHERWISE, 0);
  }

  /** Has it go on with another step, behind this one, when its check fails. */
  otherwise(step: number, other: number): void {
    this.#arena.setU64(step * SIZE + OTHERWISE, this.#arena.address + other * SIZE);
  }

  /** Has the chain end behind what a step does. */
  end(step: number): void {
    this.check(step, this.#zero, 1);
  }

  /** Has a step end nothing, whatever comes of it. */
  always(step: number): void {
    this.check(step, this.#zero, 0);
  }

  /** Where an argument of a step's system call lies. */
  argumentAddress(step: number, index: number): number {
    return this.#arena.address + step * SIZE + ARGUMENTS + 8 * index;
  }

  /** The same of the low 32 bits of what the step's own system call returns. */
  checkResult(step: number, expected: number): void {
    this.check(step, this.#arena.address + step * SIZE + RESULT, expected);
  }

  /** Runs the steps from `first` on, up to `end`. Returns the one whose check failed, or `end`. */
  run(first: number, end: number): number {
    const { address } = this.#arena;
    return (this.#run(address + first * SIZE, address + end * SIZE) - address) / SIZE;
  }

  /** What a step's system call returned, when it is a signed int: a count, a negative errno. */
  result(step: number): number {
    return this.#arena.s32(step * SIZE + RESULT);
  }

  #setNumber(step: number, number: number): void {
    this.#arena.setU32(step * SIZE, number >>> 0);
    this.#arena.setU32(step * SIZE + 4, number < 0 ? 0xffff_ffff : 0);
  }
}
