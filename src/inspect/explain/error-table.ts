import type { ErrnoName } from "../../uapi/errno.ts";
import { TABLE } from "./known-errors.ts";

/** One line of the table of errors: a request that failed on something, and why. */
export interface KnownError {
  /** As its header calls it; "open", "mmap" and the like for other calls. */
  readonly request: string;
  /** The proposal that has the request; undefined for mainline. */
  readonly proposal: string | undefined;
  readonly errno: ErrnoName;
  /** What it was made on: container, type1, group, device pci, iommufd, ... */
  readonly on: readonly string[];
  /** A recording of a real kernel has this errno for it. */
  readonly recorded: boolean;
  /** The reason, with {names} where values stand. */
  readonly reason: string;
}

/**
 * What docs/errors.md has, which is made together with this table (npm run docs:errors): every request, the errnos that
 * it can fail with, and the reasons.
 */
export const KNOWN_ERRORS: readonly KnownError[] = parse(TABLE);

function parse(text: string): KnownError[] {
  let request = "";
  let proposal: string | undefined;
  return text.split("\n").flatMap((line): KnownError[] => {
    if (line === "") return [];
    const [first, ...rest] = line.split("\t");
    if (rest.length === 0) {
      [, request = "", proposal] = /^(.*?)(?: \(([\w-]+)\))?$/.exec(first!)!;
      return [];
    }
    const [on, reason] = rest as [string, string];
    const places = on.split(",");
    return [
      {
        request,
        proposal,
        errno: first as ErrnoName,
        on: places.map((place) => place.replace("†", "")),
        recorded: places.some((place) => !place.endsWith("†")),
        reason,
      },
    ];
  });
}

/** What placeholders of reasons stand for, where the name in the sources is not what people call it. */
const NAMES: Readonly<Record<string, string>> = {
  describeHere: "a mapping",
  describeHolder: "who",
  run: "the range",
  runText: "range",
  groupLabel: "device",
  label: "the device or group",
  target: "the device",
  area: "a mapping",
  text: "it",
  which: "mapping",
  what: "it",
  pageBytes: "page",
  pageText: "page",
  pageSizeText: "page",
  KNOWN_FLAGS: "known flags",
  functionName: "device",
  cutText: "it would cut a mapping",
};

/** A reason with placeholders that people can read: {runText} is {range}. */
export function readable(reason: string): string {
  return reason.replace(/\{([^{}]+)\}/g, (_, name: string) => {
    const plain =
      NAMES[name] ??
      name
        .replace(/([a-z])([A-Z])/g, "$1 $2")
        .replaceAll("_", " ")
        .toLowerCase();
    return `{${plain}}`;
  });
}
