import { Arena } from "../native/arena.ts";
import { koffi } from "../native/koffi.ts";
import { codeBytes, DATA_BEHIND, loadMachineCode } from "./machine-code.ts";

/**
 * What runs a chain: for each step, `{u64 number, u64 arguments[6] @8, u64 result @56, u32 *check @64, u32 expected
 * @72, step *otherwise @80}`, it makes the system call, and goes on with the next when `*check` is `expected`; else
 * with `otherwise`, unless that is null. It returns the step that it ended at. Steps are told by how many bytes they
 * lie behind the first one, since small integers cross from JavaScript quickest; the address of that one stands a page
 * behind the code. test/clients/chain-x64.s and chain-arm64.s assemble to it.
 */
const CODE: Readonly<Record<string, string>> = {
  x64: `
    534154488b05f60f00004863df4801c34c63e64901c44c39e3745b488b034885c0783d488b7b08488b7310488b53184c
    8b53204c8b43284c8b4b300f0548894338488b43408b003b434875064883c358ebc4488b43504885c0741b4889c3ebb6
    4883f8fe75db488b4308488b5310488b00488902ebcb4889d8482b05800f0000415c5bc3`,
  arm64: `
    0b80005869c1208b6ac1218b3f010aeb20030054280140f92802f8b7208540a9228d41a9249542a9010000d4201d00f9
    2b2140f96b0140b92c4940b97f010c6b6100005429610191f1ffff172b2940f92b0100b4e9030baaedffff171f0900b1
    81feff542bb140a96b0140f98b0100f9f0ffff176b7c005820010bcbc0035fd6`,
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

interface Loaded {
  readonly run: (first: number, end: number) => number;
  /** Where the steps lie that are run: u64. */
  readonly block: DataView;
}

let loaded: Loaded | undefined | "none";
/** The chain that `block` tells of. */
let current: CallChain | undefined;

function loadedCode(): Loaded | undefined {
  loaded ??= load() ?? "none";
  return loaded === "none" ? undefined : loaded;
}

function load(): Loaded | undefined {
  const code = chainCode(process.arch);
  const address = code === undefined ? -1 : loadMachineCode(code);
  if (address < 0) return undefined;
  const run = koffi.decode(address, koffi.proto("int", ["int", "int"])) as Loaded["run"];
  return { run, block: new DataView(koffi.view(address + DATA_BEHIND, 8)) };
}

/**
 * System calls that are made one after the other without coming back to JavaScript in between, which takes as long as
 * the cheapest of them. Each step has a check of 32 bits of memory, and one that fails ends the chain, or has it go on
 * elsewhere.
 */
export class CallChain {
  readonly #code: Loaded;
  readonly #arena: Arena;
  readonly #zero: number;

  private constructor(code: Loaded, steps: number) {
    this.#code = code;
    this.#arena = new Arena(steps * SIZE + 8);
    this.#zero = this.#arena.address + steps * SIZE;
    this.#arena.clear(0, this.#arena.size);
    for (let step = 0; step < steps; step++) this.nothing(step);
  }

  /** A chain of so many steps, which do nothing yet; undefined where no machine code can be brought. */
  static make(steps: number): CallChain | undefined {
    const code = loadedCode();
    return code === undefined ? undefined : new CallChain(code, steps);
  }

  /** Gives its memory back. It may not be used afterwards. */
  free(): void {
    if (current === this) current = undefined;
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
    if (current !== this) this.#makeCurrent();
    return this.#code.run(first * SIZE, end * SIZE) / SIZE;
  }

  #makeCurrent(): void {
    current = this;
    this.#code.block.setBigUint64(0, BigInt(this.#arena.address), true);
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
