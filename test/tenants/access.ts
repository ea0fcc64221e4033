import type { Carrier, DmaDevice, Request } from "./dma.ts";
import { TenantViolation } from "./steps.ts";
import { describePlaces, type Outcome } from "./translate.ts";
import type { Named, Words } from "./words.ts";

/** One access of a device, and what may come of it. */
export interface Access {
  readonly device: DmaDevice;
  readonly request: Request;
  readonly address: number;
  readonly outcome: Outcome;
  readonly carrier: Carrier | undefined;
  /** Whose word it writes. */
  readonly writer: Named;
  readonly where: () => string;
}

/** Whether the read reached something. Throws TenantViolation for what nobody allowed. */
export function checkedRead(words: Words, { device, request, address, outcome, carrier, where }: Access): boolean {
  const found = device.read(request, address, carrier);
  const isRight =
    found === undefined
      ? outcome.mayFault
      : outcome.places.some(({ box, page }) => box.words[page] === found || (Number.isNaN(found) && !carrier));
  if (!isRight) throw new TenantViolation(`${where()}: ${words.describe(found)}; allowed: ${describePlaces(outcome)}`);
  return found !== undefined;
}

/** Whether the write arrived. Throws TenantViolation where nobody allowed it, or when it did not arrive where it had to. */
export function checkedWrite(words: Words, access: Access): boolean {
  const { device, request, address, outcome, carrier, writer, where } = access;
  const value = words.next(writer);
  const { arrived, isValue } = device.write(request, address, value, carrier);
  const place = outcome.places.find(({ box, page }) =>
    isValue ? words.peek(box, page) === value : words.peek(box, page) !== box.words[page],
  );
  // a word that cannot be known may be the one that is there already
  const isSeen = place !== undefined || !isValue;
  if (arrived ? !isSeen || outcome.places.length === 0 : place || !outcome.mayFault) {
    const how = arrived ? "it arrived, elsewhere" : place ? "a fault, and it arrived" : "a fault";
    throw new TenantViolation(`${where()}: ${how}; allowed: ${describePlaces(outcome)}`);
  }
  if (place) place.box.words[place.page] = words.peek(place.box, place.page);
  return arrived;
}
