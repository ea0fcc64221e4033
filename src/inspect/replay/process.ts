import type { Host } from "../../host/host.ts";
import type { Answer, Handlers } from "./answer.ts";
import { fileOperations } from "./file-operations.ts";
import { ioctlOperations } from "./ioctl-operations.ts";
import { MappingOperations } from "./mapping-operations.ts";
import { memoryOperations } from "./memory-operations.ts";
import type { Operation } from "./operation.ts";
import { processOperations } from "./process-operations.ts";
import { ReplayedProgram } from "./program.ts";

const nothing = (): undefined => undefined;
/** What a recording says of its machine and of itself. */
const INFORMATION = {
  host: nothing,
  kmsg: nothing,
  console: nothing,
  note: nothing,
  "kernel-crash": nothing,
  end: nothing,
};

/** A program that makes recorded calls against the model: its memory, its descriptors by name, its rights. */
export class ReplayProcess {
  readonly #program: ReplayedProgram;
  readonly #handlers: Handlers;

  /** @param littleEndian how the recorded program's processor stores numbers */
  constructor(host: Host, littleEndian: boolean) {
    const program = new ReplayedProgram(host, littleEndian);
    this.#program = program;
    this.#handlers = {
      ...fileOperations(program),
      ...ioctlOperations(program),
      ...new MappingOperations(program).handlers,
      ...memoryOperations(program),
      ...processOperations(program),
      ...INFORMATION,
    };
  }

  /** Makes the call. Undefined for what only informs. */
  run(operation: Operation): Answer | undefined {
    if (operation.injected || operation.put_off) return undefined;
    this.#program.become(operation.process ?? 1);
    const handler = this.#handlers[operation.op] as (operation: Operation) => Answer | undefined;
    const answer = handler(operation);
    return answer && { ...answer, vmlck_kB: this.#program.kilobytes(this.#program.memory.lockedPages) };
  }

  /** The program ends: all descriptors are closed. */
  exit(): void {
    this.#program.exit();
  }
}
