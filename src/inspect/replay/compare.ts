import type { Answer } from "./answer.ts";
import type { Operation } from "./operation.ts";

/** One field in which the model's answer is another than the kernel's. */
export interface Difference {
  readonly field: string;
  readonly recorded: string;
  readonly ours: string;
}

/** Fields that are compared as they are where the recording has them. */
const PLAIN_FIELDS = ["done", "VmLck_kB", "VmPin_kB", "vmlck_kB", "text", "ok", "fired", "revents"] as const;

/** Compares what the kernel and the model gave for one operation; undefined when they agree. */
export function difference(operation: Operation, answer: Answer): Difference | undefined {
  const { ret, errno } = operation;
  if (ret !== undefined && (ret !== answer.ret || (errno ?? null) !== answer.errno)) {
    return { field: "result", recorded: resultText(ret, errno), ours: resultText(answer.ret, answer.errno) };
  }
  const fields: Readonly<Record<string, unknown>> = operation;
  for (const field of ["out", "data"]) {
    const recorded = fields[field];
    if (recorded !== undefined && recorded !== (answer.bytes ?? "")) {
      return { field, recorded: String(recorded), ours: answer.bytes ?? "" };
    }
  }
  const over = (fields.over as string | undefined) ?? "";
  if (over !== (answer.over ?? "")) {
    return { field: "over", recorded: over || "(nothing)", ours: answer.over ?? "(nothing)" };
  }
  for (const field of PLAIN_FIELDS) {
    const recorded = fields[field];
    if (recorded !== undefined && recorded !== null && recorded !== answer[field]) {
      return { field, recorded: String(recorded), ours: String(answer[field]) };
    }
  }
  if (/^(r32|r64|evread|poll32)$/.test(operation.op) && String(fields.value) !== String(answer.value)) {
    return { field: "value", recorded: String(fields.value), ours: String(answer.value) };
  }
  return undefined;
}

function resultText(ret: number, errno: string | null | undefined): string {
  return errno ? `${ret} ${errno}` : String(ret);
}
