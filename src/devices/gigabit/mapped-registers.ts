import type { MappedRegister } from "../device-model.ts";
import type { RegisterMap } from "./register-map.ts";

/**
 * The registers that a program may use through a mapping: nearly all. When several were written before anybody looked,
 * causes are cleared before they are let through, and tails come last, behind what they depend on.
 */
export function mappedRegisters(
  map: RegisterMap,
  about: {
    /** Written only, with an effect. */
    readonly writtenOnly: readonly number[];
    /** Tables that are long and that drivers only fill: first and last register. */
    readonly leftOut: readonly (readonly [first: number, last: number])[];
    /** Whether it has a second place that drivers use. */
    readonly hasTwoPlaces: (offset: number) => boolean;
    readonly isTail: (offset: number) => boolean;
    /** Where causes of interrupts are cleared. */
    readonly causes: readonly number[];
  },
): readonly MappedRegister[] {
  const isLeftOut = (offset: number) => about.leftOut.some(([first, last]) => offset >= first && offset <= last);
  const isThere = (offset: number) =>
    map.isReadable(offset) || map.writeMask(offset) !== 0 || about.writtenOnly.includes(offset);
  const offsets = Array.from({ length: map.size / 4 }, (_, index) => 4 * index).filter((offset) => {
    const place = map.canonical(offset);
    return isThere(place) && !isLeftOut(offset) && (place === offset || about.hasTwoPlaces(place));
  });
  const isTail = (offset: number) => about.isTail(map.canonical(offset));
  const others = offsets.filter((offset) => !isTail(offset) && !about.causes.includes(offset));
  const [first, last] = [[...about.causes, ...others], offsets.filter(isTail)];
  return [
    ...first.map((offset) => ({ offset, width: 4 as const })),
    ...last.map((offset) => ({ offset, width: 4 as const, begins: true as const })),
  ];
}
