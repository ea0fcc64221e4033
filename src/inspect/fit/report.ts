import { deviceName } from "../../machine/find-device.ts";
import { causeText, type RangeVerdict } from "./collide.ts";
import type { FitResult } from "./fit.ts";
import type { FitHost } from "./host-side.ts";
import type { FitRequest } from "./judge.ts";
import { rangeText, roughSize, sizeText } from "./sizes.ts";

/** Colours a word; the identity where colours are not wanted. */
export interface Style {
  good(text: string): string;
  bad(text: string): string;
  careful(text: string): string;
  heading(text: string): string;
}

const plain = (text: string) => text;
export const PLAIN: Style = { good: plain, bad: plain, careful: plain, heading: plain };

const sgr = (code: number) => (text: string) => `\x1b[${code}m${text}\x1b[0m`;
export const COLOURED: Style = { good: sgr(32), bad: sgr(31), careful: sgr(33), heading: sgr(1) };

/**
 * The answer for people, line by line: the verdict first.
 * @param explain also where the layout comes from
 */
export function* reportLines(
  request: FitRequest,
  result: FitResult,
  style: Style,
  explain: boolean,
): Generator<string> {
  const { host, layout } = request;
  yield* verdict(result, style);
  yield* block(result.fits ? "warning" : "and a warning", result.warnings, { ...style, heading: style.careful });
  yield* block(
    "what would cure it",
    result.cures.map(({ text }) => text),
    style,
  );
  yield "";
  yield* facts(request);
  yield "";
  yield* rangeTable(result.ranges, host, style);
  if (host.answer?.validRanges) {
    yield "";
    yield* columns(
      [
        ["valid IOVA range", "size"],
        ...host.answer.validRanges.map((range) => [rangeText(range), roughSize(sizeOf(range))]),
      ],
      style,
    );
  }
  yield "";
  yield* columns(
    [["limit", "needed"], ...result.limits.map(({ name, text, fits }) => [name, fits ? text : style.bad(text)])],
    style,
  );
  yield* block("assumed", [...host.notes, ...layout.notes], style);
  if (explain) yield* block("sources of the layout", layout.sources, style);
}

function* verdict({ fits, reasons, conditions }: FitResult, style: Style): Generator<string> {
  if (!fits) {
    yield style.bad("It does not fit:");
    for (const reason of reasons) yield `  ${reason}`;
    if (conditions.length > 0) yield* block("and it would take that", conditions, style);
    return;
  }
  if (conditions.length === 0) {
    yield style.good("It fits.");
    return;
  }
  yield style.careful("It fits if");
  for (const [index, condition] of conditions.entries()) yield `  ${index === 0 ? "" : "and "}${condition}`;
}

/** The answer in one word, for programs. */
export function verdictWord({ fits, conditions }: FitResult): "fits" | "fits-if" | "does-not-fit" {
  if (!fits) return "does-not-fit";
  return conditions.length === 0 ? "fits" : "fits-if";
}

function* facts({ host, layout, planned, assumptions }: FitRequest): Generator<string> {
  const { description } = host;
  const about = description.description === "" ? description.iommu.model : description.description;
  yield `host     ${description.name}: ${about}; kernel ${description.kernel}`;
  const memory = planned ? `, ${sizeText(planned.request.memory)}` : "";
  const most =
    planned && planned.request.maxMemory > planned.request.memory
      ? ` (up to ${sizeText(planned.request.maxMemory)})`
      : "";
  const cpu =
    planned && layout.vmm.startsWith("QEMU pc-")
      ? `, ${planned.request.cpuVendor === "amd" ? "AMD" : "Intel"} CPU`
      : "";
  yield `guest    ${layout.vmm}${memory}${most}${cpu}${assumptions.viommu ? ", behind a vIOMMU" : ""}`;
  const devices = host.devices.map(({ device, group }) => {
    const name = device.name === "" ? "" : `${device.name}, `;
    return `${deviceName(device)} (${name}group ${group.id})`;
  });
  for (const [index, device] of devices.entries()) yield `${index === 0 ? "devices" : "       "}  ${device}`;
}

function rangeTable(ranges: readonly RangeVerdict[], host: FitHost, style: Style): Iterable<string> {
  const rows = ranges.map(({ range, collisions }) => {
    const [collision] = collisions;
    const bad = range.kind === "bars" ? style.careful : style.bad;
    const verdict = !host.answer
      ? "not asked"
      : collision
        ? bad(`${rangeText(collision)} (${roughSize(sizeOf(collision))}) ${causeText(collision.cause)}`)
        : style.good("fits");
    return [rangeText(range), roughSize(sizeOf(range)), range.name, verdict];
  });
  return columns([["guest range", "size", "what", "verdict"], ...rows], style);
}

/** Rows under a heading, every column as wide as its widest cell; the last one is not padded. */
function* columns(rows: readonly (readonly string[])[], style: Style): Generator<string> {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  for (const [index, row] of rows.entries()) {
    const line = row
      .map((cell, column) => (column === row.length - 1 ? cell : cell.padEnd(widths[column]!)))
      .join("  ");
    yield index === 0 ? style.heading(line) : line;
  }
}

function* block(heading: string, lines: readonly string[], style: Style): Generator<string> {
  if (lines.length === 0) return;
  yield "";
  yield style.heading(heading);
  for (const line of lines) yield `  ${line}`;
}

function sizeOf({ start, last }: { readonly start: bigint; readonly last: bigint }): bigint {
  return last - start + 1n;
}

/** The answer for programs: addresses as hex text, sizes and counts as decimal text, because they can have 64 bits. */
export function reportJson({ host, layout, assumptions }: FitRequest, result: FitResult): unknown {
  const hexed = { start: hexText, last: hexText };
  const bytes = ({ start, last }: { readonly start: bigint; readonly last: bigint }) => ({
    start: hexed.start(start),
    last: hexed.last(last),
    size: String(last - start + 1n),
  });
  return {
    verdict: verdictWord(result),
    fits: result.fits,
    conditions: result.conditions,
    reasons: result.reasons,
    host: { name: host.description.name, kernel: host.description.kernel },
    devices: host.devices.map(({ device, group }) => ({ name: deviceName(device), group: group.id })),
    guest: { vmm: layout.vmm, viommu: assumptions.viommu },
    ranges: result.ranges.map(({ range, collisions }) => ({
      ...bytes(range),
      name: range.name,
      kind: range.kind,
      fits: collisions.length === 0,
      collisions: collisions.map((collision) => ({ ...bytes(collision), cause: causeText(collision.cause) })),
    })),
    valid_ranges: host.answer?.validRanges?.map(bytes) ?? null,
    limits: result.limits.map(({ name, fits, needed, limit, text }) => ({
      name,
      fits,
      needed: String(needed),
      limit: limit === undefined ? null : String(limit),
      text,
    })),
    cures: result.cures.map(({ text }) => text),
    warnings: result.warnings,
    assumed: [...host.notes, ...layout.notes],
    sources: layout.sources,
  };
}

function hexText(value: bigint): string {
  return `0x${value.toString(16)}`;
}
