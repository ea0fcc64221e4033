import { hexRange } from "../../kernel/errors.ts";
import { StructView } from "../../uapi/struct-view.ts";
import type { ModelCall, Watcher } from "../watch/watcher.ts";
import type { FaultSpec } from "./fault-spec.ts";
import { InjectedError } from "./injected.ts";

/** A fault and how often it was met. */
export interface FaultState {
  readonly spec: FaultSpec;
  /** Calls or accesses that it speaks of. */
  matched: number;
  /** Those of them that failed for it. */
  injected: number;
}

interface Touched {
  readonly first: bigint;
  readonly last: bigint;
}

/** Has calls and DMA fail as ordered. The model does not hear of such a call, so that its state stays as it was. */
export class FaultInjector implements Watcher {
  readonly faults: readonly FaultState[];
  readonly #random: (() => number)[];
  readonly #by: string;

  /** @param by who ordered it, for reasons */
  constructor(specs: readonly FaultSpec[], by = "--fault") {
    this.#by = by;
    this.faults = specs.map((spec) => ({ spec, matched: 0, injected: 0 }));
    this.#random = specs.map(({ times }) => randomFrom(times.kind === "chance" ? times.seed : 0));
  }

  readonly model = {
    dma: (device: string, write: boolean, iova: bigint, length: number) => this.#dma(device, write, iova, length),
  };

  before(call: ModelCall): void {
    if (call.op === "poll" || call.op === "close") return;
    const name = call.op === "ioctl" ? call.file!.dialect.nameOf(call.request) : call.op;
    let touched: Touched | undefined | null = null;
    for (const [index, fault] of this.faults.entries()) {
      const { target, range, errno } = fault.spec;
      if (target.kind === "dma" || target.name !== name) continue;
      if (range) {
        if (touched === null) touched = touchedRange(call);
        if (!touched || touched.last < range.first || touched.first > range.last) continue;
      }
      if (this.#isDue(index))
        throw new InjectedError(errno!, `injected by ${this.#by} ${fault.spec.text} (call ${fault.matched})`);
    }
  }

  #dma(device: string, write: boolean, iova: bigint, length: number): string | undefined {
    const last = iova + BigInt(Math.max(length, 1)) - 1n;
    for (const [index, { spec, matched }] of this.faults.entries()) {
      if (spec.target.kind !== "dma" || spec.target.device !== device) continue;
      if (spec.range && (last < spec.range.first || iova > spec.range.last)) continue;
      if (this.#isDue(index)) {
        return `injected by ${this.#by} ${spec.text} (${write ? "write" : "read"} ${matched + 1}, ${hexRange(iova, last)})`;
      }
    }
    return undefined;
  }

  #isDue(index: number): boolean {
    const fault = this.faults[index]!;
    const { times } = fault.spec;
    const count = ++fault.matched;
    const due =
      times.kind === "all" ||
      (times.kind === "range" && count >= times.first && count <= times.last) ||
      (times.kind === "every" && count % times.step === 0) ||
      (times.kind === "chance" && this.#random[index]!() < times.share);
    if (due) fault.injected++;
    return due;
  }
}

/** The IOVAs that a request is about; undefined when it is about none or cannot be read. */
function touchedRange(call: ModelCall): Touched | undefined {
  const row = call.op === "ioctl" ? call.file!.dialect.row(call.request) : undefined;
  if (call.op !== "ioctl" || !row?.range || !row.struct) return undefined;
  const { range } = row;
  const { layout } = row.struct;
  const bytes = new Uint8Array(layout.size);
  try {
    call.task!.memory.copyIn(call.arg, bytes, bytes.length);
  } catch {
    return undefined;
  }
  const view = new StructView(bytes, call.task!.memory.littleEndian);
  const first = view.u64(layout.offsets[range.iova]!);
  const length = view.u64(layout.offsets[range.length]!);
  return length === 0n ? undefined : { first, last: first + length - 1n };
}

/** A reproducible sequence of numbers from 0 up to 1 (mulberry32). */
function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
