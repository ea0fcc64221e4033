import type { Difference } from "./compare.ts";
import type { Operation } from "./operation.ts";

/**
 * Where the model gives another answer than a recorded kernel on purpose (docs/kernel-defects.md). Each rule looks at
 * the recorded calls as they go by and says from then on why an answer may differ.
 */
export interface Rule {
  /**
   * Whether the difference in this operation is this rule's. Called for every operation, without a difference too.
   * @param said what the model said while it made the call: its warnings and its reason
   * @param line of the operation in its recording, from 1
   */
  explains(operation: Operation, difference: Difference | undefined, said: readonly string[], line: number): boolean;
  readonly reason: string;
}
