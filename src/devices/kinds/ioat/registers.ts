import type { MappedRegister } from "../../device-model.ts";

/**
 * Registers of Intel's DMA engine, version 3.3, with one channel (drivers/dma/ioat/registers.h). Offsets into BAR 0.
 */

/** General registers. */
export const CHANCNT = 0x00;
export const XFERCAP = 0x01;
export const INTRCTRL = 0x03;
export const VER = 0x08;
export const DMACAPABILITY = 0x10;

export const INTRCTRL_MASTER = 0x01;
export const INTRCTRL_MSIX = 0x08;
export const VERSION = 0x33;
/** Page breaks and block fill. */
export const CAPABILITIES = 0x01 | 0x40;
/** XFERCAP: a descriptor copies up to 2^20 bytes. */
export const TRANSFER_CAPACITY = 20;

const CHANNEL = 0x80;
export const CHANCTRL = CHANNEL + 0x00;
export const DMA_COMP = CHANNEL + 0x02;
export const CHANCMD = CHANNEL + 0x04;
export const DMACOUNT = CHANNEL + 0x06;
export const CHANSTS = CHANNEL + 0x08;
export const CHAINADDR = CHANNEL + 0x10;
export const CHANCMP = CHANNEL + 0x18;
export const CDAR = CHANNEL + 0x20;
export const CHANERR = CHANNEL + 0x28;
export const CHANERR_MASK = CHANNEL + 0x2c;
/** Bytes of the general and the channel's registers. */
export const REGISTERS_SIZE = CHANNEL + 0x80;

export const CHANCTRL_INT_REARM = 0x0001;
export const CHANCTRL_ERR_COMPLETION_EN = 0x0004;
export const CHANCTRL_ERR_INT_EN = 0x0010;
export const DMA_COMP_V2 = 0x0002;

export const CHANCMD_START = 0x01;
export const CHANCMD_APPEND = 0x02;
export const CHANCMD_SUSPEND = 0x04;
export const CHANCMD_ABORT = 0x08;
export const CHANCMD_RESUME = 0x10;
export const CHANCMD_RESET = 0x20;

/** CHAINADDR during a reset, until a driver writes one: no descriptor can lie there. */
export const NO_CHAIN = 0xffff_ffff_ffff_ffffn;

/** CHANSTS: the low bits are the state, the others the descriptor completed last. */
export const CHANSTS_STATUS = 0x7n;
export const ACTIVE = 0;
export const DONE = 1;
export const SUSPENDED = 2;
export const HALTED = 3;
/** Has its chain's address and waits for descriptors. */
export const ARMED = 4;

export const CHANERR_NEXT_ADDR = 0x0004;
export const CHANERR_NEXT_ALIGN = 0x0008;
export const CHANERR_READ_DATA = 0x0100;
export const CHANERR_WRITE_DATA = 0x0200;
export const CHANERR_CONTROL = 0x0400;
export const CHANERR_LENGTH = 0x0800;
export const CHANERR_COMPLETION_ADDR = 0x1000;

/** A descriptor: size u32, control u32, source u64, destination u64, next u64, and 32 bytes of the driver's. */
export const DESCRIPTOR_SIZE = 64;
export const DESCRIPTOR_NEXT = 24;
export const CTL_INTERRUPT = 1 << 0;
export const CTL_COMPLETION_WRITE = 1 << 3;
export const CTL_NULL = 1 << 5;
export const OP_COPY = 0x00;
export const OP_FILL = 0x01;

/** What a reset of the channel clears. */
export const CHANNEL_STATE: readonly MappedRegister[] = [
  { offset: CHANCTRL, width: 2 },
  { offset: CHANCMD, width: 1 },
  { offset: DMACOUNT, width: 2 },
  { offset: CHANSTS, width: 8 },
  { offset: CHAINADDR, width: 8 },
  { offset: CHANCMP, width: 8 },
  { offset: CDAR, width: 8 },
  { offset: CHANERR, width: 4 },
];

/** What a driver can write. */
export const WRITABLE: readonly MappedRegister[] = [
  { offset: INTRCTRL, width: 1 },
  { offset: CHANERR, width: 4 },
  { offset: CHANERR_MASK, width: 4 },
  { offset: CHANCMD, width: 1 },
  { offset: CHANCMP, width: 8 },
  { offset: CHAINADDR, width: 8 },
  { offset: CHANCTRL, width: 2 },
  { offset: DMACOUNT, width: 2 },
];

/** All of them, in the order in which writes that are seen at once are carried out: DMACOUNT starts the work. */
export const ALL: readonly MappedRegister[] = [
  { offset: CHANCNT, width: 1 },
  { offset: XFERCAP, width: 1 },
  { offset: VER, width: 1 },
  { offset: DMACAPABILITY, width: 4 },
  { offset: DMA_COMP, width: 2 },
  { offset: INTRCTRL, width: 1 },
  { offset: CHANERR_MASK, width: 4 },
  { offset: CHANCMD, width: 1 },
  { offset: CHANSTS, width: 8 },
  { offset: CHANERR, width: 4 },
  { offset: CDAR, width: 8 },
  { offset: CHANCMP, width: 8 },
  { offset: CHAINADDR, width: 8 },
  { offset: CHANCTRL, width: 2 },
  // a channel that was HALTED is not any more: the status that is read next must say so
  { offset: DMACOUNT, width: 2, doorbell: true },
];
