import type { Answer } from "./answer.ts";
import type { Operation } from "./recording.ts";

/** One field in which the model's answer is another than the kernel's. */
export interface Difference {
  readonly field: string;
  readonly recorded: string;
  readonly ours: string;
}

/** Fields that are compared as they are where the recording has them. */
const PLAIN_FIELDS = ["done", "VmLck_kB", "VmPin_kB", "vmlck_kB", "text", "ok"] as const;

/** Compares what the kernel and the model gave for one operation; undefined when they agree. */
export function difference(operation: Operation, answer: Answer): Difference | undefined {
  const { ret, errno } = operation;
  if (ret !== undefined && (ret !== answer.ret || (errno ?? null) !== answer.errno)) {
    return { field: "result", recorded: resultText(ret, errno), ours: resultText(answer.ret, answer.errno) };
  }
  const recordedBytes = operation.out ?? operation.data;
  if (recordedBytes !== undefined && recordedBytes !== (answer.bytes ?? "")) {
    return { field: operation.out === undefined ? "data" : "out", recorded: recordedBytes, ours: answer.bytes ?? "" };
  }
  if ((operation.over ?? "") !== (answer.over ?? "")) {
    return { field: "over", recorded: operation.over ?? "(nothing)", ours: answer.over ?? "(nothing)" };
  }
  for (const field of PLAIN_FIELDS) {
    const recorded = operation[field];
    if (recorded !== undefined && recorded !== null && recorded !== answer[field]) {
      return { field, recorded: String(recorded), ours: String(answer[field]) };
    }
  }
  if (/^(r32|r64|evread)$/.test(operation.op) && String(operation.value) !== String(answer.value)) {
    return { field: "value", recorded: String(operation.value), ours: String(answer.value) };
  }
  return undefined;
}

function resultText(ret: number, errno: string | null | undefined): string {
  return errno ? `${ret} ${errno}` : String(ret);
}
