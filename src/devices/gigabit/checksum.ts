/** The sums over packets: RFC 1071 for IP, TCP and UDP, CRC32c for SCTP (RFC 9260, appendix A). */

/** One's complement sum of 16-bit big-endian words, not folded. */
export function partialSum(bytes: Uint8Array, start: number, end: number, sum = 0): number {
  let i = start;
  for (; i + 1 < end; i += 2) sum += (bytes[i]! << 8) | bytes[i + 1]!;
  return i < end ? sum + (bytes[i]! << 8) : sum;
}

/** What is put into a packet. */
export function finished(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = Math.floor(folded / 0x1_0000) + (folded & 0xffff);
  return ~folded & 0xffff;
}

const CRC = new Uint32Array(256);
for (let byte = 0; byte < 256; byte++) {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0x82f6_3b78 : value >>> 1;
  CRC[byte] = value;
}

/** @param skipped where four bytes are taken as zeros: the sum itself */
export function crc32c(bytes: Uint8Array, start: number, end: number, skipped: number): number {
  let crc = 0xffff_ffff;
  for (let i = start; i < end; i++) {
    const byte = i >= skipped && i < skipped + 4 ? 0 : bytes[i]!;
    crc = (crc >>> 8) ^ CRC[(crc ^ byte) & 0xff]!;
  }
  return ~crc >>> 0;
}
