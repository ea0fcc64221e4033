import { dialectNamed, requestNamed } from "../../uapi/requests/dialects.ts";
import type { RequestRow } from "../../uapi/requests/request-row.ts";
import { isBytesIoctl, MESSAGES, type Operation, type OperationOf } from "../replay/operation.ts";
import { fromHex } from "../replay/outcome.ts";
import { cut } from "../replay/shown.ts";
import { changedFields, decodeArgument, fieldsText, nameIn } from "./decode.ts";
import { printableOperation } from "./printable-operation.ts";

/** How parts of a line are set off; each takes and gives text. */
export interface Style {
  readonly name: (text: string) => string;
  readonly error: (text: string) => string;
  readonly dim: (text: string) => string;
}

export const PLAIN: Style = { name: (text) => text, error: (text) => text, dim: (text) => text };
export const COLOURED: Style = {
  name: (text) => `\x1b[1m${text}\x1b[0m`,
  error: (text) => `\x1b[31m${text}\x1b[0m`,
  dim: (text) => `\x1b[2m${text}\x1b[0m`,
};

/** What is shown of a trace. */
export interface TraceFilter {
  /** Numbers or names of descriptors. */
  readonly fds?: readonly string[];
  /** Requests and calls, by name or a part of it. */
  readonly requests?: readonly string[];
  readonly failed?: boolean;
  /** Also what the recording says of memory for the sake of a replay. */
  readonly memory?: boolean;
}

/**
 * Operations that describe the program's surroundings to whoever repeats the recording; the program did not call them.
 */
const SURROUNDINGS = new Set([
  "store",
  "dump",
  "wait",
  "work",
  "eventfd",
  "memfd",
  "setrlimit",
  "setuid",
  "dropcap",
  "raisecap",
  "mprotect",
  "host",
  "end",
  "vmlck",
]);
const SHOWN_BYTES = 16;

/** What a descriptor is of that came back in a structure, by the field. */
const OUT_FILES: Readonly<Record<string, string>> = { out_fault_fd: "fault queue", out_veventq_fd: "event queue" };

/** Whether the program made a call here (or the like: wrote a register, was told something). */
export function isCall(operation: Operation): boolean {
  if (operation.op === "mmap") return operation.kind === "fd";
  return !SURROUNDINGS.has(operation.op) && !MESSAGES.has(operation.op);
}

/** The longest line of a trace, in characters. */
const LINE_MAX = 8192;

/** "VFIO_IOMMU_MAP_DMA", "open", "pread": what filters and the summary go by. */
export function callName(operation: Operation): string {
  return (operation.op === "ioctl" ? operation.req : undefined) ?? operation.op;
}

/**
 * The row of a recorded request: of the dialect that it was made in; by its name alone in recordings that do not say
 * which.
 */
export function rowOf({ req, dialect }: OperationOf<"ioctl">): RequestRow | undefined {
  if (req === undefined) return undefined;
  const known = dialect === undefined ? undefined : dialectNamed(dialect);
  return known ? known.rows.find(({ name }) => name === req) : requestNamed(req);
}

/**
 * Prints operations the way strace does. One object for one trace: names and numbers of descriptors come from earlier
 * lines.
 */
export class TracePrinter {
  readonly #style: Style;
  readonly #littleEndian: boolean;
  readonly #threads: boolean;
  /** Numbers of descriptors by name, as calls on them had them. */
  readonly #numbers = new Map<string, number>();
  /** What names stand for, as far as it says more than the name. */
  readonly #paths = new Map<string, string>();

  /**
   * @param hasThreads lines say which thread made the call
   * @param littleEndian the byte order of the recorded structures
   */
  constructor(style: Style, { hasThreads = false, littleEndian = true } = {}) {
    this.#style = style;
    this.#littleEndian = littleEndian;
    this.#threads = hasThreads;
  }

  /** The line of an operation; undefined when the filter leaves it out. To be called for all operations in order. */
  line(recorded: Operation, filter: TraceFilter = {}): string | undefined {
    const operation = this.#wanted(recorded, filter);
    if (operation === undefined) return undefined;
    const who = this.#threads && operation.tid !== undefined ? this.#style.dim(`[${operation.tid}] `) : "";
    const lines = `${who}${this.#text(operation)}`.split("\n");
    return lines.map((line) => (line.length > LINE_MAX ? this.#style.dim(cut(line, LINE_MAX)) : line)).join("\n");
  }

  /** Whether line() has one for an operation. To be called for all operations in order, instead of line(). */
  wants(recorded: Operation, filter: TraceFilter = {}): boolean {
    return this.#wanted(recorded, filter) !== undefined;
  }

  #wanted(recorded: Operation, filter: TraceFilter): Operation | undefined {
    const operation = printableOperation(recorded);
    this.#learn(operation);
    return this.#passes(operation, filter) ? operation : undefined;
  }

  /**
   * What a call was made on and with, for who sets that out in another way. To be called for all operations in order,
   * instead of line().
   */
  parts(recorded: Operation): { readonly on: string; readonly text: string } {
    const operation = printableOperation(recorded);
    this.#learn(operation);
    const on = "fd" in operation && operation.op !== "open" ? this.#fd(operation.fd as string | -1) : "";
    if (operation.op === "open") return { on, text: operation.path };
    if (operation.op === "ioctl") return { on, text: this.#argument(operation).replace(/^, /, "") };
    if (operation.op === "close") return { on, text: "" };
    const text = this.#text(operation).split("\n", 1)[0]!;
    return { on, text: text.replace(/^\w+\((.*)\) = .*$/, "$1") };
  }

  #learn(operation: Operation): void {
    if ("fd" in operation && typeof operation.fd === "string") {
      const { fd, num, errno } = operation;
      if (num !== undefined) this.#numbers.set(fd, num);
      if (operation.op === "open" && !errno) this.#paths.set(fd, operation.path);
    }
    if (operation.op !== "ioctl" || operation.ret_is_fd === undefined) return;
    const { ret_is_fd: opened, num_ret: number } = operation;
    if (number !== undefined) this.#numbers.set(opened, number);
    if (!isBytesIoctl(operation)) return;
    const returned = rowOf(operation)?.outFd;
    if (operation.out_fd !== undefined) this.#paths.set(opened, OUT_FILES[returned ?? ""] ?? "file");
    else if (rowOf(operation)?.argument === "string") this.#paths.set(opened, nameIn(fromHex(operation.in)));
  }

  #passes(operation: Operation, { fds, requests, failed, memory }: TraceFilter): boolean {
    const name = callName(operation).toLowerCase();
    const isMessage = MESSAGES.has(operation.op);
    const filtered = fds !== undefined || requests !== undefined || failed === true;
    if (!isCall(operation)) return filtered ? false : isMessage || memory === true;
    if (failed && !operation.errno && operation.ret !== -1) return false;
    if (requests && !requests.some((each) => name.includes(each.toLowerCase()))) return false;
    if (!fds) return true;
    const own = "fd" in operation ? operation.fd : undefined;
    const opened = operation.op === "ioctl" ? operation.ret_is_fd : undefined;
    const mine = [own, opened].filter((fd) => typeof fd === "string");
    return mine.some((fd) => fds.includes(fd) || fds.includes(String(this.#numbers.get(fd))));
  }

  #fd(fd: string | -1 | undefined): string {
    if (typeof fd !== "string") return "-1";
    const number = this.#numbers.get(fd);
    const what = this.#paths.get(fd);
    return `${number ?? fd}${what !== undefined ? `<${what}>` : number !== undefined ? `<${fd}>` : ""}`;
  }

  #text(o: Operation): string {
    const { name, dim } = this.#style;
    switch (o.op) {
      case "open":
        return `${name("open")}("${o.path}", ${o.flags})${this.#result(o, o.fd)}`;
      case "close":
        return `${name("close")}(${this.#fd(o.fd)})${this.#result(o)}`;
      case "ioctl":
        return `${name("ioctl")}(${this.#fd(o.fd)}, ${name(o.req ?? String(o.nr))}${this.#argument(o)})${this.#result(o, o.ret_is_fd)}`;
      case "mmap":
        if (o.kind !== "fd")
          return dim(
            `${o.kind === "device" ? "device " : ""}memory ${o.buf}: ${o.size} bytes ${o.prot}${o.addr ? ` at ${o.addr}` : ""}`,
          );
        return `${name("mmap")}(${o.size}, ${o.prot}, ${this.#fd(o.fd)}, ${o.offset})${this.#result(o, undefined, o.buf)}`;
      case "pread":
      case "read":
        return `${name(o.op)}(${this.#fd(o.fd)}, ${bytesText(o.data)}, ${o.len}${offsetText(o)})${this.#result(o)}`;
      case "pwrite":
      case "write": {
        const length = o.op === "pwrite" ? (o.len ?? o.in.length / 2) : o.in.length / 2;
        return `${name(o.op)}(${this.#fd(o.fd)}, ${bytesText(o.in)}, ${length}${offsetText(o)})${this.#result(o)}`;
      }
      case "w8":
      case "w16":
      case "w32":
      case "w64":
        return `${placeText(o)} <- ${o.value} ${dim(o.op === "w8" ? "(1 byte)" : `(${Number(o.op.slice(1)) / 8} bytes)`)}`;
      case "r32":
      case "r64":
        return `${placeText(o)} -> ${o.value}`;
      case "kmsg":
      case "console":
        return (o.lines ?? []).map((line) => dim(`-- ${line}`)).join("\n");
      case "note":
        return dim(`-- ${o.text ?? ""}`);
      case "store":
        return dim(`memory ${placeText(o)} holds ${bytesText(o.in)}, ${o.in.length / 2} bytes`);
      case "dump":
        return dim(`memory ${placeText(o)} was given ${bytesText(o.data)}, ${o.data.length / 2} bytes`);
      default:
        return otherText(o);
    }
  }

  #argument(o: OperationOf<"ioctl">): string {
    const row = rowOf(o);
    switch (o.arg) {
      case "none":
        return "";
      case "null":
        return ", NULL";
      case "int":
        return `, ${row?.values?.get(Number(o.val)) ?? o.val}`;
      case "buf":
        return `, ${o.buf}`;
    }
    const relocs = (o.relocs ?? []).map((each) => (each.fd === undefined ? each : { ...each, fd: this.#fd(each.fd) }));
    const before = decodeArgument(row, fromHex(o.in), relocs, this.#littleEndian);
    if (!before) return `, ${bytesText(o.in)}`;
    if (row!.argument === "string") return `, "${before.name}"`;
    if (row!.argument === "fd") return `, [${before.fd}]`;
    const after = o.errno ? undefined : decodeArgument(row, fromHex(o.out ?? o.in), relocs, this.#littleEndian);
    const changed = changedFields(before, after);
    return `, ${fieldsText(before)}${Object.keys(changed).length > 0 ? ` => ${fieldsText(changed)}` : ""}`;
  }

  #result(o: Operation, fd?: string | -1, value?: string): string {
    const { error, dim } = this.#style;
    const time = o.us === undefined ? "" : dim(` <${(o.us / 1e6).toFixed(6)}>`);
    if (o.errno || o.ret === -1) {
      const why = o.reason === undefined ? "" : ` (${o.reason})`;
      return ` = ${error(`-1 ${o.errno}${why}`)}${time}`;
    }
    return ` = ${fd !== undefined ? this.#fd(fd) : (value ?? o.ret ?? 0)}${time}`;
  }
}

function placeText({ buf, off }: { readonly buf: string; readonly off?: number | string }): string {
  return `${buf}[0x${Number(off ?? 0).toString(16)}]`;
}

function offsetText(o: Operation): string {
  return "off" in o ? `, ${o.off}` : "";
}

/** Bytes in hexadecimal, the first of them when they are many. */
function bytesText(hex = ""): string {
  const shown = hex.slice(0, 2 * SHOWN_BYTES).replace(/..(?=.)/g, "$& ");
  return `<${shown}${hex.length > 2 * SHOWN_BYTES ? " ..." : ""}>`;
}

/** Operations of recordings that have no form of their own here. */
function otherText({ op, ...rest }: Operation): string {
  const fields = Object.entries(rest).map(
    ([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`,
  );
  return `${op} ${fields.join(" ")}`.trimEnd();
}
