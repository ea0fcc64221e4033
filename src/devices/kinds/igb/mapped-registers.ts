import { mappedRegisters } from "../../gigabit/mapped-registers.ts";
import { MAP } from "./register-map.ts";
import * as reg from "./registers.ts";

const isRing = (offset: number) => offset >= reg.RX_QUEUES && offset < reg.TX_QUEUES + reg.QUEUES * reg.QUEUE_STRIDE;

/** The registers that a program may use through a mapping. Tables have one place; the first rings have two. */
export const MAPPED = mappedRegisters(MAP, {
  writtenOnly: [reg.CTRL_DUP, reg.EICS, reg.EIMC],
  // flexible filters
  leftOut: [
    [0x5a00, 0x5a7c],
    [0x9000, 0x97fc],
  ],
  hasTwoPlaces: isRing,
  causes: [reg.ICR, reg.EICR],
  isTail: (offset) => isRing(offset) && offset % reg.QUEUE_STRIDE === reg.TAIL,
});
