import { printable } from "../../kernel/printable.ts";
import type { Operation } from "../replay/operation.ts";
import { cut } from "../replay/shown.ts";

/** Of a text that a recording holds, so much is printed. */
const TEXT_MAX = 1024;
/** Bytes in hexadecimal, which the reader of the recording has checked, and what is not printed as it is. */
const AS_THEY_ARE = new Set(["in", "out", "data", "over", "fields", "changed"]);

/** An operation whose texts a terminal may show: without control characters, and not endless. */
export function printableOperation<T extends Operation>(operation: T): T {
  let changed: Record<string, unknown> | undefined;
  for (const [name, value] of Object.entries(operation)) {
    const text = AS_THEY_ARE.has(name) ? value : printableValue(value);
    if (text === value) continue;
    changed ??= { ...operation };
    changed[name] = text;
  }
  return (changed as T | undefined) ?? operation;
}

function printableValue(value: unknown): unknown {
  if (typeof value === "string") return printable(cut(value, TEXT_MAX));
  if (Array.isArray(value)) return value.map(printableValue);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, printableValue(each)]));
}
