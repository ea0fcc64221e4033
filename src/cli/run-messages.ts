import { fstatSync } from "node:fs";
import type { RunListener } from "../library/run/serve.ts";
import { UsageError } from "./errors.ts";
import { complainRaw, openOutput, writeAll } from "./output.ts";
import type { RunOptions } from "./run-command.ts";
import { spokenRun } from "./run-host.ts";

/** What a run says, and where. */
export interface RunMessages {
  readonly listener: RunListener;
  readonly isJson: boolean;
  /** The descriptors that the program inherits: not the one that messages go to. */
  without(descriptors: readonly number[]): readonly number[];
  close(): void;
}

/** @throws UsageError */
export function messagesOf({ quiet, json, jsonFile, jsonFd, strace, output }: RunOptions): RunMessages {
  if (jsonFile !== undefined && jsonFd !== undefined)
    throw new UsageError("--json=FILE and --json-fd: messages go to one place; leave one out");
  const file = jsonFile === undefined ? undefined : openOutput(jsonFile, "--json");
  const given = jsonFd === undefined ? undefined : openDescriptor(jsonFd);
  const fd = file?.fd ?? given;
  const isJson = json === true || fd !== undefined;
  const write = fd === undefined ? (line: string) => complainRaw(`${line}\n`) : lineWriter(fd);
  // calls that are printed as they are made have their reasons with them
  const failures = !quiet && !(strace && output === undefined && !isJson);
  return {
    listener: spokenRun({ ...(quiet !== undefined && { quiet }), failures, json: isJson ? write : undefined }),
    isJson,
    without: (descriptors) => descriptors.filter((descriptor) => descriptor !== given),
    close: () => file?.close(),
  };
}

/** Where nobody reads any more nothing is said, and the program goes on. */
function lineWriter(fd: number): (line: string) => void {
  let isLost = false;
  return (line) => {
    if (isLost) return;
    try {
      writeAll(fd, Buffer.from(`${line}\n`), `descriptor ${fd}`);
    } catch {
      isLost = true;
    }
  };
}

function openDescriptor(text: string): number {
  const fd = /^\d{1,7}$/.test(text) ? Number(text) : -1;
  try {
    fstatSync(fd);
  } catch {
    throw new UsageError(`--json-fd ${text}: that is no open descriptor; uvfio run --json-fd 3 ... 3>messages.jsonl`);
  }
  return fd;
}
