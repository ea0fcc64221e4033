import { isBytesIoctl, type Operation } from "../inspect/replay/operation.ts";
import { COLOURED, isCall, PLAIN, TracePrinter } from "../inspect/trace/print.ts";
import { hasColours } from "./colours.ts";
import { UsageError } from "./errors.ts";
import { complainRaw, type OutputFile, openOutput, outputName, writeAll } from "./output.ts";
import type { RunOptions } from "./run-command.ts";

/** What `uvfio run --strace` prints; undefined without it. @throws UsageError */
export function straceOf({ strace, timestamps = false, output }: RunOptions): Strace | undefined {
  if (strace) return new Strace(output === undefined ? undefined : openOutput(output, "--output"), timestamps);
  if (timestamps) throw new UsageError("-t is about --strace: give both");
  if (output !== undefined)
    throw new UsageError("--output is about --strace: give both; a trace is written by --trace FILE");
  return undefined;
}

/** Prints calls as they are made, the way strace does. */
export class Strace {
  readonly #file: OutputFile | undefined;
  readonly #timestamps: boolean;
  readonly #printer: TracePrinter;
  readonly #threads = new Set<number>();
  readonly #buffers = new Map<string, number>();
  #isLost = false;

  /** @param file stderr when left out */
  constructor(file: OutputFile | undefined, timestamps: boolean) {
    this.#file = file;
    this.#timestamps = timestamps;
    this.#printer = new TracePrinter(file === undefined && hasColours(2) ? COLOURED : PLAIN);
  }

  write(recorded: Operation): void {
    const operation = this.#placed(recorded);
    const line = this.#printer.line(operation);
    if (line === undefined || operation.op === "host") return;
    const { tid } = operation;
    if (tid !== undefined) this.#threads.add(tid);
    const who = this.#threads.size > 1 && tid !== undefined && isCall(operation) ? `[pid ${tid}] ` : "";
    this.#print(`${this.#timestamps ? `${clock()} ` : ""}${who}${line}\n`);
  }

  close(): void {
    this.#file?.close();
  }

  /** With the addresses of the program's memory, as it has them itself: a trace has names for buffers. */
  #placed(operation: Operation): Operation {
    if (operation.op === "mmap" && operation.addr !== undefined)
      this.#buffers.set(operation.buf, Number(operation.addr));
    if (!isBytesIoctl(operation) || operation.relocs === undefined) return operation;
    const relocs = operation.relocs.map((reloc) => {
      const base = reloc.buf === undefined ? undefined : this.#buffers.get(reloc.buf);
      if (base === undefined) return reloc;
      const { buf: _buf, add = 0, ...rest } = reloc;
      return { ...rest, add: base + add };
    });
    return { ...operation, relocs };
  }

  #print(text: string): void {
    if (!this.#file) {
      complainRaw(text);
      return;
    }
    if (this.#isLost) return;
    try {
      writeAll(this.#file.fd, Buffer.from(text), outputName(this.#file.name));
    } catch {
      // the program goes on without it
      this.#isLost = true;
      complainRaw(`uvfio: --output ${this.#file.name}: cannot be written: calls are lost from here on\n`);
    }
  }
}

/** "12:34:56.789012" of this machine's day. */
function clock(): string {
  const now = performance.timeOrigin + performance.now();
  const time = new Date(now).toTimeString().slice(0, 8);
  return `${time}.${String(Math.floor((now % 1000) * 1000)).padStart(6, "0")}`;
}
