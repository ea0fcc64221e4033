import type { CallEvent, DmaEvent, PictureEvent } from "../picture/event.ts";
import { PictureState } from "../picture/state.ts";

/** The process under which devices stand, and address spaces: a number that Linux gives to no process. */
const HOST_PID = 2 ** 22 + 1;
/** DMA takes no time in the model: so wide it is drawn. Microseconds. */
const DMA_US = 1;

/** What stands in a trace of the Trace Event Format. */
interface TraceEvent {
  readonly ph: "M" | "X" | "C" | "i";
  readonly name: string;
  readonly cat?: string;
  readonly pid: number;
  readonly tid?: number;
  /** Microseconds. */
  readonly ts?: number;
  readonly dur?: number;
  /** Of an instant: it is the thread's, or the process's. */
  readonly s?: "t" | "p";
  readonly args?: Readonly<Record<string, string | number>>;
}

/**
 * Writes a trace in the Trace Event Format ("Chrome JSON"), which ui.perfetto.dev and chrome://tracing open
 * (perfetto.dev/docs/getting-started/other-formats): calls are slices of the threads that made them, with arguments and
 * reasons; DMA and interrupts stand under the devices; what is mapped is a counter for each address space. An event a
 * line.
 */
export class PerfettoFile {
  readonly #write: (text: string) => void;
  readonly #events: TraceEvents;
  #isFirst = true;

  /**
   * @param host what it is called
   * @param write gets the file piece by piece
   */
  constructor(host: string, write: (text: string) => void) {
    this.#write = write;
    this.#events = new TraceEvents(host);
    write('{"displayTimeUnit":"ns","traceEvents":[');
  }

  /** To be called for all events in order. */
  add(event: PictureEvent): void {
    for (const line of this.#events.of(event)) {
      this.#write(`${this.#isFirst ? "" : ",\n"}${JSON.stringify(line)}`);
      this.#isFirst = false;
    }
  }

  end(): void {
    this.#write("\n]}\n");
  }
}

class TraceEvents {
  readonly #host: string;
  readonly #state = new PictureState();
  /** Processes and threads that have their names. */
  readonly #named = new Set<string>();
  /** Of the devices, in the host. */
  readonly #threads = new Map<string, number>();
  /** What the counters have. */
  readonly #bytes = new Map<string, bigint>();

  constructor(host: string) {
    this.#host = host;
  }

  *of(event: PictureEvent): Generator<TraceEvent> {
    const before = event.k === "space" ? this.#state.spaces.get(event.id) : undefined;
    this.#state.apply(event);
    switch (event.k) {
      case "call":
        yield* this.#call(event);
        return;
      case "dma":
        yield* this.#dma(event);
        return;
      case "irq": {
        const { d, t, what, count } = event;
        const tid = yield* this.#device(d);
        yield { ph: "i", name: what, cat: "interrupt", pid: HOST_PID, tid, ts: t, s: "t", args: { count } };
        return;
      }
      case "note":
        yield* this.#names(HOST_PID, `host ${this.#host}`);
        yield { ph: "i", name: event.text, cat: "uvfio", pid: HOST_PID, tid: 0, ts: event.t, s: "p" };
        return;
      case "space":
        if (event.facts === null && before) yield* this.#counter(event.id, `${before.facts.label} (${event.id})`, 0n);
        else yield* this.#mapped(event.id);
        return;
      case "map":
      case "unmap":
        yield* this.#mapped(event.s);
    }
  }

  *#call(call: CallEvent): Generator<TraceEvent> {
    const { name, pid, tid, t, us, text, on, ret, errno, why, range } = call;
    yield* this.#names(pid, call.program);
    yield* this.#thread(pid, tid, `${call.program} ${tid}`);
    const args = {
      on,
      arguments: text,
      result: errno ?? ret,
      ...(why !== undefined && { reason: why }),
      ...(range && { iova: `${range[0]}-${range[1]}` }),
    };
    const failed = errno === undefined ? name : `${name} = ${errno}`;
    yield {
      ph: "X",
      name: failed,
      cat: errno === undefined ? "call" : "call,failed",
      pid,
      tid,
      ts: t - us,
      dur: us,
      args,
    };
  }

  *#dma(dma: DmaEvent): Generator<TraceEvent> {
    const { d, t, write, a, bytes, count, fault, at } = dma;
    const tid = yield* this.#device(d);
    const name = `DMA ${write ? "write" : "read"}${fault === undefined ? "" : " fault"}`;
    const why = fault === undefined ? {} : { reason: fault, "not reached": at ?? a };
    const args = { iova: a, bytes, accesses: count, ...why };
    yield {
      ph: "X",
      name,
      cat: fault === undefined ? "dma" : "dma,fault",
      pid: HOST_PID,
      tid,
      ts: t,
      dur: DMA_US,
      args,
    };
  }

  *#mapped(id: string): Generator<TraceEvent> {
    const space = this.#state.spaces.get(id);
    if (space) yield* this.#counter(id, `${space.facts.label} (${id})`, space.mapped.bytes);
  }

  *#counter(id: string, label: string, bytes: bigint): Generator<TraceEvent> {
    if (this.#bytes.get(id) === bytes) return;
    this.#bytes.set(id, bytes);
    yield* this.#names(HOST_PID, `host ${this.#host}`);
    const args = { bytes: Number(bytes) };
    yield { ph: "C", name: `mapped in ${label}`, pid: HOST_PID, ts: this.#state.now, args };
  }

  /** @returns the thread that a device stands under */
  *#device(device: string): Generator<TraceEvent, number> {
    yield* this.#names(HOST_PID, `host ${this.#host}`);
    const tid = this.#threads.get(device) ?? this.#threads.size + 1;
    this.#threads.set(device, tid);
    yield* this.#thread(HOST_PID, tid, `device ${device}`);
    return tid;
  }

  *#names(pid: number, name: string): Generator<TraceEvent> {
    if (this.#named.has(`${pid}`)) return;
    this.#named.add(`${pid}`);
    yield { ph: "M", name: "process_name", pid, args: { name } };
  }

  *#thread(pid: number, tid: number, name: string): Generator<TraceEvent> {
    if (this.#named.has(`${pid} ${tid}`)) return;
    this.#named.add(`${pid} ${tid}`);
    yield { ph: "M", name: "thread_name", pid, tid, args: { name } };
  }
}
