import { readdirSync, readFileSync } from "node:fs";
import type { HostDescription } from "../../src/machine/host-description.ts";
import { parseHost } from "../../src/machine/parse-host.ts";

const FOLDER = new URL("./hosts/", import.meta.url);

/** The recorded machines whose host.json is kept here, by name. */
export const RECORDED = readdirSync(FOLDER)
  .filter((file) => file.endsWith(".json"))
  .map((file) => file.replace(/\.json$/, ""));

export function recordingText(name: string): string {
  return readFileSync(new URL(`${name}.json`, FOLDER), "utf8");
}

export function recording(name: string): HostDescription {
  return parseHost(recordingText(name), `${name}.json`);
}

// biome-ignore lint/suspicious/noExplicitAny: whatever the JSON holds, the tests reach into it
type Json = any;

/** A recording with something in it changed, as of a machine that is not kept here. */
export function changedRecording(name: string, change: (host: Json) => void): HostDescription {
  const host = JSON.parse(recordingText(name));
  change(host);
  return parseHost(JSON.stringify(host, null, 1), "changed.json");
}
