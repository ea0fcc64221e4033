import { readFileSync } from "node:fs";
import { controlService } from "../library/serve/ask-service.ts";
import { UsageError } from "./errors.ts";
import { printLine } from "./output.ts";
import { defaultSocket } from "./serve-socket.ts";

export interface CtlOptions {
  readonly on?: string;
  readonly script?: string;
}

/** `uvfio ctl`: what happens to a served host's hardware; returns when it has happened. */
export function ctlCommand(words: readonly string[], { on = defaultSocket(), script }: CtlOptions): number {
  if (words.length > 0 === (script !== undefined)) throw new UsageError("ctl takes a command, or --script FILE");
  const commands = script === undefined ? [words] : readScript(script);
  for (const command of commands) for (const line of controlService(on, command)) printLine(line);
  return 0;
}

/** A command a line; what is behind # is for people, unless it follows a word at once, as in VFIO_IOMMU_MAP_DMA#3. */
function readScript(path: string): string[][] {
  let text: string;
  try {
    text = readFileSync(path === "-" ? 0 : path, "utf8");
  } catch (error) {
    throw new UsageError(`--script ${path}: cannot be read (${(error as NodeJS.ErrnoException).code})`);
  }
  const lines = text.split("\n").map((line) => line.replace(/(^|\s)#.*$/, "").trim());
  return lines.filter((line) => line !== "").map((line) => line.split(/\s+/));
}
