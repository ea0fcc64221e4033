import type { MappedRegister } from "../../device-model.ts";
import { canonical, isReadable, writeMask } from "./register-map.ts";
import * as reg from "./registers.ts";

/** Written only, with an effect. */
const WRITTEN_ONLY = [reg.CTRL_DUP, reg.EICS, reg.EIMC];
/** Tables that are long and that drivers only fill: of flexible filters. */
const LEFT_OUT: readonly (readonly [first: number, last: number])[] = [
  [0x5a00, 0x5a7c],
  [0x9000, 0x97fc],
];
const isLeftOut = (offset: number) => LEFT_OUT.some(([first, last]) => offset >= first && offset <= last);
const isTail = (offset: number) => isRing(offset) && offset % reg.QUEUE_STRIDE === reg.TAIL;
const isRing = (offset: number) => offset >= reg.RX_QUEUES && offset < reg.TX_QUEUES + reg.QUEUES * reg.QUEUE_STRIDE;
const isThere = (offset: number) => isReadable(offset) || writeMask(offset) !== 0 || WRITTEN_ONLY.includes(offset);

const all = Array.from({ length: reg.REGISTERS_SIZE / 4 }, (_, index) => 4 * index);
const offsets = all.filter((offset) => {
  const place = canonical(offset);
  // tables have one place; the first rings have two, and drivers use the old one
  return isThere(place) && !isLeftOut(offset) && (place === offset || isRing(place));
});

/**
 * The registers that a program may use through a mapping: nearly all. Tails come last, behind what they depend on, when
 * all were written before anybody looked.
 */
export const MAPPED: readonly MappedRegister[] = [
  ...offsets.filter((offset) => !isTail(canonical(offset))),
  ...offsets.filter((offset) => isTail(canonical(offset))),
].map((offset) => ({ offset, width: 4 }));
