import type { RequestSteps } from "../../kernel/request-steps.ts";

/** Pages that are looked at in one step: each takes some microseconds, where a system call tells of it. */
const PAGES_PER_STEP = 16;

/** Does a first part of work that yields page by page, and leaves the rest to steps when there is one. */
export function inSteps(work: Generator<void, number>): number | RequestSteps {
  for (let count = 0; count < PAGES_PER_STEP; count++) {
    const { done, value } = work.next();
    if (done) return value;
  }
  return rest(work);
}

function* rest(work: Generator<void, number>): RequestSteps {
  for (;;) {
    yield;
    for (let count = 0; count < PAGES_PER_STEP; count++) {
      const { done, value } = work.next();
      if (done) return value;
    }
  }
}
