import { describe, expect, test } from "vitest";
import type { Host } from "../../../src/host/host.ts";
import { type PictureEvent, rightsOf } from "../../../src/inspect/picture/event.ts";
import { PictureFeed } from "../../../src/inspect/picture/feed.ts";
import { replayedEvents } from "../../../src/inspect/picture/replayed.ts";
import { NO_LIMITS, PictureState } from "../../../src/inspect/picture/state.ts";
import { replay } from "../../../src/inspect/replay/replay.ts";
import { isLittleEndian } from "../../../src/kernel/arch.ts";
import { readBundle } from "../../recordings/bundle.ts";

/** More mappings than that are compared by their number of bytes. */
const COMPARED_MAX = 500;
/** One of each kind: type1, iommufd, sPAPR with both versions, nested translation. */
const MACHINES = ["intel39", "intel39-k72fd", "powernv9-6.12-64k", "pseries-6.12-64k", "smmuv3"];

interface Range {
  readonly start: bigint;
  readonly last: bigint;
  readonly rw: string;
}

/** Neighbours that allow the same as one: a table of entries has no other way to tell them. */
function joined(ranges: Iterable<Range>): string[] {
  const all: { start: bigint; last: bigint; rw: string }[] = [];
  for (const { start, last, rw } of ranges) {
    const before = all.at(-1);
    if (before && before.last + 1n === start && before.rw === rw) before.last = last;
    else all.push({ start, last, rw });
  }
  return all.map(({ start, last, rw }) => `0x${start.toString(16)}-0x${last.toString(16)} ${rw}`);
}

/** What the picture has, and what the tables have; a program may have several address spaces of one name. */
function compare(host: Host, state: PictureState): void {
  const real = host.spaces().map(({ view }) => {
    const mappings = view.from(0n, COMPARED_MAX + 1);
    return summary(
      view.label,
      mappings.map(({ read, write, ...range }) => ({ ...range, rw: rightsOf(read, write) })),
    );
  });
  const pictured = [...state.spaces.values()].map(({ facts, mapped }) =>
    summary(facts.label, mapped.within(0n, (1n << 64n) - 1n, COMPARED_MAX + 1)),
  );
  expect(pictured.sort()).toEqual(real.sort());
}

function summary(label: string, mappings: readonly Range[]): string {
  return `${label}: ${mappings.length > COMPARED_MAX ? "many" : joined(mappings).join(", ")}`;
}

describe.each(MACHINES)("what is mapped in recordings of %s", (machine) => {
  const { host: description, scenarios } = readBundle(machine);

  test("is in the picture what it is in the tables, after every call", () => {
    let compared = 0;
    for (const { operations } of scenarios) {
      const state = new PictureState(NO_LIMITS);
      let told = 0;
      const feed = new PictureFeed(
        state,
        () => told++,
        () => 0,
      );
      let host: Host | undefined;
      replay(description, operations(), "a recording", {
        booted: (booted) => {
          host = booted;
          feed.begin(booted);
        },
        after: () => {
          feed.look();
          if (told === 0) return;
          told = 0;
          compare(host!, state);
          compared++;
        },
      });
    }
    expect(compared).toBeGreaterThan(50);
  });

  test("goes back to nothing when the events are taken back, and comes again", () => {
    const { operations } = scenarios[0]!;
    const events: PictureEvent[] = [];
    const littleEndian = isLittleEndian(description.arch);
    const end = replayedEvents(description, operations(), { name: "r", littleEndian }, (event) => events.push(event));
    const state = new PictureState(NO_LIMITS);
    const undo = events.map((event) => state.apply(event));
    expect([...state.spaces.keys()]).toEqual([...end.spaces.keys()]);
    expect(state.calls.size).toBeGreaterThan(0);
    for (const back of undo.reverse()) back();
    expect([state.spaces.size, state.devices.size, state.calls.size, state.now]).toEqual([0, 0, 0, 0]);
  });
});
