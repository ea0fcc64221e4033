import { fail } from "../../kernel/errors.ts";
import { doneAfter, type Handlers } from "./answer.ts";
import { DONE, outcomeOf } from "./outcome.ts";
import type { ReplayedProgram } from "./program.ts";

/** What a process does with itself: its rights, its children, its time. */
export function processOperations(program: ReplayedProgram) {
  return {
    setrlimit: (o) => outcomeOf(() => setMemlock(program, o.value, o.soft)),
    setuid: (o) => doneAfter(() => program.task.setuid(o.uid)),
    dropcap: (o) => doneAfter(() => program.task.capabilities.delete(o.cap)),
    raisecap: (o) => doneAfter(() => program.task.capabilities.add(o.cap)),
    vmlck: () => ({
      ...DONE,
      VmLck_kB: program.kilobytes(program.memory.lockedPages),
      VmPin_kB: program.kilobytes(program.memory.pinnedPages),
    }),
    "child-begin": () => doneAfter(() => program.fork()),
    "child-end": () => doneAfter(() => program.wait()),
    // devices that take time finish meanwhile what they had begun
    wait: (o) => {
      program.host.deviceWork.pass(o.us / 1000);
      return undefined;
    },
    work: (o) => {
      program.host.deviceWork.runPieces(o.pieces);
      return undefined;
    },
  } satisfies Partial<Handlers>;
}

/**
 * setrlimit() of both limits: what was given up comes back to nobody but root.
 * @param soft of the soft limit alone, whose hard one allows it
 */
function setMemlock({ task }: ReplayedProgram, bytes: number, soft = false): number {
  if (!soft && task.euid !== 0 && bytes > task.memlock) fail("EPERM", "only root may raise its hard limit");
  task.memlock = bytes;
  return 0;
}
