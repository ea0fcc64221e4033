/** The part of a fold that is seen: places from 0 to 1. */
export interface Seen {
  readonly from: number;
  readonly to: number;
}

export const ALL: Seen = { from: 0, to: 1 };

/** As close as places of a fold can be told apart. */
const CLOSEST = 2 ** -40;

/** Makes things larger around a place that stays where it is. */
export function zoomed({ from, to }: Seen, factor: number, around: number): Seen {
  const width = Math.min(1, Math.max(CLOSEST, (to - from) / factor));
  const part = (around - from) / (to - from);
  return within({ from: around - part * width, to: around - part * width + width });
}

/** Moves by a part of what is seen. */
export function moved({ from, to }: Seen, part: number): Seen {
  const by = (to - from) * part;
  return within({ from: from + by, to: to + by });
}

/** A part with room on both sides. */
export function around(from: number, to: number, room = 1): Seen {
  const width = Math.max(CLOSEST, to - from);
  return within({ from: from - width * room, to: to + width * room });
}

function within({ from, to }: Seen): Seen {
  const width = Math.min(1, to - from);
  const start = Math.min(Math.max(0, from), 1 - width);
  return { from: start, to: start + width };
}
