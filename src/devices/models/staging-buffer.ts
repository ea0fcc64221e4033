/** Pages of a processor's cache tags: addresses that are equal in their low 12 bits look alike to it. */
const ALIAS = 4096;
/** Where in such a page the C library puts what it allocates in large pieces: behind its own header of two words (glibc, musl). */
const HEADER = 16;

/**
 * A buffer that bytes of whole pages pass through. Buffers 16 bytes apart modulo 4096 are copied up to twelve times slower than ones that are
 * not (`rep movsb` takes each load for one of its own last stores), and that is how far a large allocation lies from a page.
 */
export function stagingBuffer(length: number): Uint8Array {
  return new Uint8Array(new ArrayBuffer(length + ALIAS), ALIAS - HEADER, length);
}
