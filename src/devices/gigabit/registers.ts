/**
 * Registers that the 82574 and the 82576 have at the same offsets in BAR 0, and bits that mean the same in both (Intel
 * 82574 GbE Controller Family Datasheet, 10.1; Intel 82576EB Gigabit Ethernet Controller Datasheet, 8.2; the names are
 * the datasheets').
 */
export const CTRL = 0x0000;
export const CTRL_DUP = 0x0004;
export const STATUS = 0x0008;
export const EECD = 0x0010;
export const EERD = 0x0014;
export const CTRL_EXT = 0x0018;
export const MDIC = 0x0020;
export const FCAH = 0x002c;
export const FCT = 0x0030;
export const VET = 0x0038;
export const ICR = 0x00c0;
export const ICS = 0x00c8;
export const IMS = 0x00d0;
export const IMC = 0x00d8;
export const IAM = 0x00e0;
export const RCTL = 0x0100;
export const FCTTV = 0x0170;
export const TCTL = 0x0400;
export const TIPG = 0x0410;
export const LEDCTL = 0x0e00;
export const EEMNGCTL = 0x1010;
export const FCRTL = 0x2160;
export const FCRTH = 0x2168;
export const FCRTV = 0x2460;
export const MPC = 0x4010;
export const ROC = 0x40ac;
export const IAC = 0x4100;
export const RXCSUM = 0x5000;
export const RFCTL = 0x5008;
export const MTA = 0x5200;
export const RA = 0x5400;
export const VFTA = 0x5600;
export const MRQC = 0x5818;
export const GCR = 0x5b00;
export const SWSM = 0x5b50;
export const PBACLR = 0x5b68;
export const RETA = 0x5c00;
export const RSSRK = 0x5c80;
export const SYSTIML = 0xb600;
export const SYSTIMH = 0xb604;
export const TIMINCA = 0xb608;
export const TSYNCTXCTL = 0xb614;
export const TXSTMPL = 0xb618;
export const TXSTMPH = 0xb61c;
export const REGISTERS_SIZE = 0x2_0000;

/** Within a ring's registers, of both kinds. */
export const BAL = 0x00;
export const BAH = 0x04;
export const LEN = 0x08;
export const HEAD = 0x10;
export const TAIL = 0x18;
export const DCTL = 0x28;

export const CTRL_FD = 1 << 0;
export const CTRL_GIO_MASTER_DISABLE = 1 << 2;
export const CTRL_SPEED = 3 << 8;
export const CTRL_FORCE_SPEED = 1 << 11;
export const CTRL_FORCE_DUPLEX = 1 << 12;
export const CTRL_RST = 1 << 26;
export const CTRL_FLOW = 3 << 27;
export const CTRL_VME = 1 << 30;
export const CTRL_PHY_RST = 1 << 31;

export const STATUS_FD = 1 << 0;
export const STATUS_LU = 1 << 1;
export const STATUS_SPEED_1000 = 1 << 7;
export const STATUS_PHYRA = 1 << 10;
export const STATUS_GIO_MASTER = 1 << 19;

/** EECD: what software cannot change: PRESENT, AUTO_RD, the size. */
export const EECD_READ_ONLY = 0x7b00;
export const EERD_START = 1 << 0;
export const EERD_DONE = 1 << 1;

export const CTRL_EXT_SPEED_BYPASS = 1 << 15;
/** Auto-speed detection and the EEPROM's reset are over at once. */
export const CTRL_EXT_SELF_CLEARING = 0x3000;

export const RCTL_EN = 1 << 1;
export const RCTL_SBP = 1 << 2;
export const RCTL_UPE = 1 << 3;
export const RCTL_MPE = 1 << 4;
export const RCTL_LPE = 1 << 5;
export const RCTL_LOOPBACK = 3 << 6;
export const RCTL_LOOPBACK_MAC = 1 << 6;
export const RCTL_MO_SHIFT = 12;
export const RCTL_BAM = 1 << 15;
export const RCTL_VFE = 1 << 18;
export const RCTL_SECRC = 1 << 26;

export const TCTL_EN = 1 << 1;
/** Short frames are filled up. */
export const TCTL_PSP = 1 << 3;

export const RXCSUM_IPOFLD = 1 << 8;
export const RXCSUM_TUOFLD = 1 << 9;
export const RXCSUM_PCSD = 1 << 13;

export const RFCTL_IPV6_XSUM_DIS = 1 << 11;
export const RFCTL_IPV6_EX_DIS = 1 << 16;

export const RAH_AV = 1 << 31;

export const ICR_TXDW = 1 << 0;
export const ICR_LSC = 1 << 2;
export const ICR_RXDMT0 = 1 << 4;
export const ICR_RXO = 1 << 6;
export const ICR_MDAC = 1 << 9;
export const ICR_ASSERTED = 1 << 31;

export const SWSM_SMBI = 1 << 0;
export const GCR_READ_ONLY = 0x0680_0000;
