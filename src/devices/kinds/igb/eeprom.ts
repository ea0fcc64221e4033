/**
 * The words of the EEPROM behind the MAC address (82576 datasheet, 6.1, table 6-1), as recorded (igb_eeprom): the first
 * three are the address, the last one is the checksum.
 */
const WORDS = [
  ...[0, 0, 0, 0x0d34, 0xffff, 0x2010, 0xffff, 0xffff, 0x1040, 0xffff, 0x002b, 0x10c9, 0x8086, 0x10c9, 0, 0x70c3],
  ...[0x0004, 0x10c9, 0x5c00, 0, 0x2880, 0x0014, 0x4a40, 0x0060, 0x6cfb, 0xc7b0, 0x0abe, 0x0403, 0x0783, 0x10a6],
  ...[0x0001, 0x0602, 0x0004, 0x0020, 0, 0x004a, 0x2080, 0x00f5, 0x10ca, 0, 0, 0, 0x4784, 0x4602, 0, 0, 0x1000],
  ...[0xffff, 0x0100, 0x4000, 0x131f, 0x4013, 0x0100, 0x4000, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff],
  ...[0x00e0, 0xffff, 0, 0x0003],
];
const SIZE = 1024;
const CHECKSUM = 0x3f;
/** What the words up to the checksum add up to. */
const SUM = 0xbaba;

/** The EEPROM of a port, 16-bit words. */
export function eeprom(mac: Uint8Array): Uint16Array {
  const words = new Uint16Array(SIZE);
  words.set(WORDS);
  for (let i = 0; i < 3; i++) words[i] = mac[2 * i]! | (mac[2 * i + 1]! << 8);
  let sum = 0;
  for (let i = 0; i < CHECKSUM; i++) sum += words[i]!;
  words[CHECKSUM] = SUM - sum;
  return words;
}
