/** The word that makes the sum of all up to it right (82574 datasheet, 6.1; 82576 datasheet, 6.1). */
const CHECKSUM = 0x3f;
const SUM = 0xbaba;

/**
 * The EEPROM of a port, 16-bit words: its address in the first three, and a checksum.
 * @param words what it holds beside them
 * @param size how many words it has
 */
export function eeprom(words: readonly number[], size: number, mac: Uint8Array): Uint16Array {
  const all = new Uint16Array(size);
  all.set(words);
  for (let i = 0; i < 3; i++) all[i] = mac[2 * i]! | (mac[2 * i + 1]! << 8);
  let sum = 0;
  for (let i = 0; i < CHECKSUM; i++) sum += all[i]!;
  all[CHECKSUM] = SUM - sum;
  return all;
}
