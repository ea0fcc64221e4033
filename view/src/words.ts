import type { CallEvent, NamedRange } from "../../src/inspect/picture/event.ts";
import { sizeText } from "../../src/inspect/picture/fold.ts";
import type { SpaceState } from "../../src/inspect/picture/state.ts";
import type { Passing } from "./store.ts";

const MEANINGS: Readonly<Record<string, string>> = {
  EINVAL: "invalid argument",
  EEXIST: "there is one already",
  EBUSY: "in use",
  ENOENT: "not there",
  ENOMEM: "not enough memory, or of the right to lock it",
  ENOSPC: "no room left",
  EFAULT: "bad address of the program's",
  EPERM: "not permitted",
  EACCES: "no permission",
  EADDRINUSE: "addresses in use",
  ENXIO: "no such address",
  ENOTTY: "no such request here",
  EOVERFLOW: "out of range",
  ENODEV: "no such device",
  EIO: "input/output error",
};

/** "EINVAL, invalid argument" */
export function errnoText(errno: string): string {
  return MEANINGS[errno] === undefined ? errno : `${errno}, ${MEANINGS[errno]}`;
}

export function bytesIn({ first, last }: Pick<NamedRange, "first" | "last">): bigint {
  return BigInt(last) - BigInt(first) + 1n;
}

/** "0xfee00000 – 0xfeefffff, 1 MiB" */
export function rangeText(first: string, last: string): string {
  return `${first} – ${last}, ${sizeText(bytesIn({ first, last }))}`;
}

/** "reserved: msi of 0000:00:1b.0 (group 12)" */
export function nameOf({ what, of }: NamedRange): string {
  if (what === "mapping") return `a mapping of the ${of}`;
  if (what === "outside the aperture") return `outside of what ${of} translates`;
  if (what === "no window") return "in no window of the container";
  if (what === "not valid") return "not valid in this container any more";
  return `the reserved region (${what}) of ${of}`;
}

/** Why a region of a kind is there, for who has not met it. */
export function aboutRegion(what: string): string | undefined {
  switch (what) {
    case "msi":
      return "Devices write there to raise interrupts: no memory can be mapped over it.";
    case "direct":
      return "Firmware needs it mapped one to one.";
    case "reserved":
      return "The machine uses these addresses itself.";
    case "outside the aperture":
      return "The IOMMU has no address bits for it.";
    case "mapping":
      return "Nothing can be mapped twice: unmap it first, or map elsewhere.";
    default:
      return undefined;
  }
}

/** "1.204 511 s" since the start. */
export function timeText(microseconds: number): string {
  return `${(microseconds / 1e6).toFixed(6)} s`;
}

/** "type1 container of process qemu, pid 4711" */
export function spaceName({ facts }: SpaceState): string {
  return `${facts.label} of ${facts.owner}`;
}

/** What the filter looks into. */
export function wordsOf(event: Passing): string {
  switch (event.k) {
    case "call":
      return `${event.program} ${event.pid} ${event.name} ${event.on} ${event.text} ${event.errno ?? ""} ${event.why ?? ""}`;
    case "dma":
      return `dma ${event.d} ${event.write ? "write" : "read"} ${event.a} ${event.fault ?? ""}`;
    case "irq":
      return `interrupt ${event.d} ${event.what}`;
    case "note":
      return event.text;
  }
}

/** Parts of a range that nothing is in the way of. */
export function freeParts(call: CallEvent): { first: bigint; last: bigint }[] {
  if (!call.range) return [];
  let parts = [{ first: BigInt(call.range[0]), last: BigInt(call.range[1]) }];
  for (const { first, last } of call.hit ?? []) {
    const [from, to] = [BigInt(first), BigInt(last)];
    parts = parts.flatMap((part) => {
      if (to < part.first || from > part.last) return [part];
      return [
        ...(from > part.first ? [{ first: part.first, last: from - 1n }] : []),
        ...(to < part.last ? [{ first: to + 1n, last: part.last }] : []),
      ];
    });
  }
  return parts;
}
