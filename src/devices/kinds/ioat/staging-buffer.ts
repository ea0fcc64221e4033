const PAGE = 4096;
/** Where in a page the C library puts what it allocates in large pieces: behind its own header of two words. */
const HEADER = 16;

/**
 * A buffer that bytes of whole pages pass through, which begins where a page does. One that begins just behind is
 * filled up to twelve times slower on some processors: `rep movsb` takes a load for one of its own last stores when
 * both addresses are nearly equal modulo 4096.
 */
export function stagingBuffer(length: number): Uint8Array {
  return new Uint8Array(new ArrayBuffer(length + PAGE), PAGE - HEADER, length);
}
