/**
 * A request in steps, each of far less than a millisecond: next() does one, and what the last returns is the ioctl's
 * value. Others may make calls between two of them, so that nothing is half done then which a kernel's lock would hide.
 * It throws what the request throws.
 */
export type RequestSteps = Generator<void, number>;

/** All of a request. */
export function finish(outcome: number | RequestSteps): number {
  if (typeof outcome === "number") return outcome;
  for (;;) {
    const { done, value } = outcome.next();
    if (done) return value;
  }
}
