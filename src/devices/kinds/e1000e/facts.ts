import { type PhyFacts, type PhyRegister, R, W } from "../../gigabit/phy.ts";

const RW = R | W;

/** The registers of page 0 that other pages do not have. */
const PAGE_0: readonly PhyRegister[] = [
  [16, RW, 0x3360],
  [17, R, 0xac08],
  [18, RW, 0],
  [19, R, 0],
  [20, RW, 0],
  [21, R, 0],
  [25, RW, 0],
  [26, RW, 0],
  [29, RW, 0],
  [30, RW, 0],
];

/** The PHY of the 82574 (datasheet, 9.1), as QEMU's e1000e has it. */
export const PHY: PhyFacts = {
  registers: [
    [0, RW, 0x1140],
    [1, R, 0x794d],
    [2, R, 0x0141],
    [3, R, 0x0cb1],
    [4, RW, 0x0de1],
    [5, R, 0x07e0],
    [6, R, 0x0004],
    [7, RW, 0x2001],
    [8, R, 0],
    [9, RW, 0x0f00],
    [10, R, 0x3c00],
    [15, R, 0x3000],
    [22, RW, 0],
  ],
  pages: new Map([
    [0, PAGE_0],
    [
      2,
      [
        [16, RW, 0x0088],
        [18, RW, 0],
        [19, R, 0],
        [21, RW, 0x1046],
      ],
    ],
    [
      3,
      [
        [16, RW, 0],
        [17, RW, 0],
        [18, RW, 0x4005],
        [19, RW, 0],
      ],
    ],
    [
      5,
      [
        [20, R, 0],
        [21, R, 0],
      ],
    ],
    [6, [[17, R, 0]]],
  ]),
  page: { number: 22, count: 7 },
  // OEM bits: restart
  restart: { number: 25, bit: 1 << 10 },
};

/** The words of the EEPROM behind the MAC address (82574 datasheet, 6.1), as QEMU's e1000e has them. */
export const EEPROM_WORDS = [
  ...[0, 0, 0, 0x0420, 0xf746, 0x2010, 0xffff, 0xffff, 0, 0, 0x026b, 0x10d3, 0x8086, 0x10d3, 0, 0x8058],
  ...[0, 0x2001, 0x7e7c, 0xffff, 0x1000, 0x00c8, 0, 0x2704, 0x6cc9, 0x3150, 0x070e, 0x460b, 0x2d84, 0x0100, 0xf000],
  ...[0x0706, 0x6000, 0x0080, 0x0f04, 0x7fff, 0x4f01, 0xc600, 0, 0x20ff, 0x0028, 0x0003, 0, 0, 0, 0x0003, 0, 0xffff],
  ...[
    0x0100, 0xc000, 0x121c, 0xc007, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0, 0x0120, 0xffff,
  ],
];
export const EEPROM_SIZE = 64;

/** The start of the expansion ROM as recorded (d_rom): signature, entry, the PCI data structure. */
export const ROM = Uint8Array.from(
  Buffer.from(
    "55aad5e9a200aa0000000000000000009c000000000084001c004000504349528680d310c0041c0003000002d50001000000070000000000902e8db4000089f6",
    "hex",
  ),
);
