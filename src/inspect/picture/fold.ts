/**
 * Where addresses are in a picture. A 64-bit address space is folded: between two edges, addresses at which something
 * begins or ends, it is drawn to scale, and each stretch between edges is as wide as its size has bits. So a page and a
 * terabyte are both to be seen. Places are numbers from 0 to 1.
 */

/** Inclusive bytes. */
export interface Stretch {
  readonly start: bigint;
  readonly last: bigint;
}

const END = 1n << 64n;
/** A page is the smallest thing that has a width of its own: log2 of its bytes. */
const PAGE_BITS = 12;
/** How much narrower a stretch is in which there is nothing to see. */
const EMPTY = 0.4;
/** What part of the whole those stretches have that are looked at. */
const LARGE = 0.25;

export class Fold {
  /** First addresses of the stretches, and the end. */
  readonly edges: readonly bigint[];
  /** Where each is. */
  readonly places: readonly number[];

  /**
   * @param edges ascending, from 0 to 2^64
   * @param weights of the stretches between them
   */
  constructor(edges: readonly bigint[], weights: readonly number[]) {
    this.edges = edges;
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    const places = [0];
    let sum = 0;
    for (const weight of weights) {
      sum += weight;
      places.push(sum / total);
    }
    this.places = places;
  }

  /** Where an address is, up to 2^64. */
  place(address: bigint): number {
    const index = this.#stretch((middle) => this.edges[middle]! <= address);
    const [start, end] = [this.edges[index]!, this.edges[index + 1]!];
    const [from, to] = [this.places[index]!, this.places[index + 1]!];
    return from + (to - from) * ratio(address - start, end - start);
  }

  /** The address at a place. */
  address(place: number): bigint {
    if (place >= 1) return END - 1n;
    const index = this.#stretch((middle) => this.places[middle]! <= place);
    const [start, end] = [this.edges[index]!, this.edges[index + 1]!];
    const [from, to] = [this.places[index]!, this.places[index + 1]!];
    const part = to > from ? Math.max(0, place - from) / (to - from) : 0;
    // 53 bits are exact
    const offset = ((end - start) * BigInt(Math.floor(part * 2 ** 52))) >> 52n;
    return start + (offset < end - start ? offset : end - start - 1n);
  }

  /** The last stretch for which something holds that holds for all before it. */
  #stretch(holds: (index: number) => boolean): number {
    let low = 0;
    let high = this.edges.length - 2;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (holds(middle)) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}

/**
 * The fold in which these things can be told apart.
 * @param things what is to be seen; what lies between them is narrower
 * @param further addresses that have a place of their own
 * @param large what is looked at: together it has a good part of the whole
 */
export function foldOf(
  things: readonly Stretch[],
  further: readonly bigint[] = [],
  large: readonly Stretch[] = [],
): Fold {
  const edges = new Set([0n, END, ...further]);
  for (const { start, last } of [...things, ...large]) {
    edges.add(start);
    edges.add(last + 1n);
  }
  const sorted = [...edges].sort(compare);
  const seen = joined([...things, ...large]);
  let at = 0;
  const weights = sorted.slice(1).map((end, index) => {
    const start = sorted[index]!;
    while (at < seen.length && seen[at]!.last < start) at++;
    const isSeen = at < seen.length && seen[at]!.start <= start;
    return weightOf(end - start) * (isSeen ? 1 : EMPTY);
  });
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const isLarge = sorted.map((start) => large.some((each) => each.start <= start && start <= each.last));
  const count = weights.filter((_, index) => isLarge[index]).length;
  const least = count === 0 ? 0 : (total * LARGE) / (1 - LARGE) / count;
  return new Fold(
    sorted,
    weights.map((weight, index) => (isLarge[index] ? Math.max(weight, least) : weight)),
  );
}

/**
 * Groups of stretches, as many as there are to be at most: the largest gaps part them, by how many bits they have.
 * @param stretches ascending, without overlap
 */
export function clusters(stretches: Iterable<Stretch>, most: number): Stretch[] {
  const runs: { start: bigint; last: bigint }[] = [];
  for (const { start, last } of stretches) {
    const before = runs.at(-1);
    if (before && before.last + 1n >= start) before.last = last > before.last ? last : before.last;
    else runs.push({ start, last });
  }
  if (runs.length <= most) return runs;
  const gaps = runs.slice(1).map((run, index) => ({ index: index + 1, bits: log2(run.start - runs[index]!.last) }));
  gaps.sort((a, b) => b.bits - a.bits || a.index - b.index);
  const cuts = gaps
    .slice(0, most - 1)
    .map(({ index }) => index)
    .sort((a, b) => a - b);
  return [0, ...cuts].map((from, index) => ({
    start: runs[from]!.start,
    last: runs[(cuts[index] ?? runs.length) - 1]!.last,
  }));
}

function joined(stretches: readonly Stretch[]): Stretch[] {
  const sorted = [...stretches].sort((a, b) => compare(a.start, b.start));
  return clusters(sorted, Number.POSITIVE_INFINITY);
}

function weightOf(bytes: bigint): number {
  return Math.max(1, log2(bytes) - PAGE_BITS + 1);
}

/** Of a positive number of any size. */
export function log2(value: bigint): number {
  const bits = value.toString(2).length;
  const shift = Math.max(0, bits - 53);
  return Math.log2(Number(value >> BigInt(shift))) + shift;
}

function ratio(part: bigint, whole: bigint): number {
  const shift = BigInt(Math.max(0, whole.toString(2).length - 60));
  return Number(part >> shift) / Number(whole >> shift);
}

function compare(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** "4 KiB", "1.5 TiB", "100 bytes": a size for people. */
export function sizeText(bytes: bigint): string {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
  let unit = 0;
  let value = Number(bytes);
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  const text = value >= 100 ? value.toFixed(0) : value.toFixed(1).replace(/\.0$/, "");
  return `${text} ${bytes === 1n ? "byte" : units[unit]}`;
}
