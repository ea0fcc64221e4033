import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { ociProfile, type Profile } from "../interpose/index.ts";
import { UsageError } from "./errors.ts";
import { printLine } from "./output.ts";
import { defaultSocket } from "./serve-socket.ts";

export interface OciProfileOptions {
  readonly socket?: string;
  readonly waitKillable?: boolean;
}

/** `uvfio oci-profile`: a seccomp profile for containers, merged into one that is given. */
export function ociProfileCommand(base: string | undefined, options: OciProfileOptions): number {
  const { socket = defaultSocket(), waitKillable = false } = options;
  const given = base === undefined ? undefined : readProfile(base);
  const profile = ociProfile({ listenerPath: resolve(socket), waitKillable, base: given });
  printLine(JSON.stringify(profile, undefined, 2));
  return 0;
}

function readProfile(path: string): Profile {
  let profile: Partial<Profile>;
  try {
    profile = JSON.parse(readFileSync(path, "utf8")) as Profile;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new UsageError(`${path}: cannot be read (${code ?? message})`);
  }
  const { defaultAction, syscalls = [], listenerPath } = profile ?? {};
  const isEntry = (entry: Partial<NonNullable<Profile["syscalls"]>[number]> | null) =>
    Array.isArray(entry?.names) && typeof entry.action === "string";
  if (typeof defaultAction !== "string" || !Array.isArray(syscalls) || !syscalls.every(isEntry))
    throw new UsageError(`${path}: no seccomp profile: defaultAction, and syscalls with names and action, are needed`);
  if (listenerPath !== undefined)
    throw new UsageError(
      `${path}: it has a listenerPath (${listenerPath}) already, and the kernel allows one listener`,
    );
  return profile as Profile;
}
