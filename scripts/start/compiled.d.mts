import type { Script } from "node:vm";

export function compiledGroups(bytes: Buffer | undefined): {
  readonly code: (group: string) => Buffer | undefined;
  readonly updated: (scripts: ReadonlyMap<string, Script>) => Buffer | undefined;
};
