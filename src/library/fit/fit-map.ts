import type { IovaRange } from "../../address/iova-ranges.ts";
import { ALL_ADDRESSES, holesIn } from "../../address/iova-ranges.ts";
import { causeText } from "../../inspect/fit/collide.ts";
import type { MapPiece, MapRow } from "../../inspect/picture/address-map.ts";
import { sizeText } from "../../inspect/picture/fold.ts";
import { svgMap } from "../../inspect/picture/svg-map.ts";
import { textMap } from "../../inspect/picture/text-map.ts";
import { binds, groupLabel } from "../../iommu/group.ts";
import { deviceName } from "../../machine/find-device.ts";
import type { FitAnswer } from "./answer.ts";

/** A host's address space with guests in it, in 80 columns. @param answers of one host */
export function fitTextMap(answers: readonly FitAnswer[]): readonly string[] {
  return textMap(fitRows(answers));
}

/** The same as an SVG. */
export function fitSvgMap(answers: readonly FitAnswer[]): string {
  const { name } = answers[0]!.request.host.description;
  return svgMap(fitRows(answers), `What can be mapped on the host ${name}, and where guests' memory lies`);
}

function fitRows(answers: readonly FitAnswer[]): MapRow[] {
  const [first] = answers;
  const { host } = first!.request;
  const title = `host ${host.description.name}`;
  return [
    { title, note: "valid IOVA ranges", pieces: hostPieces(first!) },
    ...answers.map((answer) => ({
      title: answer.request.layout.vmm,
      note: [answer.memory && sizeText(answer.memory), answer.verdict.replaceAll("-", " ")].filter(Boolean).join(": "),
      pieces: guestPieces(answer),
    })),
  ];
}

function hostPieces({ validRanges = [ALL_ADDRESSES], request }: FitAnswer): MapPiece[] {
  const reserved = request.host.devices.flatMap(({ group }) =>
    group.reservedRegions.filter(binds).map(({ start, last, type }) => {
      const of = groupLabel({ ...group, deviceNames: group.devices.map(deviceName) } as Parameters<
        typeof groupLabel
      >[0]);
      return { start, last, kind: "taken" as const, text: type, about: `of ${of}` };
    }),
  );
  const others = holesIn(ALL_ADDRESSES, [...validRanges, ...reserved]);
  return [
    ...validRanges.map(({ start, last }) => ({ start, last, kind: "valid" as const })),
    ...unique(reserved),
    ...others.map((hole) => ({ ...hole, kind: "taken" as const, about: "beyond what the IOMMU translates" })),
  ];
}

/** Regions that devices of several groups have are drawn once. */
function unique<T extends IovaRange>(ranges: readonly T[]): T[] {
  return [...new Map(ranges.map((range) => [`${range.start}-${range.last}`, range])).values()];
}

function guestPieces({ result }: FitAnswer): MapPiece[] {
  return result.ranges
    .filter(({ range }) => range.kind === "ram")
    .flatMap(({ range, collisions }) => [
      { start: range.start, last: range.last, kind: "ram" as const, text: range.name },
      ...collisions.map(({ start, last, cause }) => ({
        start,
        last,
        kind: "collision" as const,
        about: `of ${range.name}: ${causeText(cause)}`,
      })),
    ]);
}
