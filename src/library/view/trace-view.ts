import { existsSync } from "node:fs";
import type { PictureEvent } from "../../inspect/picture/event.ts";
import { replayedEvents } from "../../inspect/picture/replayed.ts";
import type { Limits, PictureState } from "../../inspect/picture/state.ts";
import { findRecordings } from "../../inspect/replay/recording.ts";
import { missingEnd } from "../../inspect/replay/recording-facts.ts";
import { STDIN } from "../../machine/input-file.ts";
import { type HostOverrides, loadHost } from "../../machine/load-host.ts";
import { UsageError } from "../usage-error.ts";

/** Of a longer trace the beginning is shown. */
const EVENTS_MAX = 1_000_000;

/** A trace as events of a picture. */
export interface TracePicture {
  readonly host: { readonly name: string; readonly kernel: string };
  readonly events: readonly PictureEvent[];
  /** As it is at its end. */
  readonly state: PictureState;
  /** What is missing, in a line. */
  readonly cut: string | undefined;
}

/** A trace that is made again while it is gone through. */
export interface PlayedTrace {
  readonly host: { readonly name: string; readonly kernel: string };
  /** Why the trace is not whole, in a line. */
  readonly missingEnd: string | undefined;
  /**
   * Makes the calls.
   * @param limits of what the state keeps; all of it when left out
   * @returns the state at their end
   * @throws RecordingError
   */
  play(tell: (event: PictureEvent) => void, limits?: Limits): PictureState;
  close(): void;
}

/**
 * Opens a trace or a recording, whose calls can be made against the host that it names or the given one.
 * @throws UsageError, RecordingError, HostDescriptionError
 */
export async function openPlayedTrace(
  path: string,
  { machine, ...overrides }: HostOverrides & { readonly machine?: string | undefined },
): Promise<PlayedTrace> {
  if (path !== STDIN && !existsSync(path))
    throw new UsageError(`${path}: no such file; uvfio run --trace ${path} -- PROGRAM makes one`);
  const [recording] = findRecordings([path], machine !== undefined);
  if (recording === undefined) throw new UsageError(`${path}: no recording`);
  const { calls } = recording;
  try {
    const { facts, name, isLittleEndian: littleEndian } = calls;
    const description = await loadHost(machine ?? recording.hostPath, { ...recording.overrides, ...overrides });
    return {
      host: { name: description.name, kernel: description.kernel },
      missingEnd: missingEnd(facts, name),
      play: (tell, limits) => replayedEvents(description, calls, { name, littleEndian }, tell, limits),
      close: () => calls.close(),
    };
  } catch (error) {
    calls.close();
    throw error;
  }
}

/** A trace as a picture, in memory; of a longer one the beginning. */
export async function tracePicture(...which: Parameters<typeof openPlayedTrace>): Promise<TracePicture> {
  const played = await openPlayedTrace(...which);
  try {
    const events: PictureEvent[] = [];
    let lost = 0;
    const state = played.play((event) => {
      if (events.length < EVENTS_MAX) events.push(event);
      else lost++;
    });
    const cut = lost > 0 ? `the last ${lost} of ${EVENTS_MAX + lost} events are not shown` : played.missingEnd;
    return { host: played.host, events, state, cut };
  } finally {
    played.close();
  }
}
