/** Up to here the runtime's own sort takes far less than a millisecond. */
const SMALL = 4096;
const DIGIT_BITS = 16;
const DIGITS = 1 << DIGIT_BITS;
const DIGIT = DIGITS - 1;
/** Values between two steps. */
const STEP = 16384;

/**
 * Sorts 64-bit values in place, rising, in steps of far less than a millisecond: by one digit of 16 bits after the
 * other.
 */
export function* sortInSteps(values: BigUint64Array<ArrayBuffer>): Generator<void, void> {
  if (values.length <= SMALL) {
    values.sort();
    return;
  }
  let from = new Uint32Array(values.buffer, values.byteOffset, 2 * values.length);
  let to = new Uint32Array(from.length);
  for (let half = 0; half < 2; half++) {
    for (let shift = 0; shift < 32; shift += DIGIT_BITS) {
      const places = yield* placesOf(from, half, shift);
      if (places === undefined) continue;
      for (let at = 0; at < from.length; at += 2) {
        const digit = (from[at + half]! >>> shift) & DIGIT;
        const place = places[digit]!;
        places[digit] = place + 1;
        to[2 * place] = from[at]!;
        to[2 * place + 1] = from[at + 1]!;
        if (at % (2 * STEP) === 0) yield;
      }
      [from, to] = [to, from];
    }
  }
  if (from.buffer !== values.buffer) values.set(new BigUint64Array(from.buffer));
}

/** Where the first value with each digit goes; undefined when all have the same. */
function* placesOf(words: Uint32Array, half: number, shift: number): Generator<void, Uint32Array | undefined> {
  const places = new Uint32Array(DIGITS);
  for (let at = half; at < words.length; at += 2) {
    places[(words[at]! >>> shift) & DIGIT]!++;
    if (at % (2 * STEP) === half) yield;
  }
  if (places.includes(words.length / 2)) return undefined;
  for (let digit = 0, sum = 0; digit < DIGITS; digit++) {
    const count = places[digit]!;
    places[digit] = sum;
    sum += count;
  }
  return places;
}
