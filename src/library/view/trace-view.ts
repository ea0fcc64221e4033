import { existsSync } from "node:fs";
import type { PictureEvent } from "../../inspect/picture/event.ts";
import { replayedEvents } from "../../inspect/picture/replayed.ts";
import type { PictureState } from "../../inspect/picture/state.ts";
import { findRecordings, isLittleEndianRecording, missingEnd, readOperations } from "../../inspect/replay/recording.ts";
import { inputName, STDIN } from "../../machine/input-file.ts";
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

/**
 * Reads a trace or a recording and makes its calls again, against the host that it names or the given one.
 * @throws UsageError, RecordingError, HostDescriptionError
 */
export async function tracePicture(
  path: string,
  { machine, ...overrides }: HostOverrides & { readonly machine?: string | undefined },
): Promise<TracePicture> {
  if (path !== STDIN && !existsSync(path))
    throw new UsageError(`${path}: no such file; uvfio run --trace ${path} -- PROGRAM makes one`);
  const [recording] = findRecordings([path], machine !== undefined);
  if (recording === undefined) throw new UsageError(`${path}: no recording`);
  const operations = readOperations(path, recording.text);
  const description = await loadHost(machine ?? recording.hostPath, { ...recording.overrides, ...overrides });
  const littleEndian = isLittleEndianRecording(path, operations);
  const events: PictureEvent[] = [];
  let lost = 0;
  const state = replayedEvents(description, operations, { name: inputName(path), littleEndian }, (event) => {
    if (events.length < EVENTS_MAX) events.push(event);
    else lost++;
  });
  const cut =
    lost > 0
      ? `the last ${lost} of ${EVENTS_MAX + lost} events are not shown`
      : missingEnd(operations, inputName(path));
  return { host: { name: description.name, kernel: description.kernel }, events, state, cut };
}
