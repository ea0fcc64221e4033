import type { HostDescription } from "../../machine/host-description.ts";
import type { Operation } from "../replay/operation.ts";
import { isBytesIoctl } from "../replay/operation.ts";
import { fromHex } from "../replay/outcome.ts";
import { factsOf } from "../replay/recorded-calls.ts";
import { replay } from "../replay/replay.ts";
import { callName, isCall, PLAIN, rowOf, TracePrinter } from "../trace/print.ts";
import { argumentNumbers, idOf, rangeOf } from "./call-range.ts";
import type { PictureEvent } from "./event.ts";
import { PictureFeed, type ToldCall } from "./feed.ts";
import { type Limits, NO_LIMITS, PictureState } from "./state.ts";

/** An operation takes so long, of which a recording does not say how long it took. Microseconds. */
const UNKNOWN_US = 1;

/** Hears of the events of a recorded operation. */
export type TellReplayed = (event: PictureEvent) => void;

/**
 * Makes a recording's calls again against a host and tells what happens: what the recording says of each call, and what
 * becomes of the address spaces by it, with the DMA that it sets off.
 * @param name of the recording, for messages
 * @param limits of what the state keeps
 * @throws RecordingError
 */
export function replayedEvents(
  description: HostDescription,
  operations: Iterable<Operation>,
  { name, littleEndian }: { readonly name: string; readonly littleEndian: boolean },
  tell: TellReplayed,
  limits: Limits = NO_LIMITS,
): PictureState {
  const state = new PictureState(limits);
  let now = 0;
  const feed = new PictureFeed(state, tell, () => now);
  const printer = new TracePrinter(PLAIN, { littleEndian });
  const { first, isTimed, pids } = factsOf(operations);
  const program = programOf(first);
  let place: Parameters<PictureFeed["called"]>[1] = { file: undefined, id: undefined };
  replay(description, operations, name, {
    identity: { name: program, pids },
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

/** The short name of what was run. */
function programOf(first: Operation | undefined): string {
  const path = first?.op === "host" ? first.argv?.[0] : undefined;
  return path === undefined ? "program" : path.replace(/^.*\//, "");
}
