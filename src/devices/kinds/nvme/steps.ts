/**
 * A command under way, piece by piece: it gives how many bytes each piece moved, or "waiting" when there is nothing to
 * do until somebody wakes it. It ends with its status.
 */
export type Steps<Result = number> = Generator<number | "waiting", Result>;

/** What a command gives that is completed by something else later. */
export const COMPLETED_LATER = -1;

/**
 * What is done aside, or at once.
 * @param start begins it and has `done` called when it is over, perhaps at once
 * @param wake to be called when a result comes later
 */
export function* aside<Result>(start: (done: (result: Result) => void) => void, wake: () => void): Steps<Result> {
  let over: { readonly result: Result } | undefined;
  let isWaiting = false;
  start((result) => {
    over = { result };
    if (isWaiting) wake();
  });
  isWaiting = true;
  while (over === undefined) yield "waiting";
  return (over as { readonly result: Result }).result;
}

/** What is over as soon as it begins. */
// biome-ignore lint/correctness/useYield: it has no pieces
export function* atOnce(action: () => number): Steps {
  return action();
}
