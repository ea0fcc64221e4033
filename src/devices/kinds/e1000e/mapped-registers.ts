import { mappedRegisters } from "../../gigabit/mapped-registers.ts";
import type { Run } from "../../gigabit/register-map.ts";
import { FILTER_TABLES, MAP, PACKET_BUFFER } from "./register-map.ts";
import * as reg from "./registers.ts";

const TAILS = [reg.RX_QUEUES, reg.TX_QUEUES].flatMap((first) =>
  Array.from({ length: reg.QUEUES }, (_, queue) => first + queue * reg.QUEUE_STRIDE + reg.TAIL),
);
const range = ([first, count = 1]: Run) => [first, first + 4 * (count - 1)] as const;

/** The registers that a program may use through a mapping. */
export const MAPPED = mappedRegisters(MAP, {
  writtenOnly: [reg.CTRL_DUP, reg.IMC],
  leftOut: [...FILTER_TABLES, PACKET_BUFFER, [0x9000, 255] as const].map(range),
  hasTwoPlaces: () => false,
  causes: [reg.ICR],
  isTail: (offset) => TAILS.includes(offset),
});
