import { printable } from "../../../kernel/printable.ts";
import { FitInputError } from "../input-error.ts";
import type { GuestLayout, GuestRange, RangeKind } from "../layout.ts";
import { hex, parseSize } from "../sizes.ts";

const LAST = (1n << 64n) - 1n;
/** Characters; a range with its name has fewer. */
const LINE_MAX = 200;
const KINDS: readonly RangeKind[] = ["ram", "hotplug", "firmware", "bars"];
/** What QEMU's memory listener maps: RAM, ROM and, as BARs, RAM of devices. */
const MTREE_KINDS: Readonly<Record<string, RangeKind>> = { ram: "ram", rom: "firmware", ramd: "bars" };

/**
 * A layout from a file. Two formats are known: a range a line, and what QEMU's monitor prints for `info mtree -f`.
 * @param file its name, for messages
 * @throws FitInputError with file and line
 */
export function parseRangesFile(text: string, file: string): GuestLayout {
  const isMtree = /^FlatView #\d+/m.test(text);
  const ranges = isMtree ? parseMtree(text, file) : parseLines(text, file);
  if (ranges.length === 0)
    throw new FitInputError(`${file}: no ranges in it (write a range a line, like 0x100000000-0x23fffffff RAM)`);
  const sorted = [...ranges].sort((a, b) => (a.start < b.start ? -1 : 1));
  for (const [index, range] of sorted.entries()) {
    const next = sorted[index + 1];
    if (next && next.start <= range.last)
      throw new FitInputError(
        `${file}: ${hex(range.start)}-${hex(range.last)} and ${hex(next.start)}-${hex(next.last)} overlap`,
      );
  }
  return {
    vmm: `${isMtree ? "QEMU as it runs" : "ranges"} from ${file}`,
    ranges: sorted,
    highest: sorted.at(-1)!.last,
    highestIs: "the last range",
    physBitsCure: "a CPU with more address bits",
    notes: [],
    sources: [file],
  };
}

/** `START-LAST [KIND] [NAME]` or `START+SIZE [KIND] [NAME]`; # starts a comment. */
function parseLines(text: string, file: string): GuestRange[] {
  return text.split("\n").flatMap((line, index) => {
    const content = printable(line.replace(/#.*/, "").trim(), LINE_MAX);
    if (content === "") return [];
    const where = `${file}:${index + 1}`;
    const match = /^(0x[0-9a-f]{1,64}|\d{1,64})\s*([-+])\s*(\S+)\s*(.*)$/i.exec(content);
    if (!match)
      throw new FitInputError(
        `${where}: not a range: "${content}" (write 0xSTART-0xLAST NAME, or 0xSTART+SIZE NAME like 0x100000000+62G RAM)`,
      );
    const start = BigInt(match[1]!);
    const last = match[2] === "+" ? start + parseSize(match[3]!, where) - 1n : lastAddress(match[3]!, where);
    if (last < start) throw new FitInputError(`${where}: the range ends before it starts (${hex(start)}-${hex(last)})`);
    if (last > LAST) throw new FitInputError(`${where}: the range ends beyond 64 bits`);
    const [word = "", ...rest] = match[4]!.split(/\s+/);
    const kind = KINDS.find((known) => known === word);
    const name = (kind ? rest.join(" ") : match[4]!) || (kind ?? "RAM");
    return [{ start, last, name, kind: kind ?? "ram" }];
  });
}

function lastAddress(text: string, where: string): bigint {
  if (!/^(0x[0-9a-f]{1,64}|\d{1,64})$/i.test(text)) throw new FitInputError(`${where}: not an address: "${text}"`);
  return BigInt(text);
}

/** The flat view of the address space "memory". */
function parseMtree(text: string, file: string): GuestRange[] {
  const view = text.split(/^FlatView #\d+/m).find((part) => /^ AS "memory", /m.test(part));
  if (view === undefined) throw new FitInputError(`${file}: has no flat view of the address space "memory"`);
  const ranges = view.matchAll(/^ +([0-9a-f]{16})-([0-9a-f]{16}) \(prio -?\d+, ([a-z/]+)\): (.*?)\r?$/gm);
  return [...ranges].flatMap(([, start, last, type, name]) => {
    const kind = MTREE_KINDS[type!];
    if (!kind) return [];
    return [
      {
        start: BigInt(`0x${start}`),
        last: BigInt(`0x${last}`),
        name: printable(name!.replace(/ @[0-9a-f]+/, ""), LINE_MAX),
        kind,
      },
    ];
  });
}
