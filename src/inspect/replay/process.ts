import type { Host } from "../../host/host.ts";
import type { FileDescription } from "../../kernel/file-description.ts";
import type { Answer, Handlers } from "./answer.ts";
import { fileOperations } from "./file-operations.ts";
import { ioctlOperations } from "./ioctl-operations.ts";
import { MappingOperations } from "./mapping-operations.ts";
import { memoryOperations } from "./memory-operations.ts";
import type { Operation } from "./operation.ts";
import { processOperations } from "./process-operations.ts";
import { type ProgramIdentity, ReplayedProgram } from "./program.ts";

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

  /** See ReplayedProgram. */
  constructor(host: Host, littleEndian: boolean, identity?: ProgramIdentity) {
    const program = new ReplayedProgram(host, littleEndian, identity);
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

  /** The file that an operation is made on, where the process that makes it has it open. */
  file(operation: Operation): FileDescription | undefined {
    return "fd" in operation && typeof operation.fd === "string" ? this.#program.find(operation.fd) : undefined;
  }

  /** The program ends: all descriptors are closed. */
  exit(): void {
    this.#program.exit();
  }
}
