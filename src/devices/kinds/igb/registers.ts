/**
 * What the 82576 has beside the registers of its family, by offset in BAR 0 (Intel 82576EB Gigabit Ethernet Controller
 * Datasheet, 8.2; the names are the datasheet's). `_A` ones of it, older addresses of the same registers, are in
 * register-map.ts.
 */
export * from "../../gigabit/registers.ts";

export const TCTL_EXT = 0x0404;
export const VMBMEM = 0x0800;
export const P2VMAILBOX = 0x0c00;
export const V2PMAILBOX = 0x0c40;
export const MBVFICR = 0x0c80;
export const MBVFIMR = 0x0c84;
export const VFLRE = 0x0c88;
export const VFRE = 0x0c8c;
export const VFTE = 0x0c90;
export const FRTIMER = 0x1048;
export const GPIE = 0x1514;
export const EICS = 0x1520;
export const EIMS = 0x1524;
export const EIMC = 0x1528;
export const EIAC = 0x152c;
export const EIAM = 0x1530;
export const EICR = 0x1580;
export const EITR = 0x1680;
export const IVAR = 0x1700;
export const IVAR_MISC = 0x1740;
export const RXPBS = 0x2404;
export const TXPBS = 0x3404;
export const DTXSWC = 0x3500;
export const WVBR = 0x3554;
export const DTXCTL = 0x3590;
export const VMVIR = 0x3700;
export const RLPML = 0x5004;
export const RA2 = 0x54e0;
export const VT_CTL = 0x581c;
export const VMOLR = 0x5ad0;
export const RPLOLR = 0x5af0;
export const ETQF = 0x5cb0;
export const VLVF = 0x5d00;
export const UTA = 0xa000;
export const VTIVAR = 0x1_1700;
export const VTIVAR_MISC = 0x1_1720;

/** The rings: sixteen of each kind, 64 bytes of registers each (8.10, 8.12). */
export const QUEUES = 16;
export const QUEUE_STRIDE = 0x40;
export const RX_QUEUES = 0xc000;
export const TX_QUEUES = 0xe000;
/** Of receive rings. */
export const SRRCTL = 0x0c;
export const RQDPC = 0x30;
/** Of transmit rings. */
export const TXCTL = 0x14;
export const WBAL = 0x38;
export const WBAH = 0x3c;

/** What the physical function has of each virtual one (8.26): 256 bytes each. */
export const PVT = 0x1_0000;
export const PVT_STRIDE = 0x100;
export const PVTCTRL = 0x00;
export const PVFGPRC = 0x10;
export const PVFGPTC = 0x14;
export const PVFGORC = 0x18;
export const PVTEICS = 0x20;
export const PVTEIMS = 0x24;
export const PVTEIMC = 0x28;
export const PVTEIAC = 0x2c;
export const PVTEIAM = 0x30;
export const PVFGOTC = 0x34;
export const PVFMPRC = 0x38;
export const PVFGPRLBC = 0x40;
export const PVFGPTLBC = 0x44;
export const PVFGORLBC = 0x48;
export const PVFGOTLBC = 0x50;
export const PVTEICR = 0x80;

/** Virtual functions; as many pools (8.14). Pool n has the queues n and n + 8. */
export const POOLS = 8;
/** Interrupt causes of EICR in MSI-X mode; ten vectors are the physical function's, three each virtual one's. */
export const VECTORS = 25;
export const PF_VECTORS = 10;
export const VF_VECTORS = 3;

export const STATUS_NUM_VFS_SHIFT = 14;
export const STATUS_IOV_MODE = 1 << 18;

export const CTRL_EXT_PFRSTD = 1 << 14;
export const CTRL_EXT_EXTENDED_VLAN = 1 << 26;

/** RXDCTL and TXDCTL. */
export const DCTL_ENABLE = 1 << 25;
export const SRRCTL_BSIZEPKT = 0x7f;

export const RAH_POOL_SHIFT = 18;

export const MRQC_VMDQ = 1 << 0;
export const MRQC_MODE = 3;
export const MRQC_RSS = 2;

export const DTXSWC_LOOPBACK = 1 << 31;

export const VMVIR_DEFAULT = 1 << 30;
export const VMVIR_NEVER = 1 << 31;

export const VMOLR_LPE = 1 << 16;
export const VMOLR_RSSE = 1 << 17;
export const VMOLR_AUPE = 1 << 24;
export const VMOLR_ROMPE = 1 << 25;
export const VMOLR_BAM = 1 << 27;
export const VMOLR_MPME = 1 << 28;
/** RPLOLR's too. */
export const VMOLR_STRVLAN = 1 << 30;
export const VMOLR_RLPML = 0x3fff;

export const VT_CTL_DEFAULT_POOL_SHIFT = 7;
export const VT_CTL_NO_DEFAULT_POOL = 1 << 29;

export const ETQF_ENABLE = 1 << 26;
export const ETQF_TYPE = 0xffff;

export const VLVF_ENABLE = 1 << 31;
export const VLVF_POOLS_SHIFT = 12;

export const GPIE_NSICR = 1 << 0;
export const GPIE_MSIX = 1 << 4;

export const ICR_RXDW = 1 << 7;
export const ICR_VMMB = 1 << 8;
export const ICR_DRSTA = 1 << 30;
export const IMS_WRITABLE = 0x77d4_fbfd;
/** EICR outside MSI-X mode: some cause of ICR. */
export const EICR_OTHER = 1 << 31;

export const IVAR_VALID = 0x80;

export const TSYNCTXCTL_VALID = 1 << 0;
export const TSYNCTXCTL_ENABLED = 1 << 4;
