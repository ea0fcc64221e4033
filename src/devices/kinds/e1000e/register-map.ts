import { RegisterMap, type Run } from "../../gigabit/register-map.ts";
import * as reg from "./registers.ts";

/**
 * Which registers there are, what of them a write changes, and what they are after reset. As QEMU's model has them
 * (e1000e_core.c), which leaves out parts of the datasheet's.
 */
const one = (offset: number): Run => [offset];

/** The memory of its packet buffer. */
export const PACKET_BUFFER: Run = [0x1_0000, 10240];
/** Tables of filters, which drivers only fill. */
export const FILTER_TABLES: readonly Run[] = [
  [0x5a00, 32],
  [0x9400, 255],
  [0x9800, 255],
];

const PLAIN: readonly Run[] = [
  ...[reg.FLA, 0x028, reg.IAM, reg.EIAC, reg.IVAR, reg.TIPG, reg.LEDCTL, 0xf00, 0xf08, 0xf10].map(one),
  ...[reg.PBA, reg.EEMNGCTL, 0x1030, 0x1034, 0x1038, 0x103c, 0x1050, reg.PSRCTL, reg.RXCSUM, reg.RFCTL].map(one),
  [0x5010, 4],
  [reg.MTA, 128],
  [reg.RA, 32],
  [reg.VFTA, 128],
  ...[0x5800, 0x5808, 0x5810, reg.MRQC, 0x5820, 0x5824, 0x5828, 0x5830, 0x5838, 0x5860].map(one),
  [0x5840, 7],
  [0x5880, 4],
  [0x5890, 8],
  ...[0x5b08, 0x5b30, 0x5b64].map(one),
  [0x5b10, 8],
  [reg.RETA, 32],
  [reg.RSSRK, 32],
  ...[reg.SYSTIMH, reg.TIMINCA, 0xb60c, 0xb610, reg.TSYNCTXCTL, reg.TXSTMPL, reg.TXSTMPH].map(one),
  [0xb620, 7],
  ...FILTER_TABLES,
  PACKET_BUFFER,
];

const MASKED: readonly (readonly [...run: Run, mask: number])[] = [
  ...[reg.VET, reg.FCAH, reg.FCT, reg.FCTTV, 0x5f40, reg.ITR, 0x458, 0x1028].map((at) => [at, 1, 0xffff] as const),
  ...[reg.RDTR, reg.RADV, reg.RAID, reg.TIDV, reg.TADV].map((at) => [at, 1, 0xffff] as const),
  [reg.EITR, reg.VECTORS, 0xffff],
  [reg.RSRPD, 1, 0xfff],
  [reg.PBS, 1, 0x3f],
  [reg.FCRTL, 1, 0x8000_fff8],
  [reg.FCRTH, 1, 0xfff8],
  ...[0x2410, 0x3410].flatMap((first) => [0, 8, 16, 24, 32].map((at) => [first + at, 1, 0x1fff] as const)),
  [0x5f00, 11, 0x7ff],
  [0x9000, 255, 0xf],
];

const READ_ONLY: readonly Run[] = [
  ...[reg.ICR, reg.ICS, reg.IMS, reg.STATUS, reg.CTRL, reg.CTRL_EXT, reg.EECD, reg.EERD, reg.EEWR, reg.MDIC].map(one),
  ...[reg.RCTL, reg.TCTL, reg.GCR, reg.SWSM, reg.PBACLR, reg.SYSTIML, 0x1014, 0x1018, 0x101c, 0x1020].map(one),
  [0x4000, 5],
  ...[0x4014, 0x4018, 0x401c, 0x4020, 0x4028, 0x4030, 0x4034, 0x4038, 0x403c, 0x4040, 0x4048, 0x404c].map(one),
  ...[0x4050, 0x4054, 0x4058, 0x4088, 0x4090, 0x40a0, 0x40a8, 0x40b0, 0x40b4, 0x40b8, 0x40bc, 0x40c0].map(one),
  ...[0x40c8, 0x40fc].map(one),
];

const CLEARED_BY_READ: readonly Run[] = [
  [0x405c, 9],
  ...[0x4080, 0x40a4, reg.ROC, 0x40d0, 0x40d4, reg.IAC].map(one),
  [0x40d8, 9],
];
const CLEARED_WITH_LOW_HALF: readonly Run[] = [0x408c, 0x4094, 0x40c4, 0x40cc].map(one);

/** Registers of the 82574. */
export const MAP = new RegisterMap(reg.REGISTERS_SIZE, {
  plain: PLAIN,
  masked: MASKED,
  readOnly: READ_ONLY,
  clearedByRead: CLEARED_BY_READ,
  clearedWithLowHalf: CLEARED_WITH_LOW_HALF,
});

const RING_MASKS = [
  [reg.BAL, 0xffff_fff0],
  [reg.BAH, 0xffff_ffff],
  [reg.LEN, 0xf_ff80],
  [reg.HEAD, 0xffff],
  [reg.TAIL, 0xffff],
  [reg.DCTL, 0xffff_ffff],
] as const;

for (let queue = 0; queue < reg.QUEUES; queue++) {
  const [rx, tx] = [reg.RX_QUEUES + queue * reg.QUEUE_STRIDE, reg.TX_QUEUES + queue * reg.QUEUE_STRIDE];
  for (const [at, mask] of RING_MASKS) for (const first of [rx, tx]) MAP.add(first + at, mask);
  MAP.add(tx + reg.TARC, 0x7800_07ff);
  MAP.preset(rx + reg.DCTL, 1 << 16);
  MAP.preset(tx + reg.TARC, reg.TARC_ENABLE | 3);
}

MAP.preset(reg.CTRL, 0x0014_0241);
MAP.preset(reg.STATUS, 0x202);
MAP.preset(reg.EECD, 0x300);
MAP.preset(reg.EERD, reg.EERD_DONE);
MAP.preset(reg.EEWR, reg.EERD_DONE);
MAP.preset(reg.VET, 0x8100);
MAP.preset(reg.TIPG, 0x0060_2008);
MAP.preset(reg.LEDCTL, 0x0006_8302);
// EXTCNF_CTRL, POEMB
MAP.preset(0xf00, 8);
MAP.preset(0xf10, 0x30d);
MAP.preset(reg.PBA, 0x0014_0014);
MAP.preset(reg.PBS, 0x28);
MAP.preset(reg.EEMNGCTL, 0x8000_0000);
// FLASHT, FLSWCTL, FLOL
MAP.preset(0x1028, 2);
MAP.preset(0x1030, 0xc000_0000);
MAP.preset(0x1050, 1);
MAP.preset(reg.PSRCTL, 0x0004_0402);
for (const at of [0x3410, 0x3418, 0x3420, 0x3428]) MAP.preset(at, 0x600);
MAP.preset(reg.RXCSUM, reg.RXCSUM_IPOFLD | reg.RXCSUM_TUOFLD);
// MANC, FACTPS
MAP.preset(0x5820, 1 << 28);
MAP.preset(0x5b30, 0x2000_0004);
MAP.preset(reg.GCR, 0x0680_0200);
MAP.preset(reg.SWSM, reg.SWSM_SMBI);
// RXCFGL, RXUDP
MAP.preset(0xb634, 0x88f7);
MAP.preset(0xb638, 0x319);

/** Registers at addresses of older controllers (10.1.2): first and last one, and where they are now. */
const ALIASES: readonly (readonly [first: number, last: number, to: number])[] = [
  [0x0040, 0x00bc, reg.RA],
  [0x0108, 0x0108, reg.RDTR],
  [0x0110, 0x0118, reg.RX_QUEUES],
  [0x0120, 0x0120, reg.RX_QUEUES + reg.HEAD],
  [0x0128, 0x0128, reg.RX_QUEUES + reg.TAIL],
  [0x0160, 0x0160, reg.FCRTH],
  [0x0168, 0x0168, reg.FCRTL],
  [0x0420, 0x0428, reg.TX_QUEUES],
  [0x0430, 0x0430, reg.TX_QUEUES + reg.HEAD],
  [0x0438, 0x0438, reg.TX_QUEUES + reg.TAIL],
  [0x0440, 0x0440, reg.TIDV],
  [0x0600, 0x07fc, reg.VFTA],
  [0x8000, 0x8000, 0x2410],
  [0x8008, 0x8008, 0x2418],
  [0x8010, 0x8010, 0x3410],
  [0x8018, 0x8018, 0x3418],
];
for (const [first, last, to] of ALIASES) MAP.alias(first, last, to);
