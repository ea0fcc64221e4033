import type { HostDescription } from "../../machine/host-description.ts";
import type { Operation } from "../replay/operation.ts";
import { isBytesIoctl } from "../replay/operation.ts";
import { fromHex } from "../replay/outcome.ts";
import { replay } from "../replay/replay.ts";
import { callName, isCall, PLAIN, rowOf, TracePrinter } from "../trace/print.ts";
import { argumentNumbers, idOf, rangeOf } from "./call-range.ts";
import type { PictureEvent } from "./event.ts";
import { PictureFeed, type ToldCall } from "./feed.ts";
import { NO_LIMITS, PictureState } from "./state.ts";

/** An operation takes so long, of which a recording does not say how long it took. Microseconds. */
const UNKNOWN_US = 1;

/** Hears of the events of a recorded operation. */
export type TellReplayed = (event: PictureEvent) => void;

/**
 * Makes a recording's calls again against a host and tells what happens: what the recording says of each call, and what
 * becomes of the address spaces by it, with the DMA that it sets off.
 * @param name of the recording, for messages
 * @throws RecordingError
 */
export function replayedEvents(
  description: HostDescription,
  operations: readonly Operation[],
  { name, littleEndian }: { readonly name: string; readonly littleEndian: boolean },
  tell: TellReplayed,
): PictureState {
  const state = new PictureState(NO_LIMITS);
  let now = 0;
  const feed = new PictureFeed(state, tell, () => now);
  const printer = new TracePrinter(PLAIN, operations, littleEndian);
  const program = programOf(operations);
  const isTimed = operations.some(({ at }) => at !== undefined);
  let place: Parameters<PictureFeed["called"]>[1] = { file: undefined, id: undefined };
  replay(description, operations, name, {
    identity: { name: program, pids: pidsOf(operations) },
    model: feed.model,
    booted: (host) => feed.begin(host),
    noticed: (line) => feed.note(line),
    before: (operation, file) => {
      if (operation.at !== undefined && operation.at > now) now = operation.at;
      const numbers = numbersOf(operation, littleEndian);
      place = { file, id: idOf(numbers) };
    },
    after: (operation) => {
      const parts = printer.parts(operation);
      if (operation.op === "wait") now += isTimed ? 0 : operation.us;
      else if (isCall(operation)) {
        now += isTimed ? 0 : (operation.us ?? UNKNOWN_US);
        feed.called(toldCall(operation, parts, program, littleEndian), place);
      } else feed.seal();
    },
  });
  return state;
}

function toldCall(
  operation: Operation,
  { on, text }: { readonly on: string; readonly text: string },
  program: string,
  littleEndian: boolean,
): ToldCall {
  const { errno, reason, us = UNKNOWN_US, pid = 0, tid = pid, ret = 0 } = operation;
  const row = operation.op === "ioctl" ? rowOf(operation) : undefined;
  const range = rangeOf(row, numbersOf(operation, littleEndian));
  return {
    us,
    program,
    pid,
    tid,
    name: callName(operation),
    text,
    on,
    ret: Number(ret),
    ...(errno && { errno: String(errno) }),
    ...(reason !== undefined && { why: reason }),
    ...(range && { range }),
  };
}

function numbersOf(operation: Operation, littleEndian: boolean): Readonly<Record<string, bigint>> {
  if (!isBytesIoctl(operation)) return {};
  return argumentNumbers(rowOf(operation), fromHex(operation.in), littleEndian);
}

/** The processes of the recorded program by their numbers. */
function pidsOf(operations: readonly Operation[]): Map<number, number> {
  const pids = new Map<number, number>();
  for (const { process = 1, pid } of operations) if (pid !== undefined && !pids.has(process)) pids.set(process, pid);
  return pids;
}

/** The short name of what was run. */
function programOf(operations: readonly Operation[]): string {
  const first = operations[0];
  const path = first?.op === "host" ? first.argv?.[0] : undefined;
  return path === undefined ? "program" : path.replace(/^.*\//, "");
}
