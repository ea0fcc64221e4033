import type { IntervalMap } from "../../src/address/interval-map.ts";

export type Run = readonly [start: number, pages: number, value: number];

/** What an interval map does, on a plain sorted array. */
export class SortedRuns {
  readonly runs: Run[] = [];

  /** Index of the first run that ends behind the page. */
  from(page: number): number {
    let low = 0;
    let high = this.runs.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const [start, pages] = this.runs[middle]!;
      if (start + pages <= page) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  overlapping(start: number, pages: number): Run | undefined {
    const run = this.runs[this.from(start)];
    return run && run[0] < start + pages ? run : undefined;
  }

  insert(start: number, pages: number, value: number): void {
    this.runs.splice(this.from(start), 0, [start, pages, value]);
  }

  remove(index: number): void {
    this.runs.splice(index, 1);
  }
}

/** What the map holds, from the lowest run up. */
export function contents(map: IntervalMap): Run[] {
  const runs: Run[] = [];
  for (let more = map.first(); more; more = map.next()) runs.push(here(map));
  return runs;
}

/** The run at the cursor. */
export function here(map: IntervalMap): Run {
  return [map.start, map.pages, map.value];
}
