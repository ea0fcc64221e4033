import { PIECE } from "../../disk/disk.ts";
import type { Command } from "./command.ts";
import { dataSegments, type PointerContext, type Segment } from "./data-pointer.ts";
import * as status from "./status.ts";
import type { Steps } from "./steps.ts";

/** Hands bytes to the host where a command's data pointer says. */
export function* toHost(context: PointerContext, command: Command, bytes: Uint8Array): Steps {
  const segments = yield* dataSegments(context, command, bytes.length);
  return typeof segments === "number" ? segments : yield* scatter(context, segments, bytes);
}

/** Takes bytes from the host. All of `into` is there when this is successful. */
export function* fromHost(context: PointerContext, command: Command, into: Uint8Array): Steps {
  const segments = yield* dataSegments(context, command, into.length);
  return typeof segments === "number" ? segments : yield* gather(context, segments, into);
}

export function* scatter(context: PointerContext, segments: readonly Segment[], bytes: Uint8Array): Steps {
  return yield* eachPart(segments, bytes, (address, part) => context.memory.write(address, part));
}

export function* gather(context: PointerContext, segments: readonly Segment[], into: Uint8Array): Steps {
  return yield* eachPart(segments, into, (address, part) => context.memory.read(address, part));
}

function* eachPart(
  segments: readonly Segment[],
  bytes: Uint8Array,
  move: (address: bigint, part: Uint8Array) => boolean,
): Steps {
  let done = 0;
  let sinceYield = 0;
  for (const { address, length } of segments) {
    for (let within = 0; within < length; ) {
      const count = Math.min(length - within, PIECE);
      if (!move(address + BigInt(within), bytes.subarray(done, done + count))) return status.DATA_TRANSFER_ERROR;
      within += count;
      done += count;
      sinceYield += count;
      if (sinceYield < PIECE || done === bytes.length) continue;
      yield sinceYield;
      sinceYield = 0;
    }
  }
  return status.SUCCESS;
}
