import { inheritedDescriptors, Preparation } from "../interpose/index.ts";

let descriptors: readonly number[] | undefined;
let early: Preparation | undefined;

function prepare(): Preparation {
  // The first time, before anything of ours is opened: what is open then is the program's.
  descriptors ??= inheritedDescriptors();
  return new Preparation({ descriptors, workerUrl: new URL("./run-worker.js", import.meta.url) });
}

/** Starts to boot what `uvfio run` needs, whatever program it will be. */
export function prepareEarly(): void {
  early ??= prepare();
}

/** What was prepared early, for the first program; for another one, a new one. */
export function takePreparation(): Preparation {
  const taken = early ?? prepare();
  early = undefined;
  return taken;
}

/** Ends what was prepared for a program that does not come. */
export async function cancelPreparation(): Promise<void> {
  await early?.cancel();
  early = undefined;
}
