import { fromHex } from "../replay/outcome.ts";
import type { Operation } from "../replay/recording.ts";
import { requestFacts } from "../requests.ts";
import { changedFields, decodeArgument, fieldsText } from "./decode.ts";

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

/** Operations that describe the program's surroundings to whoever repeats the recording; the program did not call them. */
const SURROUNDINGS = new Set([
  "store",
  "dump",
  "wait",
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

/** Whether the program made a call here (or the like: wrote a register, was told something). */
export function isCall(operation: Operation): boolean {
  if (operation.op === "mmap") return operation.kind === "fd";
  return !SURROUNDINGS.has(operation.op) && operation.op !== "kmsg" && operation.op !== "console";
}

/** "VFIO_IOMMU_MAP_DMA", "open", "pread": what filters and the summary go by. */
export function callName({ op, req }: Operation): string {
  return req ?? op;
}

/** Prints operations the way strace does. One object for one trace: names and numbers of descriptors come from earlier lines. */
export class TracePrinter {
  readonly #style: Style;
  readonly #threads: boolean;
  /** Numbers of descriptors by name, as calls on them had them. */
  readonly #numbers = new Map<string, number>();
  /** What names stand for, as far as it says more than the name. */
  readonly #paths = new Map<string, string>();

  constructor(style: Style, operations: readonly Operation[]) {
    this.#style = style;
    this.#threads = new Set(operations.flatMap(({ tid }) => (tid === undefined ? [] : [tid]))).size > 1;
  }

  /** The line of an operation; undefined when the filter leaves it out. To be called for all operations in order. */
  line(operation: Operation, filter: TraceFilter = {}): string | undefined {
    this.#learn(operation);
    if (!this.#passes(operation, filter)) return undefined;
    const who = this.#threads && operation.tid !== undefined ? this.#style.dim(`[${operation.tid}] `) : "";
    return who + this.#text(operation);
  }

  #learn(operation: Operation): void {
    const { op, fd, num, path, ret_is_fd: opened, num_ret: number, in: bytes, out_fd: inside, errno } = operation;
    if (typeof fd === "string") {
      if (num !== undefined) this.#numbers.set(fd, num);
      if (op === "open" && path !== undefined && !errno) this.#paths.set(fd, path);
    }
    if (opened === undefined) return;
    if (number !== undefined) this.#numbers.set(opened, number);
    if (inside !== undefined) this.#paths.set(opened, "fault queue");
    else if (bytes !== undefined)
      this.#paths.set(opened, new TextDecoder().decode(fromHex(bytes)).replace(/\0.*$/s, ""));
  }

  #passes(operation: Operation, { fds, requests, failed, memory }: TraceFilter): boolean {
    const name = callName(operation).toLowerCase();
    const isMessage = operation.op === "kmsg" || operation.op === "console";
    const filtered = fds !== undefined || requests !== undefined || failed === true;
    if (!isCall(operation)) return filtered ? false : isMessage || memory === true;
    if (failed && !operation.errno && operation.ret !== -1) return false;
    if (requests && !requests.some((each) => name.includes(each.toLowerCase()))) return false;
    if (!fds) return true;
    const mine = [operation.fd, operation.ret_is_fd].filter((fd) => typeof fd === "string");
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
    const at = (place = o.off) => `${o.buf}[0x${Number(place ?? 0).toString(16)}]`;
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
      case "write":
        return `${name(o.op)}(${this.#fd(o.fd)}, ${bytesText(o.in)}, ${o.len}${offsetText(o)})${this.#result(o)}`;
      case "w8":
      case "w16":
      case "w32":
      case "w64":
        return `${at()} <- ${o.value} ${dim(o.op === "w8" ? "(1 byte)" : `(${Number(o.op.slice(1)) / 8} bytes)`)}`;
      case "r32":
      case "r64":
        return `${at()} -> ${o.value}`;
      case "kmsg":
      case "console":
        return (o.lines ?? []).map((line) => dim(`-- ${line}`)).join("\n");
      case "store":
        return dim(`memory ${at()} holds ${bytesText(o.in)}, ${(o.in ?? "").length / 2} bytes`);
      case "dump":
        return dim(`memory ${at()} was given ${bytesText(o.data)}, ${(o.data ?? "").length / 2} bytes`);
      default:
        return otherText(o);
    }
  }

  #argument(o: Operation): string {
    if (o.arg === "null") return ", NULL";
    if (o.arg === "int") {
      const value = requestFacts(o.req ?? "")?.values?.get(Number(o.val));
      return `, ${value ?? o.val}`;
    }
    if (o.arg === "buf") return `, ${o.buf}`;
    if (o.arg !== "bytes") return "";
    const relocs = (o.relocs ?? []).map((each) => (each.fd === undefined ? each : { ...each, fd: this.#fd(each.fd) }));
    const before = decodeArgument(o.req ?? "", fromHex(o.in ?? ""), relocs);
    if (!before) return `, ${bytesText(o.in)}`;
    const after = o.errno ? undefined : decodeArgument(o.req ?? "", fromHex(o.out ?? o.in ?? ""), relocs);
    const changed = changedFields(before, after);
    const only = Object.keys(before)[0];
    if (Object.keys(before).length === 1 && (only === "name" || only === "fd")) {
      return only === "name" ? `, "${before.name}"` : `, [${before.fd}]`;
    }
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

function offsetText({ off }: Operation): string {
  return off === undefined ? "" : `, ${off}`;
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
