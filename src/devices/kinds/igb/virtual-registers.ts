import { firstVector } from "./mailbox.ts";
import { OLD_RX, OLD_STRIDE, OLD_TX } from "./register-map.ts";
import * as reg from "./registers.ts";

/** Offsets as a virtual function has them (82576 datasheet, 8.26). */
const PBACL = 0x0f04;
const COUNTERS: ReadonlyMap<number, number> = new Map([
  [0x0f10, reg.PVFGPRC],
  [0x0f14, reg.PVFGPTC],
  [0x0f18, reg.PVFGORC],
  [0x0f34, reg.PVFGOTC],
  [0x0f3c, reg.PVFMPRC],
  [0x0f40, reg.PVFGPRLBC],
  [0x0f44, reg.PVFGPTLBC],
  [0x0f48, reg.PVFGORLBC],
  [0x0f50, reg.PVFGOTLBC],
]);
const OWN: ReadonlyMap<number, number> = new Map([
  [reg.CTRL, reg.PVTCTRL],
  [reg.CTRL_DUP, reg.PVTCTRL],
  [reg.EICS, reg.PVTEICS],
  [reg.EIMS, reg.PVTEIMS],
  [reg.EIMC, reg.PVTEIMC],
  [reg.EIAC, reg.PVTEIAC],
  [reg.EIAM, reg.PVTEIAM],
  [reg.EICR, reg.PVTEICR],
  ...COUNTERS,
]);
const MAILBOX_BYTES = 0x40;

/**
 * Where in the physical function's BAR 0 a virtual one's register is; undefined for one that it has not got.
 * @param offset in the virtual function's BAR 0
 */
export function physicalOffset(offset: number, vf: number, write: boolean): number | undefined {
  const own = OWN.get(offset);
  if (own !== undefined) return reg.PVT + vf * reg.PVT_STRIDE + own;
  const throttle = (offset - reg.EITR) / 4;
  if (throttle >= 0 && throttle < reg.VF_VECTORS) return reg.EITR + 4 * (firstVector(vf) + throttle);
  if (offset === reg.IVAR) return reg.VTIVAR + 4 * vf;
  if (offset === reg.IVAR_MISC) return reg.VTIVAR_MISC + 4 * vf;
  if (offset === PBACL) return reg.PBACLR;
  if (offset === reg.V2PMAILBOX) return reg.V2PMAILBOX + 4 * vf;
  if (offset >= reg.VMBMEM && offset < reg.VMBMEM + MAILBOX_BYTES) return offset + MAILBOX_BYTES * vf;
  if (offset === reg.STATUS || offset === reg.FRTIMER) return write ? undefined : offset;
  return ringOffset(offset, OLD_RX, reg.RX_QUEUES, vf) ?? ringOffset(offset, OLD_TX, reg.TX_QUEUES, vf);
}

/** It has two rings of each kind: those of its number, and eight behind. */
function ringOffset(offset: number, from: number, to: number, vf: number): number | undefined {
  const within = offset - from;
  const ring = Math.floor(within / OLD_STRIDE);
  const at = within % OLD_STRIDE;
  if (ring < 0 || ring > 1 || at >= reg.QUEUE_STRIDE) return undefined;
  return to + (vf + ring * reg.POOLS) * reg.QUEUE_STRIDE + at;
}
