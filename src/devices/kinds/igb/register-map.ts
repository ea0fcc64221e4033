import { RegisterMap, type Run } from "../../gigabit/register-map.ts";
import * as reg from "./registers.ts";

/**
 * Which registers there are, what of them a write changes, and what they are after reset. What has effects beyond that
 * is in igb-device.ts. As QEMU's model has them (recorded: igb_reg_*), which leaves out parts of the datasheet's.
 */

const one = (offset: number): Run => [offset];

/** Plain registers: what was written is read. */
const PLAIN: readonly Run[] = [
  ...[0x01c, 0x028, reg.VET, reg.IAM, reg.TCTL, reg.TCTL_EXT, reg.TIPG, reg.LEDCTL, reg.EEMNGCTL, 0x103c].map(one),
  [reg.VMBMEM, 128],
  ...[reg.MBVFIMR, reg.VFRE, reg.VFTE, reg.GPIE, reg.IVAR_MISC, reg.RXPBS, 0x2408, reg.TXPBS, reg.DTXSWC].map(one),
  [reg.IVAR, 8],
  ...[reg.DTXCTL, 0x4058, reg.RXCSUM, reg.RLPML, reg.RFCTL].map(one),
  [reg.VMVIR, 8],
  [0x5010, 4],
  [reg.MTA, 128],
  [reg.RA, 32],
  [reg.RA2, 32],
  [reg.VFTA, 128],
  ...[0x5800, 0x5808, 0x5810, reg.MRQC, reg.VT_CTL, 0x5820, 0x5824, 0x5838, 0x5860].map(one),
  [0x5840, 7],
  [0x5880, 4],
  [0x5890, 8],
  [0x5a00, 32],
  [reg.VMOLR, 8],
  ...[reg.RPLOLR, 0x5b08, 0x5b30, 0x5b54, 0x5b5c, 0x5f50].map(one),
  [0x5b10, 8],
  [reg.RETA, 32],
  [reg.RSSRK, 10],
  [reg.ETQF, 8],
  [reg.VLVF, 32],
  [0x9400, 255],
  ...[reg.SYSTIMH, reg.TIMINCA, 0xb60c, 0xb610, reg.TSYNCTXCTL, reg.TXSTMPL, reg.TXSTMPH].map(one),
  ...[0xb620, 0xb624, 0xb628, 0xb62c, 0xb630].map(one),
  [reg.VTIVAR, 8],
  [reg.VTIVAR_MISC, 8],
];

/** Those of which a write changes some bits. */
const MASKED: readonly (readonly [...run: Run, mask: number])[] = [
  ...[reg.FCAH, reg.FCT, reg.FCTTV, reg.FCRTV].map((offset) => [offset, 1, 0xffff] as const),
  [reg.FCRTL, 1, 0x8000_fff8],
  [reg.FCRTH, 1, 0xfff8],
  ...[0x2410, 0x3410].flatMap((first) => [0, 8, 16, 24, 32].map((at) => [first + at, 1, 0x1fff] as const)),
  [0x9000, 255, 0xf],
];

/** Those that software only reads, beside the counters. */
const READ_ONLY: readonly Run[] = [
  ...[reg.ICR, reg.ICS, reg.IMS, reg.IMC, reg.STATUS, reg.CTRL, reg.CTRL_EXT, reg.EECD, reg.EERD, reg.MDIC].map(one),
  ...[0x1014, 0x1018, 0x101c, 0x1020, reg.EIMS, reg.EIAC, reg.EIAM, reg.RCTL, reg.GCR, reg.SWSM, reg.PBACLR].map(one),
  [reg.EITR, reg.VECTORS],
  [0x4000, 5],
  ...[0x4014, 0x4018, 0x401c, 0x4020, 0x4028, 0x4030, 0x4034, 0x4040, 0x4048, 0x404c, 0x4050, 0x4054].map(one),
  ...[0x4088, 0x4090, 0x40a0, 0x40a8, 0x40b0, 0x40b4, 0x40b8, 0x40bc, 0x40c0, 0x40c8].map(one),
  [reg.P2VMAILBOX, reg.POOLS],
  [reg.V2PMAILBOX, reg.POOLS],
  ...[reg.MBVFICR, reg.VFLRE, reg.SYSTIML].map(one),
];

const CLEARED_BY_READ: readonly Run[] = [
  [0x405c, 9],
  ...[0x4080, 0x40a4, reg.ROC, 0x40d0, 0x40d4, reg.IAC, 0x4124, reg.EICR, reg.WVBR].map(one),
  [0x40d8, 9],
];
const CLEARED_WITH_LOW_HALF: readonly Run[] = [0x408c, 0x4094, 0x40c4, 0x40cc].map(one);

const PVT_READ = [
  ...[reg.PVTCTRL, reg.PVTEIMS, reg.PVTEIAC, reg.PVTEIAM, reg.PVFGPRC, reg.PVFGPTC, reg.PVFGORC, reg.PVFGOTC],
  ...[reg.PVFMPRC, reg.PVFGPRLBC, reg.PVFGPTLBC, reg.PVFGORLBC, reg.PVFGOTLBC],
];

/** In a ring's 64 bytes. RXCTL (DCA) is not there. */
const RING = [reg.BAL, reg.BAH, reg.LEN, reg.HEAD, reg.TAIL, reg.DCTL];
const RING_MASKS = new Map([
  [reg.BAL, 0xffff_ffe0],
  [reg.LEN, 0xf_fff0],
  [reg.HEAD, 0xffff],
  [reg.TAIL, 0xffff],
]);

/** Registers of the 82576. */
export const MAP = new RegisterMap(reg.REGISTERS_SIZE, {
  plain: PLAIN,
  masked: MASKED,
  readOnly: READ_ONLY,
  clearedByRead: CLEARED_BY_READ,
  clearedWithLowHalf: CLEARED_WITH_LOW_HALF,
});

for (let queue = 0; queue < reg.QUEUES; queue++) {
  for (const first of [reg.RX_QUEUES, reg.TX_QUEUES])
    for (const at of RING) MAP.add(first + queue * reg.QUEUE_STRIDE + at, RING_MASKS.get(at) ?? 0xffff_ffff);
  const [rx, tx] = [reg.RX_QUEUES + queue * reg.QUEUE_STRIDE, reg.TX_QUEUES + queue * reg.QUEUE_STRIDE];
  MAP.add(rx + reg.SRRCTL, 0xffff_ffff);
  MAP.addCleared(rx + reg.RQDPC, queue === 0 ? 0xffff_ffff : 0);
  for (const at of [reg.TXCTL, reg.WBAL, reg.WBAH]) MAP.add(tx + at, 0xffff_ffff);
  // TXCTL: relaxed ordering; RXDCTL: a write-back threshold of one
  MAP.preset(tx + reg.TXCTL, 0x2a00);
  MAP.preset(rx + reg.DCTL, 1 << 16);
}
for (let pool = 0; pool < reg.POOLS; pool++) {
  for (const at of PVT_READ) MAP.add(reg.PVT + pool * reg.PVT_STRIDE + at, 0);
  MAP.addCleared(reg.PVT + pool * reg.PVT_STRIDE + reg.PVTEICR);
  MAP.preset(reg.VMOLR + 4 * pool, 0x8000_2600);
}
// written only
for (let index = 0; index < 128; index++) MAP.addWrittenOnly(reg.UTA + 4 * index);

MAP.preset(reg.RX_QUEUES + reg.DCTL, reg.DCTL_ENABLE | (1 << 16));
MAP.preset(reg.TX_QUEUES + reg.DCTL, reg.DCTL_ENABLE);
MAP.preset(reg.CTRL, 0x0010_0209);
MAP.preset(reg.STATUS, 0x8000_0400);
MAP.preset(reg.EECD, 0x1110);
MAP.preset(reg.VET, 0x8100_8100);
MAP.preset(reg.TCTL, 0xa404_00f8);
MAP.preset(reg.TCTL_EXT, 0x0001_0840);
MAP.preset(reg.TIPG, 0x0060_1008);
MAP.preset(reg.MBVFIMR, 0xff);
MAP.preset(reg.VFRE, 0xff);
MAP.preset(reg.VFTE, 0xff);
MAP.preset(reg.LEDCTL, 0x0706_8302);
MAP.preset(reg.EEMNGCTL, 0x8000_0000);
MAP.preset(reg.RXPBS, 0x40);
MAP.preset(reg.TXPBS, 0x28);
MAP.preset(reg.DTXCTL, 0x44);
MAP.preset(reg.RXCSUM, reg.RXCSUM_IPOFLD | reg.RXCSUM_TUOFLD);
MAP.preset(reg.RLPML, 0x2600);
MAP.preset(reg.RPLOLR, 0x8000_0000);
MAP.preset(reg.GCR, 0x0685_0200);

/** Registers at addresses of older controllers (8.2.3): first and last one, and where they are now. */
const ALIASES: readonly (readonly [first: number, last: number, to: number])[] = [
  [0x0040, 0x00bc, reg.RA],
  [0x0168, 0x0168, reg.FCRTL],
  [0x0600, 0x07fc, reg.VFTA],
  [0x8000, 0x8000, 0x2410],
  [0x8008, 0x8008, 0x2418],
  [0x8010, 0x8010, 0x3410],
  [0x8018, 0x8018, 0x3418],
];
/** Of the first four rings, each behind the other in 256 bytes; drivers use these. */
export const OLD_RX = 0x2800;
export const OLD_TX = 0x3800;
export const OLD_STRIDE = 0x100;
const OLD_RINGS = 4;

for (const [first, last, to] of ALIASES) MAP.alias(first, last, to);
for (let ring = 0; ring < OLD_RINGS; ring++)
  for (const [from, to] of [
    [OLD_RX, reg.RX_QUEUES],
    [OLD_TX, reg.TX_QUEUES],
  ] as const) {
    const first = from + ring * OLD_STRIDE;
    MAP.alias(first, first + reg.QUEUE_STRIDE - 4, to + ring * reg.QUEUE_STRIDE);
  }
