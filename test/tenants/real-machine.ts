import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { closeSync, constants, openSync, readSync, writeSync } from "node:fs";
import { join } from "node:path";
import { UVFIO } from "../cli/uvfio.ts";
import type { Machine, TenantProcess } from "./machine.ts";

/** Calls of test/clients/tenant-calls.c. */
const OP = {
  open: 1,
  close: 2,
  ioctl: 3,
  exchange: 4,
  pread: 5,
  pwrite: 6,
  allocate: 7,
  peek: 8,
  poke: 9,
  die: 10,
  quit: 11,
};
const CALL = 32;
const ANSWER = 16;
const NOTHING = new Uint8Array(0);
const START_MS = 30_000;
const EBUSY = 16;

function sleep(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

/** A process of the system, which is told its calls one by one. */
class RealProcess implements TenantProcess {
  readonly #in: number;
  readonly #out: number;
  readonly #call = new Uint8Array(CALL);
  readonly #view = new DataView(this.#call.buffer);
  readonly #answer = new Uint8Array(ANSWER);

  /** Waits until the process is there. @param name of its FIFOs, which are there */
  constructor(folder: string, name: string) {
    const [input, output] = [join(folder, `${name}.in`), join(folder, `${name}.out`)];
    // a reader that does not wait, so that the process can open its end; then one that does
    const early = openSync(output, constants.O_RDONLY | constants.O_NONBLOCK);
    this.#in = openWriter(input);
    this.#out = openSync(output, constants.O_RDONLY);
    closeSync(early);
  }

  open(path: string): number {
    return this.#make(OP.open, -1, 0, 0, new TextEncoder().encode(`${path}\0`));
  }

  close(fd: number): number {
    return this.#make(OP.close, fd);
  }

  ioctl(fd: number, request: number, value = 0): number {
    return this.#make(OP.ioctl, fd, request, value);
  }

  exchange(fd: number, request: number, bytes: Uint8Array): number {
    return this.#make(OP.exchange, fd, request, 0, bytes, bytes);
  }

  pread(fd: number, offset: number, into: Uint8Array): number {
    return this.#make(OP.pread, fd, offset, 0, NOTHING, into);
  }

  pwrite(fd: number, offset: number, bytes: Uint8Array): number {
    return this.#make(OP.pwrite, fd, offset, 0, bytes);
  }

  allocate(length: number): number {
    return this.#make(OP.allocate, -1, 0, length);
  }

  peek(address: number, into: Uint8Array): void {
    this.#make(OP.peek, -1, address, 0, NOTHING, into);
  }

  poke(address: number, bytes: Uint8Array): void {
    this.#make(OP.poke, -1, address, 0, bytes);
  }

  /** It ends without an answer. */
  end(op: "die" | "quit"): void {
    this.#send(OP[op], -1, 0, 0, 0);
    if (readSync(this.#out, this.#answer) !== 0) throw new Error("a process that should be dead has answered");
    closeSync(this.#in);
    closeSync(this.#out);
  }

  #send(op: number, fd: number, where: number, value: number, length: number): void {
    const view = this.#view;
    view.setUint32(0, op, true);
    view.setInt32(4, fd, true);
    view.setBigUint64(8, BigInt(where), true);
    view.setBigUint64(16, BigInt(value), true);
    view.setUint32(24, length, true);
    writeSync(this.#in, this.#call);
  }

  #make(op: number, fd: number, where = 0, value = 0, bytes: Uint8Array = NOTHING, into: Uint8Array = NOTHING): number {
    this.#send(op, fd, where, value, Math.max(bytes.length, into.length));
    if (bytes.length > 0) writeSync(this.#in, bytes);
    this.#receive(this.#answer);
    if (into.length > 0) this.#receive(into);
    return Number(new DataView(this.#answer.buffer).getBigInt64(0, true));
  }

  #receive(into: Uint8Array): void {
    for (let done = 0; done < into.length; ) {
      const count = readSync(this.#out, into, done, into.length - done, null);
      if (count === 0) throw new Error("a tenant's process has gone");
      done += count;
    }
  }
}

/** Waits for whoever reads the FIFO. */
function openWriter(path: string): number {
  const deadline = Date.now() + START_MS;
  for (;;) {
    try {
      return openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENXIO" || Date.now() > deadline) throw error;
      sleep(2);
    }
  }
}

/** Processes under `uvfio run`. */
export class RealMachine implements Machine {
  /** What uvfio says goes to the test's output. */
  readonly reason = "";

  takeWarnings(): readonly string[] {
    return [];
  }

  readonly #folder: string;
  readonly #program: ChildProcess;
  readonly #processes: RealProcess[];
  readonly #lives: number[];

  /**
   * @param folder empty, the machine's own
   * @param program tenant-calls, compiled
   */
  constructor(folder: string, program: string, hostFile: string, count: number) {
    this.#folder = folder;
    this.#lives = new Array<number>(count).fill(0);
    for (let number = 0; number < count; number++) this.#makeFifos(number);
    const args = [UVFIO, "run", "-q", "-m", hostFile, "--", program, folder, String(count)];
    this.#program = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "inherit"] });
    this.#processes = Array.from({ length: count }, (_, number) => this.#meet(number));
  }

  process(index: number): RealProcess {
    return this.#processes[index]!;
  }

  /** What it had open is closed a moment after its death: the next user waits for that, as he would on a real host. */
  kill(index: number, held: readonly string[]): void {
    this.#lives[index]!++;
    this.#makeFifos(index);
    this.process(index).end("die");
    const next = this.#meet(index);
    this.#processes[index] = next;
    for (const path of held) {
      const deadline = Date.now() + START_MS;
      for (;;) {
        const fd = next.open(path);
        if (fd >= 0) next.close(fd);
        if (fd !== -EBUSY || Date.now() > deadline) break;
        sleep(2);
      }
    }
  }

  /** Each process has its own, so that the next one never meets what the last one left. */
  #makeFifos(number: number): void {
    const name = this.#name(number);
    execFileSync("mkfifo", [`${name}.in`, `${name}.out`], { cwd: this.#folder });
  }

  #meet(number: number): RealProcess {
    return new RealProcess(this.#folder, this.#name(number));
  }

  #name(number: number): string {
    return `${number}-${this.#lives[number]}`;
  }

  end(): void {
    this.#processes[0]!.end("quit");
  }

  /** The program's exit status, once it is over. */
  ended(): Promise<number | null> {
    const { exitCode } = this.#program;
    if (exitCode !== null) return Promise.resolve(exitCode);
    return new Promise((resolve) => this.#program.once("exit", resolve));
  }

  /** Whatever happened, nothing goes on. */
  stop(): void {
    this.#program.kill("SIGKILL");
  }
}
