import { parse } from "yaml";
import type { HostDescription } from "./host-description.ts";
import { toYaml } from "./write-host.ts";

/** A host file's fields as JSON; addresses that JSON's numbers are too short for are strings. */
export function toJson(host: HostDescription): string {
  return JSON.stringify(
    parse(toYaml(host), { intAsBigInt: true }),
    (_key, value) =>
      typeof value !== "bigint" ? value : value <= Number.MAX_SAFE_INTEGER ? Number(value) : `0x${value.toString(16)}`,
    2,
  );
}
