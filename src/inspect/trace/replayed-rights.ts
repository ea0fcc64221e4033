import { ROOT_CAPABILITIES } from "../../kernel/model-task.ts";
import type { Operation } from "../replay/operation.ts";

/** What the replayer starts with: a task with root's rights and the kernel's default limit. */
const DEFAULT_MEMLOCK = 8 * 2 ** 20;

/** The rights that whoever repeats a recording has: they change as the model hears of others. */
export class ReplayedRights {
  readonly #rights = new Map<"euid" | "memlock" | number, number>([
    ["euid", 0],
    ["memlock", DEFAULT_MEMLOCK],
    ...ROOT_CAPABILITIES.map((capability) => [capability, 1] as const),
  ]);

  /** Operations after which the model gets the same answer. */
  become(what: "euid" | "memlock" | number, answer: number): Operation[] {
    if ((this.#rights.get(what) ?? 0) === answer) return [];
    this.#rights.set(what, answer);
    // a program may have raised it, up to a hard limit that the model does not ask for
    if (what === "memlock")
      return [{ op: "setrlimit", which: "MEMLOCK", value: Math.min(answer, 2 ** 62), soft: true }];
    if (what !== "euid") return [{ op: answer === 1 ? "raisecap" : "dropcap", cap: what }];
    // leaving root takes the capabilities along
    if (answer !== 0)
      for (const right of this.#rights.keys()) if (typeof right === "number") this.#rights.set(right, 0);
    return [{ op: "setuid", uid: answer }];
  }
}
