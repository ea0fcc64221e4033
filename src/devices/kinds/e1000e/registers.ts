/**
 * What the 82574 has beside the registers of its family, by offset in BAR 0 (Intel 82574 GbE Controller Family
 * Datasheet, 10.1; the names are the datasheet's).
 */
export * from "../../gigabit/registers.ts";

export const ITR = 0x00c4;
export const EIAC = 0x00dc;
export const IVAR = 0x00e4;
export const EITR = 0x00e8;
export const PBA = 0x1000;
export const PBS = 0x1008;
export const EEWR = 0x102c;
export const FLA = 0x001c;
export const PSRCTL = 0x2170;
export const RSRPD = 0x2c00;
export const RAID = 0x2c08;

/** Two rings of each kind. */
export const QUEUES = 2;
export const QUEUE_STRIDE = 0x100;
export const RX_QUEUES = 0x2800;
export const TX_QUEUES = 0x3800;
/** Delays of interrupts, of both receive rings and of both transmit rings. */
export const RDTR = 0x2820;
export const RADV = 0x282c;
export const TIDV = 0x3820;
export const TADV = 0x382c;
/** Within a transmit ring's registers. */
export const TARC = 0x40;
export const TARC_ENABLE = 1 << 10;

export const VECTORS = 5;

export const CTRL_EXT_EIAME = 1 << 24;
export const CTRL_EXT_IAME = 1 << 27;
export const CTRL_EXT_TIMERS_CLEAR = 1 << 29;
export const CTRL_EXT_PBA_CLR = 1 << 31;

/** Which descriptors receive rings have, with RFCTL.EXTEN: those that split packets. */
export const RCTL_SPLITS = 3 << 10;
export const RFCTL_ACK_DIS = 1 << 12;
export const RFCTL_ACK_DATA_DIS = 1 << 13;
export const RFCTL_IPFRSP_DIS = 1 << 14;
export const RFCTL_EXTEN = 1 << 15;
export const RFCTL_IPV6_DIS = 1 << 10;

export const MRQC_MODE = 3;
export const MRQC_RSS = 1;
/** What RSS may hash: nothing of UDP. */
export const MRQC_FIELDS = 0x1f_0000;

export const ICR_TXQE = 1 << 1;
export const ICR_RXT0 = 1 << 7;
export const ICR_SRPD = 1 << 16;
export const ICR_ACK = 1 << 17;
export const ICR_MNG = 1 << 18;
/** The causes of MSI-X: the receive rings, the transmit rings, all others. */
export const ICR_RXQ0 = 1 << 20;
export const ICR_RXQ1 = 1 << 21;
export const ICR_TXQ0 = 1 << 22;
export const ICR_TXQ1 = 1 << 23;
export const ICR_OTHER = 1 << 24;
export const IMS_WRITABLE = 0x1f7_82d7;

export const IVAR_VALID = 1 << 3;
export const IVAR_EVERY_WRITEBACK = 1 << 31;

export const DELAY_FLUSH = 1 << 31;
