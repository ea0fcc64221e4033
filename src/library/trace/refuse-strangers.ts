import type { Operation } from "../../inspect/replay/operation.ts";
import { callName, isCall } from "../../inspect/trace/print.ts";
import { didYouMean } from "../../kernel/nearest.ts";
import { REQUEST_NAMES } from "../../uapi/requests/dialects.ts";
import { UsageError } from "../usage-error.ts";

/** What alone is wanted of a trace. */
interface Filters {
  readonly fd?: readonly string[];
  readonly request?: readonly string[];
}

/** Descriptors that a message lists. */
const LISTED_MAX = 20;

/**
 * Refuses a filter that is a slip of the pen: a name that no request and no call has, a descriptor that the trace does
 * not know. A request that was only not made counts as known.
 * @throws UsageError
 */
export function refuseStrangers(operations: Iterable<Operation>, { fd, request }: Filters, file: string): void {
  if (request !== undefined) {
    const known = new Set(REQUEST_NAMES);
    for (const operation of operations) if (isCall(operation)) known.add(callName(operation));
    for (const name of request) refuseRequest(name, known);
  }
  if (fd === undefined) return;
  const numbers = descriptors(operations);
  const known = new Set([...numbers.keys(), ...numbers.values()]);
  for (const each of fd) {
    if (known.has(each)) continue;
    const there = [...numbers].map(([name, number]) => (number === "" ? name : `${number} (${name})`));
    const more = there.length > LISTED_MAX ? ` and ${there.length - LISTED_MAX} more` : "";
    throw new UsageError(
      `--fd ${each}: no call of ${file} is on it; there are: ${there.slice(0, LISTED_MAX).join(", ") || "none"}${more}`,
    );
  }
}

function refuseRequest(name: string, known: ReadonlySet<string>): void {
  const wanted = name.toLowerCase();
  if ([...known].some((each) => each.toLowerCase().includes(wanted))) return;
  // MAPDMA means MAP_DMA, which is the end of a name
  const ends = [...known].flatMap((each) => each.split("_").map((_, at, words) => words.slice(at).join("_")));
  throw new UsageError(
    `--request ${name}: no request or call has that in its name${didYouMean(name, ends)}; write it like MAP_DMA or pread`,
  );
}

/**
 * Names of the descriptors that calls were made on or that came of calls, with their numbers where the trace has them.
 */
function descriptors(operations: Iterable<Operation>): Map<string, string> {
  const numbers = new Map<string, string>();
  const add = (name: unknown, number: number | undefined) => {
    if (typeof name === "string") numbers.set(name, number === undefined ? (numbers.get(name) ?? "") : String(number));
  };
  for (const operation of operations) {
    if (!isCall(operation)) continue;
    if ("fd" in operation) add(operation.fd, operation.num);
    if ("ret_is_fd" in operation) add(operation.ret_is_fd, operation.num_ret);
  }
  return numbers;
}
