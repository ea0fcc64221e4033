import type { Result } from "../vfio/program.ts";
import type { IommufdProgram } from "./iommufd-program.ts";

const CONFIG = 7 * 2 ** 40;
const [COMMAND, BUS_MASTER] = [CONFIG + 4, 6n];
const [SOURCE, DESTINATION, COUNT, RUN] = [0x80, 0x88, 0x90, 0x98];
const BUFFER = 0x40000n;

/** An edu of a program in the model, driven by its registers. */
export class EduDevice {
  readonly #program: IommufdProgram;
  readonly #fd: Result;
  readonly #scratch: number;

  /** @param fd of the device, bound */
  constructor(program: IommufdProgram, fd: Result) {
    this.#program = program;
    this.#fd = fd;
    this.#scratch = program.memory(4096);
    this.#put(COMMAND, BUS_MASTER, 2);
  }

  /** It writes its buffer to memory. */
  write(iova: bigint, count: number): void {
    this.#run(BUFFER, iova, count, 3n);
  }

  /** It reads memory into its buffer. */
  read(iova: bigint, count: number): void {
    this.#run(iova, BUFFER, count, 1n);
  }

  #run(source: bigint, destination: bigint, count: number, command: bigint): void {
    this.#put(SOURCE, source, 8);
    this.#put(DESTINATION, destination, 8);
    this.#put(COUNT, BigInt(count), 8);
    this.#put(RUN, command, 8);
  }

  #put(offset: number, value: bigint, width: number): void {
    const { task } = this.#program;
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, value, true);
    task.memory.copyOut(this.#scratch, bytes, width);
    task.files.get(Number(this.#fd))!.write(task, this.#scratch, width, offset);
  }
}
